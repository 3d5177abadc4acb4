"""Streams of requests that two readers may take for different ones, and their judge.

`Stream(seed)` is always the same stream: chat requests of which some are framed
oddly, carry another request in their body, or are damaged; at the end stands a
good one. Each chat says a word of its own. `judge` sends it to a server and holds
what the provider saw, and how many replies came, against what was sent by the
letter.
"""

import json
import random
import re
import socket

from tests.security.strict_http import End, Sent, read_stream
from tests.support.guard import CASE_SECONDS, Guarded

CHAT = b"POST /v1/chat/completions HTTP/1.1"
HOST = b"Host: relay.test"
_REPLY = re.compile(rb"HTTP/1\.1 (\d{3}) ")

LINES = [
    b"POST  /v1/chat/completions HTTP/1.1", b"POST\t/v1/chat/completions HTTP/1.1",
    b"POST /v1/chat/completions  HTTP/1.1", b"POST /v1/chat/completions HTTP/1.1 ",
    b"POST /v1/chat/completions HTTP/1.0", b"POST /v1/chat/completions HTTP/1.10",
    b"POST /v1/chat/completions HTTP/01.1", b"POST /v1/chat/completions http/1.1",
    b"POST /v1/chat/completions HTTP/2.0", b"POST /v1/chat/completions HTTP/0.9",
    b"POST /v1/chat/completions", b"post /v1/chat/completions HTTP/1.1",
    b"PUT /v1/chat/completions HTTP/1.1", b"GET /v1/chat/completions HTTP/1.1",
    b"HEAD /v1/chat/completions HTTP/1.1", b"OPTIONS * HTTP/1.1",
    b"TRACE /v1/chat/completions HTTP/1.1", b"CONNECT relay.test:80 HTTP/1.1",
    b"POST http://relay.test/v1/chat/completions HTTP/1.1",
    b"POST http://other.test/v1/chat/completions HTTP/1.1",
    b"POST /v1/chat/completions?key=x HTTP/1.1", b"POST /v1/chat/completions# HTTP/1.1",
    b"POST //v1/chat/completions HTTP/1.1", b"POST /v1%2fchat/completions HTTP/1.1",
    b"POST /v1/chat\0/completions HTTP/1.1", b"POST /v1/chat\xff HTTP/1.1",
    b"\r\n" + CHAT, b"\r\n\r\n\r\n" + CHAT, b"\n" + CHAT, b"\r" + CHAT, b" " + CHAT,
    b"\0" + CHAT, b"X" + CHAT, b"POST /v1/chat/completions HTTP/1.1\r",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + CHAT, b"PRI * HTTP/2.0", b"0\r\n\r\n" + CHAT,
]  # fmt: skip
FIELDS = [
    b"X: y", b"X:", b"X:\ty\t", b"X : y", b" X: y", b"\tX: y", b"X: y\r\n z", b"X",
    b"X: a\nTransfer-Encoding: chunked", b"X: a\rTransfer-Encoding: chunked",
    b"X: a\0b", b"X\0: a", b": a", b"X: \x7f", b"X: \x01", b"X: \xe9",
    "Ключ: a".encode(),
    b"Host: relay.test", b"Host: other.test", b"Host : other.test", b"Host:",
    b"Connection: close", b"Connection: keep-alive", b"Connection: Content-Length",
    b"Connection: Transfer-Encoding", b"Connection: close, keep-alive",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA",
    b"Connection: upgrade, close\r\nUpgrade: TLS/1.2", b"Upgrade: websocket",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\nConnection: keep-alive",
    b"Expect: 100-continue", b"Expect: nothing", b"TE: trailers", b"Trailer: Host",
    b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"Max-Forwards: 0",
    b"X-Forwarded-For: 127.0.0.1", b"X-HTTP-Method-Override: GET", b"Range: bytes=0-1",
    b"Content-Length : 0", b"Content_Length: 0", b"Content-Length\t: 0",
    b"content-length: 0", b"Content-Length: 0", b"Transfer_Encoding: chunked",
    b"Transfer-Encoding : chunked", b"Transfer-Encoding\t: chunked",
    b"X: " + b"a" * 9000,
]  # fmt: skip
LENGTHS = [
    b"%d", b" %d", b"%d ", b"\t%d\t", b"0%d", b"00000000000000000000000000%d", b"+%d",
    b"-%d", b"%d.0", b"%d,", b"%d, %d", b"%d %d", b"0x%x", b"%de0", b"%d_0", b"%dabc",
    b"\x0b%d", b"%d\x0c", b'"%d"', b"1%d", b"99999999999999999999%d", b"",
]  # fmt: skip
CODINGS = [
    b"chunked", b"Chunked", b"CHUNKED", b" chunked ", b"\tchunked", b"\x0bchunked",
    b"chunked\x0c", b"chunked,", b",chunked", b"chunked, chunked", b"chunked;q=1",
    b"identity", b"identity, chunked", b"chunked, identity", b"gzip, chunked", b"gzip",
    b"xchunked", b"chunkedx", b'"chunked"', b"'chunked'", b"chunk", b"", b"cow",
    b"chunked\r\n ", b"\r\n chunked", b"\xffchunked", b"chun\0ked",
]  # fmt: skip
SIZES = [
    b"%x", b"%X", b"0%x", b"000000000000%x", b"00000000000000000000%x", b"%x ", b" %x",
    b"%x;a", b"%x;a=b", b"%x ;a", b'%x;a="b"', b"%x;\n", b"%x;\r", b"%x;\0",
    b"%x;a\x7f", b"0x%x", b"+%x", b"-%x", b"%xg", b"%x\t", b"%x,", b"1%x", b"f%x",
    b"ffffffffffffffff%x", b"%x;" + b"a" * 5000, b"", b"%x\r",
]  # fmt: skip
LINE_ENDS = [b"\n", b"\r", b"\r\r\n", b"\n\r", b" \r\n", b"\0\r\n", b""]
TAILS = [
    b"0\r\n\r\n", b"0\r\n\r\n", b"00\r\n\r\n", b"0;a\r\n\r\n", b"0\r\nX: y\r\n\r\n",
    b"0\r\nContent-Length: 5\r\n\r\n", b"0\r\nHost: x\r\n\r\n", b"0\n\n", b"0\r\n\n",
    b"0\r\nX\r\n\r\n", b"0\r\nX: \0\r\n\r\n", b"0\r\n\r\n\r\n", b"0\r\n", b"",
    b"0\r\nX: y\n\r\n", b"0\r\n X: y\r\n\r\n", b"0 \r\n\r\n", b"0\r\r\n\r\n",
]  # fmt: skip
SPLINTERS = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b"\0", b" ", b"\t", b":", b"0", b"5",
    b"0\r\n\r\n", b"\r\n0\r\n\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n ",
    b"Content-Length: 0\r\n", b"Content-Length: 300\r\n", CHAT, b" HTTP/1.1\r\n",
    b"\xff", b"\x80", b";", b",", b"\x0b", b"\x85", b"\xc2\x85", b"\xe2\x80\xa8",
]  # fmt: skip


