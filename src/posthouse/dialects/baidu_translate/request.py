"""A translation request's members, read from a form or a query, and written."""

from urllib.parse import parse_qsl, urlencode

from posthouse.dialects.base import Edits, ParsedRequest
from posthouse.dialects.neutral.edits import apply_edits
from posthouse.dialects.openai.envelope import checked_model_name, optional_text
from posthouse.dialects.openai.translating import language, translation_request
from posthouse.errors import InvalidRequest
from posthouse.wire import json
from posthouse.wire.json import Envelope
from posthouse.wire.multipart import Payload

SIZE_LIMIT = 6_000
"""Bytes of a text that Baidu translates at once."""
MEMBER_LIMIT = 100
FORM = b"application/x-www-form-urlencoded"
AUTOMATIC = "auto"
_SIGNATURE = frozenset({"appid", "salt", "sign"})


def read_members(data: bytes) -> dict[str, str]:
    """Read a form's or a query's members; raises InvalidRequest."""
    try:
        pairs = parse_qsl(
            data.decode(),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MEMBER_LIMIT,
        )
    except ValueError:
        raise InvalidRequest("The form of your request is malformed") from None
    return dict(pairs)


def parse_request(body: bytes) -> ParsedRequest:
    """Read a request's members; raises InvalidRequest.

    The signature is not looked at: whoever calls has been asked for a key.
    """
    members = read_members(body)
    for name in ("q", "to"):
        if not members.get(name, "").strip():
            raise InvalidRequest(
                f"The parameter '{name}' is missing",
                param=name,
                code="missing_required_parameter",
            )
    language(members["to"], "to")
    language(members.get("from") or AUTOMATIC, "from")
    envelope: Envelope = {
        name: json.raw(value)
        for name, value in members.items()
        if name not in _SIGNATURE
    }
    named = checked_model_name(members["model"]) if "model" in members else ""
    return translation_request(envelope, named, [members["q"]])


def text_of(envelope: Envelope) -> str:
    """The text that is to be translated."""
    return optional_text(envelope, "q") or ""


def lines_of(text: str) -> list[str]:
    """The lines that are translated: those that are not empty."""
    return [line for line in text.split("\n") if line.strip()]


def prompt_text(request: ParsedRequest) -> str:
    """What is read, for counting."""
    return text_of(request.envelope)


def rendered(request: ParsedRequest, edits: Edits) -> Payload:
    """Write the form for Baidu, complete but for its signature."""
    envelope = dict(request.envelope)
    envelope.setdefault("from", json.raw(AUTOMATIC))
    apply_edits(envelope, edits)
    envelope.pop("model", None)
    members = [(name, _plain(envelope, name)) for name in envelope]
    return Payload(FORM, urlencode(members).encode())


def _plain(envelope: Envelope, name: str) -> str:
    """A text as it is, anything else as JSON."""
    value = envelope[name]
    if json.opens_with(value, b'"'):
        return optional_text(envelope, name) or ""
    return bytes(value).decode()
