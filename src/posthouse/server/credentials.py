"""Where a request carries its key: every way that the great APIs' clients use.

The first place that is present decides, also when what it holds is malformed:
a request is never judged by one of two credentials of which a proxy in front
may have read the other. What is found is never logged.
"""

import re
from urllib.parse import parse_qsl

_BEARER = re.compile(rb"(?i:bearer|deepl-auth-key) +([\x21-\x7e]{1,1024})")
_PLAIN = re.compile(rb"([\x21-\x7e]{1,1024})")
_KEY_HEADERS = (b"x-api-key", b"api-key", b"x-goog-api-key")
KEY_VALUES = {b"authorization": _BEARER, **dict.fromkeys(_KEY_HEADERS, _PLAIN)}
"""What the fields hold that have a key in them; it is the pattern's group."""


def presented_key(fields: dict[bytes, bytes], query: bytes) -> str | None:
    """Give the key that a request presents; None for none or a malformed one.

    Looks at `Authorization` (`Bearer` or DeepL's `DeepL-Auth-Key`), `x-api-key`,
    `api-key`, `x-goog-api-key` and `?key=`, in this order.

    Args:
        fields: header values by name in lower case.
        query: the raw query string.
    """
    value = fields.get(b"authorization")
    if value is not None:
        match = _BEARER.fullmatch(value)
        return match[1].decode() if match is not None else None
    for name in _KEY_HEADERS:
        value = fields.get(name)
        if value is not None:
            return _plain(value)
    if b"key=" in query:
        for parameter, text in parse_qsl(query.decode("latin-1")):
            if parameter == "key":
                return _plain(text.encode())
    return None


def carries_key(fields: dict[bytes, bytes], query: bytes) -> bool:
    """Whether one of those places is present, whatever it holds."""
    named = (b"authorization", *_KEY_HEADERS)
    if any(name in fields for name in named):
        return True
    return any(name == b"key" for name, _ in parse_qsl(query, keep_blank_values=True))


def _plain(value: bytes) -> str | None:
    match = _PLAIN.fullmatch(value)
    return match[1].decode() if match is not None else None
