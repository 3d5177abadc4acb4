"""Realtime sessions over a provider: what passes, who may, and what it costs."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.conftest import StartPosthouse
from tests.fakes.realtime import ThreadedRealtime, Visit, answer, usage
from tests.integration.realtime_support import (
    KEYS,
    UPSTREAM_KEY,
    configuration,
    price_of,
    request_id,
    say,
    session,
    until,
)
from tests.support.posthouse import Posthouse
from tests.support.raw import send
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus


@pytest.fixture(scope="module")
def providers() -> Iterator[tuple[ThreadedRealtime, ThreadedRealtime]]:
    """Two providers."""
    with ThreadedRealtime() as first, ThreadedRealtime() as second:
        yield first, second


@pytest.fixture(scope="module")
def posthouse(
    start_posthouse: StartPosthouse,
    providers: tuple[ThreadedRealtime, ThreadedRealtime],
) -> Posthouse:
    """A Posthouse over both."""
    first, second = providers
    # One failure opens no breaker here: the tests are not about that.
    return start_posthouse(
        configuration(first.origin, second.origin),
        {"POSTHOUSE_BREAKER_FAILURES": "50"},
    )


@pytest.fixture
def provider(
    providers: tuple[ThreadedRealtime, ThreadedRealtime],
) -> ThreadedRealtime:
    """The first of them, as good as new."""
    for one in providers:
        one.reset()
    return providers[0]


# --- what passes ------------------------------------------------------------------


async def test_messages_pass_byte_for_byte(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Spaces, numbers, escapes and unknown events stay as they were, both ways."""
    sent = [
        '{ "type" : "some.new.event", "number": 1.10, "huge": 1e400 }',
        '{"type":"conversation.item.create","item":{"x":"\\u00e9 \\ud83d\\ude00 é"}}',
        '{"type":"session.update", "session": {"instructions": "be  brief"}}',
    ]
    answers = ['{ "type":"odd" , "n":2.50 }', "no JSON at all", '{"no":"type"}']

    async def behave(visit: Visit) -> None:
        for _ in sent:
            await visit.hear()
        for message in answers:
            await visit.connection.send(message)
        await visit.connection.send(b"\x00binary")
        await visit.hear()

    provider.behave = behave
    async with session(posthouse) as connection:
        for message in sent:
            await connection.send(message)
        got = [await connection.recv() for _ in range(4)]
    assert got == [*answers, b"\x00binary"]
    assert provider.last().received == sent


