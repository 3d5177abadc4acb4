"""Providers that want their requests signed, and look at the signature.

What they look at is worked out here once more, by the providers' own documents and
the standard library: nothing of ours has a say in it.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from tests.fakes.steps import (
    LAST_CHUNK,
    Behaviour,
    Request,
    Send,
    chunk,
    head,
    json_reply,
)

SKEW = 300
"""Seconds that a clock may be off."""

Refusal = str
"""Why a request is refused; "" if it is not."""


def refused(status: int, body: Any) -> Behaviour:
    """Refuse a request, and say why where the gateway's log has it."""
    return Behaviour(f"refused {body}", (Send(json_reply(status, body)),))


def answered(name: str, value: Any) -> Behaviour:
    return Behaviour(name, (Send(json_reply(200, value)),))


def streamed(name: str, pieces: list[bytes], content_type: str) -> Behaviour:
    """Answer in pieces that come one by one."""
    start = head(200, chunked=True, content_type=content_type)
    chunks = [Send(chunk(piece)) for piece in pieces]
    return Behaviour(name, (Send(start), *chunks, Send(LAST_CHUNK)))


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# --- AWS ----------------------------------------------------------------------------

AWS_ID = "AKIDEXAMPLE"
AWS_SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
AWS_REGION = "eu-west-1"


