"""What callers of Google's own dialect ask, in the neutral form."""

import base64
from typing import Any

import pytest
from tests.support.cases import each
from tests.unit.dialects.gemini_asked import asked, body_of, parsed, read, written

from posthouse.dialects.gemini_generate import CODEC
from posthouse.errors import InvalidRequest
from posthouse.model.chat import (
    Audio,
    AudioOutput,
    ChatRequest,
    Document,
    Foreign,
    Image,
    Media,
    Message,
    OutputKind,
    Part,
    Reasoning,
    Role,
    ServerTool,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolResult,
    ToolUse,
    Video,
)

SEALED = base64.b64encode(b"posthouse.anthropic_messages.EqQB").decode()


def said(*parts: Any, role: str = "user") -> tuple[Part, ...]:
    """The parts of the only message."""
    [message] = read(contents=[{"role": role, "parts": list(parts)}]).messages
    return message.parts


def call(name: str, **members: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, **members}}


def result(name: str, **members: Any) -> dict[str, Any]:
    return {"functionResponse": {"name": name, "response": {"ok": 1}, **members}}


def ids_of(chat: ChatRequest) -> list[tuple[str, str]]:
    """Calls and results in order, by what they are and go by."""
    return [
        ("call", part.id) if isinstance(part, ToolCall) else ("result", part.call_id)
        for message in chat.messages
        for part in message.parts
        if isinstance(part, ToolCall | ToolResult)
    ]


# --- parts --------------------------------------------------------------------------


@each(
    ("part", "found"),
    [
        ({"text": "x"}, Text("x")),
        ({"text": "x", "thought": True}, Thinking("x")),
        ({"text": "x", "thought": None}, Text("x")),
        (
            {"inline_data": {"mime_type": "image/png", "data": "AA"}},
            Image(Media(data="AA", media_type="image/png")),
        ),
        (
            {"inlineData": {"mimeType": "AUDIO/wav", "data": "AA"}},
            Audio(Media(data="AA", media_type="AUDIO/wav")),
        ),
        (
            {"inlineData": {"data": "AA", "displayName": "a.txt"}},
            Document(Media(data="AA"), title="a.txt"),
        ),
        (
            {"inlineData": {"mimeType": "image/png", "data": "AA", "displayName": "a"}},
            Image(
                Media(data="AA", media_type="image/png"), extras={"displayName": "a"}
            ),
        ),
        (
            {"fileData": {"fileUri": "https://example.com/a.webp"}},
            Image(Media(url="https://example.com/a.webp")),
        ),
        (
            {"fileData": {"fileUri": "https://youtu.be/x"}},
            Video(Media(url="https://youtu.be/x", media_type="video/*")),
        ),
        (
            {"fileData": {"fileUri": "gs://b/a.pdf", "mimeType": "application/pdf"}},
            Document(Media(file_id="gs://b/a.pdf", media_type="application/pdf")),
        ),
        (
            {"fileData": {"fileUri": "https://[", "novel": 1}},
            Document(Media(url="https://["), extras={"fileData": {"novel": 1}}),
        ),
        ({"novelPart": {"a": 1}}, Foreign("novelPart", {"novelPart": {"a": 1}})),
        (
            {"executableCode": {"code": "1"}, "thoughtSignature": "U2ln"},
            Foreign(
                "executableCode",
                {"executableCode": {"code": "1"}, "thoughtSignature": "U2ln"},
                harmless=True,
            ),
        ),
        (
            {"thoughtSignature": "U2ln"},
            Text("", signature=Signature("gemini_generate", "U2ln")),
        ),
        (
            {"text": "x", "thought": True, "thoughtSignature": SEALED},
            Thinking("x", Signature("anthropic_messages", "EqQB")),
        ),
        (
            {"text": "x", "thoughtSignature": "cG9zdGhvdXNl!"},
            Text("x", signature=Signature("gemini_generate", "cG9zdGhvdXNl!")),
        ),
    ],
)
def test_a_part(part: dict[str, Any], found: Part) -> None:
    """What is known of it, and what is kept beside."""
    assert said(part) == (found,)


@each("value", ["EqQB", "??>>~~", "é" * 9, "a", "ab"])
def test_a_seal_comes_back_as_the_sdk_writes_bytes(value: str) -> None:
    """In either alphabet of base64, with or without its last signs."""
    sealed = f"posthouse.anthropic_messages+redacted+id=rs_1.{value}".encode()
    whole = base64.urlsafe_b64encode(sealed).decode()
    for written_ in (whole, whole.rstrip("="), base64.b64encode(sealed).decode()):
        [part] = said({"text": "", "thought": True, "thoughtSignature": written_})
        own = Signature("anthropic_messages", value)
        assert part == Thinking("", own, redacted=True, id="rs_1")


def test_an_empty_part_is_none() -> None:
    """And a content without parts says nothing."""
    assert said({}, {"text": "x"}) == (Text("x"),)
    [message] = read(contents=[{"role": "user"}]).messages
    assert message == Message(Role.USER, ())


