"""What callers of other dialects ask, as Gemini's providers are asked."""

import base64
from typing import Any

import pytest
from tests.support.cases import each
from tests.unit.dialects.gemini_asked import NEWEST, asked, written

from posthouse.dialects.gemini_generate.signatures import STAND_IN
from posthouse.errors import InvalidRequest
from posthouse.model.chat import (
    Audio,
    CacheMark,
    Document,
    Foreign,
    FunctionTool,
    Image,
    Media,
    Message,
    Part,
    Refusal,
    Role,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Video,
)
from posthouse.model.traits import Traits

PNG = "iVBORw0KGgoAAAANSUhEUg=="
OWN = Signature("gemini_generate", "U2ln")
ANOTHERS = Signature("anthropic_messages", "EqQB")
TOOL = FunctionTool("look", parameters={"type": "object", "properties": {"a": {}}})
PRO_25 = Traits(model="gemini-2.5-pro")
FLASH_25 = Traits(model="gemini-2.5-flash")


def conversation(*said: Part, results: tuple[Part, ...] = ()) -> tuple[Message, ...]:
    messages = [Message(Role.USER, (Text("go"),)), Message(Role.ASSISTANT, said)]
    if results:
        messages.append(Message(Role.TOOL, results))
    return tuple(messages)


def contents_of(*said: Part, results: tuple[Part, ...] = (), **more: Any) -> list[Any]:
    chat = asked(messages=conversation(*said, results=results), **more)
    return written(chat)[0]["contents"]


def refused(chat: Any, traits: Traits = NEWEST) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        written(chat, traits)
    return caught.value


# --- messages -----------------------------------------------------------------------


def test_the_system_speaks_first() -> None:
    """Later it is the user who says it, and the caller is told."""
    messages = (
        Message(Role.SYSTEM, (Text("a"),)),
        Message(Role.DEVELOPER, (Text("b"),), name="d"),
        Message(Role.USER, (Text("hi"), Text(""))),
        Message(Role.SYSTEM, (Text("c"),)),
    )
    body, losses = written(asked(messages=messages))
    assert body["systemInstruction"] == {"parts": [{"text": "a"}, {"text": "b"}]}
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "hi"}]},
        {"role": "user", "parts": [{"text": "c"}]},
    ]
    assert losses == ("-messages.name", "~messages.role")


def test_somebody_must_speak() -> None:
    """If only the system does, the user says it; if nobody does, it is refused."""
    chat = asked(messages=(Message(Role.SYSTEM, (Text("a"),)),))
    body, losses = written(chat)
    assert body == {"contents": [{"role": "user", "parts": [{"text": "a"}]}]}
    assert losses == ("~messages.role",)
    refused(asked(Text("")))
    refused(asked(messages=(Message(Role.SYSTEM, (Image(Media(data=PNG)),)),)))


def test_models_that_take_no_system_prompt() -> None:
    """Hear it from the user, before anything else."""
    gemma = Traits(model="gemma-3-27b-it", system=False)
    system = Message(Role.SYSTEM, (Text("a"),))
    body, losses = written(
        asked(messages=(system, Message(Role.USER, (Text("hi"),)))), gemma
    )
    assert body == {
        "contents": [{"role": "user", "parts": [{"text": "a"}, {"text": "hi"}]}]
    }
    assert losses == ("~messages.role",)
    body, _ = written(
        asked(messages=(system, Message(Role.ASSISTANT, (Text("x"),)))), gemma
    )
    assert [content["role"] for content in body["contents"]] == ["user", "model"]


def test_media_are_told_what_they_are() -> None:
    """By what is declared, by how they begin, or by what is usual."""
    body, losses = written(
        asked(
            Image(Media(data=PNG), detail="low", cache=CacheMark()),
            Image(Media(data="AAAA")),
            Image(Media(data="UklGRiQAAABXRUJQVlA4")),
            Audio(Media(data="UklGRiQAAABXQVZFZm10")),
            Video(Media(url="https://youtu.be/x", media_type="video/*")),
            Document(Media(text="héllo"), title="t", context="c", citations=True),
            Document(Media(url="https://example.com/a.pdf?x=1#y")),
        )
    )
    parts = body["contents"][0]["parts"]
    kinds = [part["inlineData"]["mimeType"] for part in parts if "inlineData" in part]
    assert kinds == ["image/png", "image/png", "image/webp", "audio/wav", "text/plain"]
    assert parts[4] == {"fileData": {"fileUri": "https://youtu.be/x"}}
    assert parts[5] == {"text": "c"}
    assert base64.b64decode(parts[6]["inlineData"]["data"]).decode() == "héllo"
    assert parts[7]["fileData"]["mimeType"] == "application/pdf"
    assert losses == (
        "-cache_control",
        "-messages.content.detail",
        "-citations",
        "-document.title",
        "~document.context",
    )


@each(
    "part",
    [
        Image(Media(file_id="file-1")),
        Image(Media()),
        Audio(Media(), id="audio_1"),
        Foreign("hologram", {}),
        Image(Media(url="https://example.com/a.png")),
    ],
)
def test_what_cannot_be_shown_is_refused(part: Part) -> None:
    """Nothing of a prompt is left out in silence."""
    refused(asked(part), Traits(model="gemini-3", image_urls=False))


def test_a_sound_that_only_its_provider_has_is_told_in_words() -> None:
    """Its transcript stands for it."""
    said = Audio(Media(), id="audio_1", transcript="hello")
    body, losses = written(asked(messages=conversation(said)))
    assert body["contents"][1]["parts"] == [{"text": "hello"}]
    assert losses == ("~messages.content.audio",)


