"""Which tools the sandbox calls, and with what.

With `tool_choice` auto it calls the tools that the prompt names, otherwise the
first; once results have come it answers in words. Arguments are valid for the
tool's JSON schema.
"""

from typing import Any

from msgspec import Struct

from posthouse.providers.sandbox import checks
from posthouse.providers.sandbox.checks import Body
from posthouse.providers.sandbox.conversation import Conversation
from posthouse.providers.sandbox.directives import Directives
from posthouse.providers.sandbox.instances import MAX_DEPTH, instance
from posthouse.providers.sandbox.refusal import RequestRefused
from posthouse.wire import json

MODES = ("none", "auto", "required")


class Tool(Struct, frozen=True):
    """A tool that the caller offers."""

    kind: str
    """`function` or `custom`."""
    name: str
    schema: Any
    param: str
    """Where it stands in the request."""


class Call(Struct, frozen=True):
    """A call of a tool: its arguments as JSON text, or a custom tool's input."""

    kind: str
    name: str
    text: str


class Choice(Struct, frozen=True):
    """What may, must or must not be called."""

    mode: str
    tools: list[Tool]


def read_tools(body: Body) -> list[Tool]:
    """Read `tools`."""
    offered = body.get("tools")
    if offered is None or offered == []:
        return []
    found = []
    for index, tool in enumerate(checks.array(body, "tools", 128) or ()):
        where = f"tools[{index}]"
        if not isinstance(tool, dict):
            raise checks.wrong_type(where, "an object", tool)
        kind = checks.option(tool, "type", ("function", "custom"))
        if kind is None:
            raise checks.missing(f"{where}.type")
        found.append(read_tool(checks.member(tool, kind), kind, f"{where}.{kind}"))
    return found


def read_functions(body: Body) -> list[Tool]:
    """Read the deprecated `functions`."""
    return [
        read_tool(function, "function", f"functions[{index}]")
        for index, function in enumerate(checks.array(body, "functions", 128) or ())
    ]


def read_tool(tool: Any, kind: str, where: str) -> Tool:
    """Read one tool's definition."""
    if not isinstance(tool, dict):
        raise checks.missing(where)
    name = checks.string(tool, "name")
    if not name:
        raise checks.missing(f"{where}.name")
    schema = checks.member(tool, "parameters")
    if tool.get("strict") is True and schema is not None:
        check_strict(schema, f"{where}.parameters")
    return Tool(kind, name, schema, f"{where}.parameters")


def check_strict(schema: Any, where: str, depth: int = 0) -> None:
    """Refuse an object schema that strict mode does not take."""
    if not isinstance(schema, dict):
        return
    if depth > MAX_DEPTH:
        raise strict_refusal(where, "a schema may not be nested so deeply")
    properties = schema.get("properties")
    if isinstance(properties, dict):
        if schema.get("additionalProperties") is not False:
            raise strict_refusal(where, "'additionalProperties' must be false")
        required = schema.get("required")
        required = required if isinstance(required, list) else []
        absent = [name for name in properties if name not in required]
        if absent:
            raise strict_refusal(where, f"'required' must name '{absent[0]}'")
        for name, item in properties.items():
            check_strict(item, f"{where}.properties.{name}", depth + 1)
    check_strict(schema.get("items"), f"{where}.items", depth + 1)


def strict_refusal(where: str, why: str) -> RequestRefused:
    """Refuse a schema that is not strict."""
    return RequestRefused(
        f"Invalid schema at '{where}': with 'strict', {why}.",
        code="invalid_function_parameters",
        param=where,
    )


def read_choice(body: Body, tools: list[Tool]) -> Choice:
    """Read `tool_choice`."""
    wanted = body.get("tool_choice")
    if wanted is None:
        return Choice("auto" if tools else "none", tools)
    if not tools:
        raise RequestRefused(
            "'tool_choice' is only allowed when 'tools' are given.", param="tool_choice"
        )
    if isinstance(wanted, str):
        checks.option(body, "tool_choice", MODES)
        return Choice(wanted, tools)
    if not isinstance(wanted, dict):
        raise checks.wrong_type("tool_choice", "a string or an object", wanted)
    if wanted.get("type") == "allowed_tools":
        allowed = checks.member(wanted, "allowed_tools") or {}
        mode = checks.option(allowed, "mode", ("auto", "required")) or "auto"
        named = [chosen_name(tool) for tool in allowed.get("tools") or ()]
        return Choice(mode, [tool for tool in tools if tool.name in named])
    return Choice("required", [named_tool(tools, chosen_name(wanted), "tool_choice")])


def read_function_call(body: Body, functions: list[Tool]) -> Choice:
    """Read the deprecated `function_call`."""
    wanted = body.get("function_call")
    if isinstance(wanted, dict):
        tool = named_tool(functions, str(wanted.get("name")), "function_call")
        return Choice("required", [tool])
    mode = checks.option(body, "function_call", ("none", "auto"))
    return Choice(mode or ("auto" if functions else "none"), functions)


def chosen_name(tool: Any) -> str:
    """Give the name in `{type: T, T: {name}}`."""
    inner = tool.get(tool.get("type")) if isinstance(tool, dict) else None
    return str(inner.get("name")) if isinstance(inner, dict) else ""


def named_tool(tools: list[Tool], name: str, param: str) -> Tool:
    """Find the tool of that name."""
    for tool in tools:
        if tool.name == name:
            return tool
    raise RequestRefused(
        f"Invalid '{param}': there is no tool named '{name[:64]}'.",
        code="invalid_value",
        param=param,
    )


def decide(
    choice: Choice, chat: Conversation, directives: Directives, *, parallel: bool
) -> list[Call]:
    """Decide on the calls to make; none means that the answer is in words."""
    if choice.mode == "none" or not choice.tools:
        return []
    if choice.mode == "auto" and (chat.results or "no-tools" in directives.behaviours):
        return []
    named = [tool for tool in choice.tools if tool.name in chat.prompt]
    chosen = named or choice.tools[:1]
    if directives.parallel:
        available = named or choice.tools
        chosen = [
            available[index % len(available)] for index in range(directives.parallel)
        ]
    return [make_call(tool) for tool in (chosen if parallel else chosen[:1])]


def make_call(tool: Tool) -> Call:
    """Call a tool with the smallest valid arguments."""
    if tool.kind == "custom":
        return Call(tool.kind, tool.name, "sandbox input")
    value = {} if tool.schema is None else instance(tool.schema, tool.param)
    return Call(tool.kind, tool.name, json.encode(value).decode())
