"""Every key of a channel in posthouse.example.toml does what its comment says."""

import json
import socket
import time
from collections import Counter
from urllib.parse import urlsplit

import pytest
from tests.fakes import openai
from tests.fakes.steps import Behaviour, Hang, Request, Send, Wait, chunk, json_reply
from tests.integration.conftest import ThreadedProxies
from tests.support.example import (
    CHAT,
    MESSAGES,
    OUTPUT,
    Example,
    key_of,
    shows,
    wait_for_calls,
)

REFUSED = Behaviour("refused", (Send(json_reply(500, {"error": {"message": "no"}})),))


@shows("channels.name", "channels.provider")
def test_a_channel_is_named_in_records_and_answers_as_its_provider(
    example: Example,
) -> None:
    answer = example.chat("sandbox")
    assert answer.channel == "sandbox"
    assert answer.reply.header("x-posthouse-sandbox") == "true"


@shows("channels.base_url")
def test_base_url_is_taken_as_it_stands_version_included(example: Example) -> None:
    def answer(request: Request) -> Behaviour:
        assert request.target == "/gateway/v9/chat/completions"
        return openai.chat(request)

    example.fake.on("versioned-model", answer)
    assert example.chat("versioned-model").status == 200


@shows("channels.api_key")
@pytest.mark.parametrize(
    ("model", "credential"),
    [
        ("literal-key-model", b"provider-key-literal"),
        ("environment-key-model", b"provider-key-of-the-environment"),
        ("file-key-model", b"provider-key-of-a-file"),
    ],
)
def test_api_key_is_a_literal_a_variable_or_a_file(
    example: Example, model: str, credential: bytes
) -> None:
    assert example.chat(model).status == 200
    [served] = example.fake.served(model)
    assert served.headers[b"authorization"] == b"Bearer " + credential


@shows("channels.api_key")
def test_several_api_keys_share_the_calls(example: Example) -> None:
    for _ in range(20):
        assert example.chat("two-keys-model").status == 200
    used = {s.headers[b"authorization"] for s in example.fake.served("two-keys-model")}
    assert used == {b"Bearer provider-key-one", b"Bearer provider-key-two"}


@shows("channels.models")
def test_models_are_names_aliases_and_wildcards(example: Example) -> None:
    assert example.chat("named-model").channel == "renaming"
    assert example.chat("wild-anything").channel == "renaming"
    assert example.fake.served("wild-anything")
    aliased = example.chat("public-name")
    assert aliased.channel == "renaming"
    assert len(example.fake.served("upstream-name")) == 1
    assert json.loads(aliased.reply.body)["model"] == "public-name"
    assert example.chat("offered-by-nobody").code == "model_not_found"


@shows("channels.models")
def test_without_models_a_channel_offers_its_catalogue_row(example: Example) -> None:
    assert {"sandbox", "sandbox-embedding"} <= example.models()


@shows("channels.priority")
def test_the_higher_priority_answers_until_it_fails(example: Example) -> None:
    assert example.chat("tiered-model").channel == "high"
    failures = iter([REFUSED])
    example.fake.on(
        "tiered-model", lambda request: next(failures, None) or openai.chat(request)
    )
    assert example.chat("tiered-model").channel == "low"


@shows("channels.weight")
def test_weights_divide_the_sessions(example: Example) -> None:
    for _ in range(45):
        assert example.chat("weighed-model").status == 200
    calls = wait_for_calls(example.posthouse, "requested_model", "weighed-model", 45)
    shares = Counter(call["channel"] for call in calls)
    # 40 of 45 are expected; less than 25 or none on the light one is no division.
    assert shares["heavy"] >= 25
    assert shares["light"] >= 1


def slowly(request: Request) -> Behaviour:
    """Answer after half a second."""
    quick = openai.chat(request)
    return Behaviour("slow", (Wait(0.5), *quick.steps), quick.usage)


@shows("channels.limits.concurrency")
def test_a_channel_takes_as_many_calls_at_a_time_as_it_may(example: Example) -> None:
    example.fake.on("busy-model", slowly)
    with example.meanwhile("busy-model") as first:
        time.sleep(0.15)
        second = example.chat("busy-model")
    assert first.answer.channel == "one-at-a-time"
    assert second.channel == "beside-it"


