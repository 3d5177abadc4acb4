"""Gemini's streams and whole replies, read."""

from typing import Any

import pytest
from tests.support.cases import each
from tests.unit.dialects.gemini_asked import (
    STOP,
    decoded,
    frame,
    parsed,
    usage,
)

from posthouse.dialects.gemini_generate import CODEC, DIALECT
from posthouse.dialects.gemini_generate.grounding import TEXT_KEPT, Ruler
from posthouse.dialects.neutral.collect import collect
from posthouse.errors import (
    UpstreamBadResponse,
    UpstreamOverloaded,
    UpstreamRejected,
)
from posthouse.model.chat import (
    Citation,
    Finish,
    FinishReason,
    Text,
)
from posthouse.model.chat_events import (
    Beat,
    Ended,
    UsageTold,
)
from posthouse.model.usage import ReportedUsage


def test_nothing_ends_a_stream_but_its_close() -> None:
    """What follows a reason to end still counts."""
    events = decoded(
        frame({"text": "a"}, candidate=STOP),
        frame({"text": "b"}, candidate={"finishReason": "MAX_TOKENS"}),
    )
    reply = collect(events)
    assert reply.choices[0].parts == (Text("ab"),)
    assert reply.choices[0].finish == Finish(FinishReason.LENGTH)
    assert isinstance(events[-1], Ended)


@each(
    "frames",
    [
        [],
        [frame({"text": "a"})],
        [frame(), frame({"text": "a"}, candidate={"index": 1, **STOP})],
        [b'{"usageMetadata":{"promptTokenCount":1}}'],
    ],
)
def test_a_stream_that_broke_off_has_no_end(frames: list[bytes]) -> None:
    """Somebody had still something to say."""
    assert not any(isinstance(told, Ended) for told in decoded(*frames))


def test_usage_is_told_whenever_it_changes() -> None:
    """By usual frames and by others alike."""
    details = {"promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}]}
    events = decoded(
        frame({"text": "a"}, usageMetadata=usage(5, 1, **details)),
        frame({"text": "b"}, usageMetadata=usage(5, 2, **details)),
        frame({"text": "c"}, usageMetadata=usage(5, 2, **details)),
        frame({"text": "d"}, usageMetadata=usage(5, 3, thoughtsTokenCount=4)),
        frame(usageMetadata=usage(5, 3, novel=1), candidate=STOP),
    )
    told = [told.usage for told in events if isinstance(told, UsageTold)]
    assert told == [
        ReportedUsage(5, 1, audio_input=2),
        ReportedUsage(5, 2, audio_input=2),
        ReportedUsage(5, 7, reasoning=4),
        ReportedUsage(5, 3),
    ]
    assert collect(events).choices[0].parts == (Text("abcd"),)


@each(
    ("told", "found"),
    [
        ({"promptTokenCount": 5}, ReportedUsage(5)),
        ({"promptTokenCount": 5, "totalTokenCount": 9}, ReportedUsage(5, 4)),
        (
            {"promptTokenCount": 5, "toolUsePromptTokenCount": 2},
            ReportedUsage(7),
        ),
        ({"thoughtsTokenCount": 3}, ReportedUsage(None, 3, reasoning=3)),
        ({"promptTokenCount": "5"}, ReportedUsage(odd=True)),
        (
            {
                "candidatesTokenCount": 9,
                "candidatesTokensDetails": [
                    {"modality": "IMAGE", "tokenCount": 4},
                    {"modality": "IMAGE", "token_count": 1},
                    {"modality": 5},
                    5,
                ],
            },
            ReportedUsage(None, 9, image_output=5),
        ),
        (5, None),
    ],
)
def test_usage(told: Any, found: ReportedUsage | None) -> None:
    """Parts beside one another become totals with their parts."""
    reply = collect(decoded(frame({"text": "a"}, usageMetadata=told, candidate=STOP)))
    assert reply.usage == found


@pytest.mark.parametrize(
    ("model", "searches"), [("gemini-2.5-flash", 1), ("gemini-3.8-flash", 2)]
)
def test_searches_are_counted_as_they_are_charged(model: str, searches: int) -> None:
    """By query, or by answer."""
    grounding = {"groundingMetadata": {"webSearchQueries": ["a", "b"]}}
    data = frame(
        {"text": "x"},
        candidate={**STOP, **grounding},
        usageMetadata=usage(1, 1),
        modelVersion=model,
    )
    told = collect(decoded(data)).usage
    assert told is not None
    assert told.searches == searches


def test_a_prompt_that_is_blocked() -> None:
    """Is an error to others, and an answer to Google's own clients."""
    blocked = b'{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{}}'
    with pytest.raises(UpstreamRejected) as caught:
        CODEC.read_reply(blocked)
    fault = caught.value
    assert (fault.upstream_status, fault.upstream_code) == (400, "content_filter")
    passed = DIALECT.parse_reply(parsed(b'{"contents":{}}'), blocked, None)
    assert passed.body == blocked
    fine = frame({"text": "x"}, candidate=STOP, promptFeedback={"safetyRatings": []})
    assert CODEC.read_reply(fine).extras == {"promptFeedback": {"safetyRatings": []}}


@each(
    "data",
    [
        b"",
        b"x",
        b"5",
        b"[]",
        b"{}",
        b'{"candidates":5}',
        b'{"candidates":[5]}',
        b'{"candidates":[{"content":5}]}',
        b'{"candidates":[{"content":{"parts":"x"}}]}',
        b'{"candidates":[{"content":{"parts":[{"text":5}]}}]}',
        b'{"candidates":[{"index":-1}]}',
        b'{"candidates":[{"index":128}]}',
        b'{"modelVersion":"\xff"}',
    ],
)
def test_what_is_no_reply(data: bytes) -> None:
    """Is nothing that could be passed on."""
    with pytest.raises(UpstreamBadResponse):
        CODEC.read_reply(data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"error":{"code":503,"status":"UNAVAILABLE"}}',
        b'[{"error":{"code":503,"status":"UNAVAILABLE"}}]',
    ],
)
def test_an_error_in_a_stream(data: bytes) -> None:
    """In an event, or in none."""
    for raw, content in ((b"data: " + data, data), (data, b"")):
        with pytest.raises(UpstreamOverloaded):
            CODEC.decoder().feed(raw, content)
    assert CODEC.decoder().feed(b"{", b"") == [Beat()]


