"""Neutral values that OpenAI's chat can say, for the tests of this folder."""

from typing import Any

from hypothesis import strategies as st

from posthouse.model.chat import (
    Audio,
    AudioOutput,
    CacheMark,
    ChatReply,
    ChatRequest,
    Choice,
    Citation,
    CustomTool,
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
    Video,
)
from posthouse.model.traits import CacheMarks, Replay, Traits
from posthouse.model.usage import ReportedUsage

NAME = "openai_chat"
ABLE = Traits(
    model="m",
    replay=Replay.ALWAYS,
    developer=True,
    new_output_limit=True,
    custom_tools=True,
    cache_marks=CacheMarks.CONTROL,
)
"""A target that can do whatever the dialect can say."""

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
WORDS = st.text("abcXYZ019_-", min_size=1, max_size=4)
BASE64 = st.sampled_from(["", "AAAA", "iVBORw0KGgo="])
EXTRAS = st.just({}) | st.just({"novel": {"x": [1]}})
MARKS = st.none() | st.builds(CacheMark, st.sampled_from([None, "5m", "1h"]))
URLS = st.builds("https://example.com/{}".format, WORDS)
SIGNATURES = st.none() | st.builds(Signature, st.just(NAME), WORDS)
NUMBERS = st.floats(-2, 2) | st.integers(-2, 2)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def media(kind: str) -> st.SearchStrategy[Media]:
    data = st.builds(Media, data=BASE64, media_type=st.just(kind))
    return data | st.builds(Media, url=URLS)


