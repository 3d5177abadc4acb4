"""Anthropic's streams, passed along and cut off."""

import json

from tests.unit.dialects.anthropic_frames import (
    CHAT,
    END,
    IDENTITY,
    block,
    decoded,
    finish,
    frame,
    grow,
    start,
    stop,
)

from posthouse.dialects.anthropic_messages import CODEC, DIALECT
from posthouse.dialects.base import ParsedRequest, StreamTap
from posthouse.dialects.neutral.collect import collect
from posthouse.errors import (
    InsufficientQuota,
    UpstreamInterrupted,
)
from posthouse.model.usage import ReportedUsage
from posthouse.wire.sse import SSEDecoder


def tap(public_model: str | None = None) -> StreamTap:
    found = DIALECT.tap_stream(_REQUEST, public_model)
    assert found is not None
    return found


_REQUEST: ParsedRequest = DIALECT.parse_request(
    b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}'
)


def test_frames_pass_to_the_letter() -> None:
    """Whatever they hold; only the beginning carries the model's name."""
    first, data = start(novel={"n": 1})
    passing = tap("public")
    renamed = passing.feed(first, data)
    assert renamed.raw.startswith(b"event: message_start\ndata: ")
    message = json.loads(renamed.raw.split(b"data: ")[1])["message"]
    assert message["model"] == "public"
    assert message["novel"] == {"n": 1}
    odd = b'event: content_block_start\ndata: {"type":"content_block_start", "index":0,'
    odd += b'"content_block":{"type":"text","text":"","n":1.0}}\n\n'
    assert passing.feed(odd, odd.split(b"data: ")[1].rstrip()).raw == odd
    said = grow(0, "text_delta", text="message_start and model")
    assert passing.feed(*said).raw == said[0]
    assert passing.feed(*said).content
    assert not passing.finished
    passing.feed(*finish())
    assert passing.finished
    assert passing.feed(*END).terminal
    assert passing.output_text() == "message_start and model" * 2
    assert passing.usage == ReportedUsage(input=9, output=5, searches=0)


def test_without_another_name_nothing_is_written_anew() -> None:
    """And nor is what has none."""
    raw, data = start()
    assert tap().feed(raw, data).raw == raw
    nameless, data = frame("message_start", message={"id": "x"})
    assert tap("public").feed(nameless, data).raw == nameless


def test_an_answer_is_cut_off_as_if_its_limit_were_met() -> None:
    """Open blocks end, the reason and the usage are told, the end waits."""
    passing = tap()
    passing.feed(*start())
    passing.feed(*block(0, type="text", text="a"))
    last, terminal = passing.cut_off_frames(InsufficientQuota())
    values = [json.loads(data) for _, data in SSEDecoder().feed(last)]
    assert values[0] == {"type": "content_block_stop", "index": 0}
    assert values[1]["delta"]["stop_reason"] == "max_tokens"
    assert values[1]["posthouse"]["code"] == "insufficient_quota"
    assert values[1]["usage"]["input_tokens"] == 9
    assert terminal == b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def test_an_answer_that_has_ended_is_only_closed() -> None:
    """Its end is told once."""
    passing = tap()
    for each in (start(), block(0, type="text", text="a"), stop(0), finish()):
        passing.feed(*each)
    assert passing.cut_off_frames(InsufficientQuota())[0] == b""


def test_an_error_is_told_in_a_stream_of_its_own() -> None:
    """As an event."""
    assert tap().error_frame(UpstreamInterrupted()).startswith(b"event: error\n")


def test_what_was_written_is_read_again() -> None:
    """A stream of ours is a stream of theirs."""
    events = decoded(
        start(
            {
                "input_tokens": 3,
                "cache_creation_input_tokens": 2,
                "cache_read_input_tokens": 4,
                "output_tokens": 1,
                "service_tier": "standard",
            }
        ),
        block(0, type="text", text=""),
        grow(0, "text_delta", text="a"),
        stop(0),
        finish("novel_reason", novel_count=2),
        END,
    )
    encoder = CODEC.encoder(CHAT, IDENTITY)
    out = b"".join(map(encoder.feed, events)) + encoder.close()
    again = decoded(*SSEDecoder().feed(out))
    assert collect(again) == collect(events)
