"""Neutral values that Responses can express, for the properties of its codec."""

from base64 import b64encode
from typing import Any

from hypothesis import strategies as st

from posthouse.model.chat import (
    CacheMark,
    ChatReply,
    ChatRequest,
    Choice,
    Citation,
    CustomTool,
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
    Refusal,
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
)
from posthouse.model.usage import ReportedUsage

NAME = "openai_responses"

words = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=20
)
names = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)
base64 = st.binary(min_size=1, max_size=12).map(lambda data: b64encode(data).decode())
marks = st.none() | st.builds(CacheMark, st.sampled_from([None, "5m", "1h"]))

texts = st.builds(Text, words, cache=marks)
images = st.builds(
    Image,
    st.builds(Media, url=st.just("https://example.com/a.png"))
    | st.builds(Media, data=base64, media_type=st.just("image/png"))
    | st.builds(Media, file_id=names),
    detail=st.sampled_from(["low", "high", "auto"]),
    cache=marks,
)
documents = st.builds(
    Document,
    st.builds(Media, url=st.just("https://example.com/a.pdf"))
    | st.builds(Media, data=base64, media_type=st.just("application/pdf"))
    | st.builds(Media, file_id=names),
    title=st.none() | words,
    cache=marks,
)
citations = st.builds(
    Citation,
    url=st.just("https://example.com"),
    title=words,
    start=st.integers(0, 9),
    end=st.integers(9, 20),
)
spoken = st.builds(Text, words, st.lists(citations, max_size=2).map(tuple))
refusals = st.builds(Refusal, words)


@st.composite
def thoughts(draw: st.DrawFn) -> Thinking:
    """Thoughts of OpenAI's, or of others whose signature came back."""
    item_id = draw(st.none() | names.map(lambda name: f"rs_{name}"))
    text = draw(st.just("") | words)
    value = draw(names)
    kind = draw(st.sampled_from(["none", "own", "other", "withheld"]))
    if kind == "own":
        value = value if item_id is None else f"{item_id}:{value}"
        own = Signature(NAME, value)
        return Thinking(
            text, own, not text, bool(text) and draw(st.booleans()), item_id
        )
    if kind == "other":
        other = Signature("anthropic_messages", value)
        return Thinking(text, other, summary=bool(text), id=item_id)
    if kind == "withheld":
        other = Signature("anthropic_messages", value)
        return Thinking("", other, redacted=True, id=item_id)
    return Thinking(text or "hm", summary=draw(st.booleans()), id=item_id)


calls = st.builds(ToolCall, names, names, st.just('{"a": 1}') | words, st.booleans())
pictures = st.builds(
    Image,
    st.builds(
        Media, data=base64, media_type=st.sampled_from(["image/png", "image/webp"])
    ),
)
turns = st.lists(
    st.one_of(thoughts(), spoken, refusals, calls, pictures), min_size=1, max_size=4
)


@st.composite
def results(draw: st.DrawFn, called: list[ToolCall]) -> Message:
    found = []
    for call in called:
        content = draw(st.just((Text("ok"),)) | st.just((Text("a"), Text("b"))))
        found.append(ToolResult(call.id, content, custom=call.custom))
    return Message(Role.TOOL, tuple(found))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    messages = [
        Message(role, (Text(text),))
        for role, text in draw(
            st.lists(
                st.tuples(st.sampled_from([Role.SYSTEM, Role.DEVELOPER]), words),
                max_size=2,
            )
        )
    ]
    for _ in range(draw(st.integers(1, 3))):
        said: list[Part] = draw(
            st.lists(st.one_of(texts, images, documents), min_size=1, max_size=3)
        )
        messages.append(Message(Role.USER, tuple(said)))
        if not draw(st.booleans()):
            continue
        turn = draw(turns)
        messages.append(Message(Role.ASSISTANT, tuple(turn)))
        called = [part for part in turn if isinstance(part, ToolCall)]
        if called:
            messages.append(draw(results(called)))
    return tuple(messages)


schemas: st.SearchStrategy[dict[str, Any]] = st.just(
    {"type": "object", "properties": {"a": {"type": "string"}}}
)
tools = st.one_of(
    st.builds(
        FunctionTool,
        names,
        st.none() | words,
        schemas,
        st.none() | st.booleans(),
    ),
    st.builds(CustomTool, names, st.none() | words),
    st.just(ServerTool("mcp", value={"type": "mcp", "server_label": "s"})),
)


@st.composite
def requests(draw: st.DrawFn) -> ChatRequest:
    offered = draw(st.lists(tools, max_size=3, unique_by=str))
    client = any(not isinstance(tool, ServerTool) for tool in offered)
    offered = [
        ServerTool(tool.kind, value=tool.value, optional=client)
        if isinstance(tool, ServerTool)
        else tool
        for tool in offered
    ]
    formats = st.sampled_from(
        [
            None,
            OutputFormat(OutputKind.TEXT),
            OutputFormat(OutputKind.JSON),
            OutputFormat(OutputKind.SCHEMA, {"type": "object"}, "n", "d", strict=True),
        ]
    )
    return ChatRequest(
        dialect=NAME,
        model=draw(names),
        messages=draw(conversations()),
        tools=tuple(offered),
        tool_choice=draw(
            st.none()
            | st.builds(ToolChoice, st.sampled_from([ToolUse.AUTO, ToolUse.NONE]))
        ),
        parallel_tool_calls=draw(st.none() | st.booleans()),
        sampling=Sampling(
            temperature=draw(st.none() | st.sampled_from([0.0, 0.5, 1.0])),
            top_p=draw(st.none() | st.sampled_from([0.25, 1.0])),
            logprobs=draw(st.sampled_from([None, True])),
            top_logprobs=draw(st.none() | st.integers(0, 20)),
        ),
        output_limit=draw(st.none() | st.integers(1, 10_000)),
        output_format=draw(formats),
        reasoning=draw(
            st.none()
            | st.builds(
                Reasoning,
                effort=st.sampled_from([None, "low", "xhigh"]),
                summary=st.sampled_from([None, "auto"]),
            )
        ),
        user=draw(st.none() | names),
        service_tier=draw(st.sampled_from([None, "flex"])),
        cache_key=draw(st.none() | names),
        stream=draw(st.booleans()),
        served=draw(st.sampled_from([{}, {"store": False}, {"metadata": {"a": "b"}}])),
        extras=draw(st.sampled_from([{}, {"verbosity": "low"}, {"new": [1]}])),
    )


@st.composite
def replies(draw: st.DrawFn) -> ChatReply:
    """What providers of any dialect may have answered."""
    signed = st.builds(
        ToolCall,
        names,
        names,
        st.just('{"a": 1}') | st.just(""),
        signature=st.none() | st.just(Signature("gemini_generate", "sig")),
    )
    unsigned = st.builds(Text, words)
    parts = draw(
        st.lists(
            st.one_of(thoughts(), unsigned, refusals, signed, pictures), max_size=4
        )
    )
    count = st.none() | st.integers(0, 10_000)
    return ChatReply(
        dialect=draw(st.sampled_from(["anthropic_messages", "openai_chat"])),
        id="x1",
        model="m",
        created=1_770_000_000,
        choices=(
            Choice(
                0,
                tuple(parts),
                Finish(draw(st.sampled_from(list(FinishReason)))),
            ),
        ),
        usage=ReportedUsage(
            draw(count), draw(count), draw(count), reasoning=draw(count)
        ),
        service_tier=draw(st.sampled_from([None, "flex", "standard"])),
    )
