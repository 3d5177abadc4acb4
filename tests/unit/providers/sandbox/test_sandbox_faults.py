"""Directives and faults: what was asked for is what is played, to the byte."""

import json
import time
import zlib
from pathlib import Path
from typing import Any

import httptools
import pytest
from tests.support.cases import each
from tests.support.sandbox import Played, chat, request, take_apart

from posthouse.catalog.load import load_catalog
from posthouse.model.exchange import ScriptEnd
from posthouse.providers.sandbox import play
from posthouse.providers.sandbox.directives import BEHAVIOURS, USAGES, from_model
from posthouse.providers.sandbox.dispatch import MODELS
from posthouse.providers.sandbox.faults import FAULTS

GUIDE = Path("docs/guide/sandbox.md")
DAY = 86_400


def faulty(fault: str, **body: Any) -> Played:
    """Ask for a chat with a fault, through the prompt."""
    return chat(f"sandbox:{fault} Hello", **body)


class Reader:
    """A strict HTTP/1.1 reader: what it refuses, an upstream client must."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.complete = False
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.status = self.parser.get_status_code()
        self.complete = True


def read(played: Played) -> Reader:
    """Feed a script to the strict reader."""
    reader = Reader()
    for step in played.script.steps:
        reader.parser.feed_data(step.data)
    return reader


@pytest.mark.parametrize("stream", [False, True])
def test_an_honest_reply_is_whole_and_says_what_it_is(stream: bool) -> None:
    reader = read(chat(stream=stream))
    assert reader.complete
    assert (b"x-posthouse-sandbox", b"true") in reader.headers
    assert chat(stream=stream).end is ScriptEnd.KEEP


@each("status", [400, 401, 403, 404, 422, 429, 500, 502, 503, 529])
@each("carrier", ["model", "prompt"])
def test_an_error_of_any_status(status: int, carrier: str) -> None:
    name = f"sandbox:error-{status}"
    played = chat(model=name) if carrier == "model" else chat(f"{name} Hello")
    assert played.status == status
    assert set(played.document["error"]) == {"message", "type", "param", "code"}
    assert ("retry-after" in played.headers) == (status == 429)


def test_an_empty_account() -> None:
    played = faulty("insufficient-quota")
    assert played.status == 429
    assert played.document["error"]["code"] == "insufficient_quota"


def test_a_fault_is_played_even_when_the_request_is_wrong() -> None:
    assert chat(model="sandbox:html", messages=[]).body.startswith(b"<!doctype html>")
    assert chat(model="sandbox:error-500", n=0).status == 500


@each("stream", [False, True])
@each("fault", ["truncate", "reset-mid-stream", "stall", "reset", "close", "hang"])
def test_a_reply_that_breaks_off_is_never_whole(fault: str, stream: bool) -> None:
    played = faulty(fault, stream=stream)
    assert not read(played).complete
    waits = sum(step.delay for step in played.script.steps)
    assert (waits >= DAY) == (fault in {"stall", "hang"})
    resets = fault in {"reset", "reset-mid-stream"}
    assert played.end is (ScriptEnd.RESET if resets else ScriptEnd.CLOSE)


@each("fault", ["truncate", "reset-mid-stream", "stall", "eof"])
def test_a_broken_stream_has_content_but_no_end(fault: str) -> None:
    played = faulty(fault, stream=True)
    assert any(event["choices"][0]["delta"].get("content") for event in played.events)
    assert not played.done
    assert played.events[-1]["choices"][0]["finish_reason"] is None


def test_eof_is_whole_http_with_half_the_json() -> None:
    reader = read(faulty("eof"))
    assert reader.complete
    with pytest.raises(json.JSONDecodeError):
        json.loads(reader.body)


@each("fault", ["html", "invalid-json", "wrong-type", "empty"])
def test_a_body_that_is_no_answer(fault: str) -> None:
    reader = read(faulty(fault))
    assert reader.complete
    assert reader.status == 200
    try:
        assert not isinstance(json.loads(reader.body), dict)
    except json.JSONDecodeError:
        assert fault != "wrong-type"


def test_a_redirect_leads_away() -> None:
    played = faulty("redirect")
    assert played.status == 307
    assert played.headers["location"].startswith("http://127.0.0.1:9/")


@each("fault", ["bad-framing", "bad-chunk", "folded-header"])
def test_bad_framing_is_not_taken(fault: str) -> None:
    if fault == "folded-header":
        data = faulty(fault).script.steps[0].data
        assert b"x-folded: one\r\n two\r\n" in data
        return
    with pytest.raises(httptools.HttpParserError):
        read(faulty(fault, stream=fault == "bad-chunk"))


def test_oversized_heads() -> None:
    assert len(faulty("many-headers").script.steps[0].data) > 6_000
    assert read(faulty("many-headers")).headers.count((b"x-filler", b"1")) == 500
    assert len(faulty("big-header").script.steps[0].data) > 65_536


def test_bytes_after_the_end() -> None:
    played = faulty("extra-bytes")
    honest = read(
        Played(type(played.script)(played.script.steps[:-1]), 0, {}, b"", played.end)
    )
    assert honest.complete
    assert played.script.steps[-1].data == b"sandbox: extra bytes"


def test_interim_replies_come_first() -> None:
    data = b"".join(step.data for step in faulty("informational").script.steps)
    assert data.count(b"HTTP/1.1 102 ") == 20
    assert data.count(b"HTTP/1.1 200 ") == 1


def test_a_compressed_bomb_swells_a_hundredfold() -> None:
    body = faulty("gzip-bomb").body
    decoder = zlib.decompressobj(31)
    size = len(decoder.decompress(body, 110 << 20))
    assert size == 100 << 20
    assert decoder.eof
    assert size > 100 * len(body)


def test_a_large_error_is_not_held_in_memory() -> None:
    steps = faulty("large-error").script.steps
    assert sum(len(step.data) for step in steps) > 100 << 20
    assert len({id(step) for step in steps}) == 2


def test_an_endless_stream_outlasts_half_an_hour() -> None:
    steps = faulty("endless", stream=True).script.steps
    assert sum(step.delay for step in steps) > 1800


def test_slow_bytes_come_one_a_second() -> None:
    played = faulty("slow-bytes")
    assert all(len(s.data) == 1 and s.delay == 1 for s in played.script.steps[1:])
    assert read(played).complete


@each("fault", ["error-in-stream", "error-event", "error-first"])
def test_an_error_inside_a_stream(fault: str) -> None:
    played = faulty(fault, stream=True)
    assert played.status == 200
    assert "error" in played.events[-1]
    assert not played.done
    assert (len(played.events) == 1) == (fault == "error-first")
    assert (b"event: error\n" in played.body) == (fault == "error-event")


@each("fault", ["crlf", "comments", "bom", "bytes", "multiline"])
def test_odd_framing_means_the_same(fault: str) -> None:
    odd = faulty(fault, stream=True)
    plain = faulty("no-tools", stream=True)
    assert read(odd).complete
    steps = (len(odd.script.steps), odd.body)
    assert steps != (len(plain.script.steps), plain.body)
    assert odd.done
    assert [one["choices"] for one in odd.events] == [
        one["choices"] for one in plain.events
    ]


@each("usage", sorted(USAGES))
@each("stream", [False, True])
def test_usage_that_is_wrong(usage: str, stream: bool) -> None:
    body = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    played = faulty(usage, **body)
    documents = played.events if stream else [played.document]
    found = [document["usage"] for document in documents if document.get("usage")]
    expected = {"no-usage": 0, "usage-twice": 2 if stream else 1}
    if usage == "usage-cumulative" and stream:
        assert [counts["completion_tokens"] for counts in found[:3]] == [1, 2, 3]
    else:
        assert len(found) == expected.get(usage, 1)
    match usage:
        case "usage-negative":
            assert all(value < 0 for value in found[0].values())
        case "usage-fraction":
            assert found[0]["total_tokens"] == 1.5
        case "usage-huge":
            assert found[0]["prompt_tokens"] == 2**53
        case "usage-zero":
            assert set(found[0].values()) == {0}
        case "usage-only":
            assert documents[-1]["choices"] == []


def test_delays_and_lengths() -> None:
    assert chat("sandbox:delay-2s Hi").script.steps[0].delay == 2
    assert chat(model="sandbox:delay-20ms").script.steps[0].delay == 0.02
    slow = chat(model="sandbox-slow", stream=True).script.steps
    assert slow[0].delay == 1
    assert {step.delay for step in slow[1:-1]} == {0.05}
    usage = chat("sandbox:length-5000 go on").document["usage"]
    assert usage["completion_tokens"] == 5000


def test_directives_are_joined_by_colons_and_the_prompts_win() -> None:
    played = chat("sandbox:delay-1s:length-9 Hi", model="sandbox:delay-5s:refusal")
    assert played.script.steps[0].delay == 1
    assert played.document["choices"][0]["message"]["refusal"]
    pace = from_model("sandbox:pace-10ms:delay-1s").pace
    assert (pace.first, pace.between) == (1, 0.01)


def test_only_the_start_of_a_prompt_carries_directives() -> None:
    assert chat("Tell me about sandbox:error-500").status == 200
    assert chat("sandbox: what is it?").status == 400
    text = chat("sandbox:echo Hello there").document["choices"][0]["message"]
    assert text["content"] == "Hello there"


def test_other_operations_take_directives_too() -> None:
    for path, field in (("/completions", "prompt"), ("/embeddings", "input")):
        body = json.dumps({"model": "sandbox", field: "sandbox:error-503 x"}).encode()
        assert take_apart(play(request(path, body))).status == 503


def test_large_directives_are_bounded() -> None:
    began = time.monotonic()
    played = chat("sandbox:length-999999999:parallel-9999:delay-999999s")
    assert played.script.steps[0].delay == 3600
    assert played.document["usage"]["completion_tokens"] == 16_384
    assert time.monotonic() - began < 2


def test_the_catalogue_names_only_what_is_there() -> None:
    row = load_catalog()["sandbox"]
    bases = {name.partition(":")[0] for name in row.models}
    assert bases == set(MODELS)
    for name in row.models:
        from_model(name)


def test_the_guide_names_every_directive() -> None:
    text = GUIDE.read_text()
    for name in sorted(BEHAVIOURS | USAGES | set(FAULTS) | set(MODELS)):
        assert f"`{name}`" in text, f"{name} is not in the guide"
