"""Two nodes over one PostgreSQL and one Valkey, by nothing but their URLs."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support import raw
from tests.support.postgres import Server
from tests.support.posthouse import Posthouse
from tests.support.valkey import Valkey

PASSWORD = "not-for-eyes-0123456789"
KEY = "sk-nodes-{name}-0123456789abcdefghijklmnopqrstuvwxyz"
CONFIGURATION = """
[[channels]]
name = "sandbox"
provider = "sandbox"
""" + "".join(
    f"""
[[keys]]
name = "{name}"
key = "{KEY.format(name=name)}"
balance_usd = "10"
rpm = {rpm}
"""
    for name, rpm in (("five", 5), ("eight", 8), ("nine", 8))
)


@pytest.fixture(scope="module")
def own() -> Iterator[Valkey]:
    with Valkey(requirepass=PASSWORD) as server:
        yield server


@pytest.fixture(scope="module")
def nodes(
    own: Valkey, postgres: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Posthouse]]:
    """A node of two workers, and one of a single process."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("POSTHOUSE_DATABASE", postgres.new_database())
        patch.setenv("POSTHOUSE_SECRET", "of all nodes, at least 32 characters")
        patch.setenv(
            "POSTHOUSE_COORDINATION", f"valkey://:{PASSWORD}@127.0.0.1:{own.port}/0"
        )
        # A machine that does much else is no fault.
        patch.setenv("POSTHOUSE_COORDINATION_SECONDS", "5")
        yield [
            stack.enter_context(
                Posthouse(
                    tmp_path_factory.mktemp("node"),
                    CONFIGURATION,
                    {"POSTHOUSE_WORKERS": workers, "POSTHOUSE_NODE": f"node-{workers}"},
                )
            )
            for workers in ("2", "1")
        ]


def ask(node: Posthouse, name: str) -> raw.RawReply:
    """Make a call on a connection of its own."""
    messages = [{"role": "user", "content": "hi"}]
    body = json.dumps({"model": "sandbox", "messages": messages}).encode()
    bearer = ("Authorization", f"Bearer {KEY.format(name=name)}")
    return raw.send(node.url, "/v1/chat/completions", body, headers=(bearer,))


def flood(nodes: list[Posthouse], name: str, calls: int) -> Counter[int]:
    """Make calls at once, on all nodes in turn; count the statuses."""
    with ThreadPoolExecutor(20) as pool:
        replies = pool.map(lambda n: ask(nodes[n % len(nodes)], name), range(calls))
        return Counter(reply.status for reply in replies)


def shared(node: Posthouse) -> float:
    """What a node's gauge says."""
    text = raw.send(node.url, "/metrics", method="GET").body.decode()
    (found,) = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "posthouse_limits_shared"
    ]
    return found


def eventually(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not become so"
        time.sleep(0.05)


def test_of_a_hundred_over_two_nodes_exactly_five_pass(nodes: list[Posthouse]) -> None:
    """rpm = 5, whichever process of whichever node is asked."""
    assert flood(nodes, "five", 100) == {200: 5, 429: 95}
    reply = ask(nodes[1], "five")
    assert reply.header("x-ratelimit-limit-requests") == "5"
    assert reply.header("x-ratelimit-remaining-requests") == "0"
    assert 50 <= int(reply.header("retry-after") or 0) <= 60


def test_while_the_valkey_is_gone(nodes: list[Posthouse], own: Valkey) -> None:
    """No call fails for it, the limits hold in parts, the operator can see it."""
    assert [shared(node) for node in nodes] == [1, 1]
    # Each process has heard of the others.
    time.sleep(2)
    own.stop()
    try:
        statuses = flood(nodes, "eight", 60)
        assert statuses.keys() == {200, 429}
        assert 3 <= statuses[200] <= 8
        eventually(lambda: [shared(node) for node in nodes] == [0, 0])
    finally:
        own.start()
    eventually(lambda: [shared(node) for node in nodes] == [1, 1])
    assert flood(nodes, "nine", 60) == {200: 8, 429: 52}
    for node in nodes:
        log = node.output()
        assert PASSWORD not in log
        assert "limits cannot be shared among the processes" in log
        assert "limits are shared among the processes again" in log
