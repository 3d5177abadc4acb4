"""What clients of every kind send and rely on: keys, addresses, bodies, headers."""

import gzip
import json
from typing import Any

import msgspec
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from tests.acceptance.configuration import KEYS, UPSTREAM_KEY
from tests.fakes.steps import Behaviour, Request, Send, chunk, head
from tests.support import raw
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
BODY = json.dumps({"model": "sandbox", "messages": HELLO}).encode()
JSON = ("Content-Type", "application/json")
BEARER = ("Authorization", f"Bearer {KEYS['app']}")
CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ((BEARER,), ""),
        ((("authorization", f"bearer {KEYS['app']}"),), ""),
        ((("x-api-key", KEYS["app"]),), ""),
        ((("api-key", KEYS["app"]),), ""),
        ((("x-goog-api-key", KEYS["app"]),), ""),
        ((), f"?key={KEYS['app']}"),
    ],
)
def test_every_way_of_carrying_the_key(
    posthouse: Posthouse, headers: tuple[tuple[str, str], ...], query: str
) -> None:
    reply = raw.send(posthouse.url, CHAT + query, BODY, headers=(JSON, *headers))
    assert reply.status == 200, reply.body


def test_no_key_at_all(posthouse: Posthouse) -> None:
    reply = raw.send(posthouse.url, CHAT, BODY, headers=(JSON,))
    assert reply.status == 401
    assert json.loads(reply.body)["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/chat/completions",
        "/v1/v1/chat/completions",
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/chat/completions/",
    ],
)
def test_every_spelling_of_the_address(posthouse: Posthouse, path: str) -> None:
    reply = raw.send(posthouse.url, path, BODY, headers=(JSON, BEARER))
    assert reply.status == 200, reply.body


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/v1", "//v1"])
def test_every_base_url_that_people_write(posthouse: Posthouse, path: str) -> None:
    with openai.OpenAI(
        base_url=posthouse.url + path, api_key=KEYS["app"], max_retries=0, timeout=20
    ) as client:
        client.chat.completions.create(model="sandbox", messages=HELLO)
        assert client.models.list().data


def test_a_compressed_body(posthouse: Posthouse) -> None:
    reply = raw.send(
        posthouse.url,
        CHAT,
        gzip.compress(BODY),
        headers=(JSON, BEARER, ("Content-Encoding", "gzip")),
    )
    assert reply.status == 200
    broken = raw.send(
        posthouse.url, CHAT, BODY, headers=(JSON, BEARER, ("Content-Encoding", "gzip"))
    )
    assert broken.status == 400


def test_headers_that_applications_read(relayed: openai.OpenAI) -> None:
    reply = relayed.chat.completions.with_raw_response.create(
        model="sandbox", messages=HELLO
    )
    assert reply.headers["x-request-id"]
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.parse()._request_id == reply.headers["x-request-id"]
    with relayed.chat.completions.with_streaming_response.create(
        model="sandbox", messages=HELLO, stream=True
    ) as streamed:
        assert streamed.headers["content-type"].startswith("text/event-stream")
        assert streamed.headers["cache-control"] == "no-cache"
        assert streamed.headers["x-request-id"]


def test_limits_are_told_in_headers(posthouse: Posthouse) -> None:
    """The key `app` has no limits, so only a limited one is told of them."""
    limited = ("Authorization", f"Bearer {KEYS['counted']}")
    reply = raw.send(posthouse.url, CHAT, BODY, headers=(JSON, limited))
    assert reply.status == 200
    assert reply.header("x-ratelimit-limit-requests") == "600"
    assert reply.header("x-ratelimit-remaining-requests") is not None
    assert reply.header("x-ratelimit-reset-requests") is not None
    assert reply.header("x-ratelimit-limit-tokens") == "200000"


def test_a_page_of_another_origin_may_call(posthouse: Posthouse) -> None:
    origin = ("Origin", "https://chat.example.com")
    asked = raw.send(
        posthouse.url,
        CHAT,
        method="OPTIONS",
        headers=(
            origin,
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "authorization,content-type,x-any"),
        ),
    )
    assert asked.status in {200, 204}
    assert asked.header("access-control-allow-origin") in {"*", origin[1]}
    assert "POST" in (asked.header("access-control-allow-methods") or "")
    called = raw.send(posthouse.url, CHAT, BODY, headers=(JSON, BEARER, origin))
    assert called.header("access-control-allow-origin") in {"*", origin[1]}
    stranger = raw.send(
        posthouse.url,
        CHAT,
        BODY,
        headers=(JSON, BEARER, ("Origin", "https://evil.example")),
    )
    assert stranger.header("access-control-allow-origin") is None


