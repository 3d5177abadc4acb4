"""A tenant far above its limit: what it costs, and what others notice of it."""

import json
import selectors
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.posthouse import Posthouse
from tests.unit.server.harness import Peer, post

LOUD, QUIET = (
    f"sk-{name}-0123456789abcdefghijklmnopqrstuv" for name in ("loud", "low")
)
CONFIGURATION = f"""
[[channels]]
name = "only"
provider = "sandbox"
models = ["sandbox"]

[[keys]]
name = "loud"
key = "{LOUD}"
rpm = 1

[[keys]]
name = "quiet"
key = "{QUIET}"
"""
BODY = json.dumps(
    {
        "model": "sandbox",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "x" * 4000}],
    }
).encode()
SHOUTERS = 8


def call(key: str) -> bytes:
    return post("/v1/chat/completions", BODY, f"Authorization: Bearer {key}".encode())


@pytest.fixture(scope="module")
def posthouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Posthouse]:
    with Posthouse(tmp_path_factory.mktemp("noise"), CONFIGURATION) as running:
        yield running


@pytest.fixture
def address(posthouse: Posthouse) -> tuple[str, int]:
    host, port = posthouse.url.removeprefix("http://").split(":")
    return host, int(port)


def spent(posthouse: Posthouse) -> int:
    """Nanoseconds of the processor that the loop's thread has had."""
    pid = posthouse.process.pid
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0])


def test_a_refusal_costs_much_less_than_a_call(posthouse, address) -> None:
    """Compared in turn, for other work on the machine makes both dearer."""
    costs: dict[int, list[int]] = {200: [], 429: []}
    with Peer(address) as peer:
        for _ in range(4):
            for key, status in ((QUIET, 200), (LOUD, 429)):
                before = spent(posthouse)
                for _ in range(200):
                    peer.send(call(key))
                    found = peer.reply().status
                    assert found in {status, 200}
                costs[status].append(spent(posthouse) - before)
    assert min(costs[429]) <= 0.7 * min(costs[200]), costs


def test_others_wait_for_a_few_refusals_and_not_for_all(posthouse, address) -> None:
    """However many there are, and however soon the next ones come."""
    heard: list[int] = []
    shouted = 0
    selector = selectors.DefaultSelector()
    shouters = [Peer(address) for _ in range(SHOUTERS)]
    try:
        for peer in shouters:
            selector.register(peer.socket, selectors.EVENT_READ, peer)
            peer.send(call(LOUD))
        with Peer(address) as quiet:
            selector.register(quiet.socket, selectors.EVENT_READ, quiet)
            quiet.send(call(QUIET))
            asked = shouted
            end = time.monotonic() + 60
            while len(heard) < 200:
                assert time.monotonic() < end
                for key, _ in selector.select(1.0):
                    peer = key.data
                    status = peer.reply().status
                    if peer is quiet:
                        assert status == 200
                        heard.append(shouted - asked)
                        asked = shouted
                        quiet.send(call(QUIET))
                    else:
                        assert status in {200, 429}
                        shouted += 1
                        peer.send(call(LOUD))
    finally:
        for peer in shouters:
            peer.close()
        selector.close()
    heard.sort()
    assert heard[len(heard) // 2] <= 3 * SHOUTERS
    assert heard[-4] <= 8 * SHOUTERS
