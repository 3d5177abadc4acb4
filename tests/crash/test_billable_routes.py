"""Every billable route: no more is served than is paid for, and no number is absurd."""

import asyncio
import re
import sqlite3
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from tests.conftest import StartPosthouse
from tests.crash.billable import BILLABLE, FREE, Billable
from tests.crash.wire import Crowd, ask_each
from tests.fakes.steps import Behaviour, Request, Send, json_reply
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse
from tests.support.processes import ROOT
from tests.support.raw import RawReply

PAID = 10
"""Calls that a key's balance is for."""
CALLERS = 60
PRICE = 1_000_000
"""Nano-dollars of a call, whatever it asks."""
NUMBERS = ("0", "-1", "0.5", "1e308", "-1e400", "2147483648", "18446744073709551616")
ODD = ('"1e9"', "null", "true", "[]", "{}", "[-1]")
AT_ONCE = 8
REFUSED = {402, 429, 456}
"""The last is DeepL's."""
ROUTE = re.compile(r"^\| ([A-Z, ]+) \| `([^`]+)`", re.MULTILINE)
CONFIGURATION = """
[[channels]]
name = "sandbox"
provider = "sandbox"

[[prices]]
model = "*"
request = "0.001"
"""
KEY = """
[[keys]]
name = "{name}"
key = "{key}"
balance_usd = "{balance}"
"""
CHANNEL = """
[[channels]]
name = "{provider}"
provider = "{provider}"
base_url = "{origin}"
api_key = "account"
"""
ROWS = [pytest.param(index, row, id=row.path) for index, row in enumerate(BILLABLE)]


def key_of(index: int, kind: str) -> str:
    return f"sk-billable-{kind}-{index:04d}-0123456789abcdefghijklmnop"


def keys() -> Iterator[str]:
    for index in range(len(BILLABLE)):
        for kind, balance in (("few", "0.010"), ("many", "100")):
            name, key = f"{kind}-{index}", key_of(index, kind)
            yield KEY.format(name=name, key=key, balance=balance)


def answer(request: Request) -> Behaviour:
    """Give what the provider of a route would."""
    path = request.target.partition("?")[0]
    for row in BILLABLE:
        if row.provider != "sandbox" and row.path.endswith(path):
            return Behaviour("reply", (Send(json_reply(200, row.reply)),))
    raise LookupError(path)


@pytest.fixture(scope="module")
def provider() -> Iterator[ThreadedFake]:
    """Plays those whose routes the sandbox does not have."""
    with ThreadedFake(answer) as fake:
        yield fake


@pytest.fixture(scope="module")
def gateway(start_posthouse: StartPosthouse, provider: ThreadedFake) -> Posthouse:
    """A gateway with two keys for each route."""
    others = {row.provider for row in BILLABLE} - {"sandbox"}
    channels = (
        CHANNEL.format(provider=other, origin=provider.origin)
        for other in sorted(others)
    )
    return start_posthouse("".join((CONFIGURATION, *channels, *keys())))


def prices(
    gateway: Posthouse, wanted: AbstractSet[str | None]
) -> dict[str | None, int]:
    """What calls cost, once the ledger has them."""
    end = time.monotonic() + 10
    with closing(sqlite3.connect(gateway.data / "posthouse.db")) as connection:
        while True:
            rows = connection.execute("SELECT id, price FROM calls").fetchall()
            found = {name: price for name, price in rows if name in wanted}
            if len(found) == len(wanted) or time.monotonic() > end:
                return found
            time.sleep(0.05)


def port_of(gateway: Posthouse) -> int:
    return urlsplit(gateway.url).port or 0


def test_every_route_is_here() -> None:
    """A new route that takes a POST is billable, or free for a reason."""
    page = (ROOT / "docs/reference/routes.md").read_text()
    taken = {path for methods, path in ROUTE.findall(page) if "POST" in methods}
    known = {row.listed for row in BILLABLE}
    assert taken - known - FREE.keys() == set()
    assert known <= taken
    assert not known & FREE.keys()


@pytest.mark.parametrize(("index", "row"), ROWS)
def test_what_is_paid_for_is_served_and_no_more(
    index: int, row: Billable, gateway: Posthouse
) -> None:
    """Of many calls at once exactly those get through that the balance covers."""
    request = row.request(key_of(index, "few"))

    async def ask() -> list[RawReply]:
        crowd = Crowd(port_of(gateway))
        await crowd.gather(CALLERS)
        return await crowd.release([request] * CALLERS)

    replies = asyncio.run(ask())
    served = [reply for reply in replies if reply.status == 200]
    refused = {reply.status for reply in replies} - {200}
    assert len(served) == PAID, refused
    assert refused <= REFUSED
    with closing(sqlite3.connect(gateway.data / "posthouse.db")) as connection:
        beyond = connection.execute("SELECT * FROM accounts WHERE balance < 0")
        assert beyond.fetchall() == []


@pytest.mark.parametrize(
    ("index", "row"),
    [param for param in ROWS if param.values[1].members],  # type: ignore[union-attr]
)
def test_numbers_that_nobody_means(
    index: int, row: Billable, gateway: Posthouse
) -> None:
    """A call is served at its price, or refused for nothing."""
    key = key_of(index, "many")
    requests = [
        row.request(key, {name: value})
        for name in row.members
        for value in (*NUMBERS, *ODD)
    ]
    replies = asyncio.run(ask_each(port_of(gateway), requests, at_once=AT_ONCE))
    assert {reply.status for reply in replies} <= {200, 400}
    served = {reply.header("x-request-id") for reply in replies if reply.status == 200}
    assert prices(gateway, served) == dict.fromkeys(served, PRICE)
