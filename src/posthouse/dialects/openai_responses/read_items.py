"""The items of a conversation, read into messages.

Normal form. What the model gave between two messages of others is one turn;
results of tools that follow each other stand in one message. Ids and statuses
of items are left out, but for those of reasoning, which goes back whole; pictures
that the model has made are parts of its turn; the
parts of a summary are joined by empty lines. Tools that stand in the conversation
are moved to the others. Items that only the provider can make sense of are
foreign; a reference to one that is not here is refused.

Sources: `ResponseInputItem` and `ResponseOutputItem` of OpenAI's Python SDK, 3.54;
codex-rs, `protocol/src/models.rs` (2026).
"""

from collections.abc import Callable
from typing import Any, ClassVar

from msgspec import structs

from posthouse.dialects.neutral.members import Members, invalid
from posthouse.dialects.openai_responses.names import Namespaces
from posthouse.dialects.openai_responses.parts import read_part, read_picture
from posthouse.dialects.openai_responses.reasoning import read_reasoning
from posthouse.errors import InvalidRequest
from posthouse.model.chat import (
    Foreign,
    Message,
    Part,
    Refusal,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from posthouse.wire import json

HARMLESS = frozenset(
    {
        "code_interpreter_call",
        "compaction_trigger",
        "file_search_call",
        "ghost_snapshot",
        "image_generation_call",
        "mcp_approval_response",
        "mcp_call",
        "mcp_list_tools",
        "program",
        "program_output",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
    }
)
"""What a provider's own tools did earlier; the answer that followed says it, too."""
_OUTPUTS = ("_output", "_response", "compaction")
"""What the types of items end with that are not the model's own."""
_PLACES = ("id", "status")
"""Members by which only the provider that gave an item finds it again."""


class ItemReader:
    """Reads the items of one conversation, in order."""

    def __init__(self, namespaces: Namespaces) -> None:
        """Begin; `namespaces` learns the names that calls are made by."""
        self.messages: list[Message] = []
        self.tools: list[Any] = []
        """Those that stand in the conversation, unread."""
        self.namespaces = namespaces
        self._turn: list[Part] = []
        """What the model has given since the last message of somebody else's."""
        self._results: list[Part] = []

    def read(self, items: list[Any]) -> list[Message]:
        """Read all items; raises InvalidRequest."""
        for index, value in enumerate(items):
            self._read(Members(value, f"input[{index}]", invalid))
        return self.end()

    def _read(self, item: Members) -> None:
        kind = item.text("type")
        if kind is None:
            kind = "message" if item.peek("role") is not None else "item_reference"
        reader = self._READERS.get(kind)
        if reader is not None:
            reader(self, item)
        else:
            self._read_foreign(item, kind)

    # --- one method per type --------------------------------------------------------

    def _read_message(self, item: Members) -> None:
        name = item.text("role") or ""
        role = ROLES.get(name)
        if role is None:
            raise item.wrong("role", "'user', 'assistant', 'system' or 'developer'")
        parts = _read_content(item)
        _forget_place(item)
        extras = item.extras()
        if role is not Role.ASSISTANT:
            self.say(Message(role, tuple(parts), extras=extras))
            return
        if parts and extras and isinstance(parts[0], Text | Refusal):
            # A turn has room for several messages, each with its phase.
            first = parts[0]
            parts[0] = structs.replace(first, extras={**extras, **first.extras})
        self.give(*parts)

    def _read_reasoning(self, item: Members) -> None:
        self.give(*read_reasoning(item))

    def _read_function_call(self, item: Members) -> None:
        self._read_call(item, "arguments", custom=False)

    def _read_custom_call(self, item: Members) -> None:
        self._read_call(item, "input", custom=True)

    def _read_call(self, item: Members, member: str, *, custom: bool) -> None:
        self.give(read_call(item, member, self.namespaces, custom=custom))

    def _read_function_output(self, item: Members) -> None:
        self._read_output(item, custom=False)

    def _read_custom_output(self, item: Members) -> None:
        self._read_output(item, custom=True)

    def _read_output(self, item: Members, *, custom: bool) -> None:
        call_id = item.needed_text("call_id")
        is_error, content = _read_result(item)
        name = item.text("name")
        _forget_place(item)
        result = ToolResult(
            call_id, content, name, is_error, custom=custom, extras=item.extras()
        )
        self.give_back(result)

    def _read_reference(self, item: Members) -> None:
        raise InvalidRequest(
            "This model's provider keeps no items, so that none can be referred to;"
            " send the item itself",
            param=item.place,
            code="unsupported_by_model",
        )

    def _read_tools(self, item: Members) -> None:
        self.tools += item.array("tools")

    def _read_picture(self, item: Members) -> None:
        picture = read_picture(item)
        if picture is None:
            self._read_foreign(item, "image_generation_call")
        else:
            self.give(picture)

    def _read_foreign(self, item: Members, kind: str) -> None:
        value = {"type": kind, **item.extras()}
        part = Foreign(kind, value, harmless=kind in HARMLESS)
        if kind.endswith(_OUTPUTS):
            self.say(Message(Role.USER, (part,)))
        else:
            self.give(part)

    _READERS: ClassVar[dict[str, Callable[["ItemReader", Members], None]]] = {
        "message": _read_message,
        "reasoning": _read_reasoning,
        "function_call": _read_function_call,
        "custom_tool_call": _read_custom_call,
        "function_call_output": _read_function_output,
        "custom_tool_call_output": _read_custom_output,
        "item_reference": _read_reference,
        "additional_tools": _read_tools,
        "image_generation_call": _read_picture,
    }

    # --- turns ----------------------------------------------------------------------

    def give(self, *parts: Part) -> None:
        """Add to the model's turn."""
        self._end_results()
        self._turn += parts

    def give_back(self, result: ToolResult) -> None:
        """Add what a tool has come to."""
        self._end_turn()
        self._results.append(result)

    def say(self, message: Message) -> None:
        """Add a message of somebody else's."""
        self._end_turn()
        self._end_results()
        self.messages.append(message)

    def end(self) -> list[Message]:
        """The conversation is whole: give its messages."""
        self._end_turn()
        self._end_results()
        return self.messages

    def _end_turn(self) -> None:
        if self._turn:
            self.messages.append(Message(Role.ASSISTANT, tuple(self._turn)))
            self._turn = []

    def _end_results(self) -> None:
        if self._results:
            self.messages.append(Message(Role.TOOL, tuple(self._results)))
            self._results = []


ROLES = {
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "system": Role.SYSTEM,
    "developer": Role.DEVELOPER,
}


def read_call(
    item: Members, member: str, namespaces: Namespaces, *, custom: bool
) -> ToolCall:
    """Read a call of one of the caller's tools; `member` holds what it is given."""
    item_id = item.text("id")
    call_id = item.text("call_id") or item_id
    if call_id is None:
        raise item.wrong("call_id", "a string")
    name = namespaces.join(item.text("namespace"), item.needed_text("name"))
    given = item.text(member) or ""
    _forget_place(item)
    return ToolCall(call_id, name, given, custom, extras=item.extras())


def _read_content(item: Members) -> list[Part]:
    """Read what a message says."""
    content = item.take("content")
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)]
    if not isinstance(content, list):
        raise item.wrong("content", "a string or an array")
    return [
        read_part(Members(value, f"{item.at('content')}[{index}]", invalid))
        for index, value in enumerate(content)
    ]


def _read_result(item: Members) -> tuple[bool | None, tuple[Part, ...]]:
    """Read whether a tool has failed, and what it gave."""
    output = item.take("output")
    is_error = None
    if isinstance(output, dict) and "content" in output:
        # Early versions of Codex: the text beside how it went.
        is_error = True if output.get("success") is False else None
        output = output["content"]
    if output is None:
        return is_error, ()
    if isinstance(output, str):
        return is_error, (Text(output),)
    if isinstance(output, list):
        place = item.at("output")
        return is_error, tuple(
            read_part(Members(value, f"{place}[{index}]", invalid))
            for index, value in enumerate(output)
        )
    return is_error, (Text(json.encode(output).decode()),)


def _forget_place(item: Members) -> None:
    for name in _PLACES:
        item.take(name)
