"""Reading parts: what is said, shown, thought, called and returned.

Texts that follow one another are one text, and so are thoughts: a stream's pieces
cannot be told from several texts, and clients send the pieces back as they came.
A signature closes what it signs.

Source: `types.Part` in google-genai 3.4.0.
"""

from typing import Any

from msgspec import Raw, Struct, field, structs

from posthouse.dialects.gemini_generate.media import (
    media_part,
    read_file,
    read_inline,
)
from posthouse.dialects.gemini_generate.signatures import (
    read_signature,
    signed_thought,
)
from posthouse.dialects.google.names import inner
from posthouse.dialects.neutral.members import Members, Wrong
from posthouse.model.chat import (
    Audio,
    Extras,
    Foreign,
    Image,
    Part,
    Signature,
    Text,
    Thinking,
    ToolCall,
)
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_SERVER_KINDS = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")
_ABSENT = Raw()


class Given(Struct, frozen=True):
    """What surrounds a part that is read."""

    wrong: Wrong
    arguments: Raw | None = None
    """Of the call that it may be, to the letter."""


def read_said(members: Members, given: Given) -> Part | None:
    """Read a part that is neither call nor result; None for an empty one."""
    signature = read_signature(members.text("thoughtSignature"))
    text = members.text("text")
    if text is not None or (signature is not None and _holds_nothing(members)):
        return _spoken(text or "", signature, members)
    found: Part | None = None
    blob = inner(members, "inlineData", given.wrong)
    if blob is not None:
        source, title = read_inline(blob)
        found = media_part(source, title, _with(members, "inlineData", blob))
    blob = inner(members, "fileData", given.wrong)
    if blob is not None:
        source, title = read_file(blob)
        found = media_part(source, title, _with(members, "fileData", blob))
    if found is not None:
        return _signed(found, signature)
    return _foreign(members, signature)


def _holds_nothing(members: Members) -> bool:
    return not members.extras().keys() - {"thought"}


def _spoken(text: str, signature: Signature | None, members: Members) -> Part:
    thought = members.flag("thought")
    if not thought:
        return Text(text, signature=signature, extras=members.extras())
    found = signed_thought(text, signature)
    return structs.replace(found, extras=members.extras())


def _with(members: Members, name: str, blob: Members) -> Extras:
    """The extras of a part and of its only member."""
    beside = blob.extras()
    return members.extras() | ({name: beside} if beside else {})


def _signed(part: Part, signature: Signature | None) -> Part:
    """Put a signature where there is a place for one."""
    if signature is None:
        return part
    if isinstance(part, Image):
        return structs.replace(part, signature=signature)
    if isinstance(part, Foreign):
        value = {**part.value, "thoughtSignature": signature.value}
        return structs.replace(part, value=value)
    extras: Extras = {**part.extras, "thoughtSignature": signature.value}
    return structs.replace(part, extras=extras)


def _foreign(members: Members, signature: Signature | None) -> Part | None:
    """Keep a part whole that nobody else has: server tools and their results."""
    value = members.extras()
    if not value:
        return None
    kind = next((name for name in _SERVER_KINDS if name in value), next(iter(value)))
    return _signed(Foreign(kind, value, harmless=kind in _SERVER_KINDS), signature)


# --- calls --------------------------------------------------------------------------


def read_call(call: Members, call_id: str, given: Given, around: Members) -> ToolCall:
    """Read a `functionCall`, under the id that it goes by."""
    name = call.text("name") or ""
    arguments = call.object("args")
    signature = read_signature(around.text("thoughtSignature"))
    extras = around.extras()
    beside = call.extras()
    if beside:
        extras["functionCall"] = beside
    return ToolCall(
        call_id,
        name,
        _written(arguments, given.arguments),
        signature=signature,
        extras=extras,
    )


def _written(arguments: Extras | None, raw: Raw | None) -> str:
    """Write arguments as they stood, without the white space around them."""
    if arguments is None:
        return "{}"
    if raw is None or not len(raw):
        return json.encode(arguments).decode()
    return json.compact(raw).decode()


