"""A Google service account: an access token for a signed assertion.

Sources: https://developers.google.com/identity/protocols/oauth2/service-account
("HTTP/REST"); RFC 7523 §2.1 and §3. The assertion is signed with RS256.

Credential: the account's key file, as Google gives it: a JSON object (`file:PATH`
reads it). Its `project_id` stands for `{project}` in an address; a `quota_project_id`
in it is told to Google as the project that pays.
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msgspec import Struct
from typing_extensions import override

from posthouse.dialects.openai.errors import judge, read_error
from posthouse.errors import UpstreamBadResponse, UpstreamCredential
from posthouse.model.exchange import Timeouts, UpstreamRequest
from posthouse.providers.auth.base import (
    BadCredential,
    Headers,
    Signer,
    Steps,
    Token,
    TokenWanted,
    filled,
    with_headers,
)
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFETIME = 3600
"""Seconds that an assertion is good for, and the most that Google allows."""
TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address

_REFUSED = frozenset({"invalid_grant", "invalid_client", "unauthorized_client"})


class _File(Struct, frozen=True):
    client_email: str
    private_key: str
    private_key_id: str = ""
    project_id: str = ""
    quota_project_id: str = ""
    token_uri: str = TOKEN_URI

    @override
    def __repr__(self) -> str:
        return f"_File({self.client_email!r})"


class _Reply(Struct, frozen=True):
    access_token: str
    expires_in: float = LIFETIME

    @override
    def __repr__(self) -> str:
        return f"_Reply(expires_in={self.expires_in!r})"


_file = json.decoder(_File)
_reply = json.decoder(_Reply)


def make(credential: str, options: Mapping[str, str]) -> Signer:
    """Read a key file; `options` name the `scope`. Raises BadCredential."""
    try:
        file: _File = json.decode_with(_file, credential.encode())
    except MalformedJSON:
        raise BadCredential("the api_key is not a service account's JSON") from None
    try:
        key = load_pem_private_key(file.private_key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise BadCredential("the service account's private_key is not an RSA key")
    parts = urlsplit(file.token_uri)
    if parts.scheme not in ("https", "http") or not parts.netloc:
        raise BadCredential("the service account's token_uri is not a URL")
    return _Signer(file, key, options["scope"])


class _Signer(Signer):
    """Shows the token of one account."""

    def __init__(self, file: _File, key: RSAPrivateKey, scope: str) -> None:
        self._file = file
        self._key = key
        self._scope = scope

    @override
    def sign(self, request: UpstreamRequest, now: float, nonce: str) -> Steps:
        token = yield TokenWanted(self._exchange(int(now)), _read_token)
        headers: Headers = ((b"authorization", b"Bearer " + token.value.encode()),)
        paying = self._file.quota_project_id
        if paying:
            headers += ((b"x-goog-user-project", paying.encode()),)
        request = filled(request, {"project": self._file.project_id})
        return with_headers(request, headers)

    def _exchange(self, now: int) -> UpstreamRequest:
        """Ask for a token."""
        parts = urlsplit(self._file.token_uri)
        form = {"grant_type": GRANT, "assertion": self._assertion(now)}
        return UpstreamRequest(
            method="POST",
            origin=f"{parts.scheme}://{parts.netloc}",
            target=parts.path or "/",
            headers=(
                (b"content-type", b"application/x-www-form-urlencoded"),
                (b"accept", b"application/json"),
            ),
            body=urlencode(form).encode(),
            timeouts=Timeouts(),
        )

    def _assertion(self, now: int) -> str:
        file = self._file
        header = {"alg": "RS256", "typ": "JWT"}
        if file.private_key_id:
            header["kid"] = file.private_key_id
        claims = {
            "iss": file.client_email,
            "scope": self._scope,
            "aud": file.token_uri,
            "iat": now,
            "exp": now + LIFETIME,
        }
        signed = f"{_part(header)}.{_part(claims)}"
        signature = self._key.sign(signed.encode(), PKCS1v15(), SHA256())
        return f"{signed}.{_unpadded(signature)}"


def _part(value: dict[str, Any]) -> str:
    return _unpadded(json.encode(value))


def _unpadded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _read_token(status: int, body: bytes) -> Token:
    """Judge what Google has given; raises UpstreamFault."""
    if status == 200:
        try:
            reply: _Reply = json.decode_with(_reply, body)
        except MalformedJSON:
            raise UpstreamBadResponse from None
        return Token(reply.access_token, reply.expires_in)
    try:
        error = read_error(json.decode_leniently(body))
    except MalformedJSON:
        error = read_error(None)
    if status < 500 and status != 429 and (error.message in _REFUSED or status < 404):
        raise UpstreamCredential
    raise judge(status, error)
