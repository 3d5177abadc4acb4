"""Tools and which of them to call, both ways.

Sources: OpenAI's API description, `ChatCompletionTool`, `CustomToolChatCompletions`,
`ChatCompletionToolChoiceOption`, `ChatCompletionAllowedTools` and the older
`functions` (openapi, 2026-08); `cache_control` on tools: OpenRouter; tools of
providers' own: Zhipu's `web_search`, Moonshot's `builtin_function`.
"""

from typing import Any

from posthouse.dialects.neutral.custom_tools import as_function
from posthouse.dialects.neutral.members import Members
from posthouse.dialects.openai_chat.read_parts import read_mark
from posthouse.dialects.openai_chat.write_parts import Writing, tell_extras
from posthouse.errors import one_of
from posthouse.model.chat import (
    ChatRequest,
    CustomTool,
    Extras,
    FunctionTool,
    ServerTool,
    Tool,
    ToolChoice,
    ToolUse,
)

_SEARCH = "web_search"
_SEARCH_OPTIONS = "web_search_options"


# --- reading ------------------------------------------------------------------------


def read_tools(members: Members) -> tuple[Tool, ...]:
    """Take all tools out of a request's members."""
    tools = [_read_tool(tool) for tool in members.each("tools")]
    tools += [
        _read_function(function, function, legacy=True)
        for function in members.each("functions")
    ]
    options = members.object(_SEARCH_OPTIONS)
    if options is not None:
        tools.append(ServerTool(_SEARCH, value={_SEARCH_OPTIONS: options}))
    return tuple(tools)


def _read_tool(members: Members) -> Tool:
    kind = members.text("type") or "function"
    if kind == "function":
        inner = members.inner("function")
        if inner is None:
            raise members.wrong("function", "an object")
        return _read_function(inner, members, legacy=False)
    if kind == "custom":
        inner = members.inner("custom")
        if inner is None:
            raise members.wrong("custom", "an object")
        name = inner.needed_text("name")
        description = inner.text("description")
        form = _flat(inner.object("format"))
        extras = _with(members.extras(), "custom", inner.extras())
        return CustomTool(name, description, form, extras)
    return ServerTool(kind, value={"type": kind, **members.extras()})


def _read_function(inner: Members, outer: Members, *, legacy: bool) -> FunctionTool:
    name = inner.needed_text("name")
    description = inner.text("description")
    parameters = inner.object("parameters")
    strict = inner.flag("strict")
    cache, extras = read_mark(outer)
    if not legacy:
        extras = _with(extras, "function", inner.extras())
    return FunctionTool(
        name,
        description,
        parameters,
        strict,
        legacy=legacy,
        cache=cache,
        extras=extras,
    )


def read_choice(members: Members) -> ToolChoice | None:
    """Take the choice of tools, by either of its names."""
    name = "tool_choice" if members.peek("tool_choice") is not None else "function_call"
    value = members.peek(name)
    if value is None:
        return None
    if isinstance(value, str):
        members.take(name)
        if value not in list(ToolUse):
            # Anthropic's word, which some servers take.
            if value != "any":
                raise members.wrong(name, f"{one_of(ToolUse)}, or an object")
            value = "required"
        return ToolChoice(ToolUse(value))
    inner = members.inner(name)
    if inner is None or name == "function_call":
        if inner is None:
            return None
        return ToolChoice(ToolUse.REQUIRED, (inner.needed_text("name"),))
    return _read_named(inner)


def _read_named(members: Members) -> ToolChoice:
    kind = members.text("type") or "function"
    if kind == "allowed_tools":
        allowed = members.inner("allowed_tools") or members
        mode = allowed.text("mode") or "auto"
        if mode not in ("auto", "required"):
            raise allowed.not_one_of("mode", ("auto", "required"))
        names = tuple(_name_in(tool) for tool in allowed.each("tools"))
        return ToolChoice(ToolUse(mode), names, members.extras())
    if kind in ("auto", "none", "required"):
        return ToolChoice(ToolUse(kind), extras=members.extras())
    return ToolChoice(ToolUse.REQUIRED, (_name_in(members, kind),), members.extras())


def _name_in(members: Members, kind: str | None = None) -> str:
    """The name in `{type, <type>: {name}}`, or in `{type, name}`."""
    kind = kind or members.text("type") or "function"
    inner = members.inner(kind)
    return (inner or members).needed_text("name")


def _flat(form: Extras | None) -> Extras | None:
    """A custom tool's format as the neutral form has it: without an inner object."""
    grammar = form.get("grammar") if form is not None else None
    if form is None or not isinstance(grammar, dict):
        return form
    return {name: kept for name, kept in form.items() if name != "grammar"} | grammar


