"""AWS Signature Version 4, in the Authorization header.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html;
its test suite, as the AWS SDK for JavaScript has it. A path is encoded once more
than it is sent, as all services but S3 want it.

Credential: `ACCESS_KEY:SECRET@region`, `ACCESS_KEY:SECRET:SESSION_TOKEN@region`, or
an API key of Bedrock's, `KEY@region`, which is shown as it is. The region may be
left out where the base URL's host names it.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from hmac import digest
from urllib.parse import parse_qsl, quote

from msgspec import Struct
from typing_extensions import override

from posthouse.model.exchange import UpstreamRequest
from posthouse.providers.auth.base import (
    BadCredential,
    Headers,
    Signer,
    Steps,
    filled,
    host_of,
    with_headers,
)

ALGORITHM = "AWS4-HMAC-SHA256"

_FORM = re.compile(
    r"(?:(?P<id>[A-Za-z0-9]{4,128}):(?P<secret>[A-Za-z0-9/+=]{8,128})"
    r"(?::(?P<session>[A-Za-z0-9/+=]+))?|(?P<key>[A-Za-z0-9/+=._-]{8,4096}))"
    r"(?:@(?P<region>[a-z0-9-]{2,32}))?"
)
_REGION = re.compile(r"^[a-z0-9-]+\.([a-z]{2,4}(?:-[a-z]+)+-\d+)\.")
"""In a host's name: `bedrock-runtime.eu-west-1.amazonaws.com`."""
_SAFE = "-_.~"
_UNSIGNED = frozenset({b"accept", b"accept-encoding", b"user-agent", b"authorization"})
"""What stands on the way may change, and says nothing of the request."""


class Keys(Struct, frozen=True):
    """An account's keys."""

    id: str
    secret: str
    session: str = ""

    @override
    def __repr__(self) -> str:
        """Name the key alone."""
        return f"Keys({self.id!r})"


class Scope(Struct, frozen=True):
    """What a signature is good for."""

    region: str
    service: str


def make(credential: str, options: Mapping[str, str]) -> Signer:
    """Read a credential; `options` name the `service`. Raises BadCredential."""
    found = _FORM.fullmatch(credential.strip())
    if found is None:
        raise BadCredential(
            "the api_key is not of the form ACCESS_KEY:SECRET[:SESSION]@region"
        )
    region = found["region"] or ""
    if found["key"] is not None:
        return _KeyShower(found["key"], region)
    keys = Keys(found["id"], found["secret"], found["session"] or "")
    return _Signer(keys, region, options["service"])


class _KeyShower(Signer):
    """Shows an API key, which needs no signature."""

    def __init__(self, key: str, region: str) -> None:
        self._header = (b"authorization", b"Bearer " + key.encode())
        self._region = region

    @override
    def sign(self, request: UpstreamRequest, now: float, nonce: str) -> Steps:
        yield from ()
        request = filled(request, {"region": self._region})
        return with_headers(request, (self._header,))


class _Signer(Signer):
    """Signs with an account's keys."""

    def __init__(self, keys: Keys, region: str, service: str) -> None:
        self._keys = keys
        self._region = region
        self._service = service

    @override
    def sign(self, request: UpstreamRequest, now: float, nonce: str) -> Steps:
        yield from ()
        request = filled(request, {"region": self._region})
        region = self._region or _region_of(host_of(request))
        return signed(request, self._keys, Scope(region, self._service), now)


def _region_of(host: str) -> str:
    found = _REGION.match(host)
    if found is None:
        raise BadCredential("neither the api_key nor the base_url names a region")
    return found[1]


def signed(
    request: UpstreamRequest, keys: Keys, scope: Scope, now: float
) -> UpstreamRequest:
    """Sign a request."""
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    added: Headers = ((b"x-amz-date", moment.encode()),)
    if keys.session:
        added += ((b"x-amz-security-token", keys.session.encode()),)
    request = with_headers(request, added)
    canonical, names = _canonical(request)
    span = f"{moment[:8]}/{scope.region}/{scope.service}/aws4_request"
    to_sign = f"{ALGORITHM}\n{moment}\n{span}\n{sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{keys.secret}".encode()
    for part in span.split("/"):
        key = digest(key, part.encode(), "sha256")
    signature = digest(key, to_sign.encode(), "sha256").hex()
    header = (
        f"{ALGORITHM} Credential={keys.id}/{span}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return with_headers(request, ((b"authorization", header.encode()),))


def _canonical(request: UpstreamRequest) -> tuple[str, str]:
    """Give the canonical request, and the names of the headers in it."""
    path, _, query = request.target.partition("?")
    headers: dict[str, list[str]] = {"host": [host_of(request)]}
    for name, value in request.headers:
        if name not in _UNSIGNED:
            text = " ".join(value.decode("latin-1").split())
            headers.setdefault(name.decode(), []).append(text)
    names = ";".join(sorted(headers))
    lines = [
        request.method,
        quote(path or "/", safe=f"/{_SAFE}"),
        _canonical_query(query),
        *(f"{name}:{','.join(headers[name])}" for name in sorted(headers)),
        "",
        names,
        sha256(request.body).hexdigest(),
    ]
    return "\n".join(lines), names


def _canonical_query(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    encoded = (
        (quote(name, safe=_SAFE), quote(value, safe=_SAFE)) for name, value in pairs
    )
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))
