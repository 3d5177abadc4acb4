"""The end of a balance on three nodes over PostgreSQL, while their Valkey is slow.

As `test_last_money`, whose routes and provider these are.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from msgspec import Struct
from tests.crash.storm import SECRET
from tests.crash.test_last_money import (
    CALLERS,
    CHANNEL,
    GATE_SECONDS,
    PAID,
    ROUTES,
    SPENDERS,
    Route,
    gated,
    key_table,
)
from tests.crash.wire import Crowd, ask_each
from tests.fakes.steps import Behaviour
from tests.support.door import Door
from tests.support.fake import ThreadedFake
from tests.support.postgres import Server, execute
from tests.support.posthouse import Posthouse
from tests.support.raw import RawReply
from tests.support.valkey import Valkey

NODES = 3
SPENT = 300
PER_NODE = -(-CALLERS // NODES)
TENANTS = (*ROUTES[:2], SPENDERS[0])
LIMIT = "rpm = 1000000\n"
"""So that each call asks the Valkey."""


class Nodes(Struct):
    """Three that share everything."""

    servers: list[Posthouse]
    url: str
    provider: ThreadedFake
    door: Door

    @property
    def ports(self) -> list[int]:
        """Where each listens."""
        found = [urlsplit(server.url).port for server in self.servers]
        return [port for port in found if port is not None]


@pytest.fixture(scope="module")
def nodes(
    postgres: Server, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nodes]:
    """Nodes whose keys can pay for so many calls, and for nothing more."""
    with ExitStack() as stack:
        provider = stack.enter_context(ThreadedFake())
        door = stack.enter_context(Door(valkey.port))
        text = CHANNEL.format(origin=provider.origin)
        for route in TENANTS:
            paid = SPENT if route in SPENDERS else PAID
            text += key_table(route, paid) + LIMIT
        url = postgres.new_database()
        environment = {
            "POSTHOUSE_DATABASE": url,
            "POSTHOUSE_SECRET": SECRET,
            "POSTHOUSE_COORDINATION": f"valkey://127.0.0.1:{door.port}/0",
        }
        folders = [tmp_path_factory.mktemp("node") for _ in range(NODES)]
        servers = [Posthouse(folder, text, environment) for folder in folders]
        for server in servers:
            stack.enter_context(server)
        yield Nodes(servers, url, provider, door)


@pytest.fixture
def _slowly(nodes: Nodes) -> Iterator[None]:
    """The Valkey answers after five seconds, which is never."""
    nodes.door.slow(5)
    yield
    nodes.door.slow(0)


@pytest.mark.parametrize(
    "route",
    [
        pytest.param(ROUTES[0], id="unary"),
        pytest.param(ROUTES[1], id="streamed", marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("_slowly")
def test_ten_of_a_thousand_are_served_by_all_nodes_together(
    nodes: Nodes, route: Route
) -> None:
    """With money for ten, ten of a thousand parallel calls reach the provider."""
    provider = nodes.provider
    opened = threading.Event()
    provider.on(route.name, lambda request: gated(route, request, opened))
    reached: list[int] = []

    async def work() -> list[RawReply]:
        crowds = [Crowd(port) for port in nodes.ports]
        for crowd in crowds:
            await crowd.gather(PER_NODE)
        calls = asyncio.gather(
            *(crowd.release([route.request] * PER_NODE) for crowd in crowds)
        )
        refused = PER_NODE * NODES - PAID
        end = asyncio.get_running_loop().time() + GATE_SECONDS
        try:
            while sum(crowd.replied for crowd in crowds) < refused:
                assert asyncio.get_running_loop().time() < end
                await asyncio.sleep(0.01)
            reached.append(len(provider.served(route.name)))
        finally:
            opened.set()
        return [reply for replies in await calls for reply in replies]

    replies = asyncio.run(work())
    statuses = Counter(reply.status for reply in replies)
    assert statuses == {200: PAID, 429: PER_NODE * NODES - PAID}
    assert (reached, len(provider.served(route.name))) == ([PAID], PAID)
    _assert_spent(nodes, route, PAID)


def test_a_balance_is_spent_to_its_end_by_all_nodes_together(nodes: Nodes) -> None:
    """While the money for a call is there, no node refuses one."""
    route = SPENDERS[0]
    nodes.provider.on(
        route.name, lambda request: Behaviour("exact", route.steps(request), {})
    )

    async def work() -> list[RawReply]:
        requests = [route.request] * (SPENT // NODES)
        found = await asyncio.gather(
            *(ask_each(port, requests, at_once=8) for port in nodes.ports)
        )
        return [reply for replies in found for reply in replies]

    assert Counter(reply.status for reply in asyncio.run(work())) == {200: SPENT}
    _assert_spent(nodes, route, SPENT)
    for port in nodes.ports:
        (late,) = asyncio.run(ask_each(port, [route.request], at_once=1))
        assert late.status == 429


def _assert_spent(nodes: Nodes, route: Route, calls: int) -> None:
    """Nothing is left, and nothing was ever missing."""
    records = nodes.servers[0].ask("calls", "--limit", "100000", "--key", route.name)
    assert [record["price"] for record in records] == [route.price] * calls
    ((account,),) = execute(
        nodes.url, "SELECT account_id FROM keys WHERE name = ?", route.name
    )
    pockets = execute(
        nodes.url,
        "SELECT id, balance FROM accounts WHERE id = ? OR id IN"
        " (SELECT account_id FROM leases WHERE available_id = ?)",
        account,
        account,
    )
    assert [balance for _, balance in pockets] == [0] * len(pockets)
    for pocket, _ in pockets:
        total = 0
        for (amount,) in execute(
            nodes.url,
            "SELECT amount FROM entries WHERE account_id = ? ORDER BY transfer_id",
            pocket,
        ):
            total += amount
            assert total >= 0, f"{pocket} was at {total}"
