"""Headers end here, in both directions: a caller's, and a provider's.

What goes out beside the body is what the channel says; what comes back beside it
is what Posthouse says.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.conftest import StartPosthouse
from tests.fakes import openai
from tests.fakes.steps import LAST_CHUNK, Behaviour, Request, Send, json_reply
from tests.support.cases import each
from tests.support.fake import ThreadedFake
from tests.support.guard import BODIES, CONFIGURATION, KEY, SHORT, Guarded, modest
from tests.support.raw import RawReply

CHAT = "/v1/chat/completions"
CANARY = "canary-of-the-provider-77aa"
TOLD = [
    ("Set-Cookie", f"session={CANARY}; Path=/"),
    ("Set-Cookie2", CANARY),
    ("Server", CANARY),
    ("Via", f"1.1 {CANARY}"),
    ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("X-Powered-By", CANARY),
    ("X-Request-Id", CANARY),
    ("Request-Id", CANARY),
    ("Openai-Organization", CANARY),
    ("Openai-Processing-Ms", "17"),
    ("Openai-Version", CANARY),
    ("Cf-Ray", CANARY),
    ("X-Ratelimit-Limit-Requests", "77001"),
    ("X-Ratelimit-Remaining-Tokens", "77002"),
    ("X-Posthouse-Channel", CANARY),
    ("X-Posthouse-Key", CANARY),
    ("X-Internal-Host", f"10.1.2.3 {CANARY}"),
    ("X-Envoy-Upstream-Service-Time", "3"),
    ("X-Accel-Redirect", f"/{CANARY}"),
    ("X-Sendfile", f"/{CANARY}"),
    ("X-Forwarded-For", "10.1.2.3"),
    ("Www-Authenticate", f'Bearer realm="{CANARY}"'),
    ("Proxy-Authenticate", f'Basic realm="{CANARY}"'),
    ("Authorization", f"Bearer {CANARY}"),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Credentials", "true"),
    ("Strict-Transport-Security", "max-age=1"),
    ("Content-Security-Policy", CANARY),
    ("Clear-Site-Data", '"*"'),
    ("Refresh", f"0; url=http://{CANARY}"),
    ("Link", f"<http://{CANARY}>; rel=preload"),
    ("Alt-Svc", f'h3="{CANARY}:443"'),
    ("Nel", CANARY),
    ("Report-To", CANARY),
    ("Etag", CANARY),
    ("Cache-Control", "public, max-age=31536000"),
    ("Content-Disposition", f"attachment; filename={CANARY}"),
    ("Content-Language", CANARY),
    ("Keep-Alive", "timeout=1"),
    ("Connection", "keep-alive, x-hop"),
    ("X-Hop", CANARY),
    ("Proxy-Connection", "close"),
    ("Trailer", "X-Late"),
    ("Upgrade", "h2c"),
    ("TE", "trailers"),
]
"""What providers and what stands before them say beside a reply."""
OURS = {
    "date", "content-type", "content-length", "transfer-encoding", "connection",
    "x-accel-buffering",
    "cache-control", "x-request-id", "retry-after", "x-should-retry",
}  # fmt: skip
FAILING = """
[[channels]]
name = "failing-{number}"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = "account-{number}-of-the-failing-provider"
models = ["failing-{number}"]
"""
"""A channel for each, since what fails rests."""
FAILURES = [400, 401, 403, 404, 409, 413, 422, 429, 500, 503, 529]


def talkative(request: Request) -> Behaviour:
    """Answer well, with every header there is, and a trailer."""
    value = openai.chat_value(request)
    if not request.json.get("stream"):
        return Behaviour("talkative", (Send(json_reply(200, value, headers=TOLD)),))
    lines = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream"]
    lines += ["Transfer-Encoding: chunked", *(f"{name}: {text}" for name, text in TOLD)]
    _, *events, done = openai.stream_steps(openai.chat_events(request, 2, None), 0.0)
    trailers = f"X-Late: {CANARY}\r\nSet-Cookie: {CANARY}\r\n\r\n".encode()
    head = "\r\n".join([*lines, "", ""]).encode()
    assert isinstance(done, Send)
    assert done.data.endswith(LAST_CHUNK)
    end = Send(done.data[:-2] + trailers)
    return Behaviour("talkative", (Send(head), *events, end))


def failing(status: int) -> Behaviour:
    """Fail with every header there is."""
    error = {"error": {"message": "no", "type": "x", "code": "y"}}
    return Behaviour("failing", (Send(json_reply(status, error, headers=TOLD)),))


@pytest.fixture(scope="module")
def served(start_posthouse: StartPosthouse) -> Iterator[Guarded]:
    """A server before a provider that says much."""
    with ThreadedFake(modest) as fake:
        text = CONFIGURATION.format(origin=fake.origin, key=KEY)
        text += "".join(
            FAILING.format(origin=fake.origin, number=number)
            for number in range(2 * len(FAILURES))
        )
        patient = {**SHORT, "POSTHOUSE_BREAKER_FAILURES": "1000000"}
        yield Guarded(start_posthouse(text, patient), fake, KEY)


def ask(served: Guarded, *headers: bytes, **members: Any) -> RawReply:
    """Chat."""
    body = json.dumps({**json.loads(BODIES[CHAT]), **members}).encode()
    return served.post(CHAT, body, *headers)


def only_ours(reply: RawReply) -> bool:
    """Whether no header of a reply is the provider's."""
    names = [name for name, _ in reply.headers]
    assert len(names) == len(set(names)), names
    extra = {name for name in set(names) - OURS if not name.startswith("x-posthouse-")}
    assert extra == set(), extra
    shown = repr(reply.headers)
    assert CANARY not in shown + reply.body.decode()
    return "7700" not in shown and "1970" not in shown


