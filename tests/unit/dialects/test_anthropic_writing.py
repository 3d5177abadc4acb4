"""Requests of other dialects, written for a provider of Anthropic's."""

from msgspec import structs
from tests.support.cases import each
from tests.unit.dialects.anthropic_asked import (
    FUNCTION,
    HI,
    asked,
    content_of,
    refused,
    written,
)

from posthouse.dialects.anthropic_messages import CODEC
from posthouse.dialects.neutral.codec import Losses
from posthouse.model.chat import (
    Audio,
    CacheMark,
    Citation,
    Document,
    Foreign,
    Image,
    Media,
    Message,
    Part,
    Reasoning,
    Role,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Video,
)
from posthouse.model.traits import Replay, ThinkingStyle, Traits
from posthouse.wire import json


def test_the_least_request() -> None:
    """The target's name of the model, and the limit that must be there."""
    body, told = written(asked())
    assert body == {
        "model": "claude-x",
        "max_tokens": 8192,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    assert told == ()


# --- turns --------------------------------------------------------------------------


def test_system_messages_at_the_head_are_the_system_prompt() -> None:
    """Of both roles; later ones join them, which is told."""
    chat = asked(
        Message(Role.SYSTEM, (Text("One."),)),
        Message(Role.DEVELOPER, (Text("Two.", cache=CacheMark("1h")),)),
        HI,
        Message(Role.SYSTEM, (Text("Three."),)),
    )
    body, told = written(chat)
    assert [block["text"] for block in body["system"]] == ["One.", "Two.", "Three."]
    assert body["system"][1]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert told == ("~messages.role",)


def test_results_come_first_in_one_turn_with_what_the_user_says() -> None:
    """All results of the turn before, then the rest."""
    chat = asked(
        HI,
        Message(Role.ASSISTANT, (ToolCall("a", "f", "{}"), ToolCall("b", "g", ""))),
        Message(Role.TOOL, (ToolResult("a", (Text("1"),)),)),
        Message(Role.TOOL, (ToolResult("b", (Text("2"),), is_error=True),)),
        Message(Role.USER, (Text("Go on."),)),
    )
    body, _ = written(chat)
    roles = [turn["role"] for turn in body["messages"]]
    assert roles == ["user", "assistant", "user"]
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": "1"},
        {"type": "tool_result", "tool_use_id": "b", "content": "2", "is_error": True},
        {"type": "text", "text": "Go on."},
    ]


def test_a_conversation_begins_with_the_user() -> None:
    """What others let the model begin gets a turn before it."""
    body, told = written(asked(Message(Role.ASSISTANT, (Text("Hello"),)), HI))
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert told == ("~messages",)


def test_empty_texts_and_turns_are_left_out() -> None:
    """The API refuses them."""
    empty = Message(Role.ASSISTANT, (Text(""), Text("")))
    body, _ = written(asked(HI, empty, HI))
    assert [turn["role"] for turn in body["messages"]] == ["user", "user"]


def test_names_of_speakers_have_no_place() -> None:
    """They are told, and so are members of another dialect."""
    chat = asked(structs.replace(HI, name="Ann", extras={"mood": 1}))
    assert written(chat)[1] == ("-messages.name", "-messages.mood")


# --- parts --------------------------------------------------------------------------


def test_pictures_by_url_and_whole() -> None:
    """Their detail has no counterpart."""
    picture = Image(Media(data="QQ==", media_type="image/png"), detail="low")
    assert content_of(picture, Image(Media(url="https://e.com/a.png"))) == [
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "QQ=="},
        },
        {"type": "image", "source": {"type": "url", "url": "https://e.com/a.png"}},
    ]
    chat = asked(Message(Role.USER, (picture,)))
    assert written(chat)[1] == ("-messages.content.detail",)


def test_documents_are_pdf_or_text() -> None:
    """Text that came as base64 goes as text."""
    pdf = Document(Media(data="JVBERi0="), title="a.pdf", citations=True)
    text = Document(Media(data="Z3LDvG4=", media_type="text/markdown; charset=utf-8"))
    found = content_of(pdf, text, Document(Media(text="plain"), context="c"))
    assert found[0] == {
        "type": "document",
        "source": {
            "type": "base64",
            "media_type": "application/pdf",
            "data": "JVBERi0=",
        },
        "title": "a.pdf",
        "citations": {"enabled": True},
    }
    plain = {"type": "text", "media_type": "text/plain", "data": "grün"}
    assert found[1]["source"] == plain
    assert found[2] == {
        "type": "document",
        "source": plain | {"data": "plain"},
        "context": "c",
    }


@each(
    "part",
    [
        Document(Media(data="QQ==", media_type="application/msword")),
        Document(Media(data="/w==", media_type="text/plain")),
        Document(Media(data="A", media_type="text/plain")),
        Document(Media(file_id="file-1")),
        Image(Media(text="x")),
        Audio(Media(data="QQ==")),
        Video(Media(url="https://e.com/a.mp4")),
        Foreign("hologram", {}),
    ],
)
def test_what_the_model_cannot_take_in_is_refused(part: Part) -> None:
    """It was to see it."""
    assert str(refused(asked(Message(Role.USER, (part,))))).startswith("messages")


def test_history_that_has_no_block_is_left_out() -> None:
    """What a model said in sounds and pictures, and what others ran for it."""
    parts = (
        Text("a", citations=(Citation(url="u"),), signature=Signature("x", "y")),
        Image(Media(url="https://e.com/a.png")),
        Audio(Media(data="QQ=="), transcript="spoken"),
        Foreign("web_search_call", {}, harmless=True),
    )
    body, told = written(asked(HI, Message(Role.ASSISTANT, parts), HI))
    texts = [block["text"] for block in body["messages"][1]["content"]]
    assert texts == ["a", "spoken"]
    assert told == (
        "-signature",
        "-citations",
        "-messages.content.image",
        "~messages.content.audio",
        "-messages.content.web_search_call",
    )