async def test_a_name_that_stands_twice_is_sent_once(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """What was judged is what the provider reads."""

    async def behave(visit: Visit) -> None:
        await visit.hear()

    provider.behave = behave
    async with session(posthouse) as connection:
        await connection.send(
            '{"type":"a", "type":"session.update", "session":{"voice":"x","voice":"y"}}'
        )
        await connection.wait_closed()
    assert provider.last().received == [
        '{"type":"session.update","session":{"voice":"y"}}'
    ]


async def test_large_and_fragmented_messages_pass(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """A message of megabytes, and one in pieces, arrive whole."""

    async def behave(visit: Visit) -> None:
        for _ in range(2):
            await visit.hear()
        await visit.connection.send("x" * 5_000_000)
        await visit.hear()

    provider.behave = behave
    big = json.dumps({"type": "input_audio_buffer.append", "audio": "A" * 6_000_000})
    async with session(posthouse) as connection:
        await connection.send(big)
        await connection.send(['{"type":', '"in pieces"', "}"])
        assert len(await connection.recv()) == 5_000_000
    assert provider.last().received == [big, '{"type":"in pieces"}']


async def test_what_the_provider_is_told(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Its model's name, its own key, the beta's header, and nothing of the caller's."""
    headers = {
        "Authorization": f"Bearer {KEYS['app']}",
        "Cookie": "a=b",
        "X-Secret": "mine",
        "OpenAI-Beta": "realtime=v1",
    }
    async with session(posthouse, headers=headers) as connection:
        await until(connection, "session.created")
    visit = provider.last()
    assert visit.path == "/v1/realtime?model=m-upstream"
    assert visit.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert visit.headers["openai-beta"] == "realtime=v1"
    told = str(visit.headers).lower()
    for secret in (KEYS["app"], "cookie", "x-secret", "content-type", "protocol"):
        assert secret not in told


async def test_a_key_among_the_subprotocols(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """As browsers send it: accepted, not echoed, not passed, not logged."""
    key = KEYS["app"]
    offered = ["realtime", f"openai-insecure-api-key.{key}", "openai-beta.realtime-v1"]
    async with session(
        posthouse, headers={}, subprotocols=offered, origin="https://a.example"
    ) as connection:
        await until(connection, "session.created")
        assert connection.subprotocol == "realtime"
        assert connection.response is not None
        assert key not in str(connection.response.headers)
    visit = provider.last()
    assert visit.headers["openai-beta"] == "realtime=v1"
    assert key not in str(visit.headers)
    assert key not in posthouse.output()


async def test_models_are_called_by_their_public_names(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Both ways, and no other model can be slipped in."""
    async with session(posthouse) as connection:
        created = (await until(connection, "session.created"))[-1]
        assert created["session"]["model"] == "voice"
        await say(connection, "session.update", session={"model": "voice", "a": 1.5})
        await say(connection, "session.update", session={"model": "m-upstream"})
        refused = (await until(connection, "error"))[-1]["error"]
        assert refused["param"] == "session.model"
        whisper = {"audio": {"input": {"transcription": {"model": "no-such"}}}}
        await say(connection, "session.update", event_id="e7", session=whisper)
        refused = (await until(connection, "error"))[-1]["error"]
        assert refused["code"] == "model_not_found"
        assert refused["event_id"] == "e7"
        await say(connection, "session.update", session={"odd": {"model": "voice"}})
        refused = (await until(connection, "error"))[-1]["error"]
        assert refused["param"] == "session.odd.model"
        await connection.send("{")
        assert (await until(connection, "error"))[-1]["error"]["code"] == "invalid_json"
        await connection.send(b'{"type":"response.create"}')
        await until(connection, "error")
    assert provider.last().received == [
        '{"type":"session.update","session":{"model":"m-upstream","a":1.5}}'
    ]


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (4001, "bye"), (1001, "x")])
async def test_a_providers_close_is_passed(
    posthouse: Posthouse, provider: ThreadedRealtime, code: int, reason: str
) -> None:
    """The client is told its code and its reason."""

    async def behave(visit: Visit) -> None:
        await visit.connection.close(code, reason)

    provider.behave = behave
    async with session(posthouse) as connection:
        await connection.wait_closed()
        assert (connection.close_code, connection.close_reason) == (code, reason)


async def test_a_clients_close_is_passed(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """The provider is told its code and its reason."""
    async with session(posthouse) as connection:
        await until(connection, "session.created")
        await connection.close(3007, "enough")
    visit = provider.last()
    assert (visit.close_code, visit.close_reason) == (3007, "enough")


# --- money ------------------------------------------------------------------------


async def test_every_answer_is_a_call(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Each has its own price, of text, sound and what was cached of both."""
    took = usage(
        text=100,
        sound=200,
        made_text=7,
        made_sound=90,
        cached_tokens=150,
        cached_tokens_details={"text_tokens": 40, "audio_tokens": 110},
    )

    async def behave(visit: Visit) -> None:
        await visit.until("response.create")
        await answer(visit, "resp_1", **took)
        await visit.until("response.create")
        await answer(visit, "resp_2")
        await visit.hear()

    provider.behave = behave
    async with session(posthouse) as connection:
        for _ in range(2):
            await say(connection, "response.create")
            await until(connection, "response.done")
        name = request_id(connection)
    first, second = posthouse.call(f"{name}-1"), posthouse.call(f"{name}-2")
    expected = {
        "input": 60,
        "audio_input": 90,
        "cached_input": 40,
        "cached_audio_input": 110,
        "output": 7,
        "audio_output": 90,
    }
    assert first["usage"] == expected
    assert first["price"] == price_of(expected)
    assert second["usage"] == {
        "input": 10,
        "audio_input": 20,
        "output": 5,
        "audio_output": 30,
    }
    own = posthouse.call(name)
    assert (own["outcome"], own["status"], own["price"]) == ("served", 101, 0)
    assert [a["channel"] for a in own["attempts"]] == ["first"]


async def test_answers_that_begin_by_themselves_are_billed(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """With voice detection nobody asks for them."""

    async def behave(visit: Visit) -> None:
        await visit.until("input_audio_buffer.append")
        await answer(visit, "resp_1")
        await visit.hear()

    provider.behave = behave
    async with session(posthouse) as connection:
        await say(connection, "input_audio_buffer.append", audio="AAAA")
        await until(connection, "response.done")
        name = request_id(connection)
    assert posthouse.call(f"{name}-1")["outcome"] == "served"


async def test_a_client_that_vanishes(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """The answer is called off, and billed as the provider then tells."""

    async def behave(visit: Visit) -> None:
        await visit.until("response.create")
        await visit.say("response.created", response={"id": "r"})
        await visit.say("response.output_text.delta", response_id="r", delta="Hel")
        await visit.until("response.cancel")
        response = {"id": "r", "status": "cancelled", "usage": usage(1, 2, 3, 4)}
        await visit.say("response.done", response=response)
        await visit.hear()

    provider.behave = behave
    async with session(posthouse) as connection:
        await say(connection, "response.create")
        await until(connection, "response.output_text.delta")
        name = request_id(connection)
        connection.transport.abort()
    record = posthouse.call(f"{name}-1")
    assert record["usage"] == {
        "input": 1,
        "audio_input": 2,
        "output": 3,
        "audio_output": 4,
    }
    assert record["usage_source"] == "provider"


async def test_a_client_that_vanishes_from_a_silent_provider(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """What was said is estimated after a moment."""

    async def behave(visit: Visit) -> None:
        await visit.until("response.create")
        await visit.say("response.created", response={"id": "r"})
        delta = "x" * 300
        await visit.say("response.output_text.delta", response_id="r", delta=delta)
        await asyncio.sleep(30)

    provider.behave = behave
    async with session(posthouse) as connection:
        await say(connection, "response.create")
        await until(connection, "response.output_text.delta")
        name = request_id(connection)
        connection.transport.abort()
    await asyncio.sleep(6)
    record = posthouse.call(f"{name}-1")
    assert record["usage_source"] == "estimated"
    assert record["usage"]["output"] == 100
    assert record["outcome"] == "abandoned"


async def test_a_provider_that_breaks_off(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """The client is told, and pays for what it had."""

    async def behave(visit: Visit) -> None:
        await visit.until("response.create")
        await visit.say("response.created", response={"id": "r"})
        delta = "x" * 300
        await visit.say("response.output_text.delta", response_id="r", delta=delta)
        visit.connection.transport.abort()

    provider.behave = behave
    async with session(posthouse) as connection:
        await say(connection, "response.create")
        events = await until(connection, "error")
        await connection.wait_closed()
        name = request_id(connection)
    assert events[-1]["error"]["code"] == "upstream_interrupted"
    assert connection.close_code == 1011
    record = posthouse.call(f"{name}-1")
    assert (record["outcome"], record["usage"]["output"]) == ("interrupted", 100)


async def test_an_answer_that_fails_costs_nothing(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Nor does one that the provider refuses to begin."""

    async def behave(visit: Visit) -> None:
        await visit.until("response.create")
        await visit.say("response.created", response={"id": "r"})
        response = {"id": "r", "status": "failed", "usage": None}
        await visit.say("response.done", response=response)
        event = await visit.until("response.create")
        await visit.say("error", error={"code": "x", "event_id": event["event_id"]})
        await visit.hear()

    provider.behave = behave
    async with session(posthouse) as connection:
        await say(connection, "response.create")
        await until(connection, "response.done")
        await say(connection, "response.create", event_id="mine")
        await until(connection, "error")
        name = request_id(connection)
    failed, refused = posthouse.call(f"{name}-1"), posthouse.call(f"{name}-2")
    assert (failed["outcome"], failed["price"]) == ("failed", 0)
    assert (refused["outcome"], refused["price"]) == ("rejected", 0)


async def test_an_account_that_runs_empty(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Its last answer is paid for by the reserve; then the session ends."""
    async with session(posthouse, key="poor") as connection:
        await say(connection, "response.create")
        events = await until(connection, "error")
        await connection.wait_closed()
    kinds = [event["type"] for event in events]
    assert kinds[-2:] == ["response.done", "error"]
    assert events[-1]["error"]["code"] == "insufficient_quota"
    assert (connection.close_code, connection.close_reason) == (
        1008,
        "insufficient_quota",
    )


async def test_an_account_without_money(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """There is no session, and the provider hears nothing."""
    with pytest.raises(InvalidStatus) as refused:
        await session(posthouse, key="poorer")
    assert refused.value.response.status_code == 429
    assert b"insufficient_quota" in (refused.value.response.body or b"")
    assert not provider.visits


async def test_a_transcript_is_billed(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """What the user said is written down by a model of its own, at its own price."""

    async with session(posthouse, model="sandbox-realtime") as connection:
        transcription = {"model": "sandbox-transcription-tokens"}
        sound = {"input": {"transcription": transcription, "turn_detection": None}}
        await say(connection, "session.update", session={"audio": sound})
        await until(connection, "session.updated")
        await say(connection, "input_audio_buffer.append", audio="AAAA" * 32_000)
        await say(connection, "input_audio_buffer.commit")
        kind = "conversation.item.input_audio_transcription.completed"
        told = (await until(connection, kind))[-1]["usage"]
        name = request_id(connection)
    record = posthouse.call(f"{name}-1")
    assert record["operation"] == "transcription"
    assert record["requested_model"] == "sandbox-transcription-tokens"
    assert record["usage"]["audio_input"] == told["input_tokens"] == 20


# --- who may ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"headers": {}}, 401),
        ({"headers": {"Authorization": "Bearer sk-wrong"}}, 401),
        ({"headers": {}, "subprotocols": ["openai-insecure-api-key.x"]}, 401),
        ({"key": "narrow"}, 404),
        ({"model": "no-such-model"}, 404),
        ({"model": "voice&model=voice"}, 400),
        ({"model": ""}, 400),
    ],
)
async def test_who_is_refused(
    posthouse: Posthouse, provider: ThreadedRealtime, options: dict, status: int
) -> None:
    """Before anything is open, in HTTP."""
    with pytest.raises(InvalidStatus) as refused:
        await session(posthouse, **options)
    assert refused.value.response.status_code == status
    assert not provider.visits


def issued(posthouse: Posthouse, asked: Any, key: str = KEYS["app"]) -> Any:
    """Ask for a browser's key; give status and reply."""
    bearer = ("Authorization", f"Bearer {key}")
    body = json.dumps(asked).encode()
    path = "/v1/realtime/client_secrets"
    reply = send(posthouse.url, path, body, headers=(bearer,))
    return reply.status, json.loads(reply.body)


async def test_a_browsers_key(posthouse: Posthouse, provider: ThreadedRealtime) -> None:
    """Opens sessions of its model, as they were set up, in its tenant's name."""
    settings = {"type": "realtime", "model": "voice", "instructions": "Be brief"}
    status, told = issued(posthouse, {"session": settings})
    assert status == 200
    assert told["session"]["instructions"] == "Be brief"
    assert 590 < told["expires_at"] - time.time() <= 600
    offered = ["realtime", f"openai-insecure-api-key.{told['value']}"]
    async with session(posthouse, headers={}, subprotocols=offered) as connection:
        await say(connection, "response.create")
        await until(connection, "response.done")
        name = request_id(connection)
    opening = json.loads(provider.last().received[0])
    assert opening["type"] == "session.update"
    assert opening["session"] == {**settings, "model": "m-upstream"}
    assert posthouse.call(f"{name}-1")["key"] == "app"
    bearer = {"Authorization": f"Bearer {told['value']}"}
    async with session(posthouse, headers=bearer) as connection:
        await until(connection, "session.created")
    with pytest.raises(InvalidStatus) as refused:
        await session(posthouse, model="plain", headers=bearer)
    assert refused.value.response.status_code == 404


async def test_a_browsers_key_opens_nothing_else(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Neither other routes nor further keys, and it cannot be altered."""
    _, told = issued(posthouse, {"session": {"model": "voice"}})
    value = told["value"]
    assert issued(posthouse, {"session": {"model": "voice"}}, value)[0] == 401
    for header in ("Authorization", "api-key"):
        text = f"Bearer {value}" if header == "Authorization" else value
        fields = ((header, text),)
        assert (
            send(posthouse.url, "/v1/models", method="GET", headers=fields).status
            == 401
        )
    middle = len(value) // 2
    other = "A" if value[middle] != "A" else "B"
    for forged in (
        value[:middle] + other + value[middle + 1 :],
        value[:-9],
        "ek_",
        "ek_x",
    ):
        with pytest.raises(InvalidStatus) as refused:
            await session(posthouse, headers={"Authorization": f"Bearer {forged}"})
        assert refused.value.response.status_code == 401
    assert not provider.visits


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ([], 400),
        ({}, 400),
        ({"session": {"type": "realtime"}}, 400),
        ({"session": {"type": "transcription", "model": "voice"}}, 400),
        ({"session": {"model": "voice"}, "expires_after": {"seconds": 9}}, 400),
        ({"session": {"model": "voice"}, "expires_after": {"seconds": 7201}}, 400),
        ({"session": {"model": "voice"}, "expires_after": {"seconds": True}}, 400),
        ({"session": {"model": "voice", "instructions": "x" * 5000}}, 400),
        ({"session": {"model": "voice", "x": {"model": "y"}}}, 400),
        ({"session": {"model": "no-such"}}, 404),
        ({"session": {"model": "gpt-4o"}}, 404),
    ],
)
def test_browsers_keys_that_are_refused(
    posthouse: Posthouse, asked: Any, status: int
) -> None:
    """What cannot be promised is not."""
    assert issued(posthouse, asked)[0] == status


async def test_limits_hold_for_a_sessions_life(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """One at a time, and each counts as one call of a minute."""
    async with session(posthouse, key="single") as connection:
        await until(connection, "session.created")
        with pytest.raises(InvalidStatus) as refused:
            await session(posthouse, key="single")
        assert refused.value.response.status_code == 429
        for _ in range(4):
            await say(connection, "response.create")
            await until(connection, "response.done")
    provider.last()
    await asyncio.sleep(0.3)
    async with session(posthouse, key="single") as connection:
        await until(connection, "session.created")


async def test_tenants_pay_for_themselves(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Two sessions at once, two ledgers."""
    async with (
        session(posthouse, key="app") as one,
        session(posthouse, key="second") as other,
    ):
        await say(one, "response.create")
        await until(one, "response.done")
        await say(other, "response.create")
        await until(other, "response.done")
        names = request_id(one), request_id(other)
    records = [posthouse.call(f"{name}-1") for name in names]
    assert records[0]["key"] != records[1]["key"]


async def test_a_revoked_key_ends_its_session(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Within a minute, with an answer under way or not."""
    made = await asyncio.to_thread(posthouse.ask, "key", "create", "doomed")
    headers = {"api-key": made["key"]}
    async with session(posthouse, headers=headers) as connection:
        await until(connection, "session.created")
        await asyncio.to_thread(posthouse.run, "key", "revoke", "doomed")
        async with asyncio.timeout(60):
            events = await until(connection, "error")
            await connection.wait_closed()
    assert events[-1]["error"]["code"] == "invalid_api_key"
    assert connection.close_code == 1008


# --- where it goes ----------------------------------------------------------------


async def test_another_channel_before_the_handshake(
    posthouse: Posthouse,
    providers: tuple[ThreadedRealtime, ThreadedRealtime],
    provider: ThreadedRealtime,
) -> None:
    """One that refuses is passed over, and its refusal is recorded."""
    provider.refusal = 503, '{"error":{"message":"busy"}}'
    async with session(posthouse) as connection:
        await until(connection, "session.created")
        name = request_id(connection)
    assert providers[1].last().path == "/v1/realtime?model=m-second"
    record = posthouse.call(name)
    assert [a["channel"] for a in record["attempts"]] == ["first", "second"]
    assert record["attempts"][0]["upstream_status"] == 503


async def test_a_refusal_of_the_providers(
    posthouse: Posthouse,
    providers: tuple[ThreadedRealtime, ThreadedRealtime],
    provider: ThreadedRealtime,
) -> None:
    """What is wrong with the request is told as the provider put it."""
    for one in providers:
        body = '{"error":{"message":"No such voice","code":"odd","type":"t"}}'
        one.refusal = 400, body
    with pytest.raises(InvalidStatus) as refused:
        await session(posthouse)
    assert refused.value.response.status_code == 400
    assert b"No such voice" in (refused.value.response.body or b"")


async def test_what_is_not_here(posthouse: Posthouse) -> None:
    """No WebSocket elsewhere, nothing but WebSocket here, and no keys for browsers."""
    url, key = posthouse.url, KEYS["app"]
    bearer = ("Authorization", f"Bearer {key}")
    plain = send(url, "/v1/realtime?model=voice", method="GET", headers=(bearer,))
    assert (plain.status, plain.header("upgrade")) == (426, "websocket")
    for path in ("sessions", "transcription_sessions", "calls", "calls/x/hangup"):
        reply = send(url, f"/v1/realtime/{path}", b"{}", headers=(bearer,))
        assert reply.status == 404
        assert b"not offered here" in reply.body
    with pytest.raises(InvalidStatus) as refused:
        await connect(url.replace("http", "ws") + "/v1/responses")
    assert refused.value.response.status_code == 426


async def test_an_unknown_answer_code_is_not_sent_on(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """A provider that drops the connection between answers: 1011."""

    async def behave(visit: Visit) -> None:
        visit.connection.transport.abort()

    provider.behave = behave
    async with session(posthouse) as connection:
        await connection.wait_closed()
    assert connection.close_code == 1011