class _Call(Struct, gc=False):
    args: Raw = _ABSENT


class _CallPart(Struct, gc=False):
    camel: _Call | None = field(default=None, name="functionCall")
    function_call: _Call | None = None


class _CallContent(Struct, gc=False):
    parts: list[_CallPart] | _CallPart | None = None


class _Candidate(Struct, gc=False):
    content: _CallContent | None = None


class _Reply(Struct, gc=False):
    candidates: list[_Candidate] = []


_contents = json.decoder(list[_CallContent] | _CallContent)
_reply = json.decoder(_Reply)

Arguments = list[list[Raw]]
"""By content or candidate and by part; empty where there is no call."""


def arguments_in_contents(data: bytes | Raw) -> Arguments:
    """Find the arguments of a conversation's calls, to the letter."""
    if not _has_calls(bytes(data)):
        return []
    try:
        found = json.decode_with(_contents, data)
    except MalformedJSON:
        return []
    return [_raws(content) for content in _listed(found)]


def arguments_in_reply(data: bytes) -> Arguments:
    """Find the arguments of a reply's calls, to the letter."""
    if not _has_calls(data):
        return []
    try:
        found: _Reply = json.decode_with(_reply, data)
    except MalformedJSON:
        return []
    return [
        [] if candidate.content is None else _raws(candidate.content)
        for candidate in found.candidates
    ]


def argument_at(found: Arguments, outer: int, index: int) -> Raw | None:
    """The arguments at a place; None if they are not known."""
    if outer < len(found) and index < len(found[outer]):
        return found[outer][index]
    return None


def _has_calls(data: bytes) -> bool:
    return b"functionCall" in data or b"function_call" in data


def _raws(content: _CallContent) -> list[Raw]:
    return [
        _ABSENT if call is None else call.args
        for part in _listed(content.parts)
        for call in (part.camel or part.function_call,)
    ]


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


# --- pieces -------------------------------------------------------------------------


def says_nothing(part: Part) -> bool:
    """Whether a piece is empty, as a stream's last one often is."""
    return isinstance(part, Text | Thinking) and not (
        part.text or part.signature or part.extras
    )


def joins(before: Part, part: Part) -> bool:
    """Whether a part goes on with the one before it.

    An empty text with a signature signs what came before; what is signed has
    ended.
    """
    if isinstance(part, Audio):
        return isinstance(before, Audio) and _sound_goes_on(before, part)
    if isinstance(part, Text) and isinstance(before, Text):
        return not (before.signature or before.extras or part.extras)
    if isinstance(part, Thinking) and isinstance(before, Thinking):
        whole = before.signature or before.redacted or part.redacted
        return not (whole or before.extras or part.extras)
    return False


def _sound_goes_on(before: Audio, part: Audio) -> bool:
    """Whether two sounds' base64 can be put together: nothing fills the first."""
    first, second = before.source, part.source
    return (
        first.media_type == second.media_type
        and first.data is not None
        and second.data is not None
        and not first.data.endswith("=")
        and not (before.extras or part.extras)
    )


def joined(parts: list[Part]) -> list[Part]:
    """Put pieces together."""
    out: list[Part] = []
    pieces: list[str] = []

    def whole() -> None:
        """Give the last part what it has grown by."""
        last = out[-1] if out else None
        if pieces and isinstance(last, Text | Thinking):
            out[-1] = structs.replace(last, text="".join((last.text, *pieces)))
        pieces.clear()

    for part in parts:
        if says_nothing(part):
            continue
        before = out[-1] if out else None
        if (
            before is None
            or not isinstance(part, Text | Thinking)
            or not joins(before, part)
        ):
            whole()
            out.append(part)
            continue
        pieces.append(part.text)
        if part.signature is not None:
            whole()
            out[-1] = _closed(out[-1], part)
    whole()
    return out


def _closed(before: Part, part: Text | Thinking) -> Part:
    """Give what has ended the signature that ended it."""
    changes: dict[str, Any] = {"signature": part.signature}
    if isinstance(part, Thinking):
        changes["id"] = part.id
    return structs.replace(before, **changes)
