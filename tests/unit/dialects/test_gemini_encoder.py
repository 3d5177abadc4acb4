"""Streams, written for clients of Gemini's."""

from typing import Any

import msgspec
from tests.support.cases import each
from tests.unit.dialects.gemini_asked import ANOTHERS, IDENTITY, asked, usage

from posthouse.dialects.gemini_generate import CODEC
from posthouse.dialects.google.framing import (
    ARRAY_KEEP_ALIVE,
    KEEP_ALIVE,
    JSONArrayFraming,
)
from posthouse.dialects.neutral.codec import Identity
from posthouse.model.chat import (
    Audio,
    Citation,
    Finish,
    FinishReason,
    Image,
    Media,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from posthouse.model.chat_events import (
    AudioTold,
    Beat,
    ChatEvent,
    Finished,
    PartCited,
    PartEnded,
    PartGrew,
    PartSigned,
    PartStarted,
    Started,
    UsageTold,
)
from posthouse.model.usage import ReportedUsage
from posthouse.wire.sse import SSEDecoder


def frames_of(*events: ChatEvent, identity: Identity = IDENTITY) -> list[Any]:
    """What a client gets, frame by frame."""
    encoder = CODEC.encoder(asked(dialect="gemini_generate"), identity)
    wire = b"".join(map(encoder.feed, events)) + encoder.close()
    return [msgspec.json.decode(data) for _, data in SSEDecoder().feed(wire) if data]


def parts_of(*events: ChatEvent) -> list[Any]:
    """The parts of all frames but the last."""
    frames = frames_of(Started("anthropic_messages", "id", "m"), *events)
    return [
        part
        for told in frames[:-1]
        for candidate in told["candidates"]
        for part in candidate["content"]["parts"]
    ]


def test_every_frame_is_named() -> None:
    """By the public name, the reply's own id, or what we call it."""
    events = (Started("openai_chat", "r", "gpt"), PartStarted(0, 0, Text("a")))
    for told in frames_of(*events, Finished(0, Finish(FinishReason.STOP))):
        assert (told["modelVersion"], told["responseId"]) == ("gpt", "r")
    [told] = frames_of(identity=Identity("ours", 1, "public"))
    assert (told["modelVersion"], told["responseId"]) == ("public", "ours")


def test_a_thought_is_signed_at_its_end() -> None:
    """Sealed, so that it comes back to its own provider."""
    parts = parts_of(
        PartStarted(0, 0, Thinking("")),
        PartGrew(0, 0, "hm"),
        PartSigned(0, 0, ANOTHERS),
        PartEnded(0, 0),
        PartStarted(0, 1, Text("", signature=ANOTHERS)),
        PartEnded(0, 1),
        PartStarted(0, 2, Text("x")),
        PartSigned(0, 2, ANOTHERS),
        PartEnded(0, 2),
    )
    sealed = parts[1].pop("thoughtSignature")
    assert sealed == parts[2].pop("thoughtSignature")
    assert parts == [
        {"text": "hm", "thought": True},
        {"text": "", "thought": True},
        {"text": ""},
        {"text": "x"},
        {"text": "", "thoughtSignature": sealed},
    ]


@each(
    ("arguments", "args"),
    [
        ("", {}),
        ('{"a":\n1.10}', {"a": 1.1}),
        ("[1]", {"_raw": "[1]"}),
        ("{", {"_raw": "{"}),
    ],
)
def test_a_call_is_whole(arguments: str, args: Any) -> None:
    """Whatever its pieces were; what is no object is told as what it is."""
    [part] = parts_of(
        PartStarted(0, 0, ToolCall("c", "f", "")),
        *(PartGrew(0, 0, letter) for letter in arguments),
        PartSigned(0, 0, ANOTHERS),
        PartEnded(0, 0),
    )
    assert part["functionCall"] == {"id": "c", "name": "f", "args": args}
    assert part["thoughtSignature"]


def test_half_a_pair_is_written() -> None:
    """Its other half may follow."""
    encoder = CODEC.encoder(asked(), IDENTITY)
    encoder.feed(PartStarted(0, 0, Text("")))
    wire = encoder.feed(PartGrew(0, 0, "\ud83d"))
    assert b'{"text":"\\ud83d"}' in wire
    call = PartStarted(0, 1, ToolCall("c", "\ud83d", "{}"))
    encoder.feed(call)
    assert b'"name":"\\ud83d","args":{}' in encoder.feed(PartEnded(0, 1))


def test_custom_tools_take_an_object() -> None:
    """With their text in it."""
    [part] = parts_of(
        PartStarted(0, 0, ToolCall("c", "patch", "+a", custom=True)), PartEnded(0, 0)
    )
    assert part["functionCall"]["args"] == {"input": "+a"}


def test_sounds_are_whole_base64() -> None:
    """However their pieces were cut."""
    parts = parts_of(
        PartStarted(0, 0, Audio(Media(media_type="audio/wav"))),
        PartGrew(0, 0, "AAAAB"),
        AudioTold(0, 0, "hello"),
        PartGrew(0, 0, "BB"),
        PartGrew(0, 0, "BCC=="),
        PartEnded(0, 0),
    )
    assert [part["inlineData"]["data"] for part in parts] == ["AAAA", "BBBBCC=="]


def test_what_has_no_place_here_is_left_out() -> None:
    """Nothing fails for it, nor for what was never begun."""
    assert (
        parts_of(PartGrew(0, 7, "x"), PartEnded(0, 7), PartSigned(0, 7, ANOTHERS)) == []
    )
    assert parts_of(PartStarted(0, 0, ToolResult("a")), PartGrew(0, 0, "")) == []
    assert parts_of(PartStarted(0, 0, Audio(Media(), transcript="x"))) == []
    assert parts_of(PartStarted(0, 0, Refusal("no"))) == [{"text": "no"}]
    url = Image(Media(url="https://example.com/a.png"))
    assert parts_of(PartStarted(0, 0, url))[0]["fileData"]["mimeType"] == "image/png"


def test_what_an_answer_rests_on() -> None:
    """Is told at its end, in bytes."""
    told = frames_of(
        Started("openai_chat"),
        PartStarted(
            0, 0, Text("é", (Citation("https://a.com", "A", None, None, 0, 1),))
        ),
        PartGrew(0, 0, "x"),
        PartCited(0, 0, Citation("https://a.com", start=1, end=2)),
        PartCited(0, 0, Citation("https://b.com")),
        PartCited(0, 0, Citation(quote="q")),
        PartEnded(0, 0),
        Finished(0, Finish(FinishReason.STOP)),
    )
    grounding = told[-1]["candidates"][0]["groundingMetadata"]
    assert [chunk["web"]["uri"] for chunk in grounding["groundingChunks"]] == [
        "https://a.com",
        "https://b.com",
    ]
    assert [entry["segment"] for entry in grounding["groundingSupports"]] == [
        {"startIndex": 0, "endIndex": 2, "text": "é"},
        {"startIndex": 2, "endIndex": 3, "text": "x"},
    ]


def test_the_end_of_an_answer_that_was_cut_off() -> None:
    """Says why, to people and to programs."""
    why = {"posthouse": {"code": "insufficient_quota", "message": "No money."}}
    [told] = frames_of(
        Started("openai_chat"),
        Finished(0, Finish(FinishReason.LENGTH), why),
        UsageTold(ReportedUsage(5, 9, reasoning=4, image_input=2)),
    )
    [candidate] = told["candidates"]
    assert candidate["finishReason"] == "MAX_TOKENS"
    assert candidate["finishMessage"] == "No money."
    assert told["posthouse"]["code"] == "insufficient_quota"
    assert told["usageMetadata"] == {
        **usage(5, 5, thoughtsTokenCount=4),
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 3},
            {"modality": "IMAGE", "tokenCount": 2},
        ],
    }


def test_silence() -> None:
    """Is white space, in both framings; an empty array is one."""
    assert CODEC.encoder(asked(), IDENTITY).feed(Beat()) == KEEP_ALIVE
    framing = JSONArrayFraming()
    assert framing.feed(KEEP_ALIVE) == ARRAY_KEEP_ALIVE
    assert framing.feed(b"") == b""
    assert framing.close() == b"[]"
