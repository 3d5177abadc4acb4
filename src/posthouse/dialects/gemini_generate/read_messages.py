"""Reading a conversation: `systemInstruction` and `contents`.

What tools returned goes before what the user says beside it. Contents of the
model that follow one another are one turn: clients who keep a stream send it
back piece by piece.
"""

from typing import Any

from posthouse.dialects.gemini_generate.calls import OpenCalls
from posthouse.dialects.gemini_generate.read_parts import (
    Arguments,
    Given,
    argument_at,
    joined,
    read_call,
    read_said,
)
from posthouse.dialects.gemini_generate.results import read_result
from posthouse.dialects.google.names import each, inner, members_of
from posthouse.dialects.neutral.members import Members, Wrong, invalid
from posthouse.model.chat import Message, Part, Role, Text, ToolResult

_ROLES = {
    None: Role.USER,
    "": Role.USER,
    "user": Role.USER,
    "model": Role.ASSISTANT,
    "function": Role.USER,
}


def read_system(value: Any, wrong: Wrong = invalid) -> list[Message]:
    """Read `systemInstruction`; its role says nothing."""
    if value is None:
        return []
    if isinstance(value, str):
        return [Message(Role.SYSTEM, (Text(value),))]
    content = members_of(value, "systemInstruction", wrong)
    given = Given(wrong)
    parts = [read_said(part, given) for part in each(content, "parts", wrong)]
    content.take("role")
    found = tuple(part for part in parts if part is not None)
    return [Message(Role.SYSTEM, found, extras=content.extras())]


def read_messages(value: Any, arguments: Arguments) -> list[Message]:
    """Read `contents`; raises InvalidRequest.

    Args:
        value: decoded.
        arguments: of the calls among them, to the letter.
    """
    reader = _Reader(arguments)
    for members in each(Members({"contents": value}, "", invalid), "contents", invalid):
        reader.read(members)
    reader.end_turn()
    return reader.messages


class _Reader:
    """Reads content by content."""

    __slots__ = ("_arguments", "_calls", "_index", "_said", "_said_extras", "messages")

    def __init__(self, arguments: Arguments) -> None:
        self.messages: list[Message] = []
        self._arguments = arguments
        self._calls = OpenCalls()
        self._index = -1
        self._said: list[Part] | None = None
        """What the model says in the turn that is open."""
        self._said_extras: dict[str, Any] = {}

    def read(self, content: Members) -> None:
        self._index += 1
        name = content.text("role")
        role = _ROLES.get(name)
        if role is None:
            raise content.not_one_of("role", ("user", "model"))
        parts = each(content, "parts", invalid)
        if role is Role.ASSISTANT:
            self._read_model(parts)
            self._said_extras |= content.extras()
        else:
            self.end_turn()
            self._read_user(parts, content)

    def end_turn(self) -> None:
        """The model's turn, if one is open, is whole."""
        if self._said is None:
            return
        message = Message(
            Role.ASSISTANT, tuple(joined(self._said)), extras=self._said_extras
        )
        self.messages.append(message)
        self._said = None
        self._said_extras = {}

    def _read_model(self, parts: list[Members]) -> None:
        if self._said is None:
            self._said = []
        for index, members in enumerate(parts):
            given = Given(invalid, argument_at(self._arguments, self._index, index))
            call = inner(members, "functionCall", invalid)
            if call is None:
                part = read_said(members, given)
            else:
                name = call.peek("name")
                call_id = self._calls.called(
                    call.text("id"), name if isinstance(name, str) else ""
                )
                part = read_call(call, call_id, given, members)
            if part is not None:
                self._said.append(part)

    def _read_user(self, parts: list[Members], content: Members) -> None:
        results: list[Part] = []
        said: list[Part] = []
        given = Given(invalid)
        for members in parts:
            response = inner(members, "functionResponse", invalid)
            if response is not None:
                results.append(self._read_result(response, members, given))
                continue
            part = read_said(members, given)
            if part is not None:
                said.append(part)
        if results:
            self.messages.append(Message(Role.TOOL, tuple(results)))
        if said or not results:
            message = Message(Role.USER, tuple(said), extras=content.extras())
            self.messages.append(message)

    def _read_result(
        self, response: Members, around: Members, given: Given
    ) -> ToolResult:
        name = response.text("name") or ""
        call_id = self._calls.returned(response.text("id"), name)
        found = read_result(response, call_id, name, given)
        around.take("thoughtSignature")
        if not around.extras():
            return found
        # Nothing that Google has stands there.
        raise around.wrong("functionResponse", "nothing beside it")