@shows("channels.limits.rpm")
def test_a_channel_takes_as_many_calls_a_minute_as_it_may(example: Example) -> None:
    assert example.chat("rated-model").channel == "once-a-minute"
    assert example.chat("rated-model").channel == "any-time"


@shows("channels.timeouts.connect")
def test_a_provider_that_does_not_accept_is_given_up(example: Example) -> None:
    began = time.monotonic()
    answer = example.chat("unreachable-model")
    assert answer.status in {502, 504}
    assert time.monotonic() - began < 3


@shows("channels.timeouts.first_byte")
def test_a_provider_that_does_not_begin_is_given_up(example: Example) -> None:
    example.fake.on("slow-start-model", Behaviour("silent", (Hang(),)))
    assert example.chat("slow-start-model").status == 504


@shows("channels.timeouts.idle")
def test_a_stream_that_stalls_is_ended(example: Example) -> None:
    def stall(request: Request) -> Behaviour:
        event = openai.chat_event(request, {"content": "a"})
        steps = (Send(openai.stream_head() + chunk(event)), Hang())
        return Behaviour("stalling", steps)

    example.fake.on("stalling-model", stall)
    answer = example.chat("stalling-model", stream=True)
    assert b'"error"' in answer.reply.body
    assert answer.record["outcome"] == "interrupted"


@shows("channels.timeouts.total")
def test_a_stream_that_takes_too_long_is_ended(example: Example) -> None:
    def drip(request: Request) -> Behaviour:
        return openai.chat(request, interval=0.05)

    example.fake.on("endless-model", drip)
    answer = example.chat("endless-model", stream=True, max_tokens=400)
    assert b'"finish_reason":"length"' in answer.reply.body
    assert b"upstream_timeout" in answer.reply.body
    assert answer.record["usage"]["output"] < 100


@shows("channels.proxy")
def test_a_channel_goes_through_its_proxy(
    example: Example, proxies: ThreadedProxies
) -> None:
    place = urlsplit(example.fake.origin).netloc
    assert example.chat("http-proxy-model").status == 200
    assert example.chat("socks-proxy-model").status == 200
    assert proxies.http.asked == [place]
    assert proxies.socks.asked == [place]


@shows("channels.headers")
def test_headers_are_added_to_every_request(example: Example) -> None:
    assert example.chat("headed-model").status == 200
    [served] = example.fake.served("headed-model")
    assert served.headers[b"x-team"] == b"a"


@shows("channels.body.set", "channels.body.drop")
def test_the_body_is_edited(example: Example) -> None:
    answer = example.chat(
        "edited-model", "app", store=True, metadata={"a": "b"}, user="kept"
    )
    assert answer.status == 200
    [served] = example.fake.served("edited-model")
    body = served.request.json
    assert body["store"] is False
    assert "metadata" not in body
    assert body["user"] == "kept"


@shows("channels.on_disconnect")
@pytest.mark.parametrize(
    ("model", "completed"), [("cancelled-model", False), ("drained-model", True)]
)
def test_what_becomes_of_a_call_whose_client_leaves(
    example: Example, model: str, *, completed: bool
) -> None:
    example.fake.on(model, lambda request: openai.chat(request, interval=0.05))
    _leave(example, model)
    [call] = wait_for_calls(example.posthouse, "requested_model", model, 1)
    [served] = example.fake.served(model)
    assert call["outcome"] == "abandoned"
    assert served.completed is completed
    paid = call["usage"]["output"]
    assert (paid == OUTPUT) is completed, paid


def _leave(example: Example, model: str) -> None:
    """Ask for a stream and go after its first content."""
    parts = urlsplit(example.posthouse.url)
    body = json.dumps({"model": model, "messages": MESSAGES, "stream": True}).encode()
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Authorization: Bearer {key_of('app')}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    place = (parts.hostname, parts.port)
    with socket.create_connection(place, timeout=20) as client:
        client.sendall(head.encode() + body)
        received = b""
        while b"word1 " not in received:
            received += client.recv(65_536)


@shows("channels.enabled")
def test_a_disabled_channel_offers_nothing(example: Example) -> None:
    assert "switched-off-model" not in example.models()
    assert example.chat("switched-off-model").code == "model_not_found"