SPOKEN = st.builds(Text, TEXTS, cache=MARKS, extras=EXTRAS)
SHOWN = st.one_of(
    st.builds(
        Image,
        media("image/png"),
        detail=maybe(st.sampled_from(["low", "high"])),
        cache=MARKS,
        extras=EXTRAS,
    ),
    st.builds(
        Audio,
        st.builds(
            Media,
            data=BASE64,
            media_type=st.sampled_from(["audio/wav", "audio/mpeg", "audio/flac"]),
        ),
        extras=EXTRAS,
    ),
    st.builds(Video, media("video/mp4"), cache=MARKS, extras=EXTRAS),
    st.builds(
        Document,
        st.builds(Media, data=BASE64, media_type=st.just("application/pdf"))
        | st.builds(Media, file_id=WORDS),
        title=maybe(TEXTS),
        cache=MARKS,
        extras=EXTRAS,
    ),
    st.builds(
        Foreign, st.just("hologram"), st.just({"type": "hologram", "hologram": {}})
    ),
)
SAID = st.lists(SPOKEN, min_size=1, max_size=3)
NONEMPTY = TEXTS.filter(bool)
ARGUMENTS = st.sampled_from(["{}", '{"a":1}', '{"b": [1.10]}', "not JSON"])
CALLS = st.one_of(
    st.builds(ToolCall, WORDS, WORDS, ARGUMENTS, signature=SIGNATURES, extras=EXTRAS),
    st.builds(ToolCall, WORDS, WORDS, TEXTS, custom=st.just(True)),
)
RESULTS = st.builds(
    ToolResult,
    WORDS,
    SAID.map(tuple),
    name=maybe(WORDS),
    cache=MARKS,
    extras=EXTRAS,
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[Part, ...]:
    """What an assistant says and calls."""
    thoughts: list[Part] = []
    if draw(st.booleans()):
        signed = st.builds(Signature, st.just(NAME), WORDS)
        thoughts = draw(
            st.lists(st.builds(Thinking, NONEMPTY), max_size=1)
            | st.lists(st.builds(Thinking, NONEMPTY, signed), max_size=2)
        )
    said = draw(st.lists(st.builds(Text, NONEMPTY), max_size=2))
    refusals = draw(st.lists(st.builds(Refusal, NONEMPTY), max_size=1))
    sounds = draw(st.lists(st.builds(Audio, st.just(Media()), id=WORDS), max_size=1))
    calls = draw(st.lists(CALLS, max_size=2))
    return (*thoughts, *said, *refusals, *sounds, *calls)


@st.composite
def messages(draw: st.DrawFn) -> tuple[Message, ...]:
    found: list[Message] = []
    for _ in range(draw(st.integers(1, 3))):
        role = draw(st.sampled_from(Role))
        name = draw(maybe(WORDS))
        extras = draw(EXTRAS)
        match role:
            case Role.TOOL:
                # Two of them would be read as one.
                if not (found and found[-1].role is Role.TOOL):
                    results = draw(st.lists(RESULTS, min_size=1, max_size=2))
                    found.append(Message(role, tuple(results)))
            case Role.ASSISTANT:
                found.append(Message(role, draw(answers()), name, extras))
            case Role.USER:
                parts = draw(st.lists(SPOKEN | SHOWN, min_size=1, max_size=3))
                found.append(Message(role, tuple(parts), name, extras))
            case _:
                found.append(Message(role, tuple(draw(SAID)), name, extras))
    return tuple(found) or (Message(Role.USER, (Text("hi"),)),)


SCHEMAS = st.just({"type": "object", "properties": {"a": {"type": "string"}}})
FUNCTIONS = st.builds(
    FunctionTool,
    WORDS,
    maybe(TEXTS),
    maybe(SCHEMAS),
    maybe(st.booleans()),
    cache=MARKS,
    extras=EXTRAS,
)
CUSTOM = st.builds(
    CustomTool,
    WORDS,
    maybe(TEXTS),
    st.sampled_from(
        [
            None,
            {"type": "text"},
            {"type": "grammar", "syntax": "lark", "definition": "start: /x/"},
        ]
    ),
)
SEARCH = st.sampled_from(
    [
        ServerTool("web_search", value={"web_search_options": {}}),
        ServerTool("web_search", value={"type": "web_search", "web_search": {"a": 1}}),
    ]
)


@st.composite
def choosing(draw: st.DrawFn) -> dict[str, Any]:
    """Tools, and which of them to call."""
    tools = draw(st.lists(FUNCTIONS | CUSTOM, max_size=3, unique_by=lambda t: t.name))
    found: dict[str, Any] = {"tools": (*tools, *draw(st.lists(SEARCH, max_size=1)))}
    if tools and draw(st.booleans()):
        use = draw(st.sampled_from(ToolUse))
        names: list[str] = []
        if use is not ToolUse.NONE:
            names = draw(st.lists(st.sampled_from([t.name for t in tools]), max_size=2))
        found["tool_choice"] = ToolChoice(use, tuple(names))
    if tools:
        found["parallel_tool_calls"] = draw(maybe(st.booleans()))
    return found


SAMPLINGS = st.builds(
    Sampling,
    temperature=maybe(NUMBERS),
    top_p=maybe(NUMBERS),
    top_k=maybe(st.integers(0, 9)),
    frequency_penalty=maybe(NUMBERS),
    presence_penalty=maybe(NUMBERS),
    seed=maybe(st.integers()),
    stop=st.lists(TEXTS, max_size=2).map(tuple),
    logit_bias=maybe(st.just({"7": -1})),
    logprobs=maybe(st.booleans()),
    top_logprobs=maybe(st.integers(0, 20)),
)
FORMATS = st.one_of(
    st.builds(OutputFormat, st.sampled_from([OutputKind.TEXT, OutputKind.JSON])),
    st.builds(
        OutputFormat,
        st.just(OutputKind.SCHEMA),
        maybe(SCHEMAS),
        WORDS,
        maybe(TEXTS),
        maybe(st.booleans()),
    ),
)


@st.composite
def requests(draw: st.DrawFn) -> ChatRequest:
    stream = draw(st.booleans())
    return ChatRequest(
        dialect=NAME,
        model="m",
        messages=draw(messages()),
        **draw(choosing()),
        sampling=draw(SAMPLINGS),
        output_limit=draw(maybe(st.integers(1, 99))),
        choices=draw(maybe(st.integers(1, 9))),
        output_format=draw(maybe(FORMATS)),
        reasoning=draw(
            maybe(st.builds(Reasoning, effort=st.sampled_from(["none", "low", "max"])))
        ),
        modalities=draw(st.sampled_from([(), ("text", "audio")])),
        audio=draw(maybe(st.builds(AudioOutput, st.just("alloy"), st.just("wav")))),
        user=draw(maybe(WORDS)),
        service_tier=draw(maybe(st.just("flex"))),
        cache_key=draw(maybe(WORDS)),
        stream=stream,
        include_usage=stream,
        extras=draw(st.just({}) | st.just({"verbosity": "low", "novel": [1]})),
    )


# --- replies ------------------------------------------------------------------------

CITED = st.builds(
    Text,
    NONEMPTY,
    st.lists(
        st.builds(
            Citation, url=URLS, title=NONEMPTY, start=st.just(0), end=st.integers(1, 9)
        ),
        max_size=2,
    ).map(tuple),
    signature=SIGNATURES,
)
COUNTS = maybe(st.integers(1, 99))
USAGES = st.builds(
    ReportedUsage,
    input=st.integers(0, 99),
    output=st.integers(0, 99),
    cached_input=COUNTS,
    cache_write_5m=COUNTS,
    audio_input=st.integers(0, 9),
    image_input=COUNTS,
    reasoning=st.integers(0, 9),
    audio_output=st.integers(0, 9),
    image_output=COUNTS,
)
REASONS = st.sampled_from(
    [FinishReason.STOP, FinishReason.LENGTH, FinishReason.CONTENT_FILTER]
)


@st.composite
def choices(draw: st.DrawFn, index: int) -> Choice:
    signed = st.builds(Signature, st.just(NAME), WORDS)
    thoughts = draw(
        st.lists(st.builds(Thinking, NONEMPTY), max_size=1)
        | st.lists(st.builds(Thinking, NONEMPTY, signed, id=maybe(WORDS)), max_size=2)
        | st.just([Thinking("", Signature(NAME, "enc"), redacted=True)])
    )
    said = draw(st.lists(CITED, max_size=1))
    images = draw(
        st.lists(st.builds(Image, media("image/png"), signature=SIGNATURES), max_size=1)
    )
    refusals = draw(st.lists(st.builds(Refusal, NONEMPTY), max_size=1))
    calls = draw(st.lists(CALLS.filter(lambda c: not c.extras), max_size=2))
    finish = Finish(draw(REASONS))
    if calls and finish.reason is FinishReason.STOP:
        finish = Finish(FinishReason.TOOL_CALLS)
    elif refusals and finish.reason is FinishReason.STOP:
        finish = Finish(FinishReason.REFUSAL)
    elif finish.reason is FinishReason.STOP and draw(st.booleans()):
        finish = Finish(FinishReason.STOP_SEQUENCE, draw(NONEMPTY))
    logprobs = draw(maybe(st.just(({"token": "a", "logprob": -1, "bytes": None},))))
    return Choice(
        index, (*thoughts, *said, *images, *refusals, *calls), finish, logprobs
    )


@st.composite
def replies(draw: st.DrawFn) -> ChatReply:
    count = draw(st.integers(1, 2))
    return ChatReply(
        dialect=NAME,
        id=draw(WORDS),
        model=draw(WORDS),
        created=draw(st.integers(0, 2**40)),
        choices=tuple(draw(choices(index)) for index in range(count)),
        usage=draw(maybe(USAGES)),
        service_tier=draw(maybe(st.just("flex"))),
        extras=draw(st.just({}) | st.just({"system_fingerprint": "fp"})),
    )
