"""A request in the neutral form, written for a provider.

Source: `ConverseRequest` of botocore 1.44.5; the model stands in the path, and so
does whether a stream is wanted. Rules, beside those of the parts: what the system
says stands apart, wherever it was said; turns alternate and begin with the user's;
results of tools stand in a turn of the user's, before what the user says.
"""

from typing import Any

from posthouse.dialects.bedrock_converse.write_options import OptionWriter
from posthouse.dialects.bedrock_converse.write_parts import PartWriter
from posthouse.dialects.bedrock_converse.write_tools import write_tools
from posthouse.dialects.neutral.codec import Losses
from posthouse.model.chat import ChatRequest, Message, Role, Text
from posthouse.model.traits import Replay, Traits

Block = dict[str, Any]

_SYSTEM = (Role.SYSTEM, Role.DEVELOPER)


def write_request(chat: ChatRequest, traits: Traits, losses: Losses) -> Block:
    """Write a request's body; raises InvalidRequest."""
    writer = _MessageWriter(chat, traits, losses)
    system, messages = writer.write()
    options = OptionWriter(chat, traits, losses, unthinking=_unthinking(messages))
    members = options.write()
    tools, asked = write_tools(chat, traits, writer.called, losses)
    advice = [*options.advice, *filter(None, (asked,))]
    system += [{"text": text} for text in advice]
    body: Block = {"system": system} if system else {}
    return body | {"messages": messages} | tools | members


def _unthinking(turns: list[Block]) -> bool:
    """Whether tools were called without the thoughts that must lead to them.

    Models that are given a number of tokens cannot begin to think between a call
    and its result.
    """
    first: Block = {}
    for turn in reversed(turns):
        if turn["role"] == "assistant":
            first = turn["content"][0]
        elif all("toolResult" not in block for block in turn["content"]):
            break
    answered = bool(turns) and turns[-1]["role"] == "user"
    return answered and bool(first) and "reasoningContent" not in first


class _MessageWriter:
    """Writes a request's turns."""

    def __init__(self, chat: ChatRequest, traits: Traits, losses: Losses) -> None:
        self._messages = chat.messages
        self._losses = losses
        self._parts = PartWriter(losses)
        self._replayed_from = _replayed_from(chat.messages, traits.replay)

    @property
    def called(self) -> list[str]:
        """The tools that calls of earlier turns name."""
        return list(self._parts.called)

    def write(self) -> tuple[list[Block], list[Block]]:
        """Give what the system says and the turns."""
        system: list[Block] = []
        turns: list[Block] = []
        for index, message in enumerate(self._messages):
            if message.name is not None:
                self._losses.drop("messages.name")
            self._parts.tell(message.extras, "messages")
            if message.role in _SYSTEM:
                if turns:
                    self._losses.change("messages.role")
                system += self._system(message)
            else:
                self._add(turns, message, index)
        if turns and turns[0]["role"] != "user":
            self._losses.change("messages")
            turns.insert(0, {"role": "user", "content": [{"text": "..."}]})
        return system, turns

    def _system(self, message: Message) -> list[Block]:
        if any(not isinstance(part, Text) for part in message.parts):
            self._losses.refuse("messages.content", "A system prompt is text alone.")
        return [block for part in message.parts for block in self._parts.shown(part)]

    def _add(self, turns: list[Block], message: Message, index: int) -> None:
        """Write a turn, or go on in the one before."""
        if message.role is Role.ASSISTANT:
            role = "assistant"
            replay = index >= self._replayed_from
            content = [
                block
                for part in message.parts
                for block in self._parts.said(part, replay=replay)
            ]
        else:
            role = "user"
            content = [
                block for part in message.parts for block in self._parts.shown(part)
            ]
        if not content:
            return
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += content
        else:
            turns.append({"role": role, "content": content})


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
