"""Tools and the choice between them, written for a provider.

Source: `ToolConfiguration` of botocore 1.44.5. There is no way to forbid tools, and
calls of earlier turns want tools to be there: what cannot be said by a member is
said in words.
"""

from typing import Any

from posthouse.dialects.bedrock_converse.write_parts import cache_point
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.custom_tools import as_function
from posthouse.model.chat import (
    ChatRequest,
    CustomTool,
    FunctionTool,
    ServerTool,
    Tool,
    ToolUse,
)
from posthouse.model.traits import Traits

Block = dict[str, Any]

_EMPTY_SCHEMA: Block = {"type": "object", "properties": {}}


def write_tools(
    chat: ChatRequest, traits: Traits, called: list[str], losses: Losses
) -> tuple[Block, str]:
    """Write `toolConfig`, as far as there is one.

    Args:
        chat: the request.
        traits: of the model.
        called: the tools that calls of earlier turns name.
        losses: told what cannot be said.

    What cannot be forced or forbidden is said in the words that come beside.
    """
    choice = chat.tool_choice
    use = ToolUse.AUTO if choice is None else choice.use
    names = () if choice is None else choice.names
    if choice is not None:
        for name in choice.extras:
            losses.drop(f"tool_choice.{name}")
    if chat.parallel_tool_calls is False and chat.tools:
        losses.drop("parallel_tool_calls")
    if use is ToolUse.NONE and not called:
        return {}, ""
    tools = chat.tools
    alone = use is ToolUse.REQUIRED and len(names) == 1
    if names and not alone:
        losses.change("tool_choice")
        tools = tuple(tool for tool in tools if _name(tool) in names)
    specs = _specs(tools, losses) or [_spec(name) for name in called]
    if not specs:
        return {}, ""
    config: Block = {"tools": specs}
    if use is ToolUse.NONE:
        losses.change("tool_choice")
        return {"toolConfig": config}, "Do not call any tool."
    if use is not ToolUse.REQUIRED:
        return {"toolConfig": config}, ""
    if not traits.forced_tools:
        losses.change("tool_choice")
        asked = f"Call the tool {names[0]!r}." if alone else "Call a tool."
        return {"toolConfig": config}, asked
    config["toolChoice"] = {"tool": {"name": names[0]}} if alone else {"any": {}}
    return {"toolConfig": config}, ""


def _name(tool: Tool) -> str:
    return tool.kind if isinstance(tool, ServerTool) else tool.name


def _specs(tools: tuple[Tool, ...], losses: Losses) -> list[Block]:
    written: list[Block] = []
    for tool in tools:
        if isinstance(tool, ServerTool):
            if not tool.optional:
                losses.refuse("tools", f"This model has no {tool.kind[:64]!r}.")
            losses.drop(f"tools.{tool.kind}")
            continue
        for name in tool.extras:
            losses.drop(f"tools.{name}")
        if isinstance(tool, CustomTool):
            losses.change("tools")
        function = as_function(tool) if isinstance(tool, CustomTool) else tool
        written.append(_function(function))
        if function.cache is not None:
            written.append(cache_point(function.cache))
    return written


def _function(tool: FunctionTool) -> Block:
    spec: Block = {"name": tool.name}
    if tool.description:
        spec["description"] = tool.description
    spec["inputSchema"] = {"json": _EMPTY_SCHEMA | (tool.parameters or {})}
    if tool.strict:
        spec["strict"] = True
    return {"toolSpec": spec}


def _spec(name: str) -> Block:
    """A tool of which nothing is known but that it was called."""
    return {"toolSpec": {"name": name, "inputSchema": {"json": _EMPTY_SCHEMA}}}
