"""Gemini's streams, passed to clients of its own."""

import msgspec
from tests.support.cases import each
from tests.unit.dialects.gemini_asked import STOP, frame, parsed, usage

from posthouse.dialects.gemini_generate import DIALECT
from posthouse.dialects.google.framing import (
    event,
)
from posthouse.errors import (
    InsufficientQuota,
    UpstreamOverloaded,
)
from posthouse.model.usage import ReportedUsage


def test_frames_pass_untouched() -> None:
    """The last one is held back for the end."""
    tap = DIALECT.tap_stream(parsed(b'{"contents":{}}', stream=True), None)
    assert tap is not None
    first = event(frame({"text": "a"}, usageMetadata=usage(5, 1)))
    last = event(frame({"text": "b"}, candidate=STOP, usageMetadata=usage(5, 2)))
    later = event(frame(candidate={"groundingMetadata": {}}))
    assert tap.feed(first, first[6:-4]).raw == first
    assert not tap.finished
    assert tap.feed(last, last[6:-4]).raw == b""
    assert tap.finished
    assert tap.feed(later, later[6:-4]).raw == last
    end = tap.close()
    assert end is not None
    assert (end.raw, end.terminal) == (later, True)
    assert (tap.usage, tap.output_text()) == (ReportedUsage(5, 2), "ab")


def test_a_stream_that_breaks_off_is_not_ended() -> None:
    """Nor is it when nothing has come."""
    tap = DIALECT.tap_stream(parsed(b'{"contents":{}}', stream=True), None)
    assert tap is not None
    assert tap.close() is None
    data = frame({"text": "a"})
    tap.feed(data, data)
    assert tap.close() is None


def test_a_blocked_prompt_passes() -> None:
    """Its frame is the first and the last."""
    tap = DIALECT.tap_stream(parsed(b'{"contents":{}}', stream=True), None)
    assert tap is not None
    data = b'{"promptFeedback":{"blockReason":"SAFETY"}}'
    assert tap.feed(data, data).raw == b""
    end = tap.close()
    assert end is not None
    assert end.raw == data


@each(
    ("data", "renamed"),
    [
        (b'{"modelVersion":"x","x":1.10}', b'{"modelVersion":"public","x":1.10}'),
        (b'{"model_version":"x"}', b'{"model_version":"public"}'),
        (b'{"x":"x"}', b'{"x":"x"}'),
        (b'{"modelVersion":"x","y":NaN}', b'{"modelVersion":"public","y":NaN}'),
    ],
)
def test_the_public_name(data: bytes, renamed: bytes) -> None:
    """Stands where the provider's did, in frames and in whole replies."""
    request = parsed(b'{"contents":{}}', stream=True)
    tap = DIALECT.tap_stream(request, "public")
    assert tap is not None
    usual = b',"usageMetadata":{"promptTokenCount":1}}'
    data, renamed = data[:-1] + usual, renamed[:-1] + usual
    assert tap.feed(event(data), data).raw == event(renamed)
    assert DIALECT.parse_reply(request, data, "public").body == renamed
    assert tap.feed(b": c\n\n", b"").raw == b": c\n\n"


def test_a_stream_that_is_cut_off_says_why() -> None:
    """As if its limit were met; every choice is told."""
    body = b'{"contents":{},"generationConfig":{"candidateCount":2}}'
    tap = DIALECT.tap_stream(parsed(body, stream=True), None)
    assert tap is not None
    before, last = tap.cut_off_frames(InsufficientQuota("No money."))
    value = msgspec.json.decode(last[6:])
    assert before == b""
    assert [told["finishReason"] for told in value["candidates"]] == ["MAX_TOKENS"] * 2
    assert value["posthouse"]["code"] == "insufficient_quota"
    assert tap.error_frame(UpstreamOverloaded()).startswith(b'data: {"error"')


def test_what_was_produced() -> None:
    """Is counted where the usage does not tell."""
    call = {"functionCall": {"name": "look", "args": {"city": "Rome"}}}
    data = frame({"text": "a"}, call, {"inlineData": {"data": "AAAA"}}, candidate=STOP)
    reply = DIALECT.parse_reply(parsed(b'{"contents":{}}'), data, None)
    assert reply.output_text().split() == ["a", "look", "Rome"]
