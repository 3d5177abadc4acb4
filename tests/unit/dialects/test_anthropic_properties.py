"""What holds of Anthropic's dialect, whatever is said in it."""

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from posthouse.dialects.anthropic_messages import CODEC, DIALECT
from posthouse.dialects.neutral.codec import Identity, Losses
from posthouse.dialects.neutral.collect import collect
from posthouse.dialects.neutral.events_of import events_of
from posthouse.model.chat import (
    CacheMark,
    ChatReply,
    ChatRequest,
    Choice,
    Citation,
    Document,
    Finish,
    FinishReason,
    Foreign,
    FunctionTool,
    Image,
    Media,
    Message,
    OutputFormat,
    OutputKind,
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
)
from posthouse.model.traits import Traits
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json as wire
from posthouse.wire.sse import SSEDecoder

NAME = "anthropic_messages"
IDENTITY = Identity("abc", 1)
CASES = Path(__file__).parents[2] / "golden" / "chat" / NAME

# --- what the dialect can say -------------------------------------------------------

names = st.sampled_from(["f", "get_weather", "x-1"])
texts = st.text(
    st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30
).filter(lambda text: not text.startswith("posthouse."))
whole = st.integers(0, 2**40)
objects = st.dictionaries(names, st.one_of(st.none(), st.booleans(), texts, whole))
marks = st.none() | st.builds(CacheMark, st.sampled_from([None, "5m", "1h"]))
signatures = st.builds(Signature, st.just(NAME), texts)
extras = st.just({}) | st.builds(lambda value: {"novel": value}, texts)
places = st.builds(
    Citation,
    document=whole,
    title=st.none() | texts,
    quote=texts,
    start=whole,
    end=whole,
)
web = st.builds(
    Citation,
    url=texts,
    title=texts,
    quote=texts,
    extras=st.builds(lambda index: {"encrypted_index": index}, texts),
)
plain = st.builds(Text, texts)
said = st.builds(
    Text,
    texts,
    citations=st.lists(places | web, max_size=2).map(tuple),
    cache=marks,
    extras=extras,
)
media = st.one_of(
    st.builds(Media, url=texts),
    st.builds(Media, data=texts, media_type=st.just("image/png")),
    st.builds(Media, file_id=texts),
)
images = st.builds(Image, media, cache=marks, extras=extras)
documents = st.builds(
    Document,
    media | st.builds(Media, text=texts, media_type=st.just("text/plain")),
    title=st.none() | texts,
    context=st.none() | texts,
    citations=st.none() | st.booleans(),
    cache=marks,
)
thoughts = st.one_of(
    st.builds(Thinking, st.just("") | texts, signatures),
    st.builds(Thinking, st.just(""), signatures, redacted=st.just(True)),
)
calls = st.builds(
    ToolCall,
    id=names,
    name=names,
    arguments=objects.map(lambda value: wire.encode(value).decode()),
    cache=marks,
)
foreign = st.builds(
    Foreign,
    st.just("server_tool_use"),
    objects.map(
        lambda value: {
            "type": "server_tool_use",
            "input": {k: v for k, v in value.items() if v is not None},
        }
    ),
    harmless=st.just(True),
)
results = st.builds(
    ToolResult,
    call_id=names,
    content=st.lists(said | images | documents, max_size=2).map(tuple),
    is_error=st.none() | st.booleans(),
    cache=marks,
)


def message(role: Role, parts: Any, least: int = 1) -> Any:
    found = st.lists(parts, min_size=least, max_size=3).map(tuple)
    return st.builds(Message, st.just(role), found)


turns = st.lists(
    st.one_of(
        message(Role.USER, said | images | documents),
        message(Role.ASSISTANT, said | thoughts | calls | foreign),
        message(Role.TOOL, results),
        message(Role.SYSTEM, said),
    ),
    min_size=1,
    max_size=5,
)


def in_order(messages: list[Message]) -> tuple[Message, ...]:
    """Put a turn of the model's between two of the user's: one goes on in the other.

    The first system message would be the prompt's own; it is left to `systems`.
    """
    ordered: list[Message] = [Message(Role.USER, (Text("?"),))]
    for found in messages:
        if found.role in (Role.USER, Role.TOOL) and ordered[-1].role in (
            Role.USER,
            Role.TOOL,
        ):
            ordered.append(Message(Role.ASSISTANT, (Text("!"),)))
        ordered.append(found)
    return tuple(ordered)


