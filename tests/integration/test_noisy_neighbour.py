"""Who asks for more than there is: what it costs, and what others notice of it."""

import json
import selectors
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.posthouse import Posthouse
from tests.unit.server.harness import Peer, get, post

LOUD, QUIET, MANY = (
    f"sk-{name}-0123456789abcdefghijklmnopqrstuv" for name in ("loud", "low", "all")
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

[[keys]]
name = "many"
key = "{MANY}"
"""
BODY = json.dumps(
    {
        "model": "sandbox",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "x" * 4000}],
    }
).encode()
SHOUTERS = 8
CROWD = 400


def call(key: str) -> bytes:
    return post("/v1/chat/completions", BODY, f"Authorization: Bearer {key}".encode())


@pytest.fixture(scope="module")
def posthouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Posthouse]:
    # Lines are short, so that a few hundred callers are far too many.
    few = {"POSTHOUSE_OVERLOAD_SECONDS": "0.05"}
    with Posthouse(tmp_path_factory.mktemp("noise"), CONFIGURATION, few) as running:
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


def test_who_is_refused_for_overload_is_in_no_book(posthouse, address) -> None:
    """Whoever was served is charged, health is told meanwhile, and then all is well."""
    answers: Counter[int] = Counter()
    selector = selectors.DefaultSelector()
    request = call(MANY)
    end = time.monotonic() + 90
    try:
        for _ in range(CROWD):
            peer = Peer(address)
            selector.register(peer.socket, selectors.EVENT_READ, peer)
            peer.send(request)
        waiting = CROWD
        while waiting:
            assert time.monotonic() < end, answers
            enough = min(answers[200], answers[503]) >= 2 * CROWD
            for key, _ in selector.select(1.0):
                answer = key.data.reply()
                answers[answer.status] += 1
                if answer.status == 503:
                    assert answer.code == "overloaded"
                    assert int(answer.headers["retry-after"]) >= 1
                if enough:
                    waiting -= 1
                    selector.unregister(key.fileobj)
                    key.data.close()
                else:
                    key.data.send(request)
            if answers.total() % 50 == 0:
                with Peer(address) as doctor:
                    doctor.send(get("/health/live"))
                    assert doctor.reply().status == 200
    finally:
        for key in list(selector.get_map().values()):
            key.data.close()
        selector.close()
    assert set(answers) == {200, 503}
    with Peer(address) as peer:
        peer.send(request)
        assert peer.reply().status == 200
    booked = posthouse.ask("calls", "--limit", "100000", "--key", "many")
    assert len(booked) == answers[200] + 1
    assert {record["outcome"] for record in booked} == {"served"}
