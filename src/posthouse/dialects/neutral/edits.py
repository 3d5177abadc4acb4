"""What a provider's row and a channel change in a request's top level."""

from msgspec import Raw

from posthouse.dialects.base import Edits
from posthouse.model.catalog import Quirks, StreamUsage
from posthouse.wire import json
from posthouse.wire.json import Envelope, MalformedJSON

_number = json.decoder(float)
_NULL = Raw(b"null")


def apply_edits(envelope: Envelope, edits: Edits) -> None:
    """Apply what the provider's row declares, then what the channel's owner wants."""
    apply_quirks(envelope, edits.quirks)
    for name in edits.drop:
        envelope.pop(name, None)
    for name, value in edits.set.items():
        envelope[name] = json.raw(value)


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