def aws_refusal(request: Request) -> Refusal:
    """Look at a signature of version 4 for Bedrock."""
    given = (request.header(b"authorization") or b"").decode()
    fields = dict(
        part.strip().split("=", 1) for part in given.partition(" ")[2].split(",")
    )
    moment = (request.header(b"x-amz-date") or b"").decode()
    names = fields["SignedHeaders"].split(";")
    if not {"host", "x-amz-date", "content-type"} <= set(names):
        return "too little is signed"
    scope = f"{moment[:8]}/{AWS_REGION}/bedrock/aws4_request"
    if fields["Credential"] != f"{AWS_ID}/{scope}":
        return "the credential's scope is wrong"
    sent = time.strptime(moment, "%Y%m%dT%H%M%SZ")
    if abs(time.time() - time.mktime(sent) + time.timezone) > SKEW:
        return "the signature has expired"
    headers = [
        f"{name}:{(request.header(name.encode()) or b'').decode()}\n" for name in names
    ]
    path = quote(request.target, safe="/-_.~")
    body = hashlib.sha256(request.body).hexdigest()
    canonical = (
        f"{request.method}\n{path}\n\n{''.join(headers)}\n{';'.join(names)}\n{body}"
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
    expected = chained(b"AWS4" + AWS_SECRET.encode(), scope, to_sign)
    return "" if fields["Signature"] == expected else "the signature does not match"


def chained(key: bytes, scope: str, to_sign: str) -> str:
    """Sign with a key that is made of a secret and a scope."""
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()


# --- Google -------------------------------------------------------------------------


class Google:
    """Google's tokens and its Vertex AI; the account's key is its own."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
        self.lifetime = 3600
        self.given: list[str] = []
        """The tokens, in order; those before the last are withdrawn."""
        self.told = True
        """Whether the account is known at all."""

    def token(self, request: Request) -> Behaviour:
        """Give a token for an assertion."""
        form = parse_qs(request.body.decode())
        assertion = form["assertion"][0]
        signed, _, signature = assertion.rpartition(".")
        header, claims = (
            msgspec.json.decode(unpadded(part)) for part in signed.split(".")
        )
        try:
            self.key.public_key().verify(
                unpadded(signature), signed.encode(), padding.PKCS1v15(), SHA256()
            )
        except InvalidSignature:
            return refused(400, {"error": "invalid_grant"})
        now = time.time()
        good = (
            form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
            and header["alg"] == "RS256"
            and claims["aud"].endswith("/token")
            and claims["iss"] == "posthouse@p-1.iam.gserviceaccount.com"
            and claims["scope"].endswith("/auth/cloud-platform")
            and abs(claims["iat"] - now) < SKEW
            and claims["exp"] - claims["iat"] <= 3600
        )
        if not good or not self.told:
            return refused(400, {"error": "invalid_grant", "error_description": "no"})
        token = f"ya29.token-{len(self.given)}"
        self.given.append(token)
        told = {
            "access_token": token,
            "expires_in": self.lifetime,
            "token_type": "Bearer",
        }
        return answered("token", told)

    def refusal(self, request: Request) -> Refusal:
        """Look at the token; only the last one holds."""
        shown = (request.header(b"authorization") or b"").decode()
        good = self.given and shown == f"Bearer {self.given[-1]}"
        return "" if good else "the token is not good"


GEMINI_REPLY = {
    "candidates": [
        {
            "content": {"parts": [{"text": "Hello!"}], "role": "model"},
            "finishReason": "STOP",
            "index": 0,
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 9,
        "candidatesTokenCount": 3,
        "totalTokenCount": 12,
    },
    "modelVersion": "gemini-2.5-flash",
    "responseId": "r-1",
}


def vertex(google: Google) -> Callable[[Request], Behaviour]:
    """Answer as Vertex AI does."""

    def behave(request: Request) -> Behaviour:
        why = google.refusal(request)
        if why:
            told = {"code": 401, "message": why, "status": "UNAUTHENTICATED"}
            return refused(401, {"error": told})
        target = urlsplit(request.target)
        if not target.path.startswith("/v1/projects/p-1/locations/global/publishers/"):
            return refused(404, {"error": {"code": 404, "status": "NOT_FOUND"}})
        if target.path.endswith(":streamGenerateContent") and target.query == "alt=sse":
            frame = b"data: " + msgspec.json.encode(GEMINI_REPLY) + b"\r\n\r\n"
            return streamed("vertex stream", [frame], "text/event-stream")
        if target.path.endswith(":generateContent"):
            return answered("vertex", GEMINI_REPLY)
        body = request.json
        if body.get("anthropic_version") != "vertex-2023-10-16" or "model" in body:
            return refused(400, {"type": "error", "error": {"type": "x"}})
        message = {
            "id": "msg_vrtx_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-opus-4-6",
            "content": [{"type": "text", "text": "Hello!"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 9, "output_tokens": 3},
        }
        return answered("vertex claude", message)

    return behave


# --- Bedrock ------------------------------------------------------------------------

CONVERSED = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello!"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 9, "outputTokens": 3, "totalTokens": 12},
    "metrics": {"latencyMs": 1},
}


def event(kind: str, name: str, value: Any) -> bytes:
    """Write a message of AWS's event stream."""
    from zlib import crc32

    headers = b""
    for key, text in (
        (f":{kind}-type", name),
        (":content-type", "application/json"),
        (":message-type", kind),
    ):
        headers += bytes((len(key),)) + key.encode() + b"\x07"
        headers += len(text).to_bytes(2, "big") + text.encode()
    payload = msgspec.json.encode(value)
    sizes = (16 + len(headers) + len(payload)).to_bytes(4, "big")
    sizes += len(headers).to_bytes(4, "big")
    whole = sizes + crc32(sizes).to_bytes(4, "big") + headers + payload
    return whole + crc32(whole).to_bytes(4, "big")


def conversed(*texts: str, end: bool = True) -> list[bytes]:
    """Write a stream of such messages."""
    deltas = [
        event(
            "event", "contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": t}}
        )
        for t in texts
    ]
    begun = [event("event", "messageStart", {"role": "assistant"}), *deltas]
    if not end:
        return begun
    usage = {"inputTokens": 9, "outputTokens": 3, "totalTokens": 12}
    return [
        *begun,
        event("event", "contentBlockStop", {"contentBlockIndex": 0}),
        event("event", "messageStop", {"stopReason": "end_turn"}),
        event("event", "metadata", {"usage": usage, "metrics": {"latencyMs": 1}}),
    ]


def bedrock(request: Request) -> Behaviour:
    """Answer as Bedrock does; a model's name may ask for trouble."""
    why = aws_refusal(request)
    if why:
        return refused(403, {"message": f"{why} for {AWS_SECRET}"})
    model = unquote(request.target.split("/")[2])
    if "throttled" in model:
        said = event("exception", "throttlingException", {"message": "Too many."})
        pieces = [*conversed("Hel", end=False), said]
        return streamed(
            "bedrock throttled", pieces, "application/vnd.amazon.eventstream"
        )
    if request.target.endswith("/converse"):
        return answered("bedrock", CONVERSED)
    whole = b"".join(conversed("Hel", "lo!"))
    cuts = [whole[at : at + 7] for at in range(0, len(whole), 7)]
    return streamed("bedrock stream", cuts, "application/vnd.amazon.eventstream")


def provider(google: Google) -> Callable[[Request], Behaviour]:
    """All of them behind one address, by their paths."""
    on_vertex = vertex(google)

    def behave(request: Request) -> Behaviour:
        path = request.target
        if path.startswith("/model/"):
            return bedrock(request)
        if path == "/token":
            return google.token(request)
        return on_vertex(request)

    return behave
