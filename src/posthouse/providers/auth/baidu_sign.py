"""Baidu's translation requests: each signed by what it asks and a secret.

Source: https://fanyi-api.baidu.com/doc/21: `sign` is the MD5, in lower-case
hexadecimal digits, of the application's number, the text as it is (not as the form
has it escaped), the salt and the secret, one after the other.

Credential: `APPID:SECRET`; with `|` between them it is taken as well.
"""

import re
from collections.abc import Mapping
from hashlib import md5
from urllib.parse import parse_qsl, urlencode

from msgspec.structs import replace
from typing_extensions import override

from posthouse.model.exchange import UpstreamRequest
from posthouse.providers.auth.base import BadCredential, Signer, Steps

_FORM = re.compile(r"([A-Za-z0-9_-]{4,128})[:|]([A-Za-z0-9_-]{4,128})")


def make(credential: str, options: Mapping[str, str]) -> Signer:  # noqa: ARG001 - a Make
    """Read a number and its secret; raises BadCredential."""
    found = _FORM.fullmatch(credential.strip())
    if found is None:
        raise BadCredential("the api_key is not of the form APPID:SECRET")
    return _Signer(found[1], found[2])


class _Signer(Signer):
    """Signs for one application."""

    def __init__(self, number: str, secret: str) -> None:
        self._number = number
        self._secret = secret

    @override
    def sign(self, request: UpstreamRequest, now: float, nonce: str) -> Steps:
        yield from ()
        members = parse_qsl(request.body.decode(), keep_blank_values=True)
        text = dict(members).get("q", "")
        signed = f"{self._number}{text}{nonce}{self._secret}".encode()
        # What Baidu asks for; it secures nothing else.
        digest = md5(signed, usedforsecurity=False).hexdigest()
        own = [("appid", self._number), ("salt", nonce), ("sign", digest)]
        return replace(request, body=urlencode(members + own).encode())
