"""Neutral values that Gemini can express, for the properties of its codec."""

import base64

import msgspec
from hypothesis import strategies as st

from posthouse.model.chat import (
    Audio,
    AudioOutput,
    ChatReply,
    ChatRequest,
    Choice,
    Document,
    Finish,
    FinishReason,
    FunctionTool,
    Image,
    Media,
    Message,
    OutputFormat,
    OutputKind,
    Part,
    Reasoning,
    Role,
    Sampling,
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
from posthouse.model.usage import ReportedUsage

NAME = "gemini_generate"

words = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=20
)
names = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)
# In whole groups of four, so that pieces can be put together.
payloads = st.binary(min_size=3, max_size=3).map(lambda b: base64.b64encode(b).decode())
own_signatures = st.builds(Signature, st.just(NAME), payloads)
foreign_signatures = st.builds(
    Signature, st.sampled_from(["anthropic_messages", "openai_responses"]), words
)
signatures = own_signatures | foreign_signatures
objects = st.dictionaries(names, st.integers(-9, 9) | words, min_size=1, max_size=3)


def written(value: object) -> str:
    """A value as JSON text."""
    return msgspec.json.encode(value).decode()


arguments = (objects | st.just({})).map(written)


def media(kind: str, url: str) -> st.SearchStrategy[Media]:
    """The bytes of something, or where they are."""
    inline = st.builds(Media, data=payloads, media_type=st.just(kind))
    return inline | st.just(Media(url=url, media_type=kind))


shown = st.one_of(
    st.builds(Image, media("image/png", "https://example.com/a.png")),
    st.builds(Audio, media("audio/wav", "https://example.com/a.wav")),
    st.builds(Video, media("video/mp4", "https://example.com/a.mp4")),
    st.builds(
        Document,
        media("application/pdf", "https://example.com/a.pdf"),
        title=st.none() | words,
    ),
)
asked = st.lists(st.builds(Text, words) | shown, min_size=1, max_size=3)


@st.composite
def thoughts(draw: st.DrawFn) -> Thinking:
    """Google's, unsigned ones, and others' that came back sealed."""
    text = draw(words)
    signature = draw(st.none() | signatures)
    if signature is None or signature.by == NAME:
        return Thinking(text, signature)
    if draw(st.booleans()):
        return Thinking("", signature, redacted=True, id=draw(st.none() | names))
    return Thinking(text, signature, id=draw(st.none() | names))


spoken = st.builds(Text, words, signature=st.none() | own_signatures)
pictures = st.builds(
    Image,
    st.builds(Media, data=payloads, media_type=st.just("image/png")),
    signature=st.none() | own_signatures,
)


@st.composite
def calls(draw: st.DrawFn) -> ToolCall:
    return ToolCall(
        "",
        draw(names),
        draw(arguments),
        signature=draw(st.none() | own_signatures),
    )


def goes_on(before: Part, part: Part) -> bool:
    """Whether two parts are read as one."""
    if isinstance(part, Thinking) and isinstance(before, Thinking):
        return before.signature is None or not part.text
    both = isinstance(part, Text) and isinstance(before, Text)
    return both and before.signature is None


@st.composite
def turns(draw: st.DrawFn, prefix: str) -> tuple[Part, ...]:
    """What a model says: no text or thought follows one that has not ended."""
    said: list[Part] = []
    kinds = st.one_of(thoughts(), spoken, pictures, calls())
    for drawn in draw(st.lists(kinds, min_size=1, max_size=4)):
        if said and goes_on(said[-1], drawn):
            continue
        part = drawn
        if isinstance(part, ToolCall):
            part = msgspec.structs.replace(part, id=f"{prefix}_{len(said)}")
        said.append(part)
    return tuple(said)