class Stream:
    """One connection's bytes, made from a seed."""

    def __init__(self, seed: int, key: str) -> None:
        """Make it."""
        self.seed = seed
        self._random = random.Random(seed)
        self._key = key
        self._words = 0
        pieces = [self._request() for _ in range(self._random.choice((1, 1, 2, 3)))]
        damaged = b"".join(pieces)
        if self._chance(0.2):
            damaged = self._mutated(damaged)
        self.data = damaged + self._good(b"Connection: close")

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _body(self) -> bytes:
        """A chat with a word that no other chat says; perhaps a request in it."""
        self._words += 1
        text = f"word-{self.seed}-{self._words}"
        messages = [{"role": "user", "content": text}]
        return json.dumps({"model": "chat", "messages": messages}).encode()

    def _good(self, *more: bytes) -> bytes:
        """Write a request that nobody can misread."""
        body = self._body()
        length = b"Content-Length: %d" % len(body)
        return self._lines(CHAT, HOST, self._authorization(), *more, length) + body

    def _authorization(self) -> bytes:
        return b"Authorization: Bearer " + self._key.encode()

    @staticmethod
    def _lines(*lines: bytes) -> bytes:
        return b"\r\n".join([*lines, b"", b""])

    def _request(self) -> bytes:
        """Write a request with something odd about it."""
        choose = self._random.choice
        body = self._body()
        if self._chance(0.4):
            body = choose((body + self._good(), self._good(), body + b"\r\n0\r\n\r\n"))
        framing, payload = self._framed(body)
        fields = [HOST, self._authorization(), *framing]
        fields += [choose(FIELDS) for _ in range(choose((0, 0, 0, 0, 0, 1)))]
        self._random.shuffle(fields)
        lines = [choose(LINES) if self._chance(0.04) else CHAT, *fields, b""]
        head = b"".join(
            line + (choose(LINE_ENDS) if self._chance(0.005) else b"\r\n")
            for line in lines
        )
        return head + payload

    def _framed(self, body: bytes) -> tuple[list[bytes], bytes]:
        """Choose how the body's end is told; give the fields and the bytes."""
        choose = self._random.choice
        kind = choose(("length",) * 6 + ("chunks",) * 6 + ("both", "none"))
        fields = []
        if kind in ("length", "both"):
            size = len(body) + choose((0,) * 12 + (-1, 1, -len(body), 90, -50, 999))
            form = choose(LENGTHS) if self._chance(0.1) else b"%d"
            fields.append(b"Content-Length: " + _formed(form, max(size, 0)))
            if self._chance(0.04):
                fields.append(choose(fields))
        if kind in ("chunks", "both"):
            form = choose(CODINGS) if self._chance(0.1) else b"chunked"
            fields.append(b"Transfer-Encoding: " + form)
            if self._chance(0.04):
                fields.append(b"Transfer-Encoding: " + choose(CODINGS))
            if kind == "chunks" or self._chance(0.5):
                body = self._chunked(body)
        return fields, body

    def _chunked(self, body: bytes) -> bytes:
        """Write a body as chunks, some of them odd."""
        choose = self._random.choice
        pieces = []
        while body:
            size = self._random.randint(1, len(body))
            told = size + (choose((-1, 1, 2, -2, 16)) if self._chance(0.01) else 0)
            form = choose(SIZES) if self._chance(0.02) else b"%x"
            line_end = choose(LINE_ENDS) if self._chance(0.005) else b"\r\n"
            data_end = choose(LINE_ENDS) if self._chance(0.005) else b"\r\n"
            line = _formed(form, max(told, 0))
            pieces.append(line + line_end + body[:size] + data_end)
            body = body[size:]
        return b"".join(pieces) + (choose(TAILS) if self._chance(0.1) else TAILS[0])

    def _mutated(self, data: bytes) -> bytes:
        """Change a few places."""
        changed = bytearray(data)
        source = self._random
        for _ in range(source.choice((1, 1, 2, 4))):
            at = source.randrange(len(changed) + 1)
            end = min(len(changed), at + source.choice((1, 1, 2, 5)))
            match source.randrange(4):
                case 0 if at < len(changed):
                    changed[at] ^= 1 << source.randrange(8)
                case 1:
                    del changed[at:end]
                case 2:
                    changed[at:at] = source.choice(SPLINTERS)
                case _:
                    changed[at:end] = source.choice(SPLINTERS)
        return bytes(changed)


