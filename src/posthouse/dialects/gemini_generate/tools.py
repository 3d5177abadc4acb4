"""Tools and which of them may be called, both ways.

Sources: `types.Tool` and `types.ToolConfig` in google-genai 3.4.0;
https://ai.google.dev/gemini-api/docs/function-calling (2026-11).
"""

from typing import Any

from posthouse.dialects.gemini_generate.schema import from_subset, to_subset
from posthouse.dialects.gemini_generate.writing import Writing
from posthouse.dialects.google.names import each, inner
from posthouse.dialects.neutral.custom_tools import as_function
from posthouse.dialects.neutral.members import Members, invalid
from posthouse.model.chat import (
    CustomTool,
    Extras,
    FunctionTool,
    ServerTool,
    Tool,
    ToolChoice,
    ToolUse,
)

_DECLARATIONS = "functionDeclarations"
_SEARCHES = frozenset({"googleSearch", "googleSearchRetrieval"})
_SEARCH = "web_search"
_KINDS = {"codeExecution": "code_execution", "urlContext": "url_context"}
_MODES = {
    "": ToolUse.AUTO,
    "MODE_UNSPECIFIED": ToolUse.AUTO,
    "AUTO": ToolUse.AUTO,
    "VALIDATED": ToolUse.AUTO,
    "ANY": ToolUse.REQUIRED,
    "NONE": ToolUse.NONE,
}
_USES = {ToolUse.AUTO: "AUTO", ToolUse.REQUIRED: "ANY", ToolUse.NONE: "NONE"}
_VALIDATED = "VALIDATED"


# --- reading ------------------------------------------------------------------------


def read_tools(members: Members) -> tuple[Tool, ...]:
    """Take the tools; raises InvalidRequest."""
    found: list[Tool] = []
    for entry in each(members, "tools", invalid):
        found += [_read_function(one) for one in each(entry, _DECLARATIONS, invalid)]
        found += [
            _read_server_tool(name, value) for name, value in entry.extras().items()
        ]
    return tuple(found)


def _read_function(one: Members) -> FunctionTool:
    name = one.needed_text("name")
    description = one.text("description")
    schema = one.object("parametersJsonSchema")
    subset = one.object("parameters")
    if schema is None and subset is not None:
        schema = from_subset(subset)
    return FunctionTool(name, description, schema, extras=one.extras())


def _read_server_tool(name: str, value: Any) -> ServerTool:
    kind = _SEARCH if name in _SEARCHES else _KINDS.get(name, name)
    blocked = value.get("excludeDomains") if isinstance(value, dict) else None
    domains = blocked if isinstance(blocked, list) else []
    return ServerTool(
        kind,
        blocked_domains=tuple(one for one in domains if isinstance(one, str)),
        value={name: value},
    )


def read_choice(members: Members) -> tuple[ToolChoice | None, Extras]:
    """Take `toolConfig`; give the choice, and what else it says."""
    config = inner(members, "toolConfig", invalid)
    if config is None:
        return None, {}
    calling = inner(config, "functionCallingConfig", invalid)
    choice = None if calling is None else _read_calling(calling)
    beside = config.extras().items()
    return choice, {f"toolConfig.{name}": value for name, value in beside}


def _read_calling(calling: Members) -> ToolChoice | None:
    mode = (calling.text("mode") or "").upper()
    names = calling.texts("allowedFunctionNames")
    use = _MODES.get(mode)
    if use is None:
        raise calling.not_one_of("mode", filter(None, _MODES))
    extras = calling.extras()
    if mode == _VALIDATED and not names:
        extras["mode"] = mode
    if mode in ("", "MODE_UNSPECIFIED") and not (names or extras):
        return None
    return ToolChoice(use, names, extras)


# --- writing ------------------------------------------------------------------------


def write_tools(
    tools: tuple[Tool, ...], choice: ToolChoice | None, writing: Writing
) -> Extras:
    """Write the tools and the choice among them; raises InvalidRequest."""
    functions: list[Extras] = []
    others: list[Extras] = []
    for tool in tools:
        match tool:
            case FunctionTool():
                functions.append(_write_function(tool, writing))
            case CustomTool():
                writing.losses.change("tools.custom")
                functions.append(_write_function(as_function(tool), writing))
                writing.extras(tool.extras, "tools")
            case ServerTool():
                _write_server_tool(tool, others, writing)
    body: Extras = {}
    entries = [{_DECLARATIONS: functions}] if functions else []
    if entries or others:
        body["tools"] = [*entries, *others]
    if choice is not None:
        body |= _write_choice(choice, writing, any_functions=bool(functions))
    return body


def _write_function(tool: FunctionTool, writing: Writing) -> Extras:
    entry: Extras = {"name": tool.name}
    if tool.description is not None:
        entry["description"] = tool.description
    if tool.parameters is not None:
        entry |= write_parameters(tool.parameters, writing)
    if tool.strict:
        writing.losses.drop("tools.strict")
    writing.mark(tool.cache)
    return entry | writing.extras(tool.extras, "tools")


def write_parameters(schema: Extras, writing: Writing) -> Extras:
    """Write a function's parameters as the model takes them; none for no members."""
    if not writing.traits.schema_subset:
        if _takes_nothing(schema) and not writing.own:
            return {}
        return {"parametersJsonSchema": schema}
    cleaned = to_subset(schema)
    return {} if cleaned is None else {"parameters": cleaned}


def _takes_nothing(schema: Extras) -> bool:
    """Whether there is nothing to say of the parameters."""
    return not schema.get("properties") and not schema.keys() - {
        "type",
        "properties",
        "additionalProperties",
        "required",
        "$schema",
    }


def _write_server_tool(
    tool: ServerTool, others: list[Extras], writing: Writing
) -> None:
    """Add a tool that Google runs; raises InvalidRequest."""
    losses = writing.losses
    if writing.own:
        others.append(tool.value)
        return
    if tool.kind != _SEARCH:
        if not tool.optional:
            losses.refuse(
                "tools", f"This model cannot run the tool '{tool.kind[:64]}'."
            )
        losses.drop(f"tools.{tool.kind}")
        return
    if tool.allowed_domains or tool.blocked_domains:
        losses.refuse("tools", "This model cannot hold a web search to domains.")
    if tool.max_uses is not None:
        losses.drop("tools.max_uses")
    others.append({"googleSearch": {}})


def _write_choice(
    choice: ToolChoice, writing: Writing, *, any_functions: bool
) -> Extras:
    if not any_functions and not writing.own:
        if choice.use is ToolUse.REQUIRED:
            writing.losses.refuse(
                "tool_choice", "There is no tool that could be called."
            )
        return {}
    calling: Extras = {"mode": _USES[choice.use]}
    if choice.names and choice.use is not ToolUse.NONE:
        if choice.use is ToolUse.AUTO:
            # The one that narrows what may be called, and forces nothing.
            calling["mode"] = _VALIDATED
        calling["allowedFunctionNames"] = list(choice.names)
    calling |= writing.extras(choice.extras, "tool_choice")
    return {"toolConfig": {"functionCallingConfig": calling}}
