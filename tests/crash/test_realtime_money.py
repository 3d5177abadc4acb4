"""Realtime sessions at the end of the money, and with numbers that nobody means."""

import asyncio
import json

import pytest
from tests.conftest import StartPosthouse
from tests.crash.test_billable_routes import NUMBERS, ODD, PAID
from tests.support.posthouse import Posthouse
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

SESSIONS = 14
ASKED = 5
FEW, MANY = (
    f"sk-realtime-{name}-0123456789abcdefghijklmnop" for name in ("few", "many")
)
CONFIGURATION = f"""
[[channels]]
name = "sandbox"
provider = "sandbox"

[[keys]]
name = "few"
key = "{FEW}"
balance_usd = "0.010"

[[keys]]
name = "many"
key = "{MANY}"
balance_usd = "10"

[[prices]]
model = "*"
request = "0.001"
"""


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse) -> Posthouse:
    """A Posthouse whose answers cost the same, whatever they are."""
    return start_posthouse(CONFIGURATION)


def opening(posthouse: Posthouse, key: str) -> connect:
    """Connect to the sandbox."""
    url = posthouse.url.replace("http", "ws") + "/v1/realtime?model=sandbox-realtime"
    return connect(url, additional_headers={"Authorization": f"Bearer {key}"})


async def answers(posthouse: Posthouse, key: str) -> int:
    """Ask for some answers, one after the other; how many came."""
    came = 0
    try:
        async with opening(posthouse, key) as connection:
            for _ in range(ASKED):
                await connection.send('{"type":"response.create"}')
                async for message in connection:
                    event = json.loads(message)
                    if event["type"] == "response.done":
                        came += 1
                        break
    except (ConnectionClosed, InvalidStatus):
        pass
    return came


async def test_no_more_is_answered_than_is_paid_for(posthouse: Posthouse) -> None:
    """Many sessions of one key at once share its last money to the last answer."""
    came = await asyncio.gather(*(answers(posthouse, FEW) for _ in range(SESSIONS)))
    assert sum(came) == PAID
    await asyncio.sleep(1)
    calls = await asyncio.to_thread(posthouse.ask, "calls", "--limit", "1000")
    assert sum(call["price"] for call in calls) == 10_000_000


@pytest.mark.parametrize("value", [*NUMBERS, *ODD])
async def test_numbers_that_nobody_means(posthouse: Posthouse, value: str) -> None:
    """An answer costs what an answer costs."""
    async with opening(posthouse, MANY) as connection:
        assert connection.response is not None
        name = connection.response.headers["x-request-id"]
        wish = f'{{"max_output_tokens": {value}}}'
        update = f'{{"type":"session.update","session":{wish}}}'
        create = f'{{"type":"response.create","response":{wish}}}'
        for message in (update, create):
            await connection.send(message)
        async with asyncio.timeout(10):
            async for message in connection:
                if json.loads(message)["type"] in ("response.done", "error"):
                    break
    calls = await asyncio.to_thread(posthouse.ask, "calls", "--limit", "50")
    prices = {call["id"]: call["price"] for call in calls}
    assert prices.get(f"{name}-1", 0) in (0, 1_000_000)
