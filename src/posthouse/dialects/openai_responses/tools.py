"""Tools and the choice among them, read and written.

Normal form: tools of a namespace stand flat, under joined names, and are written
back into it; all types of web search are `web_search`, with the type that was
asked for kept; `allowed_tools` that require one function are that function; a
`strict` of null is left out.

Sources: the tool and tool choice types of OpenAI's Python SDK, 3.54.
"""

from typing import Any

from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.custom_tools import as_function
from posthouse.dialects.neutral.members import Members, invalid
from posthouse.dialects.openai_responses.names import (
    Namespaces,
    Pair,
    descriptions_of,
    pairs_of,
    split,
)
from posthouse.dialects.openai_responses.parts import NAME
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

SEARCH = "web_search"
_USES = {use.value: use for use in ToolUse}
_NAMED = frozenset({"function", "custom"})


# --- reading ------------------------------------------------------------------------


def read_tools(
    values: list[Any], namespaces: Namespaces, *, forced: bool
) -> tuple[Tool, ...]:
    """Read tools; raises InvalidRequest.

    Args:
        values: the tools, decoded.
        namespaces: learns which of them stand in one.
        forced: one of the provider's own is called for.
    """
    tools: list[Tool] = []
    for index, value in enumerate(values):
        tools += _read_tool(Members(value, f"tools[{index}]", invalid), namespaces)
    if forced or not any(isinstance(tool, FunctionTool | CustomTool) for tool in tools):
        return tuple(tools)
    return tuple(
        ServerTool(
            tool.kind,
            tool.max_uses,
            tool.allowed_domains,
            tool.blocked_domains,
            tool.value,
            optional=True,
        )
        if isinstance(tool, ServerTool)
        else tool
        for tool in tools
    )


def _read_tool(tool: Members, namespaces: Namespaces) -> list[Tool]:
    kind = tool.needed_text("type")
    if kind == "namespace":
        name = tool.needed_text("name")
        namespaces.describe(name, tool.text("description"))
        return [
            _read_offered(part, part.text("type") or "", namespaces, name)
            for part in tool.each("tools")
        ]
    if kind in _NAMED:
        return [_read_offered(tool, kind, namespaces, None)]
    value = {"type": kind, **tool.extras()}
    if kind.startswith(SEARCH):
        return [_read_search(tool, value)]
    return [ServerTool(kind, value=value)]


def _read_offered(
    tool: Members, kind: str, namespaces: Namespaces, namespace: str | None
) -> Tool:
    """Read a tool that the client runs."""
    name = namespaces.join(namespace, tool.needed_text("name"))
    description = tool.text("description")
    if kind == "custom":
        form = tool.object("format")
        return CustomTool(name, description, form, tool.extras())
    parameters, strict = tool.object("parameters"), tool.flag("strict")
    return FunctionTool(name, description, parameters, strict, extras=tool.extras())


def _read_search(tool: Members, value: Extras) -> ServerTool:
    filters = tool.inner("filters")
    if filters is None:
        return ServerTool(SEARCH, value=value)
    return ServerTool(
        SEARCH,
        allowed_domains=filters.texts("allowed_domains"),
        blocked_domains=filters.texts("blocked_domains"),
        value=value,
    )


def read_choice(value: Any, namespaces: Namespaces) -> ToolChoice | None:
    """Read `tool_choice`; raises InvalidRequest."""
    if value is None:
        return None
    if isinstance(value, str):
        use = _USES.get(value)
        if use is None:
            raise invalid("tool_choice", "'auto', 'required', 'none' or an object")
        return ToolChoice(use)
    choice = Members(value, "tool_choice", invalid)
    kind = choice.needed_text("type")
    if kind in _NAMED:
        name = namespaces.join(choice.text("namespace"), choice.needed_text("name"))
        return ToolChoice(ToolUse.REQUIRED, (name,), choice.extras())
    if kind == "allowed_tools":
        return _read_allowed(choice, namespaces)
    name = SEARCH if kind.startswith(SEARCH) else kind
    return ToolChoice(ToolUse.REQUIRED, (name,), {"type": kind, **choice.extras()})


def _read_allowed(choice: Members, namespaces: Namespaces) -> ToolChoice:
    mode = choice.text("mode") or "auto"
    if mode not in ("auto", "required"):
        raise choice.wrong("mode", "'auto' or 'required'")
    names, others = [], []
    for tool in choice.each("tools"):
        if tool.peek("type") in _NAMED:
            name = tool.needed_text("name")
            names.append(namespaces.join(tool.text("namespace"), name))
        else:
            others.append(tool.extras())
    extras = choice.extras() | ({"tools": others} if others else {})
    return ToolChoice(ToolUse(mode), tuple(names), extras)


