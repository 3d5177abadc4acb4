"""Writing a conversation: `systemInstruction` and `contents`.

Rules. The system messages at the beginning are the system instruction; later ones
are said by the user. Results of one turn stand in one content right after the
calls, in the order of the calls. A signature of Google's that had no place where
it came from stands before its part as an empty thought, and goes back to it. What
Google asks for and has not been kept, its stand-in replaces.
"""

from collections.abc import Sequence

from msgspec import Raw, structs

from posthouse.dialects.gemini_generate.calls import is_made
from posthouse.dialects.gemini_generate.results import write_result
from posthouse.dialects.gemini_generate.signatures import (
    NAME,
    STAND_IN,
    generation,
    wants_signatures,
)
from posthouse.dialects.gemini_generate.write_parts import write_said
from posthouse.dialects.gemini_generate.writing import Writing
from posthouse.dialects.neutral.custom_tools import wrapped
from posthouse.model.chat import (
    Audio,
    Document,
    Extras,
    Foreign,
    Image,
    Message,
    Part,
    Role,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Video,
)
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_SYSTEM = (Role.SYSTEM, Role.DEVELOPER)
_SHOWN = (Image, Audio, Video, Document)
_SEES_RESULTS = 3
"""The first generation that takes pictures in results."""

_object = json.decoder(dict[str, Raw])


def write_messages(messages: Sequence[Message], writing: Writing) -> Extras:
    """Write all messages; raises InvalidRequest."""
    system, rest = _split(messages)
    body: Extras = {}
    if writing.own and system and any(map(_is_needed, system[0].parts)):
        # What the request makes no sense without; see `read_request`.
        for part in system.pop(0).parts:
            body |= part.value  # type: ignore[union-attr]  # foreign
    parts = [entry for message in system for entry in _system_parts(message, writing)]
    writer = _Writer(writing, _last_question(rest))
    for index, message in enumerate(rest):
        writer.write(message, index)
    writer.end_results()
    if parts and not writing.own and not (writer.contents and writing.traits.system):
        # Nobody has spoken yet, which Google does not take; or the model takes
        # nothing from the system.
        writing.losses.change("messages.role")
        return {"contents": said_by_user(parts, writer.contents)}
    if not (writer.contents or writing.own):
        writing.losses.refuse("messages", "There is nothing said in the messages.")
    if parts:
        body["systemInstruction"] = {"parts": parts}
        if writing.own and len(system) == 1:
            body["systemInstruction"] |= system[0].extras
    body["contents"] = writer.contents
    return body


def said_by_user(parts: list[Extras], contents: list[Extras]) -> list[Extras]:
    """Let the user's first words begin with the system's."""
    if not contents or contents[0]["role"] != "user":
        return [{"role": "user", "parts": parts}, *contents]
    first = contents[0]
    return [{**first, "parts": [*parts, *first["parts"]]}, *contents[1:]]