@pytest.mark.parametrize("stream", [False, True])
def test_no_header_of_a_provider_reaches_a_caller(
    served: Guarded, *, stream: bool
) -> None:
    """Neither before the body nor behind it."""
    served.fake.on("chat", talkative)
    reply = ask(served, stream=stream)
    assert reply.status == 200
    assert reply.complete
    assert only_ours(reply)
    assert reply.header("cache-control") != "public, max-age=31536000"


@each("status", FAILURES)
@each("stream", [False, True])
def test_nor_with_an_error(served: Guarded, status: int, *, stream: bool) -> None:
    """Whoever's fault it is."""
    model = f"failing-{2 * FAILURES.index(status) + stream}"
    served.fake.on(model, failing(status))
    reply = ask(served, model=model, stream=stream)
    assert reply.status >= 400
    assert only_ours(reply)


def members(reply: RawReply) -> dict[str, Any]:
    """Give a reply's members but for those that differ each time."""
    value = json.loads(reply.body)
    return {name: value[name] for name in value if name not in ("id", "created")}


BROKEN = [b"a\rb", b"a\nb", b"a\r\nX-Posthouse-Key: b", b"a\0b", b"a\x01b", b"a\x7fb"]
NAMES = [
    b"Idempotency-Key", b"X-Session-Id", b"X-Request-Id", b"OpenAI-Beta",
    b"OpenAI-Organization", b"User-Agent", b"X-Posthouse-Wait", b"Traceparent",
]  # fmt: skip


@each("name", NAMES)
@each("value", BROKEN)
def test_no_value_begins_another_line(
    served: Guarded, name: bytes, value: bytes
) -> None:
    """A line break, a NUL or another control character in a header is refused."""
    served.fake.on("chat", modest)
    before = len(served.fake.everything)
    reply = ask(served, name + b": " + value)
    if b"\r\n" in value:
        # These are two headers, and neither goes anywhere.
        assert reply.status in (200, 400)
        assert all(
            b"x-posthouse-key" not in one.headers for one in served.fake.everything
        )
    else:
        assert reply.status == 400
        assert len(served.fake.everything) == before


@each(
    "header",
    [
        b"X-Posthouse-Principal: admin", b"X-Posthouse-Channel: elsewhere",
        b"X-Posthouse-Node: mine", b"X-Posthouse-Sandbox: 1", b"X-Posthouse-Cost: 0",
        b"X-Posthouse-Price: 0", b"X-Posthouse-Key: other", b"X-Posthouse-Internal: 1",
        b"X-Accel-Redirect: /metrics", b"X-Request-Id: mine", b"Retry-After: 1",
    ],
)  # fmt: skip
def test_no_header_of_ours_can_be_a_callers(served: Guarded, header: bytes) -> None:
    """It changes nothing, and comes back from nobody."""
    served.fake.on("chat", modest)
    name, _, value = header.decode().lower().partition(": ")
    usual, changed = ask(served), ask(served, header)
    assert changed.status == usual.status == 200
    assert members(changed) == members(usual)
    assert changed.header(name) in (usual.header(name), changed.header("x-request-id"))
    assert changed.header(name) != value
    seen = served.fake.everything[-1]
    assert name.encode() not in seen.headers
    assert served.record(changed)["cost"] == served.record(usual)["cost"]
