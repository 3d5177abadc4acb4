"""Messages of a conversation, written as items.

What a turn of the model's holds becomes items of its own: thoughts, calls, and a
message for each run of words. Only OpenAI's own signatures go back to it. Ids are
left out, but for those of reasoning: a provider takes an id for something that it
has stored. What others' models have made is shown to this one by the user.

Sources: `ResponseInputItem` of OpenAI's Python SDK, 3.54.
"""

from typing import Any

from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.custom_tools import wrapped
from posthouse.dialects.openai_responses.names import pairs_of, split
from posthouse.dialects.openai_responses.parts import (
    CONTENT,
    NAME,
    PartWriter,
    write_picture,
)
from posthouse.dialects.openai_responses.reasoning import write_reasoning
from posthouse.model.chat import (
    Audio,
    ChatRequest,
    Extras,
    Foreign,
    Image,
    Message,
    Part,
    Refusal,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from posthouse.model.traits import Replay, Traits
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

Item = dict[str, Any]

_any_json = json.decoder(object)


class ItemWriter:
    """Writes the messages of one request."""

    def __init__(self, chat: ChatRequest, traits: Traits, losses: Losses) -> None:
        """Begin with a request for a target."""
        self._own = chat.dialect == NAME
        self._parts = PartWriter(chat.dialect, traits, losses)
        self._pairs = pairs_of(chat)
        self._traits = traits
        self._losses = losses
        self._custom_calls: set[str] = set()
        """Ids of calls whose results must say the same of themselves."""
        self._last_user = _last_user(chat.messages)
        self._shown: list[Item] = []
        """What the model has made, for the user to show it."""

    def write(self, messages: tuple[Message, ...]) -> list[Item]:
        """Write messages in order; raises InvalidRequest."""
        items: list[Item] = []
        for index, message in enumerate(messages):
            if message.name is not None:
                self._losses.drop("messages.name")
            match message.role:
                case Role.USER if self._shown:
                    shown, self._shown = self._shown, []
                    items += [_message(Role.USER, shown), *self._said(message)]
                case Role.TOOL:
                    items += [self._result(part) for part in _results(message)]
                case Role.ASSISTANT:
                    items += self._turn(message, replayed=index > self._last_user)
                case _:
                    items += self._said(message)
        if self._shown:
            items.append(_message(Role.USER, self._shown))
        return items

    # --- messages -------------------------------------------------------------------

    def _said(self, message: Message) -> list[Item]:
        """Write a message of somebody else than the model."""
        role = message.role
        if role is Role.DEVELOPER and not (self._traits.developer or self._own):
            self._losses.change("messages.role")
            role = Role.SYSTEM
        items: list[Item] = []
        content: list[Item] = []
        extras = self._parts.extras(message.extras, "messages")
        for part in message.parts:
            if isinstance(part, ToolResult):
                items.append(self._result(part))
                continue
            written = self._parts.write(part)
            if written is None:
                continue
            if isinstance(part, Foreign) and not part.kind.startswith(CONTENT):
                items.append(written)
            else:
                content.append(written)
        if content or not items:
            items.append(_message(role, content) | extras)
        return items

    def _turn(self, message: Message, *, replayed: bool) -> list[Item]:
        """Write what the model gave in one turn."""
        items: list[Item] = []
        words: list[Item] = []
        self._parts.extras(message.extras, "messages")

        def end_words() -> None:
            if words:
                items.append(_spoken(words.copy(), own=self._own))
                words.clear()

        for part in message.parts:
            if self._is_word(part):
                if self._own and "phase" in _extras_of(part):
                    end_words()
                written = self._word(part)
                if written is not None:
                    words.append(written)
                continue
            end_words()
            items += self._item(part, replayed=replayed)
        end_words()
        return items

    def _is_word(self, part: Part) -> bool:
        """Whether a part of the model's turn stands within a message."""
        if isinstance(part, Foreign):
            return part.kind.startswith(CONTENT)
        if isinstance(part, Image):
            return not self._own or part.source.data is None
        return not isinstance(part, Thinking | ToolCall | ToolResult)

    def _word(self, part: Part) -> Item | None:
        """Write a part of what the model has said."""
        if isinstance(part, Audio):
            # Speech of an earlier turn: what was said is all that can go back.
            self._losses.change("messages.content.audio")
            return {"type": "output_text", "text": part.transcript or ""}
        if isinstance(part, Text | Refusal):
            return self._parts.write(part, spoken=True)
        if not self._own:
            # What the model has made can be shown to it only by the user.
            self._losses.change("messages.content.image")
            written = self._parts.write(part)
            if written is not None:
                self._shown.append(written)
            return None
        return self._parts.write(part)

    def _item(self, part: Part, *, replayed: bool) -> list[Item]:
        """Write a part that is an item of its own."""
        match part:
            case Thinking():
                return self._reasoning(part, replayed=replayed)
            case ToolCall():
                return [self._call(part)]
            case ToolResult():
                return [self._result(part)]
            case Image():
                return [write_picture(part)]
            case _:
                written = self._parts.write(part)
                return [] if written is None else [written]

    # --- items ----------------------------------------------------------------------

    def _reasoning(self, part: Thinking, *, replayed: bool) -> list[Item]:
        signature = part.signature
        if signature is not None and signature.by != NAME and not self._own:
            self._losses.drop("thinking")
            return []
        if signature is None and not self._own and not self._replays(replayed=replayed):
            self._losses.drop("thinking")
            return []
        # OpenAI takes thoughts back only as their summary.
        as_summary = part.summary or (signature is not None and not self._own)
        item = write_reasoning(part, as_summary=as_summary)
        return [item | self._parts.extras(part.extras, "thinking")]

    def _replays(self, *, replayed: bool) -> bool:
        """Whether thoughts without a signature go back to the model."""
        match self._traits.replay:
            case Replay.ALWAYS:
                return True
            case Replay.TOOLS:
                return replayed
            case Replay.NEVER:
                return False

    def _call(self, part: ToolCall) -> Item:
        if part.signature is not None:
            self._losses.drop("signature")
        if part.cache is not None:
            self._losses.drop("cache_control")
        kind, member, given = "function_call", "arguments", part.arguments
        # Some providers begin to count anew in every turn.
        self._custom_calls.discard(part.id)
        if part.custom and (self._own or self._traits.custom_tools):
            kind, member = "custom_tool_call", "input"
            self._custom_calls.add(part.id)
        elif part.custom:
            given = wrapped(given)
        elif not self._own:
            given = self._checked(part)
        return {
            "type": kind,
            "call_id": part.id,
            **split(self._pairs, part.name),
            member: given,
            **self._parts.extras(part.extras, "tool_calls"),
        }

    def _checked(self, part: ToolCall) -> str:
        """Give the arguments of a call; refuse what is no JSON."""
        given = part.arguments
        if not given.strip():
            return "{}"
        try:
            json.decode_with(_any_json, given.encode(errors="replace"))
        except MalformedJSON:
            self._losses.refuse(
                "tool_calls.arguments",
                f"The arguments of the call of '{part.name[:64]}' are not JSON",
            )
        return given

    def _result(self, part: ToolResult) -> Item:
        custom = part.call_id in self._custom_calls or (part.custom and self._own)
        if part.cache is not None:
            self._losses.drop("cache_control")
        item: Item = {
            "type": "custom_tool_call_output" if custom else "function_call_output",
            "call_id": part.call_id,
            "output": self._output(part),
        }
        if part.name is not None and self._own:
            item["name"] = part.name
        return item | self._parts.extras(part.extras, "tool_result")

    def _output(self, part: ToolResult) -> str | list[Item]:
        """Write what a tool gave; its failure can only be said in words."""
        content = part.content
        if part.is_error:
            self._losses.change("tool_result.is_error")
            content = (Text("Error:"), *content) if content else (Text("Error"),)
        written = [self._parts.write(entry) for entry in content]
        found = [entry for entry in written if entry is not None]
        if all(_is_plain(entry) for entry in found) and (
            len(found) < 2 or not self._own
        ):
            return "\n".join(entry["text"] for entry in found)
        return found


def _extras_of(part: Part) -> Extras:
    return part.extras if isinstance(part, Text | Refusal) else {}


def _results(message: Message) -> list[ToolResult]:
    return [part for part in message.parts if isinstance(part, ToolResult)]


def _message(role: Role, content: list[Item]) -> Item:
    plain = len(content) == 1 and _is_plain(content[0])
    return {
        "type": "message",
        "role": role.value,
        "content": content[0]["text"] if plain else content,
    }


def _spoken(words: list[Item], *, own: bool) -> Item:
    """A message of the model's; its phase stands beside what it says.

    What others have told in parts is one text: here parts belong to an item that
    is stored, by whose id it would be asked for.
    """
    if not own:
        said = "".join(part.get("text") or part.get("refusal", "") for part in words)
        return {"type": "message", "role": "assistant", "content": said}
    phase = words[0].pop("phase", None)
    item = _message(Role.ASSISTANT, words)
    return item if phase is None else {**item, "phase": phase}


def _is_plain(part: Item) -> bool:
    return part.keys() == {"type", "text"}


def _last_user(messages: tuple[Message, ...]) -> int:
    """Where the user has spoken last; -1 if never."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role is Role.USER:
            return index
    return -1
