"""Writing a request for an upstream of the same dialect.

Requests are spliced, never re-modelled: an edit replaces a top-level member
and leaves every other member's bytes as they stood.
"""

from msgspec import Raw

from posthouse.dialects.base import Edits, ParsedRequest
from posthouse.dialects.neutral.edits import apply_edits
from posthouse.model.catalog import Quirks, StreamUsage
from posthouse.wire import json
from posthouse.wire.json import Envelope

_object = json.decoder(dict[str, Raw] | None)
_INCLUDE_USAGE = json.raw({"include_usage": True})


def render_request(request: ParsedRequest, edits: Edits) -> bytes:
    """Write the request for an upstream, changing only what must change."""
    if edits.model_only and not request.stream and edits.model == request.model:
        return json.encode(request.envelope)
    envelope = dict(request.envelope)
    quirks = edits.quirks
    if request.stream and not request.include_usage:
        _ask_for_usage(envelope, quirks)
    apply_edits(envelope, edits)
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
