"""Zhipu's tokens that are made here: a JWT, signed with the key's secret.

Sources: `generate_token` of zai-sdk 0.2 (`core/_jwt_token.py`); RFC 7519, whose
times this form gives in milliseconds. A token is made anew for every request:
it costs less than to keep it.

Credential: `ID.SECRET`, as Zhipu shows it.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hmac import digest

from typing_extensions import override

from posthouse.model.exchange import UpstreamRequest
from posthouse.providers.auth.base import BadCredential, Signer, Steps, with_headers
from posthouse.wire import json

LIFETIME_MS = 210_000
"""Milliseconds; the SDK's own."""

_FORM = re.compile(r"([A-Za-z0-9_-]{1,128})\.([A-Za-z0-9_-]{1,256})")
_HEADER = b'{"alg":"HS256","sign_type":"SIGN"}'


def make(credential: str, options: Mapping[str, str]) -> Signer:  # noqa: ARG001 - a Make
    """Read a key; raises BadCredential."""
    found = _FORM.fullmatch(credential.strip())
    if found is None:
        raise BadCredential("the api_key is not of the form ID.SECRET")
    return _Signer(found[1], found[2].encode())


class _Signer(Signer):
    """Makes a token of one key."""

    def __init__(self, key: str, secret: bytes) -> None:
        self._key = key
        self._secret = secret

    @override
    def sign(self, request: UpstreamRequest, now: float, nonce: str) -> Steps:
        yield from ()
        token = self._token(int(now * 1000))
        return with_headers(request, ((b"authorization", b"Bearer " + token),))

    def _token(self, now: int) -> bytes:
        claims = {"api_key": self._key, "exp": now + LIFETIME_MS, "timestamp": now}
        signed = _unpadded(_HEADER) + b"." + _unpadded(json.encode(claims))
        return signed + b"." + _unpadded(digest(self._secret, signed, "sha256"))


def _unpadded(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")
