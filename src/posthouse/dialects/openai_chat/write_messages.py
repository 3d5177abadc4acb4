"""Writing a conversation.

What tools have returned stands in one message for each, which holds text alone:
pictures and files follow in a message of the user's, after all of them, and so
do pictures that the model has made. An error is told in words. Thoughts go back
to models that want them, unsigned: a signature is of use to nobody here but the
provider of this dialect who gave it.

Sources: see `read_messages`, whose mirror this is.
"""

from posthouse.dialects.neutral.custom_tools import wrapped
from posthouse.dialects.openai_chat.thoughts import (
    NAME,
    write_details,
    write_signature,
)
from posthouse.dialects.openai_chat.write_parts import (
    Writing,
    foreign,
    joined,
    write_content,
    write_part,
)
from posthouse.model.chat import (
    Audio,
    Document,
    Extras,
    Foreign,
    Image,
    Message,
    Part,
    Refusal,
    Role,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Video,
)
from posthouse.model.traits import Replay
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_SHOWN = (Image, Audio, Video, Document)
_ROLES = {role: role.value for role in Role}
_ASKING = {role: role.value for role in (Role.SYSTEM, Role.USER)}
_SPEAKING = {**_ASKING, Role.ASSISTANT: Role.ASSISTANT.value}
"""Whose words are written alike for all models."""
# Members of an enumeration are slow to look up.
_TOOL, _ASSISTANT, _USER = Role.TOOL, Role.ASSISTANT, Role.USER
_DEVELOPER = Role.DEVELOPER
_ALWAYS = Replay.ALWAYS
_any_json = json.decoder(object)


def write_messages(messages: tuple[Message, ...], writing: Writing) -> list[Extras]:
    """Write all messages; raises InvalidRequest."""
    entries: list[Extras] = []
    # Who always wants thoughts is told with every answer that there were none.
    roles = _ASKING if writing.traits.replay is _ALWAYS else _SPEAKING
    for message in messages:
        role = roles.get(message.role)
        words = None if role is None else message.words()
        if words is None:
            _write_rest(messages, entries, writing)
            break
        entries.append({"role": role, "content": words})
    return entries


def _write_rest(
    messages: tuple[Message, ...], entries: list[Extras], writing: Writing
) -> None:
    """Write all messages behind those that are nothing but words."""
    writer = _Writer(writing, _last_question(messages), entries)
    for index in range(len(entries), len(messages)):
        writer.write(messages[index], index)
    writer.show()