functions = st.builds(
    FunctionTool,
    name=names,
    description=st.none() | texts,
    parameters=objects.map(lambda _: {"type": "object", "properties": {"a": {}}}),
    strict=st.none() | st.booleans(),
    cache=marks,
    extras=extras,
)
servers = st.builds(
    lambda uses: ServerTool(
        "web_search",
        max_uses=uses,
        value={"type": "web_search_20250305", "name": "web_search", "max_uses": uses},
    ),
    st.integers(1, 10),
)
choices = st.one_of(
    st.builds(ToolChoice, st.sampled_from(ToolUse)),
    st.builds(ToolChoice, st.just(ToolUse.REQUIRED), st.tuples(names)),
)
reasonings = st.one_of(
    st.builds(Reasoning, effort=st.sampled_from(["low", "max"])),
    st.builds(
        Reasoning,
        enabled=st.just(True),
        effort=st.none() | st.just("high"),
        adaptive=st.just(True),
        show=st.none() | st.booleans(),
    ),
    st.builds(Reasoning, enabled=st.just(True), budget=st.integers(1024, 9999)),
    st.builds(Reasoning, enabled=st.just(False)),
)
requests = st.builds(
    ChatRequest,
    dialect=st.just(NAME),
    model=st.just("m"),
    messages=st.builds(
        lambda system, messages: (*system, *in_order(messages)),
        st.just(()) | st.tuples(message(Role.SYSTEM, said)),
        turns,
    ),
    tools=st.one_of(
        st.just(()), st.tuples(functions), st.tuples(servers), st.tuples(functions)
    ),
    tool_choice=st.none() | choices,
    sampling=st.builds(
        Sampling,
        temperature=st.none() | st.floats(0, 1),
        top_p=st.none() | st.floats(0, 1),
        top_k=st.none() | whole,
        stop=st.lists(texts, max_size=2).map(tuple),
    ),
    output_limit=whole,
    output_format=st.none()
    | st.just(OutputFormat(OutputKind.SCHEMA, {"type": "object"})),
    reasoning=st.none() | reasonings,
    user=st.none() | names,
    service_tier=st.none() | st.just("auto"),
    stream=st.booleans(),
    include_usage=st.just(True),
    extras=extras,
)
answers = st.lists(said.map(lambda part: structs.replace(part, cache=None)), max_size=2)
replies = st.builds(
    ChatReply,
    dialect=st.just(NAME),
    id=texts,
    model=texts,
    choices=st.builds(
        lambda parts, reason, sequence: (
            Choice(0, tuple(parts), Finish(reason, sequence)),
        ),
        st.lists(
            st.one_of(
                said.map(lambda part: structs.replace(part, cache=None, extras={})),
                thoughts,
                calls.map(lambda part: structs.replace(part, cache=None)),
                foreign,
            ),
            max_size=4,
        ),
        st.sampled_from(
            [
                FinishReason.STOP_SEQUENCE,
                FinishReason.LENGTH,
                FinishReason.CONTEXT_LENGTH,
                FinishReason.TOOL_CALLS,
                FinishReason.REFUSAL,
                FinishReason.PAUSE,
            ]
        ),
        st.none() | texts,
    ),
    usage=st.builds(
        lambda base, cached, five, hour, output, thinking: ReportedUsage(
            input=base + cached + five + hour,
            output=output,
            cached_input=cached,
            cache_write_5m=five,
            cache_write_1h=hour or None,
            reasoning=thinking,
            searches=0,
        ),
        whole,
        whole,
        whole,
        whole,
        st.integers(1, 2**40),
        st.none() | st.integers(1, 9),
    ),
    service_tier=st.none() | st.just("standard"),
    extras=extras,
)


# --- there and back -----------------------------------------------------------------


@given(requests)
@settings(max_examples=150, deadline=None)
def test_a_request_comes_back_as_it_was(chat: ChatRequest) -> None:
    """Written and read again, with nothing lost."""
    losses = Losses()
    body = wire.encode(CODEC.write_request(chat, Traits(model="m"), losses))
    assert losses.told == ()
    assert CODEC.read_request(DIALECT.parse_request(body)) == chat


ASKED = ChatRequest(
    dialect=NAME, model="m", messages=(Message(Role.USER, (Text("?"),)),)
)


@given(replies)
@settings(max_examples=100, deadline=None)
def test_a_reply_comes_back_as_it_was(reply: ChatReply) -> None:
    """Whole, and as a stream."""
    assert CODEC.read_reply(CODEC.write_reply(reply, ASKED, IDENTITY)) == reply
    encoder = CODEC.encoder(ASKED, IDENTITY)
    out = b"".join(map(encoder.feed, events_of(reply))) + encoder.close()
    decoder = CODEC.decoder()
    events = [
        event
        for raw, data in SSEDecoder().feed(out)
        for event in decoder.feed(raw, data)
    ]
    assert collect(events) == reply