@each(
    "part",
    [
        5,
        {"text": 5},
        {"thought": "yes", "text": "x"},
        {"inlineData": {"mimeType": "image/png"}},
        {"inlineData": {"data": "A"}, "inline_data": {"data": "B"}},
        {"inlineData": "AA"},
        {"fileData": {}},
        {"thoughtSignature": 5},
    ],
)
def test_a_part_that_cannot_be_is_refused(part: Any) -> None:
    """With its place."""
    with pytest.raises(InvalidRequest) as caught:
        said(part)
    assert caught.value.param is not None
    assert caught.value.param.startswith("contents")


@each(
    "contents",
    [
        [{"role": "system", "parts": []}],
        [{"role": 5, "parts": []}],
        [{"role": "model", "parts": [{"functionCall": 5}]}],
        [{"role": "model", "parts": [call("f", args=[1])]}],
        [{"role": "user", "parts": [{"functionResponse": {"response": "x"}}]}],
        [{"role": "user", "parts": [{**result("f"), "novel": 1}]}],
    ],
)
def test_a_turn_that_cannot_be_is_refused(contents: Any) -> None:
    """Roles, calls and results."""
    with pytest.raises(InvalidRequest):
        read(contents=contents)


# --- turns --------------------------------------------------------------------------


def test_arguments_are_kept_to_the_letter() -> None:
    """Numbers as they were written, without the space between."""
    body = (
        b'{"contents":[{"role":"user","parts":{"text":"hi"}},{"role":"model","parts":'
        b'{"function_call":{"name":"f","args": { "x" : 1.10, "y":[1e5 ] }}}}]}'
    )
    [part] = CODEC.read_request(parsed(body)).messages[1].parts
    assert isinstance(part, ToolCall)
    assert part.arguments == '{"x":1.10,"y":[1e5]}'


def test_results_find_their_calls() -> None:
    """By id; without one by name, the oldest call first."""
    chat = read(
        contents=[
            {"role": "model", "parts": [call("f"), call("g"), call("f", id="own")]},
            {"role": "function", "parts": [result("f"), result("g"), result("f")]},
            {"role": "model", "parts": [call("f"), call("f")]},
            {"parts": [result("f", id="unknown"), result("f"), result("ghost")]},
        ]
    )
    assert ids_of(chat) == [
        ("call", "call_gemini_0"),
        ("call", "call_gemini_1"),
        ("call", "own"),
        ("result", "call_gemini_0"),
        ("result", "call_gemini_1"),
        ("result", "own"),
        ("call", "call_gemini_3"),
        ("call", "call_gemini_4"),
        ("result", "call_gemini_3"),
        ("result", "call_gemini_4"),
        ("result", "call_gemini_5"),
    ]


def test_results_go_first() -> None:
    """What the user says beside them follows."""
    chat = read(
        contents=[
            {"role": "model", "parts": [call("f", id="a")]},
            {"role": "user", "parts": [{"text": "x"}, result("f", id="a")]},
        ]
    )
    assert [message.role for message in chat.messages] == [
        Role.ASSISTANT,
        Role.TOOL,
        Role.USER,
    ]


@each(
    ("response", "text", "failed"),
    [
        ({"content": "sunny"}, "sunny", None),
        ({"content": '{"a":1}'}, '{"content":"{\\"a\\":1}"}', None),
        ({"content": 5}, '{"content":5}', None),
        ({"result": [1]}, "[1]", None),
        ({"result": "x"}, '{"result":"x"}', None),
        ({"error": "boom"}, "boom", True),
        ({"error": {"code": 1}}, '{"code":1}', True),
        ({"error": None}, '{"error":null}', None),
        ({"output": "x"}, '{"output":"x"}', None),
        ({"a": 1, "b": 2}, '{"a":1,"b":2}', None),
    ],
)
def test_what_a_tool_returned(response: Any, text: str, failed: bool | None) -> None:
    """And back, to the same object."""
    contents = [
        {"role": "model", "parts": [call("f", id="a")]},
        {"role": "user", "parts": [result("f", id="a", response=response)]},
    ]
    chat = read(contents=contents)
    [part] = chat.messages[1].parts
    assert part == ToolResult("a", (Text(text),), name="f", is_error=failed)
    body, _ = written(chat)
    again = body["contents"][1]["parts"][0]["functionResponse"]["response"]
    assert again == response


def test_pieces_are_put_together() -> None:
    """A turn of the model's may come in many contents, as its stream did."""
    pieces = [
        {"text": "Let ", "thought": True},
        {"text": "me.", "thought": True},
        {"text": "", "thought": True, "thoughtSignature": SEALED},
        {"text": "Be"},
        {"text": "cause"},
        {"text": "", "thoughtSignature": "U2ln"},
        {"text": ""},
        {"text": "More."},
    ]
    contents = [{"role": "model", "parts": [piece]} for piece in pieces]
    [message] = read(contents=contents).messages
    assert message.parts == (
        Thinking("Let me.", Signature("anthropic_messages", "EqQB")),
        Text("Because", signature=Signature("gemini_generate", "U2ln")),
        Text("More."),
    )