def _formed(form: bytes, number: int) -> bytes:
    """Write a number in a form, as often as the form has it."""
    return form % ((number,) * form.count(b"%"))


class Judge:
    """Sends streams to one server and looks what comes of them."""

    def __init__(self, guarded: Guarded) -> None:
        """Take the server, to which nobody else may talk meanwhile."""
        self._guarded = guarded
        self._late: list[Sent] = []
        """Requests of the last stream that the provider had not seen: it may
        still, if the client was gone before."""
        guarded.fake.everything.clear()

    def try_stream(self, stream: Stream) -> tuple[End, int]:
        """Send a stream; give how it ends by the letter and what the provider saw.

        Raises AssertionError, with the seed, when the provider saw what was not
        sent, or a reply answers nothing.
        """
        shown = f"seed {stream.seed}: {stream.data!r}"
        sent, end = read_stream(stream.data)
        received = talk(self._guarded, stream.data, half_close=end is End.PARTIAL)
        seen = self._seen(sent, stream.data, shown)
        statuses = [int(found) for found in _REPLY.findall(received)]
        final = [status for status in statuses if status != 100]
        refused = end in (End.BAD, End.PARTIAL)
        assert len(final) <= len(sent) + refused, f"{len(final)} replies\n{shown}"
        assert all(status < 500 for status in final), f"{final}\n{shown}"
        # The server waits for nothing that the letter does not ask for.
        assert refused or 408 not in final, f"{final}\n{shown}"
        return end, seen

    def _seen(self, sent: list[Sent], data: bytes, shown: str) -> int:
        """Hold what the provider saw, in its order, against what was sent."""
        guarded = self._guarded
        seen, guarded.fake.everything[:] = guarded.fake.everything[:], []
        left, passed = list(sent), 0
        for served in seen:
            if served.request.method != "POST":
                # A list that a stream asks for is made of its entries; anything else
                # another test has left behind, if no stream says it.
                listed = served.request.target.startswith("/v1/chat/completions/")
                method = served.request.method.encode()
                assert listed or method not in data, f"{served.request.target}\n{shown}"
                continue
            said = json.loads(served.request.body)
            if _take(said, self._late, guarded.key):
                continue
            assert _take(said, left, guarded.key), (
                f"the provider saw {served.request.body!r}, "
                f"which was not sent so\n{shown}"
            )
            passed += 1
        self._late = left
        return passed


def _take(said: object, sent: list[Sent], key: str) -> bool:
    """Whether a list has what was said; it and what stands before it are taken out."""
    for index, one in enumerate(sent):
        if _is(said, one, key):
            del sent[: index + 1]
            return True
    return False


def talk(guarded: Guarded, data: bytes, *, half_close: bool) -> bytes:
    """Send bytes; give what comes until the server closes.

    Args:
        guarded: the server.
        data: small enough for the buffers of a socket.
        half_close: tell that no more will come.
    """
    received = b""
    with socket.create_connection(guarded.address, timeout=2 * CASE_SECONDS) as peer:
        try:
            peer.sendall(data)
            if half_close:
                peer.shutdown(socket.SHUT_WR)
            while piece := peer.recv(65_536):
                received += piece
        except ConnectionError:
            # A refusal may be followed by a reset.
            return received
    return received


def _is(seen: object, sent: Sent, key: str) -> bool:
    """Whether what the provider saw is what a request said."""
    if sent.method != b"POST" or key.encode() not in b" ".join(
        value for _, value in sent.fields
    ):
        return False
    try:
        return bool(json.loads(sent.body) == seen)
    except ValueError:
        return False