def _nested(form: Extras | None) -> Extras | None:
    """What `_flat` has made flat."""
    if form is None or form.get("type") != "grammar":
        return form
    grammar = {name: kept for name, kept in form.items() if name != "type"}
    return {"type": "grammar", "grammar": grammar}


def _with(extras: Extras, name: str, inner: Extras) -> Extras:
    return extras | {name: inner} if inner else extras


# --- writing ------------------------------------------------------------------------


def write_tools(chat: ChatRequest, writing: Writing) -> Extras:
    """Give the members that tell of tools; raises InvalidRequest."""
    body: Extras = {}
    tools: list[Extras] = []
    for tool in chat.tools:
        match tool:
            case FunctionTool():
                tools.append(_write_function(tool, writing))
            case CustomTool():
                tools.append(_write_custom(tool, writing))
            case ServerTool():
                _write_server_tool(tool, writing, body, tools)
    if tools:
        body["tools"] = tools
    choice = chat.tool_choice
    if choice is not None:
        body |= _write_choice(choice, chat, writing)
    if chat.parallel_tool_calls is not None and tools:
        body["parallel_tool_calls"] = chat.parallel_tool_calls
    return body


def _write_function(tool: FunctionTool, writing: Writing) -> Extras:
    inner = _present(
        name=tool.name,
        description=tool.description,
        parameters=tool.parameters,
        strict=tool.strict,
    )
    entry: Extras = {"type": "function", "function": inner}
    return _merged(entry, tool, writing) | writing.mark(tool.cache)


def _write_custom(tool: CustomTool, writing: Writing) -> Extras:
    if not writing.traits.custom_tools:
        writing.losses.change("tools.custom")
        return _write_function(as_function(tool), writing)
    form = _nested(tool.format)
    inner = _present(name=tool.name, description=tool.description, format=form)
    return _merged({"type": "custom", "custom": inner}, tool, writing)


def _merged(entry: Extras, tool: FunctionTool | CustomTool, writing: Writing) -> Extras:
    """Put a tool's extras back, or tell that they are left out."""
    if not tool.extras:
        return entry
    if not writing.own:
        tell_extras(tool.extras, "tools", writing.losses)
        return entry
    extras = dict(tool.extras)
    kind = entry["type"]
    inner = extras.pop(kind, None)
    if isinstance(inner, dict):
        entry[kind] = entry[kind] | inner
    return entry | extras


def _write_server_tool(
    tool: ServerTool, writing: Writing, body: Extras, tools: list[Extras]
) -> None:
    """Add a tool that the provider runs; raises InvalidRequest."""
    if writing.own:
        if _SEARCH_OPTIONS in tool.value:
            body |= tool.value
        else:
            tools.append(tool.value)
        return
    if tool.kind != _SEARCH and tool.optional:
        writing.losses.drop(f"tools.{tool.kind}")
        return
    if tool.kind != _SEARCH:
        writing.losses.refuse(
            "tools", f"This model cannot run the tool '{tool.kind[:64]}'."
        )
    if tool.allowed_domains or tool.blocked_domains:
        writing.losses.refuse(
            "tools", "This model cannot hold a web search to domains."
        )
    if tool.max_uses is not None:
        writing.losses.drop("tools.max_uses")
    body[_SEARCH_OPTIONS] = {}


def _write_choice(choice: ToolChoice, chat: ChatRequest, writing: Writing) -> Extras:
    if choice.extras and not writing.own:
        tell_extras(choice.extras, "tool_choice", writing.losses)
    if not any(isinstance(tool, FunctionTool | CustomTool) for tool in chat.tools):
        # Providers refuse a choice among nothing.
        if choice.use is ToolUse.REQUIRED and not chat.tools:
            writing.losses.refuse(
                "tool_choice", "There is no tool that could be called."
            )
        if choice.use is not ToolUse.AUTO and not writing.own:
            writing.losses.drop("tool_choice")
        return {}
    if not choice.names or choice.use is ToolUse.NONE:
        return {"tool_choice": str(choice.use)}
    named = [_named(name, chat, writing) for name in choice.names]
    if len(named) == 1 and choice.use is ToolUse.REQUIRED:
        return {"tool_choice": named[0]}
    allowed = {"mode": str(choice.use), "tools": named}
    return {"tool_choice": {"type": "allowed_tools", "allowed_tools": allowed}}


def _named(name: str, chat: ChatRequest, writing: Writing) -> Extras:
    custom = writing.traits.custom_tools and any(
        isinstance(tool, CustomTool) and tool.name == name for tool in chat.tools
    )
    kind = "custom" if custom else "function"
    return {"type": kind, kind: {"name": name}}


def _present(**members: Any) -> Extras:
    return {name: value for name, value in members.items() if value is not None}