def test_half_a_pair_is_mended() -> None:
    """No encoder would take it."""
    data = frame({"text": "@"}, candidate=STOP).replace(b"@", b"\\ud83d")
    [part] = collect(decoded(data)).choices[0].parts
    assert part == Text("\ufffd")


def test_places_are_counted_in_characters() -> None:
    """As far as the text is kept."""
    ruler = Ruler()
    ruler.add("aé")
    ruler.add("b")
    assert [ruler.characters(count) for count in (0, 1, 3, 4)] == [0, 1, 2, 3]
    assert [ruler.bytes(count) for count in (0, 1, 2, 3)] == [0, 1, 3, 4]
    assert ruler.between(1, 2) == "é"
    ruler.add("x" * TEXT_KEPT)
    assert (ruler.characters(4), ruler.bytes(3), ruler.between(0, 1)) == (None,) * 3
    plain = Ruler()
    plain.add("x" * (TEXT_KEPT + 1))
    assert (plain.characters(9), plain.bytes(9)) == (9, 9)


def test_odd_citations_are_passed_over() -> None:
    """Nobody fails for them."""
    grounding = {
        "groundingChunks": [5, {"web": 5}, {"web": {"uri": "https://a.com"}}],
        "groundingSupports": [
            5,
            {"segment": {"endIndex": "x"}, "groundingChunkIndices": [0, 2, 9, "x"]},
        ],
    }
    citations = {"citations": [5, {"uri": 5, "startIndex": 1, "endIndex": 2}]}
    candidate = {
        **STOP,
        "groundingMetadata": grounding,
        "citationMetadata": citations,
    }
    [part] = (
        collect(decoded(frame({"text": "abc"}, candidate=candidate))).choices[0].parts
    )
    assert isinstance(part, Text)
    assert part.citations == (Citation("https://a.com"), Citation(start=1, end=2))
    without = {
        **STOP,
        "groundingMetadata": {"groundingChunks": grounding["groundingChunks"]},
    }
    [part] = (
        collect(decoded(frame({"text": "abc"}, candidate=without))).choices[0].parts
    )
    assert isinstance(part, Text)
    assert part.citations == (Citation("https://a.com"),)
