"""The end of a balance: exactly what is paid for is served, on every route.

A call here holds what it will cost: its limit on the answer is what the
provider writes, and the provider counts the prompt as the gateway estimates it.
"""

import asyncio
import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from msgspec import Struct
from tests.conftest import StartPosthouse
from tests.crash.wire import Crowd, ask_each, request_bytes
from tests.fakes import openai
from tests.fakes.steps import Behaviour, Request, Send, Step, Wait, json_reply
from tests.support.fake import ThreadedFake
from tests.support.posthouse import RECORD_SECONDS, Posthouse
from tests.support.raw import RawReply

from posthouse.api.openai import _OPERATIONS
from posthouse.billing.estimate import estimate_prompt
from posthouse.relay.prepare import find_dialect

PAID = 10
CALLERS = 1_000
SPENT = 300
"""Calls to the end of a balance; a lease is drawn anew and again on the way there."""
AT_ONCE = 20
WORKERS = 4
LEAST_SHARE = 0.1
"""Of the calls, that each worker must have served."""
GATE_SECONDS = 60.0
READ, WRITTEN, JUDGED = 2_000, 8_000, 100_000
"""Nano-dollars per token of prompt and answer, and per moderation."""


class Route(Struct, frozen=True):
    """A billable route."""

    path: str
    stream: bool
    prompt: str
    """The body's member that is read."""
    words: int = 0
    variant: str = ""

    @property
    def name(self) -> str:
        """For keys, models and the test's id."""
        form = "-stream" if self.stream else ""
        return self.path.replace("/", "-")[1:] + form + self.variant

    @property
    def key(self) -> str:
        """Of an application that only calls this."""
        return f"sk-money-{self.name}-0123456789abcdefghijklmnop"

    @property
    def body(self) -> bytes:
        """The request's body."""
        text: Any = "Which road is open?"
        if self.prompt == "messages":
            text = [{"role": "user", "content": text}]
        body = {"model": self.name, self.prompt: text}
        if self.words:
            body["max_tokens"] = self.words
        if self.stream:
            body["stream"] = True
        return json.dumps(body).encode()

    @property
    def request(self) -> bytes:
        """The request."""
        return request_bytes(self.path, self.key, self.body)

    @property
    def prompt_tokens(self) -> int:
        """The gateway's own estimate, which is the truth here."""
        dialect = find_dialect(_OPERATIONS[self.path])
        return estimate_prompt(dialect.parse_request(self.body), None)

    @property
    def price(self) -> int:
        """What a call costs, nano-dollars."""
        if self.path == "/v1/moderations":
            return JUDGED
        return self.prompt_tokens * READ + self.words * WRITTEN

    def steps(self, request: Request) -> tuple[Step, ...]:
        """The provider's answer, whose usage is what was held for."""
        usage = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.words,
            "total_tokens": self.prompt_tokens + self.words,
        }
        if not self.stream:
            first = next(iter(openai.answer(request).steps))
            assert isinstance(first, Send)
            value = json.loads(first.data.partition(b"\r\n\r\n")[2])
            if self.prompt != "input" or "usage" in value:
                value["usage"] = usage
            return (Send(json_reply(200, value)),)
        if self.prompt == "messages":
            events = openai.chat_events(request, self.words, usage)
        else:
            events = self._completion_events(usage)
        return tuple(openai.stream_steps(events, 0.0))

    def _completion_events(self, usage: dict[str, int]) -> Iterator[bytes]:
        for word in openai.words(self.words):
            yield _completion_event([{"index": 0, "text": word}])
        yield _completion_event([{"index": 0, "text": "", "finish_reason": "stop"}])
        yield _completion_event([], usage=usage)


def _completion_event(choices: list[dict[str, Any]], **more: Any) -> bytes:
    value = {"id": "cmpl", "object": "text_completion", "choices": choices, **more}
    return b"data: %b\n\n" % msgspec.json.encode(value)


