"""What is fetched for a credential, and how what came is judged."""

from base64 import urlsafe_b64decode
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from tests.support.cases import each

from posthouse.errors import (
    UpstreamBadResponse,
    UpstreamCredential,
    UpstreamOverloaded,
    UpstreamRateLimited,
)
from posthouse.model.exchange import Timeouts, UpstreamRequest
from posthouse.providers.auth import baidu_token, service_account
from posthouse.providers.auth.base import Signer
from posthouse.wire import json

NOW = 1_440_938_160


def request(
    target: str = "/", origin: str = "https://example.amazonaws.com"
) -> UpstreamRequest:
    return UpstreamRequest("POST", origin, target, (), b"", Timeouts())


def exchanged(
    signer: Signer, what: UpstreamRequest, reply: bytes
) -> tuple[UpstreamRequest, UpstreamRequest]:
    """Drive a scheme that fetches one token: what it asks, and what it signs."""
    steps = signer.sign(what, NOW, "n")
    wanted = next(steps)
    with pytest.raises(StopIteration) as ended:
        steps.send(wanted.read(200, reply))
    signed: UpstreamRequest = ended.value.value
    return wanted.request, signed


def unpadded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_baidu_asks_where_it_asks_all_else() -> None:
    wanted, signed = exchanged(
        baidu_token.make("key-1|secret-1", {}),
        request(target="/rpc/x", origin="https://aip.baidubce.com"),
        b'{"access_token":"24.a+b","expires_in":2592000}',
    )
    assert wanted.origin == "https://aip.baidubce.com"
    assert wanted.target == "/oauth/2.0/token"
    assert wanted.body == (
        b"grant_type=client_credentials&client_id=key-1&client_secret=secret-1"
    )
    assert signed.target == "/rpc/x?access_token=24.a%2Bb"


def test_google_is_shown_an_assertion() -> None:
    """The signature is checked by the integration's provider, and here."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = {
        "client_email": "a@b",
        "private_key": pem.decode(),
        "private_key_id": "k",
        "project_id": "p-1",
        "quota_project_id": "q-1",
    }
    signer = service_account.make(json.encode(file).decode(), {"scope": "s"})
    wanted, signed = exchanged(
        signer,
        request(target="/v1/projects/{project}/x"),
        b'{"access_token":"ya29","expires_in":3599}',
    )
    assert wanted.origin == "https://oauth2.googleapis.com"
    form = parse_qs(wanted.body.decode())
    content, _, signature = form["assertion"][0].rpartition(".")
    key.public_key().verify(unpadded(signature), content.encode(), PKCS1v15(), SHA256())
    head, claims = (json.decode(unpadded(p), dict) for p in content.split("."))
    assert head == {"alg": "RS256", "typ": "JWT", "kid": "k"}
    assert claims == {
        "iss": "a@b",
        "scope": "s",
        "aud": "https://oauth2.googleapis.com/token",
        "iat": NOW,
        "exp": NOW + 3600,
    }
    assert signed.target == "/v1/projects/p-1/x"
    assert dict(signed.headers)[b"x-goog-user-project"] == b"q-1"
    assert "BEGIN" not in repr(vars(signer))


@each(
    ("status", "body", "fault"),
    [
        (401, b'{"error":"invalid_client"}', UpstreamCredential),
        (200, b'{"error":"invalid_client"}', UpstreamCredential),
        (200, b"{}", UpstreamBadResponse),
        (200, b"<html>", UpstreamBadResponse),
        (503, b"", UpstreamOverloaded),
    ],
)
def test_what_baidu_says_instead_of_a_token(
    status: int, body: bytes, fault: type[Exception]
) -> None:
    signer = baidu_token.make("key-1:secret-1", {})
    wanted = next(signer.sign(request(), NOW, "n"))
    with pytest.raises(fault):
        wanted.read(status, body)


@each(
    ("status", "body", "fault"),
    [
        (400, b'{"error":"invalid_grant"}', UpstreamCredential),
        (401, b"", UpstreamCredential),
        (429, b'{"error":"rate_limit_exceeded"}', UpstreamRateLimited),
        (500, b"x", UpstreamOverloaded),
        (200, b"x", UpstreamBadResponse),
    ],
)
def test_what_google_says_instead_of_a_token(
    status: int, body: bytes, fault: type[Exception]
) -> None:
    with pytest.raises(fault):
        service_account._read_token(status, body)
