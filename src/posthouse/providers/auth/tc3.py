"""Tencent Cloud's signature, version 3 (TC3-HMAC-SHA256).

Sources: https://cloud.tencent.com/document/api/213/30654 (the method, and its
example); `common/sign.py` and `abstract_client.py` of tencentcloud-sdk-python 3.1.
The host, the content type and the action are signed.

Credential: `SECRET_ID:SECRET_KEY[:TOKEN][@region]`; `APP_ID|SECRET_ID|SECRET_KEY`,
as other relays have it, is taken as well.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from hmac import digest

from msgspec import Struct
from typing_extensions import override

from posthouse.model.exchange import UpstreamRequest
from posthouse.providers.auth.base import (
    BadCredential,
    Headers,
    Signer,
    Steps,
    host_of,
    with_headers,
)

ALGORITHM = "TC3-HMAC-SHA256"

_FORM = re.compile(
    r"(?:\d{1,20}\|)?(?P<id>[A-Za-z0-9_-]{4,128})[:|](?P<key>[A-Za-z0-9_-]{4,128})"
    r"(?::(?P<token>[A-Za-z0-9/+=_-]+))?(?:@(?P<region>[a-z0-9-]{2,32}))?"
)


class Keys(Struct, frozen=True):
    """An account's keys."""

    id: str
    secret: str

    @override
    def __repr__(self) -> str:
        """Name the key alone."""
        return f"Keys({self.id!r})"


def make(credential: str, options: Mapping[str, str]) -> Signer:
    """Read a key; `options` name `service`, `action` and `version`.

    Raises BadCredential.
    """
    found = _FORM.fullmatch(credential.strip())
    if found is None:
        raise BadCredential("the api_key is not of the form SECRET_ID:SECRET_KEY")
    said = {
        "x-tc-action": options["action"],
        "x-tc-version": options["version"],
        "x-tc-token": found["token"],
        "x-tc-region": found["region"],
    }
    headers = tuple(
        (name.encode(), value.encode()) for name, value in said.items() if value
    )
    return _Signer(Keys(found["id"], found["key"]), options["service"], headers)


class _Signer(Signer):
    """Signs with one account's keys."""

    def __init__(self, keys: Keys, service: str, headers: Headers) -> None:
        self._keys = keys
        self._service = service
        self._headers = headers

    @override
    def sign(self, request: UpstreamRequest, now: float, nonce: str) -> Steps:
        yield from ()
        request = with_headers(request, self._headers)
        return signed(request, self._keys, self._service, int(now))


_SIGNED = ("content-type", "host", "x-tc-action")


def signed(
    request: UpstreamRequest, keys: Keys, service: str, now: int
) -> UpstreamRequest:
    """Sign a request whose action, if it has one, is among its headers."""
    known = {name.decode(): value.decode("latin-1") for name, value in request.headers}
    known["host"] = host_of(request)
    names = [name for name in _SIGNED if name in known]
    path, _, query = request.target.partition("?")
    canonical = "\n".join(
        (
            request.method,
            path,
            query,
            *(f"{name}:{known[name].strip().lower()}" for name in names),
            "",
            ";".join(names),
            sha256(request.body).hexdigest(),
        )
    )
    day = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
    scope = f"{day}/{service}/tc3_request"
    to_sign = f"{ALGORITHM}\n{now}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
    key = f"TC3{keys.secret}".encode()
    for part in scope.split("/"):
        key = digest(key, part.encode(), "sha256")
    header = (
        f"{ALGORITHM} Credential={keys.id}/{scope}, "
        f"SignedHeaders={';'.join(names)}, "
        f"Signature={digest(key, to_sign.encode(), 'sha256').hex()}"
    )
    moment = (b"x-tc-timestamp", str(now).encode())
    return with_headers(request, (moment, (b"authorization", header.encode())))