ROUTES = (
    Route("/v1/chat/completions", False, "messages", 5),
    Route("/v1/chat/completions", True, "messages", 5),
    Route("/v1/completions", False, "prompt", 5),
    Route("/v1/completions", True, "prompt", 5),
    Route("/v1/embeddings", False, "input"),
    Route("/v1/moderations", False, "input"),
)
SPENDERS = (
    Route("/v1/chat/completions", False, "messages", 5, "-spent"),
    Route("/v1/chat/completions", True, "messages", 300, "-spent"),
    Route("/v1/embeddings", False, "input", variant="-spent"),
)
"""The second one's answers are long enough to be looked at on their way."""

CHANNEL = """
[[channels]]
name = "fake"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = "account"

[[prices]]
model = "*"
input = "2"
output = "8"

[[prices]]
model = "v1-moderations*"
request = "0.0001"
"""
KEY = """
[[keys]]
name = "{name}"
key = "{key}"
balance_usd = "{usd:.9f}"
"""


def key_table(route: Route, calls: int) -> str:
    return KEY.format(name=route.name, key=route.key, usd=calls * route.price / 1e9)


OFTEN = 2
"""Routes that the suite asks so hard; `make slow` asks all."""


def _cases(alone: tuple[Route, ...], together: tuple[Route, ...]) -> list[Any]:
    """Routes for one process, and those that several share the money on."""
    return [
        pytest.param(
            workers,
            route,
            id=f"{route.name}-{workers}",
            # Every route's short form is in `test_billable_routes`.
            marks=[pytest.mark.slow] if workers == 1 and number >= OFTEN else [],
        )
        for workers, routes in ((1, alone), (WORKERS, together))
        for number, route in enumerate(routes)
    ]


@pytest.fixture(scope="module")
def workers(request: pytest.FixtureRequest) -> int:
    """How many processes serve."""
    return request.param


@pytest.fixture(scope="module")
def provider(workers: int) -> Iterator[ThreadedFake]:
    """A provider on a thread of its own, for each gateway."""
    assert workers
    with ThreadedFake() as fake:
        yield fake


@pytest.fixture(scope="module")
def gateway(
    workers: int, provider: ThreadedFake, start_posthouse: StartPosthouse
) -> Posthouse:
    """A gateway whose keys can pay for so many calls, and for nothing more."""
    configuration = CHANNEL.format(origin=provider.origin)
    configuration += "".join(key_table(route, PAID) for route in ROUTES)
    configuration += "".join(key_table(route, SPENT) for route in SPENDERS)
    return start_posthouse(configuration, {"POSTHOUSE_WORKERS": str(workers)})


def test_every_billable_route_has_a_row():
    """A route that charges and stands in no row here would go untested."""
    samples = {route.path: route.body for route in ROUTES}
    wanted = set()
    for path, name in _OPERATIONS.items():
        wanted.add((path, False))
        dialect = find_dialect(name)
        if dialect.tap_stream(dialect.parse_request(samples[path]), None) is not None:
            wanted.add((path, True))
    assert {(route.path, route.stream) for route in ROUTES} == wanted


@pytest.mark.parametrize(
    ("workers", "route"), _cases(ROUTES, ROUTES[:2]), indirect=["workers"]
)
def test_ten_of_a_thousand_are_served(route, gateway, provider, workers):
    """With money for ten, ten of a thousand parallel calls reach the provider."""
    opened = threading.Event()
    provider.on(route.name, lambda request: gated(route, request, opened))
    reached: list[int] = []

    async def work():
        crowd = Crowd(_port(gateway))
        await crowd.gather(CALLERS)
        release = asyncio.ensure_future(crowd.release([route.request] * CALLERS))
        loop = asyncio.get_running_loop()
        end = loop.time() + GATE_SECONDS
        try:
            while crowd.replied < CALLERS - PAID and loop.time() < end:
                await asyncio.sleep(0.01)
            reached.append(len(provider.served(route.name)))
        finally:
            opened.set()
        return await release

    replies = asyncio.run(work())
    served = [reply for reply in replies if reply.status == 200]
    refused = [reply for reply in replies if reply.status != 200]
    assert (len(served), len(refused), reached) == (PAID, CALLERS - PAID, [PAID])
    assert len(provider.served(route.name)) == PAID
    for reply in refused:
        assert reply.status == 429
        assert reply.header("x-should-retry") == "false"
        assert json.loads(reply.body)["error"]["code"] == "insufficient_quota"
    assert all(reply.complete for reply in served)
    _assert_shared(replies, workers)
    assert _ends(gateway, route, PAID) == [route.price] * PAID
    _assert_spent(gateway, route)


