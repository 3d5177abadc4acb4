"""What the tests of realtime sessions share: a configuration, and ways to connect."""

import json
from typing import Any

from tests.support.posthouse import Posthouse
from websockets.asyncio.client import ClientConnection, connect

KEYS = {
    name: f"sk-realtime-{name}-0123456789abcdefghijklmnopqrst"
    for name in ("app", "second", "poor", "poorer", "narrow", "single", "counted")
}
UPSTREAM_KEY = "provider-realtime-account-secret"
RATES = {
    "input": 4,
    "cached_input": 1,
    "cached_audio_input": 2,
    "audio_input": 32,
    "output": 16,
    "audio_output": 64,
}
"""USD per million tokens."""

CONFIGURATION = """
[[channels]]
name = "first"
provider = "openai-compatible"
base_url = "{first}/v1"
api_key = "{key}"
models = ["plain", {{ public = "voice", upstream = "m-upstream" }}]
priority = 10

[[channels]]
name = "second"
provider = "openai-compatible"
base_url = "{second}/v1"
api_key = "{key}-2"
models = [{{ public = "voice", upstream = "m-second" }}]

[[channels]]
name = "sandbox"
provider = "sandbox"

[[prices]]
model = "voice"
{prices}

[[prices]]
model = "plain"
{prices}
"""


def configuration(first: str, second: str) -> str:
    """Write a configuration over two providers."""
    prices = "\n".join(f'{unit} = "{rate}"' for unit, rate in RATES.items())
    text = CONFIGURATION.format(
        first=first, second=second, key=UPSTREAM_KEY, prices=prices
    )
    more = {
        "app": 'balance_usd = "50"',
        "second": 'balance_usd = "50"',
        "poor": 'balance_usd = "0.30"',
        "poorer": 'balance_usd = "0.0001"',
        "narrow": 'balance_usd = "50"\nmodels = ["gpt-*"]',
        "counted": 'balance_usd = "50"\ntpm = 60\nrpm = 2',
        "single": 'balance_usd = "50"\nconcurrency = 1\nrpm = 3',
    }
    for name, key in KEYS.items():
        text += f'\n[[keys]]\nname = "{name}"\nkey = "{key}"\n{more[name]}\n'
    return text


def session(
    posthouse: Posthouse, model: str = "voice", key: str = "app", **options: Any
) -> connect:
    """Connect to a session; use it as a context manager."""
    url = posthouse.url.replace("http", "ws") + f"/v1/realtime?model={model}"
    headers = options.pop("headers", {"Authorization": f"Bearer {KEYS[key]}"})
    return connect(url, additional_headers=headers, max_size=None, **options)


def request_id(connection: ClientConnection) -> str:
    """The session's own call."""
    assert connection.response is not None
    return connection.response.headers["x-request-id"]


async def say(connection: ClientConnection, kind: str, **members: Any) -> None:
    """Send an event."""
    await connection.send(json.dumps({"type": kind, **members}))


async def until(connection: ClientConnection, kind: str) -> list[Any]:
    """Receive events up to one of a type."""
    events: list[Any] = []
    async for message in connection:
        events.append(json.loads(message))
        if events[-1]["type"] == kind:
            return events
    raise AssertionError(f"no {kind} among {[e['type'] for e in events]}")


def price_of(usage: dict[str, int]) -> int:
    """What so much costs, in nano-dollars."""
    return sum(RATES[unit] * count * 1_000 for unit, count in usage.items())