def test_arguments_go_to_the_letter() -> None:
    """As JSON, whatever its numbers; nothing at all is an empty object."""
    chat = asked(
        HI,
        Message(
            Role.ASSISTANT,
            (
                ToolCall("a", "f", '{"n":1.10, "big":18446744073709551617}'),
                ToolCall("b", "f", " "),
                ToolCall("c", "t", "free text", custom=True),
            ),
        ),
    )
    body = json.encode(CODEC.write_request(chat, Traits(), Losses()))
    assert b'"input":{"n":1.10, "big":18446744073709551617}' in body
    assert b'"id":"b","name":"f","input":{}' in body
    assert b'"input":{"input":"free text"}' in body


@each("arguments", ["{", "[1]", '"a"', "null"])
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    """Silently dropping them would change the conversation."""
    call = ToolCall("a", "f", arguments)
    chat = asked(HI, Message(Role.ASSISTANT, (call,)))
    assert refused(chat) == "tool_calls.arguments"


def test_ids_are_such_as_the_api_takes() -> None:
    """Calls and their results stay together; those without an id get one."""
    chat = asked(
        HI,
        Message(
            Role.ASSISTANT,
            (
                ToolCall("functions.f:0", "f", "{}"),
                ToolCall("", "g", "{}", legacy=True),
            ),
        ),
        Message(
            Role.TOOL,
            (
                ToolResult("functions.f:0", (Text("1"),)),
                ToolResult("", (Text("2"),), name="g", legacy=True),
            ),
        ),
    )
    body, _ = written(chat)
    calls, results = (turn["content"] for turn in body["messages"][1:])
    assert [call["id"] for call in calls] == ["functions_f_0", "toolu_1"]
    found = [result["tool_use_id"] for result in results]
    assert found == ["functions_f_0", "toolu_1"]


# --- thoughts -----------------------------------------------------------------------


def test_only_anthropic_s_own_signatures_go_back() -> None:
    """Other thoughts are left out, which is told."""
    own = Signature("anthropic_messages", "Eq==")
    parts = (
        Thinking("a", signature=own),
        Thinking(signature=own, redacted=True),
        Thinking("b"),
        Thinking("c", signature=Signature("gemini_generate", "x")),
        Text("d"),
    )
    body, told = written(asked(HI, Message(Role.ASSISTANT, parts), HI))
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "a", "signature": "Eq=="},
        {"type": "redacted_thinking", "data": "Eq=="},
        {"type": "text", "text": "d"},
    ]
    assert told == ("-thinking",)


@each(
    ("replay", "kept"),
    [(Replay.NEVER, []), (Replay.TOOLS, ["new"]), (Replay.ALWAYS, ["old", "new"])],
)
def test_thoughts_without_a_signature_go_back_where_they_are_wanted(
    replay: Replay, kept: list[str]
) -> None:
    """To providers who speak the dialect and sign nothing."""
    chat = asked(
        HI,
        Message(Role.ASSISTANT, (Thinking("old"), Text("x"))),
        HI,
        Message(Role.ASSISTANT, (Thinking("new"), ToolCall("a", "f", "{}"))),
        Message(Role.TOOL, (ToolResult("a"),)),
    )
    body, _ = written(chat, Traits(replay=replay))
    found = [
        block["thinking"]
        for turn in body["messages"]
        if isinstance(turn["content"], list)
        for block in turn["content"]
        if block["type"] == "thinking"
    ]
    assert found == kept


# --- thoughts between calls ---------------------------------------------------------


SAID = Message(Role.ASSISTANT, (Text("Both."),))
THOUGHT = Thinking("So.", signature=Signature("anthropic_messages", "Eq=="))


def loop(*first: Part) -> tuple[Message, ...]:
    """A call that these parts led to, its result, and one more call with its result."""
    calls = [ToolCall(name, "f", "{}") for name in ("a", "b")]
    return (
        HI,
        Message(Role.ASSISTANT, (*first, calls[0])),
        Message(Role.TOOL, (ToolResult("a", (Text("1"),)),)),
        Message(Role.ASSISTANT, (calls[1],)),
        Message(Role.TOOL, (ToolResult("b", (Text("2"),)),)),
    )


@each(
    ("messages", "style", "thinks"),
    [
        (loop(), ThinkingStyle.BUDGET, False),
        (loop(Thinking("Whose?")), ThinkingStyle.BUDGET, False),
        (loop(THOUGHT), ThinkingStyle.BUDGET, True),
        ((*loop(), SAID, HI), ThinkingStyle.BUDGET, True),
        (loop(), ThinkingStyle.NATIVE, True),
    ],
    ids=["none", "nobody's", "thought", "asked anew", "decides itself"],
)
def test_a_chain_of_calls_without_thoughts_goes_on_without(
    messages: tuple[Message, ...], style: ThinkingStyle, *, thinks: bool
) -> None:
    """Whoever keeps no thoughts would be refused with the results of his tools."""
    chat = asked(*messages, tools=(FUNCTION,), reasoning=Reasoning(effort="high"))
    traits = Traits(model="claude-x", thinking=style, max_output=64_000)
    body, told = written(chat, traits)
    assert ("thinking" in body) == thinks
    assert ("-reasoning" in told) != thinks
