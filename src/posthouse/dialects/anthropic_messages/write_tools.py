"""Tools and the choice between them, written for a provider.

Source: `ToolUnionParam` and `ToolChoiceParam` of anthropic 2.12.0 (2026-11).
"""

from typing import Any

from posthouse.dialects.anthropic_messages.caching import NAME, write_cache
from posthouse.dialects.anthropic_messages.schema import fitted
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.custom_tools import as_function
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
from posthouse.model.traits import Traits

_WEB_SEARCH = "web_search_20250305"
_USES = {"low": 1, "medium": 5, "high": 10}
"""By how much of the web OpenAI's callers want in the context."""
_FORCED = ("any", "tool")
_TYPES = {ToolUse.AUTO: "auto", ToolUse.REQUIRED: "any", ToolUse.NONE: "none"}


def write_tools(
    chat: ChatRequest, traits: Traits, losses: Losses
) -> tuple[dict[str, Any], str]:
    """Write `tools` and `tool_choice`, as far as there are any.

    What cannot be forced is asked for in the words that come beside; "" for none.
    """
    own = chat.dialect == NAME
    if not (chat.tools or chat.tool_choice or own):
        return {}, ""
    writer = _ToolWriter(own, losses)
    tools = chat.tools
    choice = chat.tool_choice
    if choice is not None and _narrows(choice):
        losses.change("tool_choice")
        tools = tuple(tool for tool in tools if _name(tool) in choice.names)
    written = [entry for tool in tools if (entry := writer.tool(tool)) is not None]
    body: dict[str, Any] = {"tools": written} if written else {}
    found = writer.choice(chat, has_tools=bool(written))
    if found is None:
        return body, ""
    if traits.forced_tools or found["type"] not in _FORCED or writer.own:
        return body | {"tool_choice": found}, ""
    losses.change("tool_choice")
    name = found.pop("name", None)
    asked = "Call a tool." if name is None else f"Call the tool {name!r}."
    return body | {"tool_choice": found | {"type": "auto"}}, asked


def _narrows(choice: ToolChoice) -> bool:
    """Whether the choice leaves out tools, which has no word of its own."""
    one = choice.use is ToolUse.REQUIRED and len(choice.names) == 1
    return bool(choice.names) and not one


def _name(tool: Tool) -> str:
    return tool.kind if isinstance(tool, ServerTool) else tool.name


class _ToolWriter:
    def __init__(self, own: bool, losses: Losses) -> None:
        self.own = own
        self._losses = losses

    def tool(self, tool: Tool) -> Extras | None:
        match tool:
            case FunctionTool():
                return self._function(tool)
            case CustomTool():
                self._losses.change("tools")
                for name in tool.extras:
                    self._losses.drop(f"tools.{name}")
                return self._function(as_function(tool))
            case ServerTool():
                return self._server(tool)

    def _function(self, tool: FunctionTool) -> Extras:
        written: Extras = {"name": tool.name}
        if tool.description is not None:
            written["description"] = tool.description
        if tool.parameters is not None or not self.own:
            written["input_schema"] = self._schema(tool)
        if tool.strict is not None and (tool.strict or self.own):
            written["strict"] = tool.strict
        if not self.own:
            for name in tool.extras:
                self._losses.drop(f"tools.{name}")
            return written | write_cache(tool.cache, {})
        extras = tool.extras
        rest = {name: extras[name] for name in extras if name != "cache_control"}
        return written | rest | write_cache(tool.cache, extras)

    def _schema(self, tool: FunctionTool) -> Extras:
        parameters = tool.parameters
        if self.own and parameters is not None:
            return parameters
        schema = {"type": "object", "properties": {}} | (parameters or {})
        if not tool.strict:
            return schema
        taken: Extras = fitted(schema)
        if taken != schema:
            self._losses.change("tools.parameters")
        return taken

    def _server(self, tool: ServerTool) -> Extras | None:
        if self.own:
            return tool.value
        if tool.kind != "web_search":
            if tool.optional:
                self._losses.drop(f"tools.{tool.kind}")
                return None
            self._losses.refuse(
                "tools", f"Tools of type {tool.kind[:64]!r} are not known here."
            )
        written: Extras = {"type": _WEB_SEARCH, "name": "web_search"}
        size = tool.value.get("search_context_size")
        uses = tool.max_uses or (_USES.get(size) if isinstance(size, str) else None)
        if uses is not None:
            written["max_uses"] = uses
        if tool.allowed_domains:
            written["allowed_domains"] = list(tool.allowed_domains)
        elif tool.blocked_domains:
            written["blocked_domains"] = list(tool.blocked_domains)
        location = _location(tool.value.get("user_location"))
        return written | ({"user_location": location} if location else {})

    def choice(self, chat: ChatRequest, *, has_tools: bool) -> Extras | None:
        """Write which tools may be called; nothing where there are none."""
        choice, parallel = chat.tool_choice, chat.parallel_tool_calls
        if not has_tools and not self.own:
            return None
        alone = {} if parallel is None else {"disable_parallel_tool_use": not parallel}
        unknown = chat.extras.get("tool_choice") if self.own else None
        if isinstance(unknown, dict):
            return unknown | alone
        if choice is None:
            return {"type": "auto"} | alone if parallel is False else None
        for name in () if self.own else choice.extras:
            self._losses.drop(f"tool_choice.{name}")
        rest = choice.extras if self.own else {}
        if choice.use is ToolUse.NONE:
            return {"type": "none"} | rest
        if choice.use is ToolUse.REQUIRED and len(choice.names) == 1:
            return {"type": "tool", "name": choice.names[0]} | alone | rest
        return {"type": _TYPES[choice.use]} | alone | rest


def _location(value: Any) -> Extras:
    """Write where the end user is, from OpenAI's shapes of it."""
    if not isinstance(value, dict):
        return {}
    inner = value.get("approximate")
    found = inner if isinstance(inner, dict) else value
    names = ("city", "region", "country", "timezone")
    place = {name: found[name] for name in names if isinstance(found.get(name), str)}
    return {"type": "approximate"} | place if place else {}