@pytest.mark.parametrize(
    ("workers", "route"), _cases(SPENDERS, SPENDERS[:1]), indirect=["workers"]
)
def test_a_balance_is_spent_to_its_end(route, gateway, provider, workers):
    """While the money for a call is there, no call is refused or cut short."""
    provider.on(
        route.name, lambda request: Behaviour("exact", route.steps(request), {})
    )
    replies = asyncio.run(
        ask_each(_port(gateway), [route.request] * SPENT, at_once=AT_ONCE)
    )
    refused = [reply for reply in replies if reply.status != 200]
    assert refused == []
    _assert_shared(replies, workers)
    if route.stream:
        assert all(reply.body.endswith(b"data: [DONE]\n\n") for reply in replies)
        last = openai.words(route.words)[-1].encode()
        assert all(last in reply.body for reply in replies)
    assert _ends(gateway, route, SPENT) == [route.price] * SPENT
    _assert_spent(gateway, route)
    (late,) = asyncio.run(ask_each(_port(gateway), [route.request], at_once=1))
    assert late.status == 429


def _assert_shared(replies: list[RawReply], workers: int) -> None:
    """Every worker had its part of the calls."""
    served = Counter(reply.header("x-posthouse-node") for reply in replies)
    assert len(served) == workers
    assert min(served.values()) >= LEAST_SHARE * len(replies)


def gated(route: Route, request: Request, opened: threading.Event) -> Behaviour:
    def steps() -> Iterator[Step]:
        while not opened.is_set():
            yield Wait(0.01)
        yield from route.steps(request)

    return Behaviour("gated", steps(), {})


def _port(gateway: Posthouse) -> int:
    port = urlsplit(gateway.url).port
    assert port is not None
    return port


def _ends(gateway: Posthouse, route: Route, least: int) -> list[int]:
    """What the route's calls were charged, once so many are there; none is void."""
    end = time.monotonic() + RECORD_SECONDS
    while True:
        calls = [
            call
            for call in gateway.ask("calls", "--limit", "100000", "--key", route.name)
            if call["requested_model"] == route.name
        ]
        if len(calls) >= least or time.monotonic() > end:
            break
    assert all(call["outcome"] == "served" for call in calls)
    return [call["price"] for call in calls]


def _assert_spent(gateway: Posthouse, route: Route) -> None:
    """Nothing is left, and nothing was ever missing."""
    with closing(sqlite3.connect(gateway.data / "posthouse.db")) as connection:
        account = connection.execute(
            "SELECT account_id FROM keys WHERE name = ?", (route.name,)
        ).fetchone()[0]
        pockets = connection.execute(
            "SELECT id, balance FROM accounts WHERE id = ? OR id IN"
            " (SELECT account_id FROM leases WHERE available_id = ?)",
            (account, account),
        ).fetchall()
        assert [balance for _, balance in pockets] == [0] * len(pockets)
        for pocket, _ in pockets:
            total = 0
            for (amount,) in connection.execute(
                "SELECT amount FROM entries WHERE account_id = ? ORDER BY transfer_id",
                (pocket,),
            ):
                total += amount
                assert total >= 0, f"{pocket} was at {total}"
