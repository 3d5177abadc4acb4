"""WebSocket on the wire: wrong handshakes and frames, and how sessions end."""

import asyncio
import base64
import json
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.conftest import StartPosthouse
from tests.fakes.realtime import ThreadedRealtime, Visit
from tests.integration.realtime_support import (
    KEYS,
    configuration,
    request_id,
    say,
    session,
    until,
)
from tests.support.posthouse import Posthouse
from tests.support.raw import send

NONCE = "dGhlIHNhbXBsZSBub25jZQ=="
GOOD = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": NONCE,
    "Authorization": f"Bearer {KEYS['app']}",
}
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


@pytest.fixture(scope="module")
def provider() -> Iterator[ThreadedRealtime]:
    """A provider."""
    with ThreadedRealtime() as provider:
        yield provider


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse, provider: ThreadedRealtime) -> Posthouse:
    """A Posthouse over it."""
    return start_posthouse(configuration(provider.origin, provider.origin))


@pytest.fixture(autouse=True)
def _fresh(provider: ThreadedRealtime) -> None:
    """Forget what was."""
    provider.reset()


def opened(
    posthouse: Posthouse,
    fields: dict[str, str] | None = None,
    *,
    line: str = "GET /v1/realtime?model=voice HTTP/1.1",
    more: bytes = b"",
) -> tuple[socket.socket, bytes]:
    """Send a handshake over a bare socket; give it and what came first."""
    parts = urlsplit(posthouse.url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=15)
    lines = [line, f"Host: {parts.netloc}"]
    lines += [f"{k}: {v}" for k, v in (fields or GOOD).items()]
    connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + more)
    data = b""
    while b"\r\n\r\n" not in data and (piece := connection.recv(65_536)):
        data += piece
    return connection, data


def frame(
    kind: int,
    payload: bytes,
    *,
    first: int = 0x80,
    masked: bool = True,
    size: int | None = None,
) -> bytes:
    """Write a frame, wrong where it is asked to be."""
    length = len(payload) if size is None else size
    mask = os.urandom(4) if masked else b""
    bit = 0x80 if masked else 0
    if length < 126:
        head = struct.pack(">BB", first | kind, bit | length)
    elif length < 65_536:
        head = struct.pack(">BBH", first | kind, bit | 126, length)
    else:
        head = struct.pack(">BBQ", first | kind, bit | 127, length)
    if masked:
        payload = bytes(b ^ mask[i & 3] for i, b in enumerate(payload))
    return head + mask + payload


def frames(connection: socket.socket, data: bytes = b"") -> list[tuple[int, bytes]]:
    """Read frames until the server closes."""
    found = []
    while True:
        while len(data) >= 2:
            size, start = data[1] & 0x7F, 2
            if size == 126:
                size, start = struct.unpack(">H", data[2:4])[0], 4
            if len(data) < start + size:
                break
            found.append((data[0] & 0x0F, data[start : start + size]))
            data = data[start + size :]
        piece = connection.recv(65_536)
        if not piece:
            return found
        data += piece


def close_code(found: list[tuple[int, bytes]]) -> int:
    """The code of the close frame among some."""
    [payload] = [payload for kind, payload in found if kind == CLOSE]
    return struct.unpack(">H", payload[:2])[0]


def test_a_handshake(posthouse: Posthouse, provider: ThreadedRealtime) -> None:
    """The answer proves that the key was read; no extension is agreed on."""
    fields = {**GOOD, "Sec-WebSocket-Extensions": "permessage-deflate"}
    connection, data = opened(posthouse, fields)
    with connection:
        head = data.partition(b"\r\n\r\n")[0].lower()
        assert head.startswith(b"http/1.1 101 ")
        assert b"sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in head
        assert b"extensions" not in head
        assert b"content-length" not in head
        assert b"transfer-encoding" not in head
    # The provider may learn of the session later than its client.
    assert provider.last()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"Sec-WebSocket-Version": "12"}, None),
        ({"Sec-WebSocket-Key": "short"}, None),
        ({"Sec-WebSocket-Key": ""}, None),
        ({"Content-Length": "5"}, None),
        ({"Transfer-Encoding": "chunked"}, None),
        ({"Sec-WebSocket-Protocol": "a b, ,"}, None),
        ({}, "POST /v1/realtime?model=voice HTTP/1.1"),
        ({}, "GET /v1/realtime?model=voice HTTP/1.0"),
    ],
)
def test_wrong_handshakes(
    posthouse: Posthouse,
    provider: ThreadedRealtime,
    change: dict[str, str],
    line: str | None,
) -> None:
    """Are refused in HTTP, and the connection is over."""
    fields = {name: value for name, value in {**GOOD, **change}.items() if value}
    options = {} if line is None else {"line": line}
    connection, data = opened(posthouse, fields, more=b"hello", **options)
    with connection:
        status = int(data.split()[1])
        assert status in (400, 426)
        while connection.recv(65_536):
            pass
    assert not provider.visits


