"""Replies of providers that are not quite what OpenAI's clients expect, mended.

What is mended is declared in the provider's row and decided once for each
target; a reply or chunk in which none of it can be is not even decoded. Only
the members that must change are written anew, all others keep their bytes.
"""

from collections.abc import Callable
from hashlib import sha256

from msgspec import Raw

from posthouse.dialects.openai.declared import DeclaredErrors
from posthouse.errors import UpstreamOverloaded
from posthouse.model.catalog import FAILED, Replies
from posthouse.wire import json
from posthouse.wire.json import Decoder, Envelope, MalformedJSON

_objects = json.decoder(list[Envelope] | None)
_object: "Decoder[Envelope | None]" = json.decoder(Envelope | None)
_envelope: "Decoder[Envelope]" = json.decoder(Envelope)
_count: "Decoder[int | None]" = json.decoder(int | None)

_NULL = Raw(b"null")
_FIRST = Raw(b"0")
_EMPTY = Raw(b"{}")
_WHOLE = json.raw("chat.completion")
_CHUNK = json.raw("chat.completion.chunk")


class Mender:
    """Mends the replies of one target."""

    __slots__ = (
        "_choice_marks",
        "_clock",
        "_errors",
        "_marks",
        "_model",
        "_reasons",
        "_replies",
    )

    def __init__(
        self,
        replies: Replies,
        errors: DeclaredErrors,
        *,
        model: str,
        clock: Callable[[], float],
    ) -> None:
        """Decide what is to be done.

        Args:
            replies: what the row declares.
            errors: the row's errors, which are looked for on the way.
            model: the name that fills replies without one.
            clock: seconds since 1970, for replies that do not tell their time.
        """
        self._replies = replies
        self._errors = errors
        self._model = json.raw(model)
        self._clock = clock
        self._reasons = {
            bytes(json.raw(theirs)): ours
            for theirs, ours in replies.finish_reasons.items()
        }
        self._choice_marks = _choice_marks(replies, self._reasons)
        self._marks = self._choice_marks + tuple(
            mark
            for mark, wanted in (
                (errors.mark, bool(errors.mark)),
                (b'"usage"', replies.reasoning_beside),
            )
            if wanted
        )

    def mend(
        self, data: bytes, *, chunk: bool, identity: Envelope | None = None
    ) -> bytes:
        """Give a reply or chunk as it should be; raises UpstreamFault.

        Args:
            data: the JSON text; the very same comes back if all is well.
            chunk: it is a part of a stream.
            identity: what fills the chunks of one stream, kept here between them.
        """
        if not self._replies.fill and not _any_in(self._marks, data):
            return data
        try:
            # The plain dialect judges the rest of the text, which is copied as it is.
            envelope = json.decode_with(_envelope, data)
        except MalformedJSON:
            return data
        fault = self._errors.told_in(envelope)
        if fault is not None:
            raise fault
        changed = _any_in(self._choice_marks, data) and self._mend_choices(
            envelope, chunk=chunk
        )
        if self._replies.reasoning_beside:
            changed |= _add_reasoning(envelope)
        if self._replies.fill and "choices" in envelope:
            changed |= self._fill(envelope, chunk, {} if identity is None else identity)
        return json.encode(envelope) if changed else data

    # --- choices ------------------------------------------------------------------

    def _mend_choices(self, envelope: Envelope, *, chunk: bool) -> bool:
        replies = self._replies
        try:
            choices = json.decode_with(_objects, envelope.get("choices", _NULL))
        except MalformedJSON:
            return False
        changed = False
        for choice in choices or ():
            changed |= self._mend_reason(choice)
            if chunk and replies.whole_last_chunk:
                changed |= _leave_out_message(choice, envelope)
            if replies.tool_calls_object:
                changed |= _list_calls(choice, "delta" if chunk else "message")
        if changed:
            envelope["choices"] = json.raw(choices)
        return changed

    def _mend_reason(self, choice: Envelope) -> bool:
        reason = choice.get("finish_reason")
        ours = None if reason is None else self._reasons.get(bytes(reason))
        if ours is None:
            return False
        if ours == FAILED:
            raise UpstreamOverloaded
        choice["finish_reason"] = json.raw(ours)
        return True

    # --- the head -----------------------------------------------------------------

    def _fill(self, envelope: Envelope, chunk: bool, identity: Envelope) -> bool:
        """Set what is absent; one stream's chunks share what they are given."""
        if not identity:
            own = envelope.get(self._replies.id_member, _NULL)
            identity["id"] = own if json.opens_with(own, b'"') else _made_up(envelope)
            identity["object"] = _CHUNK if chunk else _WHOLE
            identity["created"] = json.raw(int(self._clock()))
            identity["model"] = self._model
        changed = False
        for name, value in identity.items():
            if envelope.get(name, _NULL) == _NULL:
                envelope[name] = value
                changed = True
        return changed


def _choice_marks(replies: Replies, reasons: dict[bytes, str]) -> tuple[bytes, ...]:
    """What stands in the bytes wherever there is something to do for a choice."""
    marks = list(reasons)
    if replies.tool_calls_object:
        marks.append(b'"tool_calls"')
    if replies.whole_last_chunk:
        marks.append(b'"message"')
    return tuple(marks)


def _any_in(marks: tuple[bytes, ...], data: bytes) -> bool:
    for mark in marks:  # noqa: SIM110 - a generator costs more than all of it
        if mark in data:
            return True
    return False


def _made_up(envelope: Envelope) -> Raw:
    """An identifier for a reply that has none."""
    return json.raw("chatcmpl-" + sha256(json.encode(envelope)).hexdigest()[:24])


def _leave_out_message(choice: Envelope, envelope: Envelope) -> bool:
    """Empty a last chunk that repeats what the others have said."""
    if "message" not in choice or choice.get("delta", _NULL) != _NULL:
        return False
    del choice["message"]
    choice["delta"] = _EMPTY
    envelope["object"] = _CHUNK
    return True


def _list_calls(choice: Envelope, place: str) -> bool:
    """Put a list around a tool call that lacks it."""
    part = _object_in(choice, place)
    call = None if part is None else _object_in(part, "tool_calls")
    if part is None or call is None:
        return False
    if place == "delta":
        call.setdefault("index", _FIRST)
    part["tool_calls"] = json.raw([call])
    choice[place] = json.raw(part)
    return True


def _object_in(envelope: Envelope, name: str) -> Envelope | None:
    value = envelope.get(name)
    if value is None or not json.opens_with(value, b"{"):
        return None
    return json.decode_with(_object, value)


def _add_reasoning(envelope: Envelope) -> bool:
    """Let the completion's tokens be all that the total leaves for them."""
    usage = _object_in(envelope, "usage")
    if usage is None:
        return False
    try:
        prompt, completion, total = (
            json.decode_with(_count, usage.get(name, _NULL)) or 0
            for name in ("prompt_tokens", "completion_tokens", "total_tokens")
        )
    except MalformedJSON:
        return False
    if total - prompt <= completion:
        return False
    usage["completion_tokens"] = json.raw(total - prompt)
    envelope["usage"] = json.raw(usage)
    return True
