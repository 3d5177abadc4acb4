"""Baidu's access tokens: one for a pair of keys, shown in the query.

Source: https://ai.baidu.com/ai-doc/REFERENCE/Ck3dwjhhu ("access_token"): a token is
good for thirty days; what it was refused for stands in `error`.

Credential: `API_KEY:SECRET_KEY`; with `|` between them it is taken as well.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from msgspec import Struct
from msgspec.structs import replace
from typing_extensions import override

from posthouse.errors import UpstreamBadResponse, UpstreamCredential, UpstreamOverloaded
from posthouse.model.exchange import Timeouts, UpstreamRequest
from posthouse.providers.auth.base import (
    BadCredential,
    Signer,
    Steps,
    Token,
    TokenWanted,
)
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

PATH = "/oauth/2.0/token"

_FORM = re.compile(r"([A-Za-z0-9_-]{4,128})[:|]([A-Za-z0-9_-]{4,128})")


class _Reply(Struct, frozen=True):
    access_token: str = ""
    expires_in: float = 2_592_000
    error: str = ""

    @override
    def __repr__(self) -> str:
        return f"_Reply({self.error!r})"


_reply = json.decoder(_Reply)


def make(credential: str, options: Mapping[str, str]) -> Signer:  # noqa: ARG001 - a Make
    """Read a pair of keys; raises BadCredential."""
    found = _FORM.fullmatch(credential.strip())
    if found is None:
        raise BadCredential("the api_key is not of the form API_KEY:SECRET_KEY")
    return _Signer(found[1], found[2])


class _Signer(Signer):
    """Shows the token of one pair of keys."""

    def __init__(self, key: str, secret: str) -> None:
        self._form = urlencode(
            {
                "grant_type": "client_credentials",
                "client_id": key,
                "client_secret": secret,
            }
        ).encode()

    @override
    def sign(self, request: UpstreamRequest, now: float, nonce: str) -> Steps:
        token = yield TokenWanted(
            UpstreamRequest(
                method="POST",
                origin=request.origin,
                target=PATH,
                headers=(
                    (b"content-type", b"application/x-www-form-urlencoded"),
                    (b"accept", b"application/json"),
                ),
                body=self._form,
                timeouts=Timeouts(),
            ),
            _read_token,
        )
        joint = "&" if "?" in request.target else "?"
        shown = f"access_token={quote(token.value, safe='')}"
        return replace(request, target=f"{request.target}{joint}{shown}")


def _read_token(status: int, body: bytes) -> Token:
    """Judge what Baidu has given; raises UpstreamFault."""
    if status >= 500 or status == 429:
        raise UpstreamOverloaded
    try:
        reply: _Reply = json.decode_with(_reply, body)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    if reply.error:
        raise UpstreamCredential
    if status != 200 or not reply.access_token:
        raise UpstreamBadResponse
    return Token(reply.access_token, reply.expires_in)
