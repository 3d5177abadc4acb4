"""Where a request carries its key: every way that the great APIs' clients use.

The first place that is present decides, also when what it holds is malformed:
a request is never judged by one of two credentials of which a proxy in front
may have read the other. What is found is never logged.
"""

import re
from urllib.parse import parse_qsl

_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([\x21-\x7e]+)")
_PLAIN = re.compile(rb"[\x21-\x7e]+")
_KEY_HEADERS = (b"x-api-key", b"api-key", b"x-goog-api-key")
_KEY_BYTES = 1024


def presented_key(fields: dict[bytes, bytes], query: bytes) -> str | None:
    """Give the key that a request presents; None for none or a malformed one.

    Looks at `Authorization: Bearer`, `x-api-key`, `api-key`, `x-goog-api-key`
    and `?key=`, in this order.

    Args:
        fields: header values by name in lower case.
        query: the raw query string.
    """
    value = fields.get(b"authorization")
    if value is not None:
        return _text(_BEARER.fullmatch(value), 1)
    for name in _KEY_HEADERS:
        value = fields.get(name)
        if value is not None:
            return _text(_PLAIN.fullmatch(value), 0)
    if b"key=" in query:
        for parameter, text in parse_qsl(query.decode("latin-1")):
            if parameter == "key":
                return _text(_PLAIN.fullmatch(text.encode()), 0)
    return None


def _text(match: re.Match[bytes] | None, group: int) -> str | None:
    if match is None or len(match[group]) > _KEY_BYTES:
        return None
    return match[group].decode("ascii")
