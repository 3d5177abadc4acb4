"""JSON of what providers have written, halves of surrogate pairs included."""

from typing import Any

from posthouse.wire import json


def encoded(value: Any) -> bytes:
    """Encode a value; what is half a character becomes U+FFFD."""
    try:
        return json.encode(value)
    except UnicodeEncodeError:
        return json.encode(_whole(value))


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_whole(name): _whole(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(part) for part in value]
    return value
