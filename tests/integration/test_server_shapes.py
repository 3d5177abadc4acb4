"""Heads that are known: the same answers as those that were parsed."""

import random

import pytest
from tests.unit.server.harness import serving

from posthouse.server.request import Request
from posthouse.server.routes import Route
from posthouse.server.shapes import SHAPES_KEPT, cut
from posthouse.wire import json

FIELDS = (
    b"Host: posthouse.test\r\nAccept: application/json\r\n"
    b"User-Agent: OpenAI/Python 2.8.0\r\nConnection: keep-alive\r\n"
)


async def describe(request: Request) -> None:
    body = await request.body(1 << 20)
    head = request.client.head
    known = request.client.bearer is not None
    report = {
        "known": known,
        "method": request.method,
        "path": request.path,
        "query": request.query.decode(),
        "key": request.presented_key(),
        "agent": (request.header(b"user-agent") or b"").decode(),
        "names": sorted(
            name.decode()
            for name in head.fields
            if name not in (b"authorization", b"content-length")
        ),
        "declared": request.client.declared,
        "body": body.decode(),
    }
    await request.client.respond(200, [], json.encode(report))


ROUTE = Route(("POST",), "/v1/describe", describe)


@pytest.fixture
def server():
    with serving(ROUTE) as running:
        yield running


def ask(key: bytes, body: bytes, more: bytes = b"", target: bytes = b"/v1/describe"):
    head = b"POST %b HTTP/1.1\r\n%bAuthorization: Bearer %b\r\n%b"
    end = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    return head % (target, FIELDS, key, more) + end


def told(answer) -> dict:
    assert answer.status == 200
    return json.decode(answer.body, dict)


def test_a_known_head_has_its_own_key_and_body(server) -> None:
    """Only the first of many calls is parsed; each is told as itself."""
    with server.connect() as peer:
        peer.send(ask(b"sk-one", b"first"))
        first = told(peer.reply())
        peer.send(ask(b"sk-another", b"the second, longer"))
        second = told(peer.reply())
    assert (first["known"], second["known"]) == (False, True)
    assert (second["key"], second["body"]) == ("sk-another", "the second, longer")
    assert second["declared"] == len("the second, longer")
    same = {"known", "key", "body", "declared"}
    assert {k: v for k, v in first.items() if k not in same} == {
        k: v for k, v in second.items() if k not in same
    }


def test_what_one_connection_taught_another_knows(server) -> None:
    """Shapes belong to the server; the key may stand behind the length as well."""
    assert not told(server.ask(ask(b"sk-one", b"x")))["known"]
    assert told(server.ask(ask(b"sk-two", b"")))["known"]
    swapped = (
        b"POST /v1/describe HTTP/1.1\r\ncontent-length: 2\r\n%b"
        b"authorization: Bearer sk-%b\r\n\r\nhi"
    )
    assert not told(server.ask(swapped % (FIELDS, b"three")))["known"]
    answer = told(server.ask(swapped % (FIELDS, b"four")))
    assert (answer["known"], answer["key"], answer["body"]) == (True, "sk-four", "hi")


@pytest.mark.parametrize("seed", range(5))
def test_a_body_may_come_in_pieces_and_with_what_follows_it(server, seed) -> None:
    """Cuts anywhere, several calls in one piece: each answer is its own."""
    chance = random.Random(seed)
    calls = [
        (b"sk-%d" % number, b"%d" % number * chance.choice([0, 1, 40, 3000]))
        for number in range(40)
    ]
    stream = b"".join(ask(key, body) for key, body in calls)
    told(server.ask(ask(b"sk-teacher", b"x")))
    with server.connect() as peer:
        replies = []
        while stream:
            size = chance.choice([1, 7, 200, 250, 400, 5000])
            peer.send(stream[:size])
            stream = stream[size:]
        replies = [told(peer.reply()) for _ in calls]
    assert [(r["key"].encode(), r["body"].encode()) for r in replies] == calls