def test_probes_need_no_key(posthouse: Posthouse) -> None:
    for method, target in (
        ("HEAD", "/"),
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
        ("GET", "/metrics"),
    ):
        assert raw.send(posthouse.url, target, method=method).status == 200, target


def test_a_websocket_is_told_to_use_http(posthouse: Posthouse) -> None:
    reply = raw.send(
        posthouse.url,
        "/v1/responses",
        method="GET",
        headers=(
            BEARER,
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ),
    )
    assert reply.status == 426


ODD = (
    b' {"model" : "fake-exact", "messages": [ {"role":"user","content":"\\u00e9\\ud83d'
    b'\\ude00 \xe4\xbd\xa0","unknown_in":{"b":1.10, "a":[1.0,  2]}} ],'
    b'"temperature":1.10,"x_big":18446744073709551616,"x_huge":1e400,"x_null":null,'
    b'"user":"caf\xc3\xa9","metadata":{"z":"1","a":"2"}, "x_new":{"deep":[{"k":true}]}}'
)
ODD_REPLY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1770000000,'
    b'"model":"fake-exact","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"\\u4f60 \\/ ok","refusal":null,"x_inner":{"y":1.10}},"logprobs":null,'
    b'"finish_reason":"stop","x_choice":[1e400, 18446744073709551616]}],"usage":'
    b'{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7,"x_usage":{"a":0.10}},'
    b'"x_top":{"z":1,"a":"\\u00e9"}}'
)


def members(data: bytes) -> dict[str, bytes]:
    """Give an object's members as they are written."""
    decoded = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    return {name: bytes(value) for name, value in decoded.items()}


