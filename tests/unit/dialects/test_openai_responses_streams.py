"""Streams of Responses, written: the order of events, and what is held back."""

import json
from typing import Any

from tests.support.cases import each

from posthouse.dialects.neutral.codec import Identity
from posthouse.dialects.openai_responses import CODEC, DIALECT
from posthouse.model.chat import (
    Audio,
    ChatRequest,
    Citation,
    Finish,
    FinishReason,
    Foreign,
    Image,
    Media,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
)
from posthouse.model.chat_events import (
    AudioTold,
    Beat,
    ChatEvent,
    Ended,
    Finished,
    LogprobsTold,
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

IDENTITY = Identity("abc", 1_770_000_000, "public")
PATCH = {"type": "custom", "name": "apply_patch"}
WIKI = {
    "type": "namespace",
    "name": "mcp__wiki__",
    "description": "d",
    "tools": [{"type": "function", "name": "search", "parameters": {}}],
}
BEGUN = Started("openai_chat", "chatcmpl-1", "m", 1_770_000_001)
STOP = [Finished(0, Finish(FinishReason.STOP)), Ended()]


def asked(**members: Any) -> ChatRequest:
    body = {"model": "m", "input": "hi", **members}
    return CODEC.read_request(DIALECT.parse_request(json.dumps(body).encode()))


def frames(wire: bytes) -> list[dict[str, Any]]:
    return [json.loads(data) for _, data in SSEDecoder().feed(wire) if data]


def encode(events: list[ChatEvent], **members: Any) -> list[dict[str, Any]]:
    encoder = CODEC.encoder(asked(**members), IDENTITY)
    return frames(b"".join(map(encoder.feed, events)) + encoder.close())


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def output(events: list[ChatEvent], **members: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = encode(events, **members)[-1]["response"]["output"]
    return found


# --- writing --------------------------------------------------------------------------


def test_a_text_is_told_in_openais_order() -> None:
    """As its documentation shows it."""
    events = encode(
        [
            BEGUN,
            PartStarted(0, 0, Text("")),
            PartGrew(0, 0, "Hi"),
            PartGrew(0, 0, "!"),
            PartEnded(0, 0),
            UsageTold(ReportedUsage(3, 2)),
            *STOP,
        ]
    )
    assert kinds(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    place = {"item_id": "msg_abc_0", "output_index": 0, "content_index": 0}
    for event in events[3:8]:
        assert event.items() >= place.items()
    assert events[6]["text"] == "Hi!"
    response = events[-1]["response"]
    assert (response["id"], response["model"]) == ("resp_abc", "public")
    assert response["created_at"] == 1_770_000_001
    assert response["usage"]["total_tokens"] == 5


def test_nothing_ends_a_stream_before_it_is_closed() -> None:
    """The terminal frame waits for the money."""
    encoder = CODEC.encoder(asked(), IDENTITY)
    wire = b"".join(map(encoder.feed, [BEGUN, *STOP]))
    assert kinds(frames(wire)) == ["created", "in_progress"]
    assert kinds(frames(encoder.close())) == ["completed"]


def test_the_response_says_again_what_was_asked() -> None:
    """Each time it is told."""
    members = {
        "instructions": "Be brief.",
        "tools": [PATCH, WIKI],
        "tool_choice": {"type": "custom", "name": "apply_patch"},
        "temperature": 0.5,
        "max_output_tokens": 99,
        "store": False,
        "metadata": {"a": "b"},
        "previous_response_id": None,
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
        "truncation": "disabled",
        "prompt_cache_key": "k",
        "max_tool_calls": 2,
        "parallel_tool_calls": False,
    }
    for event in encode([BEGUN, *STOP], **members):
        assert event["response"].items() >= members.items()


def test_parts_that_overlap_are_told_one_after_the_other() -> None:
    """Of providers whose calls grow side by side."""
    events = encode(
        [
            BEGUN,
            PartStarted(0, 0, ToolCall("a", "f", "")),
            PartStarted(0, 1, ToolCall("b", "f", "")),
            PartGrew(0, 1, "{1}"),
            PartGrew(0, 0, "{0}"),
            PartEnded(0, 1),
            PartEnded(0, 0),
            Finished(0, Finish(FinishReason.TOOL_CALLS)),
            Ended(),
        ]
    )
    told = [
        (event["type"].split(".")[1], event.get("output_index")) for event in events
    ]
    assert told[2:-1] == [
        (kind, index)
        for index in (0, 1)
        for kind in (
            "output_item",
            "function_call_arguments",
            "function_call_arguments",
            "output_item",
        )
    ]


def test_a_call_is_told_under_both_its_names() -> None:
    """Codex finds a tool of a namespace under no other."""
    events: list[ChatEvent] = [
        BEGUN,
        PartStarted(0, 0, ToolCall("c", "mcp__wiki__search", "{}")),
        PartEnded(0, 0),
        *STOP,
    ]
    (item,) = output(events, tools=[WIKI])
    assert (item["namespace"], item["name"]) == ("mcp__wiki__", "search")


def test_a_call_of_the_plain_namespace_has_one_name() -> None:
    """Codex wraps its own tools in it on their way, and knows them without."""
    space = {**WIKI, "name": "functions"}
    events: list[ChatEvent] = [
        BEGUN,
        PartStarted(0, 0, ToolCall("c", "search", "{}")),
        PartEnded(0, 0),
        *STOP,
    ]
    (item,) = output(events, tools=[space])
    assert item["name"] == "search"
    assert "namespace" not in item


def test_a_custom_tool_that_was_called_as_a_function_is_told_as_what_it_is() -> None:
    """Once its text is whole; a provider without such tools has no other way."""
    events: list[ChatEvent] = [
        BEGUN,
        PartStarted(0, 0, ToolCall("c", "apply_patch", "")),
        PartGrew(0, 0, '{"inp'),
        PartGrew(0, 0, 'ut":"*** Begin\\n"}'),
        PartEnded(0, 0),
        *STOP,
    ]
    told = encode(events, tools=[PATCH])
    assert kinds(told)[2:-1] == [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
    ]
    assert told[3]["delta"] == told[4]["input"] == told[5]["item"]["input"]
    assert told[4]["input"] == "*** Begin\n"


def test_a_call_without_arguments_has_an_object_of_none() -> None:
    """Clients parse what they are given."""
    events: list[ChatEvent] = [
        BEGUN,
        PartStarted(0, 0, ToolCall("c", "f", "")),
        PartEnded(0, 0),
        *STOP,
    ]
    told = encode(events)
    assert [e["delta"] for e in told if "delta" in e] == ["{}"]
    assert told[-1]["response"]["output"][0]["arguments"] == "{}"


def test_a_signature_on_a_call_travels_before_it() -> None:
    """In an item that clients send back."""
    call = ToolCall("c", "f", "{}", signature=Signature("gemini_generate", "sig"))
    events: list[ChatEvent] = [BEGUN, PartStarted(0, 0, call), PartEnded(0, 0), *STOP]
    thought, made = output(events)
    assert thought["encrypted_content"] == "posthouse.gemini_generate.sig"
    assert made["type"] == "function_call"
    chat = asked(input=[thought, made])
    assert chat.messages[0].parts[0] == Thinking(
        signature=Signature("gemini_generate", "sig"), id=thought["id"]
    )


def test_thoughts_are_told_as_a_summary_and_come_back_to_the_letter() -> None:
    """With their signature, and withheld ones as such."""
    signed = Signature("anthropic_messages", "sig==")
    hidden = Thinking(signature=Signature("anthropic_messages", "x"), redacted=True)
    events: list[ChatEvent] = [
        BEGUN,
        PartStarted(0, 0, Thinking()),
        PartGrew(0, 0, "Hm "),
        PartGrew(0, 0, "..."),
        PartSigned(0, 0, signed),
        PartEnded(0, 0),
        PartStarted(0, 1, hidden),
        PartEnded(0, 1),
        *STOP,
    ]
    told = encode(events)
    assert kinds(told)[2:9] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    items = told[-1]["response"]["output"]
    back = asked(input=items).messages[0].parts
    assert [(p.text, p.signature, p.redacted) for p in back] == [  # type: ignore[union-attr]  # thoughts
        ("Hm ...", signed, False),
        ("", hidden.signature, True),
    ]


def test_words_that_follow_each_other_are_one_message() -> None:
    """Until something else is given."""
    events: list[ChatEvent] = [BEGUN]
    parts = [Text("a"), Text("b"), Thinking("hm"), Text("c")]
    for number, part in enumerate(parts):
        events += (PartStarted(0, number, part), PartEnded(0, number))
    items = output([*events, *STOP])
    assert [item["type"] for item in items] == ["message", "reasoning", "message"]
    assert [part["text"] for part in items[0]["content"]] == ["a", "b"]


def test_probabilities_are_told_with_their_words() -> None:
    """By the delta that follows them, and again at the end."""
    token = {"token": "H", "logprob": -1, "bytes": None, "top_logprobs": []}
    events: list[ChatEvent] = [
        BEGUN,
        LogprobsTold(0, (token,)),
        PartStarted(0, 0, Text("")),
        PartGrew(0, 0, "H"),
        LogprobsTold(0, (token,)),
        PartGrew(0, 0, "H"),
        PartEnded(0, 0),
        *STOP,
    ]
    told = encode(events)
    whole = {**token, "bytes": [72]}
    assert [e["logprobs"] for e in told if "delta" in e] == [[whole], [whole]]
    assert output(events)[0]["content"][0]["logprobs"] == [whole, whole]


def test_citations_without_a_place_are_of_the_text_so_far() -> None:
    """OpenAI's have one; what is no page on the web has no word here."""
    events: list[ChatEvent] = [
        BEGUN,
        PartStarted(0, 0, Text("News.")),
        PartCited(0, 0, Citation("https://example.com")),
        PartCited(0, 0, Citation(document=0, quote="x")),
        PartEnded(0, 0),
        *STOP,
    ]
    (annotation,) = output(events)[0]["content"][0]["annotations"]
    assert annotation == {
        "type": "url_citation",
        "start_index": 0,
        "end_index": 5,
        "url": "https://example.com",
        "title": "https://example.com",
    }


def test_of_sound_what_is_said_is_told() -> None:
    """Responses have no place for it."""
    events: list[ChatEvent] = [
        BEGUN,
        PartStarted(0, 0, Audio(Media(data="AA"))),
        PartGrew(0, 0, "AAAA"),
        AudioTold(0, 0, "Hello"),
        PartEnded(0, 0),
        *STOP,
    ]
    assert output(events)[0]["content"][0]["text"] == "Hello"


def test_pictures_are_items_or_links() -> None:
    """OpenAI's models make them as items of their own."""
    events: list[ChatEvent] = [BEGUN]
    signature = Signature("gemini_generate", "sig")
    jpeg = Media(data="AA==", media_type="image/jpeg")
    images = (
        Image(jpeg, signature=signature, extras={"x": 1}),
        Image(Media(url="https://example.com/a.png")),
    )
    for number, image in enumerate(images):
        events += (PartStarted(0, number, image), PartEnded(0, number))
    thought, made, said = output([*events, *STOP])
    assert thought["encrypted_content"] == "posthouse.gemini_generate.sig"
    assert made == {
        "id": "ig_abc_1",
        "type": "image_generation_call",
        "status": "completed",
        "result": "AA==",
        "output_format": "jpeg",
    }
    back = asked(input=[made]).messages[0].parts
    assert back == (Image(jpeg),)
    assert said["content"][0]["text"] == "![image](https://example.com/a.png)"


def test_items_of_other_dialects_have_no_place() -> None:
    """What their provider's own tools did is told by the answer."""
    part = Foreign("server_tool_use", {"type": "server_tool_use"}, harmless=True)
    events: list[ChatEvent] = [
        BEGUN,
        PartStarted(0, 0, part),
        PartGrew(0, 0, "{}"),
        PartSigned(0, 0, Signature("x", "y")),
        PartCited(0, 0, Citation("https://example.com")),
        PartEnded(0, 0),
        *STOP,
    ]
    assert output(events) == []


def test_a_whole_answer_has_its_probabilities_too() -> None:
    """Which are told after its parts have ended."""
    token = {"token": "a", "logprob": -1, "bytes": [97], "top_logprobs": []}
    told = LogprobsTold(0, (token,))
    for part, place in ((Text("a"), [token]), (Refusal("no"), None)):
        events: list[ChatEvent] = [BEGUN, PartStarted(0, 0, part), PartEnded(0, 0)]
        (item,) = output([*events, told, *STOP])
        assert item["content"][0].get("logprobs") == place


def test_a_second_beginning_is_none() -> None:
    """A response is created once."""
    assert kinds(encode([BEGUN, BEGUN, *STOP])) == [
        "created",
        "in_progress",
        "completed",
    ]


def test_a_provider_that_is_still_there_is_told_by_a_comment() -> None:
    """Which clients skip."""
    assert CODEC.encoder(asked(), IDENTITY).feed(Beat()) == b": keep-alive\n\n"


@each(
    ("reason", "status", "why"),
    [
        (FinishReason.STOP, "completed", None),
        (FinishReason.STOP_SEQUENCE, "completed", None),
        (FinishReason.TOOL_CALLS, "completed", None),
        (FinishReason.PAUSE, "completed", None),
        (FinishReason.LENGTH, "incomplete", "max_output_tokens"),
        (FinishReason.CONTEXT_LENGTH, "incomplete", "max_output_tokens"),
        (FinishReason.CONTENT_FILTER, "incomplete", "content_filter"),
        (FinishReason.REFUSAL, "incomplete", "content_filter"),
    ],
)
def test_an_end_is_told_by_the_state_of_the_response(
    reason: FinishReason, status: str, why: str | None
) -> None:
    """And by the last item's."""
    events: list[ChatEvent] = [
        BEGUN,
        PartStarted(0, 0, Text("a")),
        PartEnded(0, 0),
        Finished(0, Finish(reason)),
        Ended(),
    ]
    last = encode(events)[-1]
    assert last["type"] == f"response.{status}"
    details = last["response"]["incomplete_details"]
    assert details == (None if why is None else {"reason": why})
    assert last["response"]["output"][0]["status"] == status


def test_an_answer_that_is_cut_off_says_why() -> None:
    """As the relay ends one whose money is spent."""
    encoder = CODEC.encoder(asked(), IDENTITY)
    told = {"posthouse": {"code": "insufficient_quota", "message": "No more."}}
    for event in (BEGUN, PartStarted(0, 0, Text("a")), PartEnded(0, 0)):
        encoder.feed(event)
    encoder.feed(Finished(0, Finish(FinishReason.LENGTH), told))
    (last,) = frames(encoder.close())
    assert last["type"] == "response.incomplete"
    assert last["response"].items() >= told.items()


def test_half_a_character_does_not_break_a_stream() -> None:
    """What a sloppy provider wrote becomes a sign that something is missing."""
    events: list[ChatEvent] = [
        BEGUN,
        PartStarted(0, 0, Text("")),
        PartGrew(0, 0, "\ud83d"),
        PartGrew(0, 0, "\ude00"),
        PartEnded(0, 0),
        *STOP,
    ]
    told = encode(events)
    assert [e["delta"] for e in told if "delta" in e] == ["\ufffd", "\ufffd"]
    assert told[-1]["response"]["output"][0]["content"][0]["text"] == "😀"
