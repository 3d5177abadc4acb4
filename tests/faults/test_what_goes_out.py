"""What leaves for a provider and what comes back: names, edits, headers, words."""

from pathlib import Path
from typing import Any

import pytest
from tests.fakes import openai
from tests.fakes.proxies import HTTPProxy, SOCKS5Proxy
from tests.fakes.steps import Behaviour, Request, Send, json_reply
from tests.fakes.upstream import FakeUpstream
from tests.faults import scripts
from tests.faults.asked import FORMS, ask, body_of
from tests.faults.channels import channel
from tests.faults.station import KEY, KEYS, play, running

# --- what goes out, what comes back ---------------------------------------------------


@pytest.mark.parametrize(("operation", "stream"), FORMS)
def test_a_public_name_is_all_that_callers_see(
    tmp_path: Path, operation: str, *, stream: bool
) -> None:
    """The provider is asked for its own name; replies and chunks carry ours."""

    async def test() -> None:
        async with FakeUpstream(openai.answer) as provider:
            models = [{"public": "fast", "upstream": "provider/tiny-1"}]
            text = KEYS + channel("a", provider.origin, models=models)
            async with running(tmp_path, text) as station:
                seen = await ask(station, operation, "fast", stream=stream)
                assert seen.ended
                (served,) = provider.served
                assert served.request.json["model"] == "provider/tiny-1"
                assert b"tiny" not in seen.raw
                if stream:
                    frames = scripts.shown_frames(served.request)
                    sent = b"".join(frames)
                else:
                    sent = scripts.whole(served.request)
                assert sent.count(b'"provider/tiny-1"') >= 1
                assert seen.body == sent.replace(b'"provider/tiny-1"', b'"fast"')

    play(test)


def test_headers_and_body_edits_of_a_channel(tmp_path: Path) -> None:
    """Headers are added, members set and dropped, and nothing else changes."""

    async def test() -> None:
        async with FakeUpstream(openai.answer) as provider:
            text = KEYS + channel(
                "a",
                provider.origin,
                headers={"X-Team": "a", "X-Deployment": "blue"},
                body={"set": {"store": False, "seed": 7}, "drop": ["metadata"]},
            )
            async with running(tmp_path, text) as station:
                more: dict[str, Any] = {
                    "metadata": {"a": 1},
                    "store": True,
                    "x_unknown": {"kept": [1.10, None]},
                    "temperature": 0.5,
                }
                await ask(station, **more)
                (served,) = provider.served
                assert served.headers[b"x-team"] == b"a"
                assert served.headers[b"x-deployment"] == b"blue"
                asked = body_of("chat", "m", **more)
                del asked["metadata"]
                assert served.request.json == {**asked, "store": False, "seed": 7}

    play(test)