def test_unknown_fields_survive_to_the_byte(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    reply_head = head(200, content_type="application/json", length=len(ODD_REPLY))
    fake.on("fake-exact", Behaviour("exact", (Send(reply_head + ODD_REPLY),)))
    reply = raw.send(posthouse.url, CHAT, ODD, headers=(JSON, BEARER))
    assert reply.body == ODD_REPLY
    (served,) = fake.served("fake-exact")
    assert members(served.request.body) == members(ODD)
    assert list(members(served.request.body)) == list(members(ODD))


def frame(choices: bytes, rest: bytes) -> bytes:
    """Write a chunk with these members, as a provider might."""
    return (
        b'data: {"id":"c","object":"chat.completion.chunk","created":1,'
        b'"model":"fake-frames","choices":[%b],%b}\n\n' % (choices, rest)
    )


FRAMES = (
    frame(
        b'{"index":0,"delta":{"role":"assistant","content":"","x":1.10},"x":null}',
        b'"usage":null,"x_new":[1e400]',
    ),
    b": a provider's comment\n\n",
    # A line separator inside JSON is no end of a line.
    frame(b'{"index":0,"delta":{"content":"\\u4f60\xe2\x80\xa8"}}', b'"usage":null'),
    frame(b'{"index":0,"delta":{},"finish_reason":"stop"}', b'"usage":null'),
)
USAGE_FRAME = frame(
    b"",
    b'"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7,"x":0.10}',
)
DONE = b"data: [DONE]\n\n"


def frames(*parts: bytes) -> Behaviour:
    """Stream these bytes, each as a chunk."""
    steps = [Send(head(200, content_type="text/event-stream", chunked=True))]
    steps += [Send(chunk(part)) for part in parts]
    return Behaviour("frames", (*steps, Send(b"0\r\n\r\n")))


@pytest.mark.parametrize("asked", [True, False])
def test_frames_survive_to_the_byte(
    posthouse: Posthouse, fake: ThreadedFake, asked: bool
) -> None:
    fake.on("fake-frames", frames(*FRAMES, USAGE_FRAME, DONE))
    body: dict[str, Any] = {"model": "fake-frames", "messages": HELLO, "stream": True}
    if asked:
        body["stream_options"] = {"include_usage": True, "x_option": 1}
    before = len(fake.served("fake-frames"))
    reply = raw.send(
        posthouse.url, CHAT, json.dumps(body).encode(), headers=(JSON, BEARER)
    )
    assert reply.complete
    expected = (*FRAMES, USAGE_FRAME, DONE) if asked else (*FRAMES, DONE)
    assert events(reply.body) == events(b"".join(expected))
    options = fake.served("fake-frames")[before].request.json["stream_options"]
    assert options["include_usage"] is True
    assert ("x_option" in options) == asked


def events(body: bytes) -> list[bytes]:
    """Cut a stream into its events, comments left out."""
    blocks = body.split(b"\n\n")
    return [block for block in blocks if block and not block.startswith(b":")]


def test_the_public_name_comes_back(relayed: openai.OpenAI, fake: ThreadedFake) -> None:
    reply = relayed.chat.completions.create(model="fake-public", messages=HELLO)
    assert reply.model == "fake-public"
    assert fake.served("fake-secret-name")
    chunks = relayed.chat.completions.create(
        model="fake-public", messages=HELLO, stream=True
    )
    assert {chunk.model for chunk in chunks} == {"fake-public"}


def test_only_what_may_go_to_a_provider_goes_there(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    body = json.dumps({"model": "fake-headers", "messages": HELLO}).encode()
    raw.send(
        posthouse.url,
        CHAT + f"?key={KEYS['poor']}",
        body,
        headers=(
            JSON,
            BEARER,
            ("x-api-key", KEYS["poor"]),
            ("Cookie", "session=secret"),
            ("X-Forwarded-For", "192.0.2.9"),
            ("OpenAI-Organization", "org-client"),
            ("X-Request-Id", "chosen-by-the-client"),
        ),
    )
    (served,) = fake.served("fake-headers")
    seen = b"\n".join(name + b": " + value for name, value in served.request.headers)
    assert served.request.target == CHAT
    assert f"authorization: Bearer {UPSTREAM_KEY}".encode() in seen
    for secret in (*KEYS.values(), "session=secret", "192.0.2.9", "org-client"):
        assert secret.encode() not in seen


def test_an_embedding_in_the_encoding_that_was_asked_for(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    """A provider that only gives numbers still serves a caller of base64."""
    numbers = b"[0.5,-0.25,1.0]"
    body = (
        b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":'
        + numbers
        + b'}],"model":"fake-numbers","usage":{"prompt_tokens":1,"total_tokens":1}}'
    )
    opening = head(200, content_type="application/json", length=len(body))
    fake.on("fake-numbers", Behaviour("numbers", (Send(opening + body),)))
    with openai.OpenAI(
        base_url=posthouse.url, api_key=KEYS["app"], max_retries=0
    ) as client:
        reply = client.embeddings.create(model="fake-numbers", input="a")
    assert reply.data[0].embedding == [0.5, -0.25, 1.0]


def test_a_paid_call_is_in_the_ledger_to_the_nano_dollar(
    posthouse: Posthouse, fake: ThreadedFake, relayed: openai.OpenAI
) -> None:
    fake.on("fake-priced", echo_usage)
    raw_reply = relayed.chat.completions.with_raw_response.create(
        model="fake-priced", messages=HELLO
    )
    name = raw_reply.headers["x-request-id"]
    record = posthouse.call(name)
    # 1, 0.50 and 2 USD per million: 900 plain, 100 cached and 77 written tokens.
    price = 900 * 1_000 + 100 * 500 + 77 * 2_000
    assert record["usage"] == {"input": 900, "cached_input": 100, "output": 77}
    assert record["price"] == price
    assert record["outcome"] == "served"
    lines = posthouse.ask("ledger", "--call", name)
    settled = [line for line in lines if line["kind"] == "settle"]
    assert [abs(line["amount"]) for line in settled] == [price]


def echo_usage(_: Request) -> Behaviour:
    """Answer with usage that is easy to price."""
    body = json.dumps(
        {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "fake-priced",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "x", "refusal": None},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": 1000,
                "completion_tokens": 77,
                "total_tokens": 1077,
                "prompt_tokens_details": {"cached_tokens": 100},
            },
        }
    ).encode()
    opening = head(200, content_type="application/json", length=len(body))
    return Behaviour("priced", (Send(opening + body),))
