"""A client's request into the neutral form.

Source: `MessageCreateParams` of anthropic 2.12.0 (2026-11). A normal form is all
that a round trip changes: a lone text block without other members is a string,
results of tools come first in their turn, members that are null are absent.
`extras` of the request: members of the body; `metadata`, `thinking`,
`tool_choice` and `output_config` there hold what is unknown in them.
"""

from typing import Any

from msgspec import Raw, Struct, structs

from posthouse.dialects.anthropic_messages.caching import NAME, take_cache
from posthouse.dialects.anthropic_messages.read_parts import read_blocks
from posthouse.dialects.anthropic_messages.usual_request import (
    READ,
    ROLES,
    as_turns,
    read_usual,
    read_words,
)
from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.neutral.members import Members, invalid
from posthouse.model.chat import (
    ChatRequest,
    Extras,
    FunctionTool,
    Message,
    OutputFormat,
    OutputKind,
    Reasoning,
    Role,
    Sampling,
    ServerTool,
    Tool,
    ToolChoice,
    ToolUse,
)
from posthouse.wire import json
from posthouse.wire.json import Envelope, MalformedJSON

_NONE = Raw()
_body = json.decoder(dict[str, Any])


class _Block(Struct, gc=False):
    input: Raw = _NONE


class _Message(Struct, gc=False):
    content: str | list[_Block] | None = None


_messages = json.decoder(list[_Message])


def read_request(request: ParsedRequest) -> ChatRequest:
    """Read a request; raises InvalidRequest."""
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
    return _with_options(chat, _members(further))


def _members(envelope: Envelope) -> Members:
    try:
        return Members(json.decode_with(_body, json.encode(envelope)), "", invalid)
    except MalformedJSON as error:
        raise invalid("body", str(error)) from None


def _read_members(request: ParsedRequest) -> ChatRequest:
    """Read whatever there is, member by member."""
    top = _members(request.envelope)
    top.take("model")
    chat = ChatRequest(
        dialect=NAME,
        model=request.model,
        messages=_read_system(top) + _read_messages(top, request),
        sampling=Sampling(
            temperature=top.number("temperature"),
            top_p=top.number("top_p"),
            top_k=top.whole("top_k"),
            stop=top.texts("stop_sequences"),
        ),
        output_limit=top.whole("max_tokens"),
        service_tier=top.text("service_tier"),
        stream=bool(top.flag("stream")),
        include_usage=True,
    )
    return _with_options(chat, top)


def _with_options(chat: ChatRequest, top: Members) -> ChatRequest:
    """Add tools, what the answer shall be like, and what nobody knows."""
    extras: Extras = {}
    choice, parallel = _read_choice(top, extras)
    output_format, effort = _read_output(top, extras)
    tools = tuple(map(_read_tool, top.each("tools")))
    return structs.replace(
        chat,
        tools=_with_optional(tools, choice),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        output_format=output_format,
        reasoning=_read_reasoning(top, effort, extras),
        user=_read_user(top, extras),
        extras=extras | top.extras(),
    )


# --- messages -----------------------------------------------------------------------


def _read_system(top: Members) -> tuple[Message, ...]:
    if top.peek("system") is None:
        return ()
    parts = read_blocks(top, "system")
    return (Message(Role.SYSTEM, parts),) if parts else ()


def _read_messages(top: Members, request: ParsedRequest) -> tuple[Message, ...]:
    inputs = _inputs_of(request)
    messages: list[Message] = []
    for index, members in enumerate(top.each("messages")):
        given = inputs[index] if index < len(inputs) else ()
        messages += _read_message(members, given)
    return tuple(messages)


def _inputs_of(request: ParsedRequest) -> list[list[Raw]]:
    """The arguments of tool calls to the letter, by message and block."""
    data = request.envelope.get("messages")
    if data is None or b'"input"' not in bytes(data):
        return []
    try:
        messages = json.decode_with(_messages, data)
    except MalformedJSON:
        # What is wrong with them is told where they are read.
        return []
    return [
        [block.input for block in message.content]
        if isinstance(message.content, list)
        else []
        for message in messages
    ]


def _read_message(members: Members, inputs: list[Raw] | tuple[()]) -> list[Message]:
    role = ROLES.get(members.needed_text("role"))
    if role is None:
        raise members.not_one_of("role", ROLES)
    parts = read_blocks(members, "content", inputs)
    return as_turns(role, parts, members.extras())


