"""A Posthouse under attack, and what must be true of it after every request.

`Guarded.untouched(action)` runs a test's requests and then looks: nothing was
sent to the provider, no call was opened, the ledger is as it was, the server
answers at once, and its loop was never late. A machine under load makes a loop
late too: for as long as its thread had to wait for a processor, which is taken off.
What is left is looked at again; what blocks, blocks each time.
"""

import json
import selectors
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import structs
from tests.fakes import openai
from tests.fakes.steps import Behaviour, Request
from tests.support.fake import ThreadedFake
from tests.support.posthouse import RECORD_SECONDS, Posthouse
from tests.support.raw import RawReply, read_reply

KEY = "sk-guarded-0123456789abcdefghijklmnopqrstuvwx"
CONFIGURATION = """
[[channels]]
name = "fake"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = "provider-account-of-the-guarded-relay"
models = ["chat", "text", "embed", "omni-moderation-latest"]

[[keys]]
name = "guarded"
key = "{key}"

[[prices]]
model = "*"
input = "1.00"
output = "2.00"
"""
SHORT = {
    "POSTHOUSE_HEADER_SECONDS": "1",
    "POSTHOUSE_BODY_SECONDS": "1",
    "POSTHOUSE_FAILURES_PER_MINUTE": "1000000",
}
"""So that slow requests are refused within the time of a test, and bad keys are
told what they are however many there have been."""
BODIES = {
    "/v1/chat/completions": (
        b'{"model":"chat","messages":[{"role":"user","content":"hi"}]}'
    ),
    "/v1/completions": b'{"model":"text","prompt":"once"}',
    "/v1/embeddings": b'{"model":"embed","input":"a text"}',
    "/v1/moderations": b'{"input":"a text"}',
}
"""A good body of every operation."""

CASE_SECONDS = 10.0
"""In which every bad request must have been answered."""
_CAUSED = {
    "transfers": "WHERE reference IS NOT NULL",
    "entries": "WHERE transfer_id IN "
    "(SELECT id FROM transfers WHERE reference IS NOT NULL)",
}
"""What calls and people cause; money that only moves between pockets is not."""
LAG_SECONDS = 0.5
"""On a machine that runs other tests meanwhile, whose memory is slower for it; work
that grows too fast takes seconds. What a quiet one shows is `make bench`'s to tell."""
LOOKS = 4
MEBIBYTE = 1024 * 1024
GROWTH = 64 * MEBIBYTE
"""Resident memory that a whole suite of attacks may leave behind."""
_LEDGER = ("transfers", "entries", "calls")
"""What grows with each call; the last one by a row for each."""


def modest(request: Request) -> Behaviour:
    """Answer in two words, whatever the request asks for."""
    body = {
        "model": request.json.get("model", ""),
        "stream": request.json.get("stream", False),
        "stream_options": {"include_usage": True},
        "messages": ["a prompt"],
        "prompt": "a prompt",
        "input": "a prompt",
        "max_tokens": 2,
    }
    return openai.answer(structs.replace(request, body=msgspec.json.encode(body)))


class State(NamedTuple):
    """What bad requests must not change."""

    served: int
    """Requests that the provider has received."""
    calls: float
    """Calls that were opened and have ended."""
    holds: float
    ledger: tuple[int, ...]


