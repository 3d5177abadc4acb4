"""Known heads on a real socket: what is not parsed is answered as what is."""

import pytest
from tests.unit.server.harness import chunk, chunked, eventually, get, serving

from posthouse.server.protocol import Connection
from posthouse.server.request import Request
from posthouse.server.routes import Route
from posthouse.wire import json

HEAD = (
    b"POST /v1/tell HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n"
    b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n"
)


def ask(key: bytes, body: bytes) -> bytes:
    return HEAD % (key, len(body)) + body


async def tell(request: Request) -> None:
    body = await request.body(1 << 20)
    told = {
        "path": request.path,
        "key": request.presented_key(),
        "body": body.decode(),
        "length": request.client.head.content_length,
        "fields": [name.decode() for name in request.client.head.fields],
    }
    await request.client.respond(200, [], json.encode(told))


@pytest.fixture
def parsed(monkeypatch) -> list[None]:
    """Grows with every head that the parser has read."""
    heads: list[None] = []
    complete = Connection.on_headers_complete

    def on_headers_complete(self: Connection) -> None:
        heads.append(None)
        complete(self)

    monkeypatch.setattr(Connection, "on_headers_complete", on_headers_complete)
    return heads


@pytest.fixture
def server():
    with serving(Route(("GET", "POST"), "/v1/tell", tell)) as running:
        yield running


def test_a_client_that_asks_again_is_answered_without_parsing(server, parsed) -> None:
    """Each call with its own key and its own body, as on a fresh connection."""
    calls = [(b"k%d" % number, b"x" * (number * 7)) for number in range(12)]
    with server.connect() as peer:
        for key, body in calls:
            peer.send(ask(key, body))
            known = peer.reply()
            assert known.body == server.ask(ask(key, body)).body
            assert json.decode(known.body, dict)["key"] == key.decode()
    assert len(parsed) == len(calls) + 2
    eventually(lambda: not server.server.context.tasks)


def test_all_else_is_parsed_in_between(server, parsed) -> None:
    """In pieces, chunked, in a row, or another head: and known heads stay known."""
    usual = ask(b"k", b"abc")
    with server.connect() as peer:
        for _ in range(3):
            peer.send(usual)
            peer.reply()
        del parsed[:]
        peer.send(usual[:40])
        eventually(lambda: len(server.server.context.connections) == 1)
        peer.send(usual[40:-1])
        eventually(lambda: len(parsed) == 1)
        peer.send(usual[-1:])
        assert json.decode(peer.reply().body, dict)["body"] == "abc"
        peer.send(chunked("/v1/tell") + chunk(b"def") + chunk(b""))
        assert json.decode(peer.reply().body, dict)["body"] == "def"
        peer.send(get("/v1/tell"))
        assert json.decode(peer.reply().body, dict)["key"] is None
        assert len(parsed) == 3
        peer.send(ask(b"l", b"1") + ask(b"m", b"22") + ask(b"n", b"333"))
        keys = [json.decode(peer.reply().body, dict)["key"] for _ in range(3)]
        assert keys == ["l", "m", "n"]
        del parsed[:]
        peer.send(ask(b"o", b"4444"))
        assert json.decode(peer.reply().body, dict)["body"] == "4444"
        assert not parsed


def test_the_rest_of_a_head_is_not_learnt_as_one(server, parsed) -> None:
    """Though with its body it came at once."""
    usual = ask(b"k", b"abc")
    with server.connect() as peer:
        peer.send(usual)
        peer.reply()
        peer.send(usual[:10])
        eventually(lambda: _in_head(server))
        peer.send(usual[10:])
        peer.reply()
        peer.send(usual[10:])
        assert peer.reply().status == 400
    assert len(server.server.context.known_heads) == 0


def _in_head(server) -> bool:
    (connection,) = server.server.context.connections
    return connection._in_head


def test_who_always_sends_another_head_is_not_learnt_from_for_ever(server) -> None:
    with server.connect() as peer:
        for number in range(10):
            peer.send(ask(b"k", b"").replace(b"*/*", b"%d" % number))
            peer.reply()
    assert len(server.server.context.known_heads) == 4