def test_no_header_of_a_caller_reaches_a_provider(tmp_path: Path) -> None:
    """Only what is on the list goes out; above all no credential and no address."""
    headers = [
        ("Cookie", "session=secret"),
        ("X-Api-Key", KEY),
        ("Proxy-Authorization", "Basic c2VjcmV0"),
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-Host", "internal.example"),
        ("X-Real-IP", "203.0.113.9"),
        ("Forwarded", "for=203.0.113.9"),
        ("Via", "1.1 internal"),
        ("Referer", "https://internal.example/page"),
        ("Origin", "https://internal.example"),
        ("User-Agent", "their-application/1.0"),
        ("X-Request-Id", "theirs"),
        ("X-Stainless-Lang", "python"),
        ("OpenAI-Organization", "org-theirs"),
        ("OpenAI-Project", "proj-theirs"),
        ("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("X-Session-Id", "conversation"),
        ("X-Unknown", "whatever"),
        ("Accept-Encoding", "gzip"),
        ("OpenAI-Beta", "assistants=v2"),
    ]

    async def test() -> None:
        async with FakeUpstream(openai.answer) as provider:
            text = KEYS + channel("a", provider.origin)
            async with running(tmp_path, text) as station:
                for operation, stream in FORMS:
                    seen = await ask(station, operation, headers=headers, stream=stream)
                    assert seen.status == 200
                allowed = {
                    b"host", b"content-length", b"content-type", b"accept",
                    b"accept-encoding", b"user-agent", b"authorization",
                    b"openai-beta",
                }  # fmt: skip
                for served in provider.served:
                    assert {name for name, _ in served.request.headers} == allowed
                    found = served.headers
                    assert len(found) == len(served.request.headers)
                    assert found[b"authorization"] == b"Bearer sk-provider-a"
                    assert found[b"user-agent"].startswith(b"posthouse/")
                    assert found[b"accept-encoding"] == b"identity"
                    assert KEY.encode() not in b"".join(found.values())

    play(test)


# --- proxies --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [HTTPProxy, SOCKS5Proxy], ids=["http", "socks5"])
def test_a_channels_proxy_carries_its_calls(tmp_path: Path, kind: Any) -> None:
    """Replies and streams come through it, and its log-in reaches nobody else."""

    async def test() -> None:
        proxy = kind(login=("porter", "p4ssw0rd"))
        async with proxy, FakeUpstream(openai.answer) as provider:
            text = KEYS + channel("a", provider.origin, proxy=proxy.url)
            async with running(tmp_path, text) as station:
                for operation, stream in FORMS:
                    seen = await ask(station, operation, stream=stream)
                    assert (seen.status, seen.ended) == (200, True)
                    assert b"p4ssw0rd" not in seen.raw
                assert set(proxy.asked) == {f"127.0.0.1:{provider.port}"}
                assert len(provider.served) == len(FORMS)
                for served in provider.served:
                    assert b"proxy-authorization" not in served.headers

    play(test)


@pytest.mark.parametrize("kind", [HTTPProxy, SOCKS5Proxy], ids=["http", "socks5"])
def test_a_proxy_that_refuses_is_an_unreachable_provider(
    tmp_path: Path, kind: Any
) -> None:
    """Nothing was sent, so nothing was spent, and another channel serves."""

    async def test() -> None:
        async with kind() as proxy, FakeUpstream(openai.answer) as provider:
            proxy.refuse = True
            text = KEYS
            text += channel(
                "a", provider.origin, proxy=proxy.url, models=["m", "n"], priority=2
            )
            text += channel("b", provider.origin, models=["n"], priority=1)
            async with running(tmp_path, text) as station:
                alone = await ask(station, model="m")
                assert alone.status == 502
                assert alone.error["code"] == "upstream_unavailable"
                assert str(proxy.port).encode() not in alone.raw
                backed = await ask(station, model="n")
                assert backed.status == 200
                record, _ = await station.books(backed.call_id)
                assert [a.channel for a in record.attempts] == ["a", "b"]
                assert record.attempts[0].cost == 0
                assert station.health("a").consecutive == 2
                assert len(provider.served) == 1

    play(test)


# --- a provider's words ---------------------------------------------------------------


@pytest.mark.parametrize(("operation", "stream"), FORMS)
def test_a_providers_words_are_cut_and_cleaned(
    tmp_path: Path, operation: str, *, stream: bool
) -> None:
    """U6: at most 2 KiB, and no key, host or control character of anybody's."""
    secrets = (
        "sk-proj-abcdefghijklmnop1234", "10.1.2.3:8443", "internal.example.com",
        "https://api.provider.test/v1", "Bearer abcdef0123456789", "\x1b[31m", "\x00",
    )  # fmt: skip
    message = "Unsupported value. " + " ".join(secrets) + " word" * 5_000
    error = scripts.error_value("invalid_request_error", message, "unsupported_value")
    error["error"]["param"] = "temperature"

    def refuse(_: Request) -> Behaviour:
        return Behaviour("words", (Send(json_reply(400, error)),))

    async def test() -> None:
        async with FakeUpstream(refuse) as provider:
            text = KEYS + channel("a", provider.origin)
            async with running(tmp_path, text) as station:
                seen = await ask(station, operation, stream=stream)
                assert seen.status == 400
                shown = seen.error
                assert shown["code"] == "unsupported_value"
                assert shown["type"] == "invalid_request_error"
                assert shown["param"] == "temperature"
                assert shown["message"].startswith("Unsupported value.")
                assert len(shown["message"].encode()) <= 2048
                for secret in secrets:
                    assert secret not in shown["message"], secret
                assert len(provider.served) == 1

    play(test)
