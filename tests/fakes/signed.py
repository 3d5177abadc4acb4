"""Providers that want their requests signed, and look at the signature.

What they look at is worked out here once more, by the providers' own documents and
the standard library: nothing of ours has a say in it.
"""

import base64
import calendar
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


# --- Zhipu --------------------------------------------------------------------------

ZHIPU_KEY = "zhipu-id.zhipu-secret"


def zhipu(request: Request) -> Behaviour:
    """Answer as Zhipu does, if the token is signed with the secret."""
    name, _, secret = ZHIPU_KEY.partition(".")
    shown = (request.header(b"authorization") or b"").decode().removeprefix("Bearer ")
    signed, _, signature = shown.rpartition(".")
    expected = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    header, claims = (msgspec.json.decode(unpadded(part)) for part in signed.split("."))
    now = time.time() * 1000
    good = (
        hmac.compare_digest(unpadded(signature), expected)
        and header == {"alg": "HS256", "sign_type": "SIGN"}
        and claims["api_key"] == name
        and abs(claims["timestamp"] - now) < 1000 * SKEW
        and claims["exp"] > now
    )
    if not good:
        return refused(401, {"error": {"code": "1002", "message": "no"}})
    return answered("zhipu", openai_reply("glm-4-plus"))


def openai_reply(model: str) -> Any:
    message = {"role": "assistant", "content": "Hello!"}
    return {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    }


# --- Tencent ------------------------------------------------------------------------

TENCENT_ID = "AKIDz8krbsJ5yKBZQpn74WFkmLPx3"
TENCENT_SECRET = "Gu5t9xGARNpq86cd98joQYCN3"


def tencent_refusal(request: Request) -> Refusal:
    """Look at a TC3 signature, by the steps of Tencent Cloud's documentation."""
    given = (request.header(b"authorization") or b"").decode()
    moment = (request.header(b"x-tc-timestamp") or b"0").decode()
    if abs(time.time() - int(moment)) > SKEW:
        return "AuthFailure.SignatureExpire"
    day = time.strftime("%Y-%m-%d", time.gmtime(int(moment)))
    host = (request.header(b"host") or b"").decode()
    action = (request.header(b"x-tc-action") or b"").decode()
    if action != "ChatCompletions" or request.header(b"x-tc-version") != b"2023-09-01":
        return "InvalidAction"
    body = hashlib.sha256(request.body).hexdigest()
    canonical = (
        f"POST\n/\n\ncontent-type:application/json\nhost:{host}\n"
        f"x-tc-action:{action.lower()}\n\ncontent-type;host;x-tc-action\n{body}"
    )
    scope = f"{day}/hunyuan/tc3_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"TC3-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
    signature = chained(b"TC3" + TENCENT_SECRET.encode(), scope, to_sign)
    expected = (
        f"TC3-HMAC-SHA256 Credential={TENCENT_ID}/{scope}, "
        f"SignedHeaders=content-type;host;x-tc-action, Signature={signature}"
    )
    return "" if given == expected else "AuthFailure.SignatureFailure"


def hunyuan(request: Request) -> Behaviour:
    """Answer as Hunyuan does; its errors come with status 200."""
    why = tencent_refusal(request)
    if why:
        error = {"Code": why, "Message": "no"}
        return refused(200, {"Response": {"Error": error, "RequestId": "r"}})
    usage = {"PromptTokens": 9, "CompletionTokens": 3, "TotalTokens": 12}
    common = {"Created": 1, "Id": "h-1", "Note": "", "Usage": usage}
    if not request.json.get("Stream"):
        message = {"Role": "assistant", "Content": "Hello!"}
        choices = [{"Index": 0, "Message": message, "FinishReason": "stop"}]
        return answered("hunyuan", {"Response": {**common, "Choices": choices}})
    pieces = [
        b"data: "
        + msgspec.json.encode(
            {
                **common,
                "Choices": [
                    {
                        "Delta": {"Role": "assistant", "Content": text},
                        "FinishReason": reason,
                    }
                ],
            }
        )
        + b"\n\n"
        for text, reason in (("Hel", ""), ("lo!", "stop"))
    ]
    return streamed("hunyuan stream", pieces, "text/event-stream")


# --- Baidu --------------------------------------------------------------------------

BAIDU_KEY = "baidu-key"
BAIDU_SECRET = "baidu-secret"