def _last_question(messages: tuple[Message, ...]) -> int:
    """Where the user spoke last; -1 for nowhere."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role is _USER:
            return index
    return -1


class _Writer:
    """Writes message by message."""

    __slots__ = ("_entries", "_last_question", "_shown", "_writing")

    def __init__(
        self, writing: Writing, last_question: int, entries: list[Extras]
    ) -> None:
        self._entries = entries
        self._writing = writing
        self._last_question = last_question
        self._shown: list[Extras] = []
        """What could not stand where it belongs, for the next of the user's."""

    def write(self, message: Message, index: int) -> None:
        role = message.role
        if role is _TOOL:
            for part in message.parts:
                if isinstance(part, ToolResult):
                    self._write_result(part)
            self._writing.extras(message.extras, "messages")
            return
        if role is _ASSISTANT:
            self.show()
            self._write_answer(message, index)
            return
        if role is _USER and self._shown:
            self.show()
        entry: Extras = {
            "role": self._role(role),
            "content": write_content(message.parts, self._writing),
        }
        self._add(entry, message)

    def show(self) -> None:
        """Let the user show what waits."""
        if self._shown:
            self._entries.append({"role": "user", "content": self._shown})
            self._shown = []

    def _role(self, role: Role) -> str:
        if role is _DEVELOPER and not self._writing.traits.developer:
            self._writing.losses.change("messages.role")
            return "system"
        return _ROLES[role]

    def _add(self, entry: Extras, message: Message) -> None:
        if message.name is not None:
            entry["name"] = message.name
        if message.extras:
            entry |= self._writing.extras(message.extras, "messages")
        self._entries.append(entry)

    # --- results --------------------------------------------------------------------

    def _write_result(self, result: ToolResult) -> None:
        writing = self._writing
        said: list[Part] = []
        shown: list[Extras] = []
        for part in result.content:
            if isinstance(part, Text):
                said.append(part)
            elif isinstance(part, _SHOWN) and not writing.own:
                writing.losses.change("tool_result.content")
                shown += write_part(part, writing)
            elif isinstance(part, Foreign) and not writing.own:
                said += _foreign_text(part, writing)
            else:
                said.append(part)
        content = write_content(said, writing)
        if isinstance(content, list) and not writing.own and _is_plain(content):
            # Few take a list here.
            content = joined(content)
        if result.is_error:
            writing.losses.change("tool_result.is_error")
            content = _as_error(content)
        if shown:
            content = content or "The tool's output follows."
            label = f"Output of the tool call {result.call_id}:"
            self._shown += [{"type": "text", "text": label}, *shown]
        entry: Extras = {
            "role": "tool",
            "tool_call_id": result.call_id,
            "content": content,
        }
        if result.name is not None and writing.own:
            entry["name"] = result.name
        entry |= writing.mark(result.cache)
        self._entries.append(entry | writing.extras(result.extras, "tool_result"))

    # --- answers --------------------------------------------------------------------

    def _write_answer(self, message: Message, index: int) -> None:
        writing = self._writing
        entry: Extras = {"role": "assistant"}
        said: list[Part] = []
        calls: list[Extras] = []
        thoughts: list[Thinking] = []
        for part in message.parts:
            match part:
                case ToolCall():
                    calls.append(self._write_call(part))
                case Thinking():
                    thoughts.append(part)
                case Refusal() if not part.extras:
                    entry["refusal"] = entry.get("refusal", "") + part.text
                case Audio() if part.id is not None:
                    entry["audio"] = {"id": part.id} | part.extras
                case Audio():
                    writing.losses.change("messages.content.audio")
                    said.append(Text(part.transcript or ""))
                case Image() | Video() | Document():
                    self._show_made(part, entry)
                case _:
                    said.append(part)
        content = write_content(said, writing)
        # A text of nothing stands for one; beside calls there is none.
        bare = calls or "refusal" in entry or "audio" in entry
        entry["content"] = content or (None if bare else "")
        if calls:
            entry["tool_calls"] = calls
        entry |= self._thoughts(thoughts, index) | self._signature(message)
        self._add(entry, message)

    def _show_made(self, part: Image | Video | Document, entry: Extras) -> None:
        """What the model made goes back to it as something that it is shown."""
        writing = self._writing
        written = write_part(part, writing)
        if writing.own:
            entry.setdefault("images", []).extend(written)
            return
        writing.losses.change("messages.content.image")
        self._shown += written

    def _write_call(self, call: ToolCall) -> Extras:
        writing = self._writing
        kind = "function"
        inner: Extras = {"name": call.name, "arguments": call.arguments or "{}"}
        if call.custom and writing.traits.custom_tools:
            kind = "custom"
            inner = {"name": call.name, "input": call.arguments}
        elif call.custom:
            inner["arguments"] = wrapped(call.arguments)
        elif not writing.own:
            _check_arguments(call, writing)
        extras = dict(writing.extras(call.extras, "tool_calls"))
        beside = extras.pop(kind, None)
        if isinstance(beside, dict):
            inner |= beside
        entry: Extras = {"id": call.id, "type": kind, kind: inner}
        own = self._own_signature(call.signature)
        if own is not None:
            known = extras.pop("extra_content", None)
            entry["extra_content"] = write_signature(known, own)
        return entry | writing.mark(call.cache) | extras

    # --- thoughts -------------------------------------------------------------------

    def _thoughts(self, thoughts: list[Thinking], index: int) -> Extras:
        """Give the members that tell the model what it thought."""
        writing = self._writing
        own = [thought for thought in thoughts if _is_own(thought.signature)]
        usable = [thought for thought in thoughts if thought.signature is None]
        if len(own) + len(usable) < len(thoughts):
            writing.losses.drop("thinking")
        replay = writing.traits.replay
        wanted = replay is Replay.ALWAYS or (
            replay is Replay.TOOLS and index > self._last_question
        )
        found: Extras = {}
        if own:
            found["reasoning_details"] = write_details(own)
        text = "".join(thought.text for thought in (*own, *usable))
        if wanted and (text or replay is Replay.ALWAYS):
            # Some of those who always want them insist on the member.
            found["reasoning_content"] = text
        elif usable:
            writing.losses.drop("thinking")
        return found

    def _signature(self, message: Message) -> Extras:
        """Give what signs the text that the model spoke."""
        for part in reversed(message.parts):
            if isinstance(part, Text) and part.signature is not None:
                own = self._own_signature(part.signature)
                return (
                    {} if own is None else {"extra_content": write_signature({}, own)}
                )
        return {}

    def _own_signature(self, signature: Signature | None) -> str | None:
        """What a provider of this dialect has signed; others' stay away."""
        if signature is None:
            return None
        if _is_own(signature):
            return signature.value
        self._writing.losses.drop("signature")
        return None


def _is_own(signature: Signature | None) -> bool:
    return signature is not None and signature.by == NAME


def _check_arguments(call: ToolCall, writing: Writing) -> None:
    """Refuse arguments that are no JSON, which many providers fail on."""
    if not call.arguments:
        return
    try:
        json.decode_with(_any_json, call.arguments.encode(errors="replace"))
    except MalformedJSON:
        writing.losses.refuse(
            "tool_calls.arguments",
            f"The arguments of the call of '{call.name[:64]}' are not JSON.",
        )


def _foreign_text(part: Foreign, writing: Writing) -> list[Part]:
    """A tool's output that only its own dialect can show, as its text."""
    foreign(part, writing)
    return []


def _is_plain(content: list[Extras]) -> bool:
    return all(entry.keys() == {"type", "text"} for entry in content)


def _as_error(content: str | list[Extras]) -> str | list[Extras]:
    """Say in words that the tool has failed."""
    if isinstance(content, str):
        return f"Error: {content}" if content else "Error"
    return [{"type": "text", "text": "Error:"}, *content]