# --- tools --------------------------------------------------------------------------


def _read_tool(tool: Members) -> Tool:
    kind = tool.text("type")
    if kind not in (None, "custom"):
        return _read_server_tool(kind, tool)
    cache, extras = take_cache(tool)
    told = {} if kind is None else {"type": kind}
    return FunctionTool(
        name=tool.needed_text("name"),
        description=tool.text("description"),
        parameters=tool.object("input_schema"),
        strict=tool.flag("strict"),
        cache=cache,
        extras=told | extras | tool.extras(),
    )


def _read_server_tool(kind: str, tool: Members) -> ServerTool:
    whole = {"type": kind} | tool.extras()
    if not kind.startswith("web_search_"):
        return ServerTool(kind, value=whole)
    return ServerTool(
        "web_search",
        max_uses=tool.whole("max_uses"),
        allowed_domains=tool.texts("allowed_domains"),
        blocked_domains=tool.texts("blocked_domains"),
        value=whole,
    )


def _with_optional(
    tools: tuple[Tool, ...], choice: ToolChoice | None
) -> tuple[Tool, ...]:
    """Say of server tools whether an answer can do without them."""
    forced = choice is not None and choice.use is ToolUse.REQUIRED
    if forced or len(tools) < 2:
        return tools
    return tuple(
        ServerTool(
            tool.kind,
            tool.max_uses,
            tool.allowed_domains,
            tool.blocked_domains,
            optional=True,
            value=tool.value,
        )
        if isinstance(tool, ServerTool)
        else tool
        for tool in tools
    )


_USES = {"auto": ToolUse.AUTO, "any": ToolUse.REQUIRED, "none": ToolUse.NONE}


def _read_choice(top: Members, extras: Extras) -> tuple[ToolChoice | None, bool | None]:
    """Take the choice of tools, and whether several may be called at once."""
    choice = top.inner("tool_choice")
    if choice is None:
        return None, None
    kind = choice.needed_text("type")
    alone = choice.flag("disable_parallel_tool_use")
    parallel = None if alone is None else not alone
    if kind == "tool":
        name = choice.needed_text("name")
        return ToolChoice(ToolUse.REQUIRED, (name,), choice.extras()), parallel
    use = _USES.get(kind)
    if use is None:
        extras["tool_choice"] = {"type": kind} | choice.extras()
        return None, parallel
    return ToolChoice(use, extras=choice.extras()), parallel


# --- the answer ---------------------------------------------------------------------


def _read_output(
    top: Members, extras: Extras
) -> tuple[OutputFormat | None, str | None]:
    """Take the answer's format, and how much effort it is worth."""
    config = top.inner("output_config")
    if config is None:
        return None, None
    effort = config.text("effort")
    found = config.inner("format")
    output_format = None
    if found is not None:
        kind, schema = found.needed_text("type"), found.object("schema")
        rest = found.extras()
        if kind == "json_schema" and not rest:
            output_format = OutputFormat(OutputKind.SCHEMA, schema)
        else:
            whole = {"type": kind} | ({} if schema is None else {"schema": schema})
            config.put_back("format", whole | rest)
    rest = config.extras()
    if rest:
        extras["output_config"] = rest
    return output_format, effort


_SHOWN = {"summarized": True, "omitted": False, None: None}


def _read_reasoning(
    top: Members, effort: str | None, extras: Extras
) -> Reasoning | None:
    whole = top.peek("thinking")
    thinking = top.inner("thinking")
    if thinking is None:
        return None if effort is None else Reasoning(effort=effort)
    kind = thinking.needed_text("type")
    budget, display = thinking.whole("budget_tokens"), thinking.text("display")
    known = kind in ("enabled", "adaptive", "disabled") and display in _SHOWN
    if not known or thinking.extras():
        extras["thinking"] = whole
    return Reasoning(
        enabled=kind != "disabled",
        effort=effort,
        budget=budget,
        adaptive=kind == "adaptive",
        show=_SHOWN.get(display),
    )


def _read_user(top: Members, extras: Extras) -> str | None:
    metadata = top.inner("metadata")
    if metadata is None:
        return None
    user = metadata.text("user_id")
    rest = metadata.extras()
    if rest:
        extras["metadata"] = rest
    return user
