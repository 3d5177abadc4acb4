"""Relayed answers that are long, endless, broken or left: bytes, memory and records."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from tests.conftest import StartPosthouse
from tests.fakes.steps import (
    Behaviour,
    Close,
    Request,
    Reset,
    Send,
    Step,
    Wait,
    chunk,
    head,
    reply,
)
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

KEY = "sk-resources-streams-0123456789abcdefghijklmnopqr"
CONFIGURATION = """
[[channels]]
name = "main"
provider = "openai"
base_url = "{origin}/v1"
api_key = "sk-up-streams-0123456789"
models = ["m-one"]
resources = "shared"

[[keys]]
name = "app"
key = "{key}"
balance_usd = "5"

[[prices]]
model = "m-one"
input = "10"
output = "20"
"""
PIECE = bytes(range(256)) * 256
PIECES = 3_000
"""Of 64 KiB: far more than a process may hold of it."""
ROOM = 40 * 1024
"""KiB that a process may grow by meanwhile."""
EVENTS = "text/event-stream"


def long(_: Request) -> Iterator[Step]:
    yield Send(head(200, length=len(PIECE) * PIECES, content_type="video/mp4"))
    for _number in range(PIECES):
        yield Send(PIECE)


def slow(_: Request) -> Iterator[Step]:
    yield Send(head(200, chunked=True, content_type=EVENTS))
    yield Send(chunk(b'data: {"id":"a-000001"}\n\n'))
    yield Wait(1.5)
    yield Send(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


def broken(_: Request) -> Iterator[Step]:
    yield Send(head(200, length=1_000, content_type="video/mp4"))
    yield Send(b"x" * 100)
    yield Wait(0.05)
    yield Reset()


def silent(_: Request) -> Iterator[Step]:
    yield Close()


def page(_: Request) -> Iterator[Step]:
    data = b"<script>alert(1)</script>"
    more = (("location", "//elsewhere.example/"),)
    yield Send(reply(200, data, content_type="text/html", headers=more))


SCRIPTS = {
    "long": long,
    "slow": slow,
    "broken": broken,
    "silent": silent,
    "page": page,
}


def answer(request: Request) -> Behaviour:
    """Play what the path names."""
    name = request.target.partition("?")[0].rpartition("/")[0].rpartition("/")[2]
    script = SCRIPTS.get(name)
    if script is None:
        body = json.dumps({"id": name, "pad": "x" * (20 * 1024 * 1024)}).encode()
        return Behaviour("huge", (Send(reply(200, body)),))
    return Behaviour(name, script(request))


@pytest.fixture(scope="module")
def provider() -> Iterator[ThreadedFake]:
    """Plays them."""
    with ThreadedFake(answer) as fake:
        yield fake


@pytest.fixture(scope="module")
def server(start_posthouse: StartPosthouse, provider: ThreadedFake) -> Posthouse:
    """One tenant's."""
    return start_posthouse(CONFIGURATION.format(origin=provider.origin, key=KEY))


def url(server: Posthouse, name: str, what: str = "content") -> str:
    """Where a script is played."""
    return f"{server.url}/v1/videos/{name}/{what}"


HEADERS = {"authorization": f"Bearer {KEY}"}


def resident(server: Posthouse) -> int:
    """KiB of memory that the process holds."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


def test_a_long_answer_takes_no_memory(server: Posthouse) -> None:
    """Whoever takes it slowly is given it slowly."""
    before = resident(server)
    size = 0
    with httpx2.stream("GET", url(server, "long"), headers=HEADERS) as got:
        assert got.headers["content-type"] == "video/mp4"
        for number, data in enumerate(got.iter_raw()):
            size += len(data)
            if number == 20:
                time.sleep(1)
                assert resident(server) - before < ROOM
    assert size == len(PIECE) * PIECES
    assert resident(server) - before < ROOM


def test_events_pass_as_they_come(server: Posthouse) -> None:
    began = time.monotonic()
    with httpx2.stream("GET", url(server, "slow", "events"), headers=HEADERS) as got:
        events = got.iter_raw()
        assert next(events) == b'data: {"id":"a-000001"}\n\n'
        assert time.monotonic() - began < 1.2
        assert b"".join(events) == b"data: [DONE]\n\n"


def test_what_somebody_has_stored_is_nothing_that_a_browser_runs(
    server: Posthouse,
) -> None:
    """A link may hold a key, so that a page would be one of ours."""
    got = httpx2.get(url(server, "page") + f"?key={KEY}")
    assert got.status_code == 200
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert got.headers["location"] == "/elsewhere.example/"


def test_a_huge_document_passes_unread(server: Posthouse) -> None:
    got = httpx2.get(url(server, "huge", "checkpoints"), headers=HEADERS)
    assert len(got.json()["pad"]) == 20 * 1024 * 1024


def test_what_breaks_off_is_seen_to(server: Posthouse) -> None:
    with httpx2.stream("GET", url(server, "broken"), headers=HEADERS) as got:
        assert got.status_code == 200
        with pytest.raises(httpx2.RemoteProtocolError):
            got.read()
    record = server.call(got.headers["x-request-id"])
    assert (record["outcome"], record["price_usd"]) == ("interrupted", "0.00")


def test_a_post_that_may_have_been_done_is_tried_nowhere_else(
    server: Posthouse, provider: ThreadedFake
) -> None:
    before = len(provider.everything)
    got = httpx2.post(url(server, "silent", "cancel"), headers=HEADERS)
    assert got.status_code == 502
    posts = [one.request.method for one in provider.everything[before:]]
    # On a connection that had been kept, the sender itself tries once more.
    assert posts in (["POST"], ["POST", "POST"])


def test_who_leaves_leaves_nothing_behind(server: Posthouse) -> None:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port)) as leaving:
        leaving.sendall(
            b"GET /v1/videos/slow/events HTTP/1.1\r\nHost: x\r\n"
            b"Authorization: Bearer %b\r\n\r\n" % KEY.encode()
        )
        head_of_it = leaving.recv(4096)
    name = head_of_it.partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode()
    record = server.call(name)
    assert (record["outcome"], record["status"]) == ("abandoned", 499)