class Guarded:
    """A running server beside the fake provider that it relays to."""

    def __init__(self, posthouse: Posthouse, fake: ThreadedFake, key: str) -> None:
        """Watch both; `key` is sent with requests made by `post` and `get`."""
        self.posthouse = posthouse
        self.fake = fake
        self.key = key
        parts = urlsplit(posthouse.url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.address = (parts.hostname, parts.port)

    # --- asking -----------------------------------------------------------------

    def head(
        self,
        method: str,
        target: str,
        *headers: bytes,
        length: int | None = None,
        key: str | None = "",
    ) -> bytes:
        """Write a request's head; `key` None sends none, "" the usual one."""
        lines = [f"{method} {target} HTTP/1.1".encode(), b"Host: relay.test"]
        lines.append(b"Connection: close")
        if key is not None:
            lines.append(b"Authorization: Bearer " + (key or self.key).encode())
        if length is not None:
            lines.append(b"Content-Length: %d" % length)
        return b"\r\n".join([*lines, *headers, b"", b""])

    def post(
        self, target: str, body: bytes, *headers: bytes, key: str | None = ""
    ) -> RawReply:
        """Send a body, and read the reply until the server closes."""
        head = self.head(
            "POST",
            target,
            *headers,
            length=len(body),
            key=key,
        )
        return self.ask(head, body)

    def get(self, target: str, *headers: bytes, key: str | None = "") -> RawReply:
        """Get a page, and read the reply until the server closes."""
        return self.ask(self.head("GET", target, *headers, key=key))

    def ask(self, *data: bytes, seconds: float = CASE_SECONDS) -> RawReply:
        """Send bytes as they are; give the one reply."""
        return read_reply(self.talk(*data, seconds=seconds))

    def half_closed(self, data: bytes) -> RawReply:
        """Send bytes, then no more, and give the one reply."""
        with socket.create_connection(self.address, timeout=CASE_SECONDS) as peer:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            received = b""
            while piece := peer.recv(65_536):
                received += piece
        return read_reply(received)

    def talk(self, *data: bytes, seconds: float = CASE_SECONDS) -> bytes:
        """Send bytes as they are; give everything that comes until the end.

        Replies are read while requests are written, so a server that refuses
        early is heard. The end must come within `seconds`.
        """
        left = [memoryview(piece) for piece in data if piece]
        received = bytearray()
        deadline = time.monotonic() + seconds
        with (
            socket.create_connection(self.address, timeout=seconds) as peer,
            selectors.DefaultSelector() as selector,
        ):
            peer.setblocking(False)
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            selector.register(peer, both if left else selectors.EVENT_READ)
            while True:
                events = selector.select(max(0.0, deadline - time.monotonic()))
                if not events:
                    shown = bytes(received[:200])
                    raise TimeoutError(f"no end after {seconds} s: {shown!r}")
                for _, ready in events:
                    if ready & selectors.EVENT_READ:
                        try:
                            piece = peer.recv(262_144)
                        except ConnectionError:
                            piece = b""
                        if not piece:
                            return bytes(received)
                        received += piece
                    elif left and not self._write(peer, left):
                        selector.modify(peer, selectors.EVENT_READ)

    @staticmethod
    def _write(peer: socket.socket, left: list[memoryview]) -> bool:
        """Send what the socket takes; tell whether more is left."""
        try:
            sent = peer.send(left[0][:MEBIBYTE])
        except ConnectionError:
            left.clear()
            return False
        left[0] = left[0][sent:]
        if not left[0]:
            del left[0]
        return bool(left)

    def refused(self, status: int, *data: bytes, code: str | None = None) -> RawReply:
        """Send bytes that must be refused with an error of the API, in time."""
        began = time.monotonic()
        reply = self.ask(*data)
        took = time.monotonic() - began
        assert reply.status == status, (reply.status, reply.body[:300])
        assert took <= CASE_SECONDS
        error = error_of(reply)
        assert code is None or error["code"] == code, error
        return reply

    # --- looking ----------------------------------------------------------------

    def untouched(self, action: Callable[[], Any]) -> None:
        """Run requests that may neither cost nor move nor delay anything."""
        for look in range(1, LOOKS + 1):
            before, waited = self.state(), self.waited()
            action()
            after = self.state()
            assert after == before, (before, after)
            lag = self.last_lag - (self.waited() - waited)
            if lag <= LAG_SECONDS:
                return
            assert look < LOOKS, f"the loop was late by {lag:.3f} s each time"

    def state(self) -> State:
        """Look at everything, and that the server answers at once."""
        began = time.monotonic()
        assert self.get("/health/ready", key=None).status == 200
        assert time.monotonic() - began < CASE_SECONDS
        figures = self.metrics()
        self.last_lag = figures["posthouse_loop_lag_max_seconds"]
        calls = sum(
            value
            for name, value in figures.items()
            if name.startswith("posthouse_calls_total")
        )
        deadline = time.monotonic() + RECORD_SECONDS
        while (ledger := self.ledger())[-1] != calls:
            assert time.monotonic() < deadline, f"{calls} calls, and {ledger} rows"
            time.sleep(0.01)
        served = len(self.fake.everything)
        return State(served, calls, figures["posthouse_holds_open"], ledger)

    def metrics(self) -> dict[str, float]:
        """Scrape the metrics; names include their labels."""
        text = self.get("/metrics", key=None).body.decode()
        figures = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                figures[name] = float(value)
        return figures

    def ledger(self) -> tuple[int, ...]:
        """Count the rows that money leaves, all of them at one instant."""
        counts = (
            f"(SELECT count(*) FROM {name} {_CAUSED.get(name, '')})" for name in _LEDGER
        )
        return self.rows(f"SELECT {', '.join(counts)}")[0]

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read the database beside the server."""
        path = self.posthouse.data / "posthouse.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return database.execute(query, values).fetchall()

    def record(self, reply: RawReply) -> dict[str, Any]:
        """Give a call's row, once it is in the database."""
        name = reply.header("x-request-id")
        deadline = time.monotonic() + RECORD_SECONDS
        while True:
            path = self.posthouse.data / "posthouse.db"
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                database.row_factory = sqlite3.Row
                found = database.execute("SELECT * FROM calls WHERE id = ?", [name])
                row = found.fetchone()
            if row is not None:
                return dict(row)
            assert time.monotonic() < deadline, f"there is no record of {name}"
            time.sleep(0.01)

    def waited(self) -> float:
        """Give the seconds for which the loop's thread could run and did not."""
        pid = self.posthouse.process.pid
        statistics = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text()
        return int(statistics.split()[1]) / 1e9

    def memory(self, field: str = "VmRSS") -> int:
        """Give the server's memory in bytes; `VmHWM` is its peak."""
        status = Path(f"/proc/{self.posthouse.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(field))
        return int(line.split()[1]) * 1024

    def forget_peak(self) -> None:
        """Let `VmHWM` begin anew."""
        Path(f"/proc/{self.posthouse.process.pid}/clear_refs").write_text("5")


def error_of(reply: RawReply) -> dict[str, Any]:
    """Give the error of a reply; it must have OpenAI's shape and nothing else."""
    assert reply.complete
    assert reply.header("content-type") == "application/json"
    document = json.loads(reply.body)
    assert list(document) == ["error"]
    error: dict[str, Any] = document["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    assert error["code"] is None or isinstance(error["code"], str)
    assert error["param"] is None or isinstance(error["param"], str)
    return error


@contextmanager
def guarding(start_posthouse: Callable[..., Posthouse]) -> Iterator[Guarded]:
    """Start a server to be attacked; at the end look how much it has grown."""
    with ThreadedFake(modest) as fake:
        text = CONFIGURATION.format(origin=fake.origin, key=KEY)
        guarded = Guarded(start_posthouse(text, SHORT), fake, KEY)
        for target, body in BODIES.items():
            assert guarded.post(target, body).status == 200
        before = guarded.memory()
        yield guarded
        grown = guarded.memory() - before
        assert grown <= GROWTH, f"the server has grown by {grown / MEBIBYTE:.0f} MiB"
