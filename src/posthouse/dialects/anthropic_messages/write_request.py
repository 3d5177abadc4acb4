"""A request in the neutral form, written for a provider.

Rules, beside those of the parts: only the system messages at the head go into
`system` in their place, later ones of other dialects join them; results of tools
and what the user says next are one turn, results first; turns begin with a user's;
`max_tokens` must be there; a chain of calls that did not begin with thoughts goes on
without. Sources: `MessageCreateParams` of anthropic 2.12.0
(2026-11); https://platform.claude.com/docs/en/build-with-claude/thinking.
"""

from typing import Any

from posthouse.dialects.anthropic_messages.caching import NAME
from posthouse.dialects.anthropic_messages.write_options import write_options
from posthouse.dialects.anthropic_messages.write_parts import (
    Block,
    PartWriter,
    plain_text,
)
from posthouse.dialects.anthropic_messages.write_tools import write_tools
from posthouse.dialects.neutral.codec import Losses
from posthouse.model.chat import (
    ChatRequest,
    Foreign,
    Message,
    Part,
    Role,
    Text,
)
from posthouse.model.traits import Replay, Traits

_SYSTEM = (Role.SYSTEM, Role.DEVELOPER)
# Members of an enumeration are slow to look up.
_ASSISTANT, _TOOL = Role.ASSISTANT, Role.TOOL


def write_request(chat: ChatRequest, traits: Traits, losses: Losses) -> dict[str, Any]:
    """Write a request's body; raises InvalidRequest."""
    writer = _MessageWriter(chat, traits, losses)
    body: dict[str, Any] = {"model": traits.model}
    options = write_options(chat, traits, losses)
    body["max_tokens"] = options.pop("max_tokens")
    system, messages = writer.write()
    tools, asked = write_tools(chat, traits, losses)
    for advice in filter(None, (options.pop("advice", ""), asked)):
        system = [*_blocks_of(system), {"type": "text", "text": advice}]
    if system:
        body["system"] = system
    body["messages"] = messages
    if chat.dialect != NAME and _unthinking(messages, options):
        del options["thinking"]
        losses.drop("reasoning")
    body |= tools | options
    if chat.stream:
        body["stream"] = True
    return body | writer.extras_of(chat.extras)


_THOUGHTS = frozenset({"thinking", "redacted_thinking"})


def _unthinking(turns: list[Block], options: dict[str, Any]) -> bool:
    """Whether tools were called without the thoughts that must lead to them.

    Models that are given a number of tokens cannot begin to think between a call
    and its result; those that decide for themselves can.
    """
    if options.get("thinking", {}).get("type") != "enabled":
        return False
    first: Block | None = None
    for turn in reversed(turns):
        blocks = _blocks_of(turn["content"])
        if turn["role"] == "assistant":
            first = next(iter(blocks), None)
        elif all(block["type"] != "tool_result" for block in blocks):
            break
    return (
        first is not None
        and first["type"] not in _THOUGHTS
        and turns[-1]["role"] == "user"
    )


def _blocks_of(content: str | list[Block] | None) -> list[Block]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return content or []


class _MessageWriter:
    """Writes a request's turns."""

    def __init__(self, chat: ChatRequest, traits: Traits, losses: Losses) -> None:
        self._chat = chat
        self._own = chat.dialect == NAME
        self._losses = losses
        self._parts = PartWriter(chat.dialect, losses)
        self._replayed_from = _replayed_from(chat.messages, traits.replay)

    def extras_of(self, extras: dict[str, Any]) -> dict[str, Any]:
        """Give the body's own extras; tell those of other dialects."""
        if self._own:
            return {
                name: value for name, value in extras.items() if name not in _INSIDE
            }
        for name in extras:
            self._losses.drop(name)
        return {}

    def write(self) -> tuple[str | list[Block] | None, list[Block]]:
        """Give the system prompt and the turns."""
        head = 0
        messages = self._chat.messages
        while head < len(messages) and messages[head].role in _SYSTEM:
            head += 1
            if self._own:
                break
        system = list(messages[:head])
        turns: list[Block] = []
        for index, message in enumerate(messages[head:], head):
            if message.role in _SYSTEM and not self._own:
                self._losses.change("messages.role")
                system.append(message)
            else:
                self._add(turns, message, index)
        if not self._own and turns and turns[0]["role"] != "user":
            self._losses.change("messages")
            turns.insert(0, {"role": "user", "content": "..."})
        return self._system(system), turns

    def _system(self, messages: list[Message]) -> str | list[Block] | None:
        parts = tuple(part for message in messages for part in message.parts)
        for message in messages:
            self._tell(message)
        plain = plain_text(parts)
        if plain is not None:
            return plain or None
        blocks = [block for part in parts if (block := self._said_first(part))]
        return blocks or None

    def _said_first(self, part: Part) -> Block | None:
        """Write a part of the system prompt."""
        if isinstance(part, Text):
            return self._parts.text(part)
        if not isinstance(part, Foreign):
            self._losses.refuse("messages.content", "A system prompt is text alone.")
        return self._parts.foreign(part)

    def _add(self, turns: list[Block], message: Message, index: int) -> None:
        """Write a turn, or add to the one before."""
        results = message.role is _TOOL
        role = "user" if results else str(message.role)
        extras = self._tell(message)
        content = self._content(message, index)
        if not content and not self._own:
            return
        last = turns[-1] if turns else None
        if last is not None and role == "user" and self._joins(last, results=results):
            last["content"] = [*_blocks_of(last["content"]), *_blocks_of(content)]
            last |= extras
            return
        turns.append({"role": role, "content": content, **extras})

    def _joins(self, last: Block, *, results: bool) -> bool:
        """Whether a user's turn goes on in the one before: after results."""
        content = last["content"]
        if last["role"] != "user" or not isinstance(content, list) or not content:
            return False
        if results:
            return all(block["type"] == "tool_result" for block in content)
        return any(block["type"] == "tool_result" for block in content)

    def _tell(self, message: Message) -> dict[str, Any]:
        if message.name is not None:
            self._losses.drop("messages.name")
        return self._parts.extras_of(message.extras, "messages")

    def _content(self, message: Message, index: int) -> str | list[Block]:
        plain = plain_text(message.parts)
        if plain is not None:
            return plain
        blocks = []
        for part in message.parts:
            if message.role is _ASSISTANT:
                block = self._parts.said(part, replay=index >= self._replayed_from)
            else:
                block = self._parts.shown(part)
            if block is not None:
                blocks.append(block)
        return blocks


_INSIDE = frozenset({"metadata", "thinking", "tool_choice", "output_config"})
"""Extras that `write_options` and `write_tools` put where they belong."""


def _replayed_from(messages: tuple[Message, ...], replay: Replay) -> int:
    """The index from which on thoughts without a signature go back."""
    if replay is Replay.ALWAYS:
        return 0
    if replay is Replay.NEVER:
        return len(messages)
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role is Role.USER:
            return index
    return 0