def _split(messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """Part the first system messages from all others."""
    count = next(
        (i for i, message in enumerate(messages) if message.role not in _SYSTEM),
        len(messages),
    )
    return list(messages[:count]), list(messages[count:])


def _is_needed(part: Part) -> bool:
    """Whether it is a member of the body rather than something said."""
    return isinstance(part, Foreign) and part.kind.partition(".")[0] in part.value


def _last_question(messages: list[Message]) -> int:
    """Where the user spoke last; -1 for nowhere."""
    return max(
        (index for index, message in enumerate(messages) if message.role is Role.USER),
        default=-1,
    )


def _system_parts(message: Message, writing: Writing) -> list[Extras]:
    if not writing.own:
        _tell_message(message, writing)
        if any(isinstance(part, _SHOWN) for part in message.parts):
            writing.losses.refuse("messages", "A system message can hold text only.")
    return [entry for part in message.parts for entry in write_said(part, writing)]


def _tell_message(message: Message, writing: Writing) -> None:
    """Tell of what stands beside a message's parts."""
    if message.name is not None:
        writing.losses.drop("messages.name")
    writing.extras(message.extras, "messages")


class _Writer:
    """Writes message by message."""

    __slots__ = (
        "_calls",
        "_last_question",
        "_results",
        "_shown",
        "_writing",
        "contents",
    )

    def __init__(self, writing: Writing, last_question: int) -> None:
        self.contents: list[Extras] = []
        self._writing = writing
        self._last_question = last_question
        self._calls: dict[str, tuple[int, str]] = {}
        """By id, which call it was and of what tool."""
        self._results: list[tuple[int, Extras]] = []
        """Of the turn that is open, with the places of their calls."""
        self._shown: list[Extras] = []
        """What tools have shown, where results hold text only."""

    def write(self, message: Message, index: int) -> None:
        if message.role is Role.TOOL:
            for part in message.parts:
                if isinstance(part, ToolResult):
                    self._write_result(part)
            _tell_message(message, self._writing)
            return
        self.end_results()
        if message.role is Role.ASSISTANT:
            self._write_answer(message, index)
            return
        if message.role in _SYSTEM:
            self._writing.losses.change("messages.role")
        parts = [
            entry for part in message.parts for entry in write_said(part, self._writing)
        ]
        self._add("user", parts, message)

    def _add(self, role: str, parts: list[Extras], message: Message) -> None:
        extras = message.extras if self._writing.own else {}
        _tell_message(message, self._writing)
        if parts:
            self.contents.append({"role": role, "parts": parts, **extras})

    # --- results --------------------------------------------------------------------

    def _write_result(self, result: ToolResult) -> None:
        writing = self._writing
        place, name = self._calls.get(result.call_id, (len(self._calls), result.name))
        if not name and not writing.own:
            writing.losses.refuse(
                "messages",
                f"There is no tool call with the id '{result.call_id[:64]}'.",
            )
        texts: list[str] = []
        shown: list[Extras] = []
        for part in result.content:
            if isinstance(part, Text):
                texts.append(part.text)
                writing.mark(part.cache)
                writing.extras(part.extras, "tool_result")
            else:
                shown += write_said(part, writing)
        inner: Extras = {} if is_made(result.call_id) else {"id": result.call_id}
        inner["name"] = name or ""
        inner["response"] = write_result(texts, failed=bool(result.is_error))
        if shown and self._takes_pictures():
            inner["parts"] = shown
        elif shown:
            writing.losses.change("tool_result.content")
            self._shown += shown
        writing.mark(result.cache)
        inner |= writing.extras(result.extras, "tool_result")
        self._results.append((place, {"functionResponse": inner}))

    def _takes_pictures(self) -> bool:
        found = generation(self._writing.traits.model)
        return self._writing.own or found is None or found >= _SEES_RESULTS

    def end_results(self) -> None:
        """All results of a turn are there."""
        if self._results:
            self._results.sort(key=lambda entry: entry[0])
            parts = [entry for _, entry in self._results]
            self.contents.append({"role": "user", "parts": [*parts, *self._shown]})
        self._results = []
        self._shown = []

    # --- answers --------------------------------------------------------------------

    def _write_answer(self, message: Message, index: int) -> None:
        writing = self._writing
        parts: list[Extras] = []
        calls: list[Extras] = []
        for part in _with_signatures(message.parts):
            if isinstance(part, ToolCall):
                entry = self._call(part)
                parts.append(entry)
                calls.append(entry)
            else:
                parts += write_said(part, writing)
        if (
            calls
            and not writing.own
            and index > self._last_question
            and wants_signatures(writing.traits.model)
        ):
            calls[0].setdefault("thoughtSignature", STAND_IN)
        self._add("model", parts, message)

    def _call(self, call: ToolCall) -> Extras:
        writing = self._writing
        self._calls[call.id] = (len(self._calls), call.name)
        inner: Extras = {} if is_made(call.id) else {"id": call.id}
        inner["name"] = call.name
        inner["args"] = self._arguments(call)
        writing.mark(call.cache)
        extras = dict(writing.extras(call.extras, "tool_calls"))
        beside = extras.pop("functionCall", None)
        if isinstance(beside, dict):
            inner |= beside
        entry: Extras = {"functionCall": inner, **extras}
        signature = call.signature
        if signature is not None and signature.by == NAME:
            entry["thoughtSignature"] = signature.value
        elif signature is not None:
            writing.losses.drop("signature")
        return entry

    def _arguments(self, call: ToolCall) -> Raw:
        text = wrapped(call.arguments) if call.custom else call.arguments
        if not text.strip():
            return Raw(b"{}")
        try:
            json.decode_with(_object, text.encode())
        except (MalformedJSON, UnicodeEncodeError):
            self._writing.losses.refuse(
                "messages",
                f"The arguments of the tool call '{call.id[:64]}' are not a JSON "
                "object.",
            )
        return Raw(text.encode())


def _with_signatures(parts: Sequence[Part]) -> list[Part]:
    """Put signatures back to the parts that follow them."""
    out: list[Part] = []
    waiting: Signature | None = None
    for part in parts:
        if _is_carrier(part):
            out += _alone(waiting)
            waiting = part.signature  # type: ignore[union-attr]  # a thought
            continue
        if waiting is not None:
            signed = _signed(part, waiting)
            out += [signed] if signed is not None else [*_alone(waiting), part]
            waiting = None
            continue
        out.append(part)
    return [*out, *_alone(waiting)]


def _is_carrier(part: Part) -> bool:
    """Whether a thought is nothing but the signature of what follows."""
    return (
        isinstance(part, Thinking)
        and not (part.text or part.extras)
        and part.signature is not None
        and part.signature.by == NAME
    )


def _signed(part: Part, signature: Signature) -> Part | None:
    """Sign a part; None if it has no place for that, or has been signed."""
    if isinstance(part, ToolCall | Text | Image) and part.signature is None:
        return structs.replace(part, signature=signature)
    return None


def _alone(signature: Signature | None) -> list[Part]:
    return [] if signature is None else [Text("", signature=signature)]