# --- writing ------------------------------------------------------------------------


def write_tools(
    chat: ChatRequest, losses: Losses, *, custom: bool
) -> list[dict[str, Any]]:
    """Write tools; those of a namespace back into it.

    `custom` says that the target has tools that take text.
    """
    pairs = pairs_of(chat)
    descriptions = descriptions_of(chat)
    spaces: dict[str, dict[str, Any]] = {}
    out: list[dict[str, Any]] = []
    for tool in chat.tools:
        written = _write_tool(tool, losses, own=chat.dialect == NAME, custom=custom)
        if written is None:
            continue
        pair = pairs.get(written.get("name", ""))
        if pair is None or isinstance(tool, ServerTool):
            out.append(written)
            continue
        space = spaces.get(pair[0])
        if space is None:
            space = {
                "type": "namespace",
                "name": pair[0],
                "description": descriptions.get(pair[0], ""),
                "tools": [],
            }
            spaces[pair[0]] = space
            out.append(space)
        space["tools"].append({**written, "name": pair[1]})
    return out


def _write_tool(
    tool: Tool, losses: Losses, *, own: bool, custom: bool
) -> dict[str, Any] | None:
    """Write one tool; None if it may be missing."""
    if isinstance(tool, CustomTool) and not custom:
        losses.change("tools.custom")
        tool = as_function(tool)
    match tool:
        case FunctionTool():
            return _write_function(tool, losses, own=own)
        case CustomTool():
            out: dict[str, Any] = {"type": "custom", "name": tool.name}
            if tool.description is not None:
                out["description"] = tool.description
            if tool.format is not None:
                out["format"] = tool.format
            return out | _extras(tool.extras, losses, own=own)
        case ServerTool():
            return _write_server(tool, losses, own=own)


def _write_function(tool: FunctionTool, losses: Losses, *, own: bool) -> dict[str, Any]:
    out: dict[str, Any] = {"type": "function", "name": tool.name}
    if tool.description is not None:
        out["description"] = tool.description
    if tool.parameters is not None or not own:
        # OpenAI wants a schema, if only one of nothing.
        empty: dict[str, Any] = {"type": "object", "properties": {}}
        out["parameters"] = empty if tool.parameters is None else tool.parameters
    if tool.strict is not None:
        out["strict"] = tool.strict
    elif not own:
        # Here tools are strict unless they say otherwise, and many schemas that
        # others take are refused then.
        out["strict"] = False
    if tool.cache is not None:
        losses.drop("cache_control")
    return out | _extras(tool.extras, losses, own=own)


def _write_server(
    tool: ServerTool, losses: Losses, *, own: bool
) -> dict[str, Any] | None:
    if own:
        return tool.value
    if tool.kind == SEARCH:
        if tool.max_uses is not None:
            losses.drop("tools.max_uses")
        if tool.blocked_domains:
            losses.refuse(
                "tools.blocked_domains", "This model's search takes no blocked domains"
            )
        out: dict[str, Any] = {"type": SEARCH}
        if tool.allowed_domains:
            out["filters"] = {"allowed_domains": list(tool.allowed_domains)}
        return out
    if tool.optional:
        losses.drop(f"tools.{tool.kind}")
        return None
    return losses.refuse("tools", f"This model has no tool of type {tool.kind!r}")


def _extras(extras: Extras, losses: Losses, *, own: bool) -> Extras:
    if own:
        return extras
    for name in extras:
        losses.drop(f"tools.{name}")
    return {}


def write_choice(chat: ChatRequest, losses: Losses, *, custom: bool) -> Any:
    """Write `tool_choice`; None if nothing was chosen."""
    choice = chat.tool_choice
    if choice is None:
        return None
    extras: Extras = choice.extras if chat.dialect == NAME else {}
    if chat.dialect != NAME:
        for name in choice.extras:
            losses.drop(f"tool_choice.{name}")
    if "type" in extras:
        return extras
    pairs = pairs_of(chat)
    texts = {tool.name for tool in chat.tools if isinstance(tool, CustomTool)}
    named = [_named(name, pairs, texts if custom else set()) for name in choice.names]
    if choice.use is ToolUse.REQUIRED and len(named) == 1 and "tools" not in extras:
        return named[0] | extras
    if choice.use is ToolUse.NONE or (not named and not extras):
        return choice.use.value
    tools = [*named, *extras.get("tools", ())]
    return {"type": "allowed_tools", "mode": choice.use.value, **extras, "tools": tools}


def _named(name: str, pairs: dict[str, Pair], custom: set[str]) -> dict[str, Any]:
    if name == SEARCH and name not in pairs:
        return {"type": SEARCH}
    kind = "custom" if name in custom else "function"
    return {"type": kind, **split(pairs, name)}