def test_no_request_follows_a_handshake(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """What looks like another request is no frame, and ends the session."""
    smuggled = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
    connection, data = opened(posthouse, more=smuggled)
    with connection:
        found = frames(connection, data.partition(b"\r\n\r\n")[2])
    assert close_code(found) == 1002
    assert b"HTTP/1.1 200" not in data


def test_frames_that_come_with_the_handshake(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Wait until the session is open."""
    event = b'{"type":"early"}'
    more = frame(TEXT, event) + frame(CLOSE, struct.pack(">H", 1000))
    connection, data = opened(posthouse, more=more)
    with connection:
        found = frames(connection, data.partition(b"\r\n\r\n")[2])
    assert close_code(found) == 1000
    visit = provider.last()
    until = time.monotonic() + 30
    while not visit.received and time.monotonic() < until:
        time.sleep(0.01)  # It reads in a thread of its own.
    assert visit.received == [event.decode()]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(TEXT, b'"\xc3', first=0) + frame(0, b"(", first=0x80), 1007),
        (frame(TEXT, b"{}", masked=False), 1002),
        (frame(TEXT, b"{}", first=0xC0), 1002),
        (frame(3, b""), 1002),
        (frame(0, b"x"), 1002),
        (frame(TEXT, b"a", first=0) + frame(TEXT, b"b"), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(PING, b"x", first=0), 1002),
        (frame(TEXT, b"", size=16 * 1024 * 1024 + 1), 1009),
        (frame(TEXT, b"", size=1 << 62), 1009),
    ],
    # Their bytes are masked by chance.
    ids=[
        *("no UTF-8", "a letter cut in two", "unmasked", "reserved bits"),
        *("unknown", "nothing to continue", "a text within a text", "a long ping"),
        *("a ping in pieces", "too large", "beyond all sizes"),
    ],
)
def test_wrong_frames(
    posthouse: Posthouse, provider: ThreadedRealtime, data: bytes, code: int
) -> None:
    """End the session with the code for it; the provider is let go."""
    connection, head = opened(posthouse)
    with connection:
        connection.sendall(data)
        found = frames(connection, head.partition(b"\r\n\r\n")[2])
    assert close_code(found) == code
    provider.last()


def test_pieces_that_are_too_much_together(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """A message has the limit that a frame has."""
    piece = bytes(4 * 1024 * 1024)
    mask = b"\0\0\0\0"
    connection, head = opened(posthouse)
    with connection:
        for number in range(5):
            first = 0x01 if number == 0 else 0x00
            header = struct.pack(">BBQ", first, 0xFF, len(piece)) + mask
            try:
                connection.sendall(header + piece)
            except ConnectionError:
                break
        found = frames(connection, head.partition(b"\r\n\r\n")[2])
    assert close_code(found) == 1009


def test_pings_are_answered(posthouse: Posthouse) -> None:
    """Also between the pieces of a message."""
    connection, head = opened(posthouse)
    with connection:
        connection.sendall(frame(TEXT, b'{"type":', first=0) + frame(PING, b"hi"))
        connection.sendall(frame(0, b'"x"}'))
        connection.sendall(frame(CLOSE, struct.pack(">H", 1000)))
        found = frames(connection, head.partition(b"\r\n\r\n")[2])
    assert (PONG, b"hi") in found


def test_a_message_that_trickles(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """One that has begun and hardly goes on ends the session."""
    connection, head = opened(posthouse)
    with connection:
        whole = frame(TEXT, b'{"type":"x"}' * 100)
        began = time.monotonic()
        connection.settimeout(40)
        connection.sendall(whole[:50])
        found = frames(connection, head.partition(b"\r\n\r\n")[2])
        assert time.monotonic() - began < 30
    assert close_code(found) == 1008


async def standstill(count: Callable[[], int]) -> int:
    """Wait until nothing more comes; give how much there was."""
    async with asyncio.timeout(60):
        before = -1
        while count() != before:
            before = count()
            await asyncio.sleep(1)
    return before


async def test_a_provider_waits_for_a_client_that_does_not_read(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """What nobody takes is not gathered here."""
    sent = 0

    async def behave(visit: Visit) -> None:
        nonlocal sent
        for _ in range(2_000):
            await visit.connection.send("x" * 100_000)
            sent += 100_000

    provider.behave = behave
    connection, _ = await asyncio.to_thread(opened, posthouse)
    with connection:
        assert 0 < await standstill(lambda: sent) < 30_000_000


async def test_a_client_waits_for_a_provider_that_does_not_read(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Nor is what no provider takes."""
    seen = threading.Event()

    async def behave(_: Visit) -> None:
        await asyncio.to_thread(seen.wait, 60)

    provider.behave = behave
    event = json.dumps({"type": "x", "y": "z" * 100_000})
    sent = 0
    async with session(posthouse) as connection:

        async def flood() -> None:
            nonlocal sent
            for _ in range(1_000):
                await connection.send(event)
                sent += len(event)

        task = asyncio.create_task(flood())
        assert 0 < await standstill(lambda: sent) < 40_000_000
        task.cancel()
        connection.transport.abort()
        seen.set()


async def test_idle_sessions_are_small_and_counted(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Both of a session's sockets and all that belongs to it."""

    def resident() -> int:
        status = Path(f"/proc/{posthouse.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    async def counted() -> float:
        reply = await asyncio.to_thread(send, posthouse.url, "/metrics", method="GET")
        found = reply.body.partition(b"\nposthouse_realtime_sessions ")[2]
        return float(found.split()[0])

    async with asyncio.timeout(20):
        while await counted():
            await asyncio.sleep(0.2)
    async with AsyncExitStack() as opened:
        for number in range(120):
            await opened.enter_async_context(session(posthouse))
            if number == 19:
                before = resident()
        assert (resident() - before) / 100 < 80
        assert await counted() == 120


async def test_sound_passes_as_it_was(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """A second of noise arrives sample for sample."""
    noise = base64.b64encode(os.urandom(48_000)).decode()
    heard = []

    async def behave(visit: Visit) -> None:
        heard.append((await visit.hear())["audio"])
        await visit.say("response.output_audio.delta", response_id="r", delta=noise)

    provider.behave = behave
    async with session(posthouse) as connection:
        await say(connection, "input_audio_buffer.append", audio=noise)
        events = await until(connection, "response.output_audio.delta")
    assert heard == [noise]
    assert events[-1]["delta"] == noise


# --- ends -------------------------------------------------------------------------


async def test_a_server_that_stops(tmp_path: Path, provider: ThreadedRealtime) -> None:
    """Sessions are told 1001; what was answered is in the books."""

    async def behave(visit: Visit) -> None:
        await visit.until("response.create")
        await visit.say("response.created", response={"id": "r"})
        delta = "x" * 300
        await visit.say("response.output_text.delta", response_id="r", delta=delta)
        await visit.connection.wait_closed()

    provider.behave = behave
    text = configuration(provider.origin, provider.origin)
    settings = {"POSTHOUSE_DRAIN_SECONDS": "1"}
    with Posthouse(tmp_path, text, settings) as server:
        async with session(server) as connection:
            await say(connection, "response.create")
            await until(connection, "response.output_text.delta")
            name = request_id(connection)
            server.process.send_signal(signal.SIGTERM)
            await connection.wait_closed()
            assert connection.close_code == 1001
        await asyncio.to_thread(server.process.wait, 20)
        [record] = [c for c in server.ask("calls") if c["id"] == f"{name}-1"]
        assert record["usage"]["output"] == 100


async def test_a_server_that_is_killed(
    tmp_path: Path, provider: ThreadedRealtime
) -> None:
    """The next start charges what had begun, and the books are in order."""

    async def behave(visit: Visit) -> None:
        await visit.until("response.create")
        await visit.say("response.created", response={"id": "r"})
        for _ in range(30):
            delta = "x" * 3_000
            await visit.say("response.output_text.delta", response_id="r", delta=delta)
        await visit.say("ready")
        await visit.connection.wait_closed()

    provider.behave = behave
    text = configuration(provider.origin, provider.origin)
    dead = Posthouse(tmp_path, text)
    dead.__enter__()
    async with session(dead) as connection:
        await say(connection, "response.create")
        await until(connection, "ready")
        name = request_id(connection)
        dead.process.kill()
        dead.process.wait()
        connection.transport.abort()
    with Posthouse(tmp_path, text) as server:
        answer, own = server.call(f"{name}-1"), server.call(name)
    assert (answer["outcome"], own["outcome"]) == ("recovered", "recovered")
    assert answer["price"] > 16 * 1_000 * 1_000
    assert own["price"] == 0