class Baidu:
    """Baidu's tokens and its ERNIE."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def token(self, request: Request) -> Behaviour:
        """Give a token for a pair of keys."""
        query = urlsplit(request.target).query
        form = parse_qs(query) | parse_qs(request.body.decode())
        good = form == {
            "grant_type": ["client_credentials"],
            "client_id": [BAIDU_KEY],
            "client_secret": [BAIDU_SECRET],
        }
        if not good:
            told = {"error": "invalid_client", "error_description": "unknown client id"}
            return refused(401, told)
        token = f"24.token-{len(self.given)}"
        self.given.append(token)
        return answered("token", {"access_token": token, "expires_in": 2_592_000})

    def chat(self, request: Request) -> Behaviour:
        """Answer as ERNIE does; its errors come with status 200."""
        target = urlsplit(request.target)
        shown = parse_qs(target.query).get("access_token")
        if not self.given or shown != [self.given[-1]]:
            told = {"error_code": 110, "error_msg": "Access token invalid"}
            return refused(200, told)
        usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        common = {"id": "as-1", "created": 1, "usage": usage, "is_truncated": False}
        if not request.json.get("stream"):
            told = {**common, "result": "Hello!", "finish_reason": "normal"}
            return answered("ernie", told)
        pieces = [
            b"data: "
            + msgspec.json.encode({**common, "result": text, "is_end": end})
            + b"\n\n"
            for text, end in (("Hel", False), ("lo!", True))
        ]
        return streamed("ernie stream", pieces, "text/event-stream")


# --- DashScope ----------------------------------------------------------------------


def dashscope(request: Request) -> Behaviour:
    """Answer as DashScope does; a header asks for a stream."""
    if request.header(b"authorization") != b"Bearer sk-dashscope":
        return refused(401, {"code": "InvalidApiKey", "message": "no"})
    wants_stream = request.header(b"x-dashscope-sse") == b"enable"
    usage = {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12}

    def frame(text: str, reason: str) -> Any:
        message = {"role": "assistant", "content": text}
        choices = [{"message": message, "finish_reason": reason}]
        return {"output": {"choices": choices}, "usage": usage, "request_id": "d-1"}

    if not wants_stream:
        return answered("dashscope", frame("Hello!", "stop"))
    if not request.json["parameters"].get("incremental_output"):
        return refused(400, {"code": "InvalidParameter", "message": "no"})
    pieces = [
        b"id:%d\nevent:result\n:HTTP_STATUS/200\ndata:%b\n\n"
        % (number, msgspec.json.encode(frame(text, reason)))
        for number, (text, reason) in enumerate((("Hel", "null"), ("lo!", "stop")))
    ]
    return streamed("dashscope stream", pieces, "text/event-stream")


def provider(google: Google, baidu: Baidu) -> Callable[[Request], Behaviour]:
    """All of them behind one address, by their paths."""
    by_path: tuple[tuple[str, Callable[[Request], Behaviour]], ...] = (
        ("/model/", bedrock),
        ("/token", google.token),
        ("/v1/projects/", vertex(google)),
        ("/api/paas/v4/", zhipu),
        ("/oauth/2.0/token", baidu.token),
        ("/rpc/2.0/", baidu.chat),
        ("/api/v1/services/aigc/text-generation/generation", dashscope),
        ("/", hunyuan),
    )

    def behave(request: Request) -> Behaviour:
        for start, answer in by_path:
            if request.target.startswith(start):
                return answer(request)
        raise AssertionError(request.target)

    return behave


# --- Spark --------------------------------------------------------------------------

SPARK = ("sparkapp", "sparksecret", "sparkkey")


def spark_refusal(target: str, host: str) -> Refusal:
    """Look at the signature in an address, by iFlytek's documentation."""
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    date = query["date"]
    sent = time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT")
    if abs(time.time() - calendar.timegm(sent)) > SKEW or query["host"] != host:
        return "the date or the host is wrong"
    _, secret, key = SPARK
    to_sign = f"host: {host}\ndate: {date}\nGET {parts.path} HTTP/1.1"
    digest = hmac.new(secret.encode(), to_sign.encode(), hashlib.sha256).digest()
    expected = (
        f'api_key="{key}", algorithm="hmac-sha256", headers="host date request-line", '
        f'signature="{base64.b64encode(digest).decode()}"'
    )
    given = base64.b64decode(query["authorization"]).decode()
    return "" if given == expected else "HMAC signature does not match"
