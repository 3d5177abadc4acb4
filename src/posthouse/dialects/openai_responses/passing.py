"""Writing a Responses request for an upstream that speaks the same.

It is spliced as all requests of OpenAI's family are. Beyond that, what only
Posthouse could make sense of is taken out: the mark of a history that was put in
place of `previous_response_id`, and reasoning that other providers have signed.
"""

from typing import Any

from msgspec import Raw, structs

from posthouse.dialects.base import Edits, ParsedRequest
from posthouse.dialects.neutral.seal import PREFIX, unseal
from posthouse.dialects.openai import splice
from posthouse.dialects.openai_responses.history import RESOLVED
from posthouse.dialects.openai_responses.parts import NAME
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_SEALED = f'"{PREFIX}'.encode()
_items = json.decoder(list[Raw])
_object = json.decoder(dict[str, Any])


def render_request(request: ParsedRequest, edits: Edits) -> bytes:
    """Write the request for an upstream, changing only what must change."""
    envelope = request.envelope
    sealed = _SEALED in bytes(envelope.get("input", b""))
    if RESOLVED in envelope or sealed:
        envelope = dict(envelope)
        if envelope.pop(RESOLVED, None) is not None:
            envelope.pop("previous_response_id", None)
        if sealed:
            envelope["input"] = _unsealed(envelope["input"])
        request = structs.replace(request, envelope=envelope)
    return splice.render_request(request, edits)


def _unsealed(value: Raw) -> Raw:
    """Leave out reasoning that only another provider can read."""
    try:
        items: list[Raw] = json.decode_with(_items, value)
        return json.raw([item for item in items if not _is_sealed(item)])
    except MalformedJSON:
        return value


def _is_sealed(item: Raw) -> bool:
    if _SEALED not in bytes(item):
        return False
    found: dict[str, Any] = json.decode_with(_object, item)
    encrypted = found.get("encrypted_content")
    if found.get("type") != "reasoning" or not isinstance(encrypted, str):
        return False
    signature = unseal(encrypted, NAME)
    return signature is None or signature.by != NAME