def test_what_must_not_be_lost_is_refused_elsewhere() -> None:
    """A prompt that Google keeps; an answer of one word."""
    config = {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING"}}
    chat = read(cachedContent="cachedContents/a", generationConfig=config)
    first = chat.messages[0]
    assert first.role is Role.SYSTEM
    assert [part.kind for part in first.parts if isinstance(part, Foreign)] == [
        "cachedContent",
        "generationConfig.responseMimeType",
    ]
    body, losses = written(chat)
    assert body["cachedContent"] == "cachedContents/a"
    assert (body["generationConfig"], losses) == (config, ())
    with pytest.raises(InvalidRequest):
        written(asked(messages=chat.messages))


# --- options ------------------------------------------------------------------------


@each(
    ("config", "kind", "schema"),
    [
        ({"responseMimeType": "text/plain"}, OutputKind.TEXT, None),
        ({"responseMimeType": "application/json"}, OutputKind.JSON, None),
        ({"responseSchema": {"type": "STRING"}}, OutputKind.SCHEMA, {"type": "string"}),
        ({"responseJsonSchema": {"type": "A"}}, OutputKind.SCHEMA, {"type": "A"}),
        ({"_responseJsonSchema": {"type": "A"}}, OutputKind.SCHEMA, {"type": "A"}),
        (
            {"responseFormat": {"text": {"mimeType": "APPLICATION_JSON"}}},
            OutputKind.JSON,
            None,
        ),
        (
            {"responseFormat": [{"text": {"schema": {"type": "A"}}}]},
            OutputKind.SCHEMA,
            {"type": "A"},
        ),
    ],
)
def test_what_an_answer_looks_like(config: Any, kind: OutputKind, schema: Any) -> None:
    """By any of its names."""
    found = read(generationConfig=config).output_format
    assert found is not None
    assert (found.kind, found.schema) == (kind, schema)


def test_what_nobody_else_has_is_kept() -> None:
    """By its whole name, to be told of or put back."""
    config = {
        "responseFormat": [{"image": {}}],
        "imageConfig": {"aspectRatio": "1:1"},
        "speechConfig": {"languageCode": "de"},
        "thinkingConfig": {"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED", "novel": 1},
    }
    chat = read(generationConfig=config, toolConfig={"retrievalConfig": {"a": 1}})
    assert chat.extras.keys() == {
        "generationConfig.responseFormat",
        "generationConfig.imageConfig",
        "generationConfig.speechConfig",
        "generationConfig.thinkingConfig",
        "toolConfig.retrievalConfig",
    }
    assert chat.reasoning is None
    body, _ = written(chat)
    assert body["generationConfig"]["imageConfig"] == {"aspectRatio": "1:1"}
    assert body["toolConfig"] == {"retrievalConfig": {"a": 1}}


def test_options() -> None:
    """By their neutral names."""
    chat = read(
        generationConfig={
            "topK": 40.0,
            "thinkingConfig": {"thinkingLevel": "low", "includeThoughts": True},
            "responseModalities": ["AUDIO"],
            "speechConfig": {
                "voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}
            },
        },
        serviceTier="STANDARD",
        tools=[
            {"functionDeclarations": {"name": "f"}, "googleSearch": {}},
            {"codeExecution": {}},
        ],
        toolConfig={
            "functionCallingConfig": {"mode": "any", "allowedFunctionNames": ["f"]}
        },
    )
    assert chat.sampling.top_k == 40
    assert chat.reasoning == Reasoning(effort="low", show=True)
    assert (chat.modalities, chat.audio) == (("audio",), AudioOutput("Kore"))
    assert chat.service_tier == "default"
    kinds = [tool.kind for tool in chat.tools if isinstance(tool, ServerTool)]
    assert kinds == ["web_search", "code_execution"]
    assert chat.tool_choice == ToolChoice(ToolUse.REQUIRED, ("f",))


@each(
    "members",
    [
        {"generationConfig": {"temperature": "hot"}},
        {"generationConfig": {"topK": 1.5}},
        {"generationConfig": {"stopSequences": "x"}},
        {"generationConfig": {"responseSchema": "x"}},
        {"generationConfig": {"responseFormat": 5}},
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": "much"}}},
        {"generationConfig": {"speechConfig": {"voiceConfig": 5}}},
        {"tools": [{"functionDeclarations": [{"description": "no name"}]}]},
        {"tools": [{"functionDeclarations": [{"name": "f", "parameters": 5}]}]},
        {"toolConfig": 5},
        {"toolConfig": {"functionCallingConfig": {"mode": "SOMETIMES"}}},
    ],
)
def test_an_option_that_cannot_be_is_refused(members: Any) -> None:
    """With its name."""
    with pytest.raises(InvalidRequest) as caught:
        read(**members)
    assert caught.value.param


def test_a_choice_that_says_nothing_is_none() -> None:
    """As if it were not there."""
    for config in ({}, {"mode": "MODE_UNSPECIFIED"}, None):
        chat = read(toolConfig={"functionCallingConfig": config})
        assert chat.tool_choice is None
    assert body_of()
