"""Writing a request for an upstream of the same dialect.

Requests are spliced, never re-modelled: an edit replaces a top-level member
and leaves every other member's bytes as they stood.
"""

from msgspec import Raw

from posthouse.dialects.base import Edits, ParsedRequest
from posthouse.model.catalog import Quirks, StreamUsage
from posthouse.wire import json
from posthouse.wire.json import Envelope, MalformedJSON

_object = json.decoder(dict[str, Raw] | None)
_number = json.decoder(float)
_NULL = Raw(b"null")
_INCLUDE_USAGE = json.raw({"include_usage": True})


def render_request(request: ParsedRequest, edits: Edits) -> bytes:
    """Write the request for an upstream, changing only what must change."""
    if edits.model_only and not request.stream and edits.model == request.model:
        return json.encode(request.envelope)
    envelope = dict(request.envelope)
    quirks = edits.quirks
    if request.stream and not request.include_usage:
        _ask_for_usage(envelope, quirks)
    apply_quirks(envelope, quirks)
    for name in edits.drop:
        envelope.pop(name, None)
    for name, value in edits.set.items():
        envelope[name] = json.raw(value)
    envelope["model"] = json.raw(edits.model)
    return json.encode(envelope)


def _ask_for_usage(envelope: Envelope, quirks: Quirks) -> None:
    """Merge `include_usage` into the stream options where the provider has it."""
    if quirks.stream_usage is not StreamUsage.REQUEST:
        return
    present = envelope.get("stream_options")
    options = None if present is None else json.decode_with(_object, present)
    if not options:
        envelope["stream_options"] = _INCLUDE_USAGE
        return
    options["include_usage"] = Raw(b"true")
    envelope["stream_options"] = json.raw(options)


def apply_quirks(envelope: Envelope, quirks: Quirks) -> None:
    """Apply a provider's declared edits in place."""
    if quirks.stream_usage is not StreamUsage.REQUEST:
        envelope.pop("stream_options", None)
    for old, new in quirks.rename.items():
        if old in envelope:
            value = envelope.pop(old)
            if envelope.get(new, _NULL) == _NULL:
                envelope[new] = value
    for name in quirks.drop:
        envelope.pop(name, None)
    for name, value in quirks.default.items():
        envelope.setdefault(name, value)
    for name, (low, high) in quirks.clamp.items():
        _clamp(envelope, name, low, high)


def _clamp(envelope: Envelope, name: str, low: float, high: float) -> None:
    """Bring a numeric member inside bounds; leave what is not a number."""
    value = envelope.get(name)
    if value is None:
        return
    try:
        number = json.decode_with(_number, value)
    except MalformedJSON:
        return
    if not low <= number <= high:
        bound = low if number < low else high
        # A whole bound is written as one, for fields that take nothing else.
        envelope[name] = json.raw(int(bound) if bound == int(bound) else bound)