def test_what_is_only_history_is_left_out() -> None:
    """Refusals are words; thoughts of others are of no use here."""
    body, losses = written(
        asked(
            messages=conversation(
                Refusal("no"),
                Foreign("web_search_call", {}, harmless=True),
                Thinking("hm", ANOTHERS),
                Thinking("hm"),
                Text("x", signature=ANOTHERS),
            )
        )
    )
    assert body["contents"][1]["parts"] == [{"text": "no"}, {"text": "x"}]
    assert losses == (
        "~messages.content.refusal",
        "-messages.content.web_search_call",
        "-thinking",
        "-signature",
    )


# --- calls and results --------------------------------------------------------------


def test_results_follow_their_calls() -> None:
    """In one content, in the order of the calls, under the names of the tools."""
    calls = (ToolCall("a", "f", '{"x":1.10}'), ToolCall("b", "g", ""))
    results = (
        ToolResult("b", (Text("[1]"),)),
        ToolResult("a", (Text("boom"),), is_error=True),
    )
    contents = contents_of(*calls, results=results)
    assert [part["functionCall"]["args"] for part in contents[1]["parts"]] == [
        {"x": 1.1},
        {},
    ]
    assert contents[2] == {
        "role": "user",
        "parts": [
            {
                "functionResponse": {
                    "id": "a",
                    "name": "f",
                    "response": {"error": "boom"},
                }
            },
            {
                "functionResponse": {
                    "id": "b",
                    "name": "g",
                    "response": {"result": [1]},
                }
            },
        ],
    }


def test_ids_that_were_made_here_stay_here() -> None:
    """Google never gave them."""
    call = ToolCall("call_gemini_r1_0", "f", "{}")
    contents = contents_of(call, results=(ToolResult("call_gemini_r1_0", ()),))
    assert "id" not in contents[1]["parts"][0]["functionCall"]
    assert contents[2]["parts"][0]["functionResponse"] == {"name": "f", "response": {}}


@each(
    ("texts", "response"),
    [
        (("sunny",), {"content": "sunny"}),
        (("a", "b"), {"content": "a\nb"}),
        (('{"a": 1}',), {"a": 1}),
        (('{"a": ',), {"content": '{"a": '}),
        (("5",), {"content": "5"}),
        ((), {}),
    ],
)
def test_results_are_objects(texts: tuple[str, ...], response: Any) -> None:
    """What is none stands under a name."""
    content = tuple(map(Text, texts))
    contents = contents_of(
        ToolCall("a", "f", "{}"), results=(ToolResult("a", content),)
    )
    assert contents[2]["parts"][0]["functionResponse"]["response"] == response


def test_pictures_in_results() -> None:
    """Stand in them from the third generation on, and beside them before it."""
    chat = asked(
        messages=conversation(
            ToolCall("a", "f", "{}"),
            results=(ToolResult("a", (Image(Media(data=PNG)),)),),
        )
    )
    picture = {"inlineData": {"mimeType": "image/png", "data": PNG}}
    body, losses = written(chat)
    inner = body["contents"][2]["parts"][0]["functionResponse"]
    assert (inner["parts"], losses) == ([picture], ())
    body, losses = written(chat, FLASH_25)
    assert body["contents"][2]["parts"][1] == picture
    assert losses == ("~tool_result.content",)


def test_calls_that_make_no_sense_are_refused() -> None:
    """Arguments that are no object, results that nobody asked for."""
    for arguments in ("[1]", "{", '"x"', "\ud800"):
        refused(asked(messages=conversation(ToolCall("a", "f", arguments))))
    refused(asked(messages=conversation(Text("x"), results=(ToolResult("z", ()),))))
    named = ToolResult("z", (), name="f")
    assert contents_of(Text("x"), results=(named,))[2]


def test_signatures_go_back_to_their_parts() -> None:
    """Whether they had a place of their own or came as an empty thought."""
    carried = Thinking("", OWN)
    contents = contents_of(carried, ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}"))
    first, second = contents[1]["parts"]
    assert first["thoughtSignature"] == "U2ln"
    assert "thoughtSignature" not in second
    text, alone = contents_of(carried, Text("x"), carried)[1]["parts"]
    assert text == {"text": "x", "thoughtSignature": "U2ln"}
    assert alone == {"text": "", "thoughtSignature": "U2ln"}
    assert contents_of(Thinking("hm", OWN))[1]["parts"] == [
        {"text": "hm", "thought": True, "thoughtSignature": "U2ln"}
    ]
    signed = ToolCall("a", "f", "{}", signature=OWN)
    both = contents_of(carried, signed)[1]["parts"]
    assert both[0] == {"text": "", "thoughtSignature": "U2ln"}


def test_what_was_lost_is_stood_in_for() -> None:
    """For the first call of a step of the turn that is open, where it must be."""
    step = ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}", signature=ANOTHERS)
    results = tuple(ToolResult(name, ()) for name in "ab")
    open_turn = asked(messages=conversation(*step, results=results))
    body, losses = written(open_turn)
    first, second = body["contents"][1]["parts"]
    assert first["thoughtSignature"] == STAND_IN
    assert "thoughtSignature" not in second
    assert losses == ("-signature",)
    over = (*open_turn.messages, Message(Role.USER, (Text("more"),)))
    for chat, traits in ((asked(messages=over), NEWEST), (open_turn, FLASH_25)):
        part = written(chat, traits)[0]["contents"][1]["parts"][0]
        assert "thoughtSignature" not in part