@st.composite
def results(draw: st.DrawFn, called: list[ToolCall]) -> Message:
    found = []
    for call in called:
        failed = draw(st.booleans())
        text = draw(words | objects.map(written))
        content: list[Part] = [Text(text)]
        if draw(st.booleans()):
            content.append(Image(Media(data=draw(payloads), media_type="image/png")))
        found.append(
            ToolResult(call.id, tuple(content), name=call.name, is_error=failed or None)
        )
    return Message(Role.TOOL, tuple(found))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    messages: list[Message] = []
    if draw(st.booleans()):
        system = draw(st.lists(st.builds(Text, words), min_size=1, max_size=2))
        messages.append(Message(Role.SYSTEM, tuple(system)))
    for turn in range(draw(st.integers(1, 3))):
        messages.append(Message(Role.USER, tuple(draw(asked))))
        said = draw(turns(f"t{turn}"))
        messages.append(Message(Role.ASSISTANT, said))
        called = [part for part in said if isinstance(part, ToolCall)]
        if called:
            messages.append(draw(results(called)))
    return tuple(messages)


schemas = st.just({"type": "object", "properties": {"a": {"type": "string"}}})
tools = st.lists(
    st.builds(FunctionTool, names, st.none() | words, st.none() | schemas),
    max_size=2,
    unique_by=lambda tool: tool.name,
)


@st.composite
def requests(draw: st.DrawFn) -> ChatRequest:
    """Requests."""
    functions = draw(tools)
    served = [ServerTool("web_search", value={"googleSearch": {}})]
    found = [*functions, *(served if draw(st.booleans()) else [])]
    choice = None
    if functions and draw(st.booleans()):
        use = draw(st.sampled_from(list(ToolUse)))
        named = use is not ToolUse.NONE and draw(st.booleans())
        choice = ToolChoice(use, (functions[0].name,) if named else ())
    return ChatRequest(
        dialect=NAME,
        model="gemini-x",
        messages=draw(conversations()),
        tools=tuple(found),
        tool_choice=choice,
        sampling=draw(
            st.builds(
                Sampling,
                temperature=st.none() | st.floats(0, 2),
                top_p=st.none() | st.floats(0, 1),
                top_k=st.none() | st.integers(1, 40),
                frequency_penalty=st.none() | st.floats(-2, 2),
                presence_penalty=st.none() | st.floats(-2, 2),
                seed=st.none() | st.integers(0, 2**31 - 1),
                stop=st.lists(words, max_size=5).map(tuple),
                logprobs=st.none() | st.booleans(),
                top_logprobs=st.none() | st.integers(0, 20),
            )
        ),
        output_limit=draw(st.none() | st.integers(1, 65_536)),
        choices=draw(st.none() | st.integers(1, 8)),
        output_format=draw(
            st.none()
            | st.just(OutputFormat(OutputKind.TEXT))
            | st.just(OutputFormat(OutputKind.JSON))
            | st.builds(OutputFormat, st.just(OutputKind.SCHEMA), schemas)
        ),
        reasoning=draw(
            st.none()
            | st.builds(Reasoning, budget=st.integers(-1, 24_576))
            | st.builds(
                Reasoning,
                effort=st.sampled_from(["minimal", "low", "medium", "high"]),
                show=st.none() | st.booleans(),
            )
        ),
        modalities=draw(st.sampled_from([(), ("text",), ("text", "image")])),
        audio=draw(st.none() | st.builds(AudioOutput, names)),
        service_tier=draw(st.sampled_from([None, "default", "flex", "priority"])),
        stream=draw(st.booleans()),
        include_usage=True,
    )


usages = st.builds(
    ReportedUsage,
    input=st.integers(0, 999),
    output=st.integers(100, 999),
    cached_input=st.none() | st.integers(0, 9),
    reasoning=st.none() | st.integers(1, 99),
)


@st.composite
def choices(draw: st.DrawFn, index: int) -> Choice:
    parts = draw(turns(f"c{index}"))
    called = any(isinstance(part, ToolCall) for part in parts)
    reason = draw(
        st.sampled_from([FinishReason.LENGTH, FinishReason.CONTENT_FILTER])
        | st.just(FinishReason.TOOL_CALLS if called else FinishReason.STOP)
    )
    return Choice(index, parts, Finish(reason))


@st.composite
def replies(draw: st.DrawFn) -> ChatReply:
    """Replies."""
    count = draw(st.integers(1, 2))
    return ChatReply(
        dialect=NAME,
        id=draw(names),
        model="gemini-x",
        choices=tuple(draw(choices(index)) for index in range(count)),
        usage=draw(usages),
    )
