"""Reading a client's request into the neutral form.

Sources: OpenAI's API description, `CreateChatCompletionRequest` (openapi,
2026-08); see `effort`, `tools` and `read_parts` for what others have added.
"""

from typing import Any

from msgspec import structs

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.neutral.members import Members, invalid
from posthouse.dialects.openai.envelope import judged
from posthouse.dialects.openai_chat.effort import read_reasoning
from posthouse.dialects.openai_chat.read_messages import read_messages
from posthouse.dialects.openai_chat.thoughts import NAME
from posthouse.dialects.openai_chat.tools import read_choice, read_tools
from posthouse.dialects.openai_chat.usual_request import (
    JUDGED,
    READ,
    read_usual,
    read_words,
)
from posthouse.model.chat import (
    AudioOutput,
    ChatRequest,
    FunctionTool,
    OutputFormat,
    OutputKind,
    Sampling,
)
from posthouse.wire import json
from posthouse.wire.json import Envelope

_value = json.decoder(Any)


def read_request(request: ParsedRequest) -> ChatRequest:
    """Read a client's request; raises InvalidRequest."""
    asked = request.asked
    if asked is not None:
        return read_words(request, asked)
    chat = read_usual(request)
    if chat is None:
        return _read_members(request)
    envelope = request.envelope
    if envelope.keys() <= READ:
        return chat
    further = {name: value for name, value in envelope.items() if name not in READ}
    return _with_options(chat, Members(_decoded(further), "", invalid))


def _read_members(request: ParsedRequest) -> ChatRequest:
    """Read whatever there is, member by member."""
    members = Members(_decoded(request.envelope), "", invalid)
    for name in JUDGED:
        members.take(name)
    chat = ChatRequest(
        dialect=NAME,
        model=request.model,
        messages=read_messages(members.array("messages")),
        sampling=_read_sampling(members),
        output_limit=request.output_limit,
        choices=request.choices if "n" in request.envelope else None,
        service_tier=request.service_tier,
        stream=request.stream,
        include_usage=request.include_usage,
    )
    return _with_options(chat, members)


def _with_options(chat: ChatRequest, members: Members) -> ChatRequest:
    """Add tools, what the answer shall be like, and what nobody knows."""
    tools = read_tools(members)
    choice = read_choice(members)
    parallel = members.flag("parallel_tool_calls")
    legacy = any(isinstance(tool, FunctionTool) and tool.legacy for tool in tools)
    modalities = members.texts("modalities")
    user = members.text("user")
    if user is None:
        user = members.text("safety_identifier")
    _take_stream_options(members)
    return structs.replace(
        chat,
        tools=tools,
        tool_choice=choice,
        # Who calls functions in the old way can take one call at a time.
        parallel_tool_calls=False if legacy else parallel,
        output_format=_read_format(members),
        reasoning=read_reasoning(members),
        modalities=modalities,
        audio=_read_audio(members),
        user=user,
        cache_key=members.text("prompt_cache_key"),
        extras=members.extras(),
    )


def _decoded(envelope: Envelope) -> dict[str, Any]:
    return {name: judged(value, name, _value) for name, value in envelope.items()}


def _read_sampling(members: Members) -> Sampling:
    return Sampling(
        temperature=members.number("temperature"),
        top_p=members.number("top_p"),
        top_k=members.whole("top_k"),
        frequency_penalty=members.number("frequency_penalty"),
        presence_penalty=members.number("presence_penalty"),
        seed=members.whole("seed"),
        stop=_read_stop(members),
        logit_bias=_read_bias(members),
        logprobs=members.flag("logprobs"),
        top_logprobs=members.whole("top_logprobs"),
    )


def _read_stop(members: Members) -> tuple[str, ...]:
    value = members.peek("stop")
    if isinstance(value, str):
        members.take("stop")
        return (value,)
    return members.texts("stop")


def _read_bias(members: Members) -> dict[str, float] | None:
    value = members.object("logit_bias")
    if value is None:
        return None
    if all(type(entry) in (int, float) for entry in value.values()):
        return value
    raise members.wrong("logit_bias", "an object of numbers")


def _read_format(members: Members) -> OutputFormat | None:
    value = members.peek("response_format")
    inner = members.inner("response_format")
    if inner is None:
        return None
    kind = inner.text("type")
    if kind == "text":
        return OutputFormat(OutputKind.TEXT)
    if kind == "json_object":
        return OutputFormat(OutputKind.JSON)
    if kind != "json_schema":
        # A grammar or the like, which some servers know.
        members.put_back("response_format", value)
        return None
    schema = inner.inner("json_schema")
    if schema is None:
        raise inner.wrong("json_schema", "an object")
    return OutputFormat(
        OutputKind.SCHEMA,
        schema.object("schema"),
        schema.text("name"),
        schema.text("description"),
        schema.flag("strict"),
    )


def _read_audio(members: Members) -> AudioOutput | None:
    audio = members.inner("audio")
    if audio is None:
        return None
    found = AudioOutput(audio.take("voice"), audio.text("format"))
    return found if found != AudioOutput() else None


def _take_stream_options(members: Members) -> None:
    """What the options say of usage is judged already."""
    options = members.inner("stream_options")
    if options is not None:
        options.take("include_usage")
        members.put_back("stream_options", options.extras() or None)
