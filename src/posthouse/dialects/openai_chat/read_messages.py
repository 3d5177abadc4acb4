"""Reading a conversation.

Consecutive messages of tools are one neutral message. Calls without an id, as
OpenAI's old `function_call` is one, get one, and so do their results: that of
the last call of that name.

Sources: OpenAI's API description, `ChatCompletionRequestMessage` (openapi,
2026-08); see `thoughts` and `read_parts` for what others have added.
"""

from collections.abc import Callable
from typing import Any

from posthouse.dialects.neutral.members import Members, Wrong, invalid
from posthouse.dialects.neutral.seal import unseal
from posthouse.dialects.openai_chat.read_parts import (
    read_content,
    read_mark,
    read_part,
)
from posthouse.dialects.openai_chat.thoughts import (
    NAME,
    read_thoughts,
    take_signature,
)
from posthouse.model.chat import (
    Audio,
    Citation,
    Extras,
    Media,
    Message,
    Part,
    Refusal,
    Role,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from posthouse.wire import json


def read_messages(values: list[Any]) -> tuple[Message, ...]:
    """Read a request's messages; raises InvalidRequest."""
    reader = _Reader()
    for index, value in enumerate(values):
        reader.read(Members(value, f"messages[{index}]", invalid))
    return tuple(reader.messages)


class _Reader:
    """Reads message by message."""

    __slots__ = ("_legacy_calls", "messages")

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._legacy_calls: dict[str, str] = {}
        """By function, the id that its last call was given."""

    def read(self, members: Members) -> None:
        role = members.needed_text("role")
        read = _ROLES.get(role)
        if read is None:
            raise members.not_one_of("role", _ROLES)
        read(self, members, role)

    def said(self, members: Members, role: str) -> None:
        """Read what a system, a developer or a user says."""
        place = members.at("content")
        parts = read_content(members.take("content"), place, invalid)
        name = members.text("name")
        self._add(Role(role), parts, name, members.extras())

    def answered(self, members: Members, role: str) -> None:
        """Read what the assistant said and called."""
        number = len(self.messages)
        parts = read_answer(members, invalid, f"call_{number}")
        for part in parts:
            if isinstance(part, ToolCall) and part.legacy:
                self._legacy_calls[part.name] = part.id
        name = members.text("name")
        self._add(Role(role), parts, name, members.extras())

    def returned(self, members: Members, role: str) -> None:
        """Read what a tool has come to."""
        legacy = role == "function"
        content = read_content(members.take("content"), members.at("content"), invalid)
        name = members.text("name")
        if legacy:
            if name is None:
                raise members.wrong("name", "a string")
            call_id = self._legacy_calls.get(name, f"call_{name}")
        else:
            call_id = result_id(members.text("tool_call_id"), name)
        cache, extras = read_mark(members)
        result = ToolResult(
            call_id, tuple(content), name, legacy=legacy, cache=cache, extras=extras
        )
        add_result(self.messages, result)

    def _add(
        self, role: Role, parts: list[Part], name: str | None, extras: Extras
    ) -> None:
        self.messages.append(Message(role, tuple(parts), name, extras))


def result_id(known: str | None, name: str | None) -> str:
    """The id of the call that a tool answers; clients without one tell its name."""
    return known or f"call_{name or ''}"


def add_result(messages: list[Message], result: ToolResult) -> None:
    """Add what a tool has come to, to the results before it if there are any."""
    last = messages[-1] if messages else None
    if last is not None and last.role is Role.TOOL:
        messages[-1] = Message(Role.TOOL, (*last.parts, result))
    else:
        messages.append(Message(Role.TOOL, (result,)))


_ROLES: dict[str, Callable[[_Reader, Members, str], None]] = {
    "system": _Reader.said,
    "developer": _Reader.said,
    "user": _Reader.said,
    "assistant": _Reader.answered,
    "tool": _Reader.returned,
    "function": _Reader.returned,
}


_NOTHING = Text("")

# --- what an assistant says -----------------------------------------------------------


def read_answer(members: Members, wrong: Wrong, call_id: str) -> list[Part]:
    """Read an assistant's message, of a request or of a reply alike.

    Args:
        members: the message's; what is left in it are extras.
        wrong: makes an exception for what is of another type.
        call_id: what the ids of calls that have none begin with.
    """
    said = read_content(members.take("content"), members.at("content"), wrong)
    thoughts: list[Part] = [*read_thoughts(members)]
    thoughts += [part for part in said if isinstance(part, Thinking)]
    spoken: list[Part] = [part for part in said if not isinstance(part, Thinking)]
    calls = _read_calls(members, wrong, call_id)
    refusal = members.text("refusal")
    rest: list[Part] = [] if not refusal else [Refusal(refusal)]
    audio = members.inner("audio")
    if audio is not None:
        rest.append(_read_audio(audio))
    images = [read_image(image, wrong) for image in members.each("images")]
    citations = read_citations(members.take("annotations"))
    signature = unseal(take_signature(members), NAME)
    # An empty text is nobody's words.
    spoken = _noted([part for part in spoken if part != _NOTHING], citations, signature)
    return [*thoughts, *spoken, *images, *rest, *calls]


def _noted(
    spoken: list[Part], citations: list[Citation], signature: Signature | None
) -> list[Part]:
    """Give what belongs to the whole message to its last text."""
    if not citations and signature is None:
        return spoken
    last = spoken[-1] if spoken else Text("")
    if not isinstance(last, Text):
        return spoken
    noted = Text(
        last.text, tuple(citations), last.cache, signature=signature, extras=last.extras
    )
    return [*spoken[:-1], noted]


def _read_audio(members: Members) -> Audio:
    return Audio(
        Media(data=members.text("data")),
        id=members.text("id"),
        transcript=members.text("transcript"),
        # OpenAI's types want one even where there is none.
        expires_at=members.whole("expires_at") or None,
        extras=members.extras(),
    )


def read_image(members: Members, wrong: Wrong) -> Part:
    """Read a picture that the model made, as OpenRouter tells it."""
    members.take("index")
    members.take("type")
    return read_part({"type": "image_url", **members.extras()}, members.place, wrong)


def read_citations(value: Any) -> list[Citation]:
    """Read `annotations`; what is unlike a URL's is passed over."""
    if not isinstance(value, list):
        return []
    found = []
    for entry in value:
        inner = entry.get("url_citation") if isinstance(entry, dict) else None
        if isinstance(inner, dict):
            found.append(_read_citation(inner))
    return found


def _read_citation(value: Extras) -> Citation:
    members = dict(value)
    texts: dict[str, Any] = {
        ours: members.pop(theirs)
        for ours, theirs in (("url", "url"), ("title", "title"), ("quote", "content"))
        if isinstance(members.get(theirs), str)
    }
    places: dict[str, Any] = {
        ours: members.pop(theirs)
        for ours, theirs in (("start", "start_index"), ("end", "end_index"))
        if type(members.get(theirs)) is int
    }
    extras = {name: kept for name, kept in members.items() if kept is not None}
    return Citation(**texts, **places, extras=extras)


# --- calls ----------------------------------------------------------------------------


def _read_calls(members: Members, wrong: Wrong, call_id: str) -> list[Part]:
    value = members.peek("tool_calls")
    if isinstance(value, dict):
        # Spark gives one call as it is.
        members.put_back("tool_calls", [value])
    calls: list[Part] = [
        _read_call(call, wrong, f"{call_id}_{index}")
        for index, call in enumerate(members.each("tool_calls"))
    ]
    legacy = members.inner("function_call")
    if legacy is not None:
        name = legacy.text("name") or ""
        arguments = read_arguments(legacy, "arguments")
        calls.append(ToolCall(f"{call_id}_0", name, arguments, legacy=True))
    return calls


def _read_call(members: Members, wrong: Wrong, call_id: str) -> ToolCall:
    members.take("index")
    kind = members.text("type") or "function"
    known = members.text("id") or call_id
    custom = members.inner("custom")
    called = custom if custom is not None else members.inner("function")
    if called is None:
        raise wrong(members.at(kind), "an object")
    name = called.text("name") or ""
    if custom is not None:
        arguments = called.text("input") or ""
    else:
        arguments = read_arguments(called, "arguments")
    signature = unseal(take_signature(members), NAME)
    cache, extras = read_mark(members)
    inner = called.extras()
    if inner:
        extras[kind] = inner
    return ToolCall(
        known,
        name,
        arguments,
        custom=custom is not None,
        cache=cache,
        signature=signature,
        extras=extras,
    )


def read_arguments(members: Members, name: str) -> str:
    """Take arguments: JSON text, or what some servers leave unwritten."""
    value = members.take(name)
    return arguments_text(value)


def arguments_text(value: Any) -> str:
    """The JSON text of arguments that may be an object already."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.encode(value).decode()