def variants() -> list[bytes]:
    """Heads that are nearly the known one, and must be judged by the parser."""
    plain = ask(b"sk-one", b"hello")
    length = b"Content-Length: 5"
    key = b"Authorization: Bearer sk-one"
    return [
        plain.replace(length, b"Content-Length: +5"),
        plain.replace(length, b"Content-Length: 5 5"),
        plain.replace(length, b"Content-Length: 0x5"),
        plain.replace(length, b"Content-Length: "),
        plain.replace(length, b"Content-Length: 99999999999999999999"),
        plain.replace(length, length + b"\r\n" + length),
        plain.replace(length, length + b"\r\nContent-Length: 6"),
        plain.replace(length, length + b"\r\ncontent-length: 6"),
        plain.replace(length, length + b"\r\nTransfer-Encoding: chunked"),
        plain.replace(length, b"Transfer-Encoding: chunked\r\n" + length),
        plain.replace(length, length + b"\n"),
        plain.replace(key, key + b" two"),
        plain.replace(key, key + b"\0"),
        plain.replace(key, key + b"\x01"),
        plain.replace(key, key + b"\xc3\xa9"),
        plain.replace(key, b"Authorization: Bearer "),
        plain.replace(key, b"Authorization: Basic c2s6YQ=="),
        plain.replace(key, key + b"\r\n" + key),
        plain.replace(key, key + b"\r\nauthorization: Bearer sk-two"),
        plain.replace(key, key + b"\n x"),
        plain.replace(key, b"Authorization: Bearer " + b"k" * 1100),
        plain.replace(b"Host: posthouse.test\r\n", b""),
        plain.replace(b"keep-alive", b"close"),
        plain.replace(b"HTTP/1.1", b"HTTP/1.0"),
        plain.replace(b"POST", b"GET"),
        plain.replace(b"/v1/describe", b"/v1/describe?key=sk-query"),
        plain.replace(b"/v1/describe", b"/v1/nowhere"),
        ask(b"sk-one", b"hello", b"Expect: 100-continue\r\n"),
        ask(b"sk-one", b"hello", b"Upgrade: websocket\r\n"),
        ask(b"sk-one", b"hello", b"x-api-key: sk-two\r\n"),
        ask(b"sk-one", b"hello", b"X-Content-Length: 7\r\n"),
        ask(b"sk-one", b"hello", b"X-Authorization: Bearer sk-two\r\n"),
        b"\r\n" + plain,
    ]


@pytest.mark.parametrize("data", variants())
def test_what_is_nearly_known_is_answered_as_by_a_server_that_knows_nothing(data):
    """Smuggling, broken values, other versions: knowing changes no answer."""
    with serving(ROUTE) as innocent:
        expected = innocent.ask(data)
    with serving(ROUTE) as server:
        for key in (b"sk-one", b"sk-two"):
            told(server.ask(ask(key, b"hello")))
        for _ in range(3):
            found = server.ask(data)
            assert found.status == expected.status
            connection = expected.headers.get("connection")
            assert found.headers.get("connection") == connection
            if found.status == 200:
                expected_report, report = told(expected), told(found)
                report["known"] = expected_report["known"]
                assert report == expected_report


def test_no_key_is_kept_and_the_table_is_bounded(server) -> None:
    """What the server learns holds no credential, whatever carried it."""
    told(server.ask(ask(b"sk-canary", b"x")))
    told(server.ask(ask(b"sk-one", b"x", b"x-api-key: sk-canary\r\n")))
    told(server.ask(ask(b"sk-one", b"x", target=b"/v1/describe?key=sk-canary")))
    told(server.ask(ask(b"sk-one", b"x", b"Cookie: session=sk-canary\r\n")))
    kept = server.server.context.heads._heads
    assert len(kept) == 1
    assert "sk-canary" not in repr(kept)
    for number in range(SHAPES_KEPT + 10):
        told(server.ask(ask(b"sk-one", b"x", b"X-Trace: %d\r\n" % number)))
    assert len(kept) <= SHAPES_KEPT


def test_a_connection_whose_heads_are_never_the_same_is_left_alone(server) -> None:
    """A proxy that numbers its requests costs no search for each of them."""
    kept = server.server.context.heads._heads
    with server.connect() as peer:
        for number in range(60):
            peer.send(ask(b"sk-one", b"x", b"X-Trace: %d\r\n" % number))
            told(peer.reply())
    assert 10 < len(kept) < 30


def test_a_head_is_cut_only_where_it_is_whole() -> None:
    """Nothing is guessed of what has not arrived."""
    whole = ask(b"sk-one", b"")
    assert cut(whole) is not None
    assert all(cut(whole[:size]) is None for size in range(len(whole)))
    assert cut(ask(b"sk-one", b"", b"X: " + b"a" * 5000 + b"\r\n")) is None
