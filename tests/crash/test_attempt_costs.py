"""Retries and failovers: one charge for the customer, every attempt accounted for.

The provider's journal says what each request truly used. The attempts' costs
in the ledger must add up to exactly that where they are known, and where one
is not known it must say so instead of guessing.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec import Struct
from tests.conftest import StartPosthouse
from tests.fakes import openai
from tests.fakes.steps import (
    Behaviour,
    Close,
    Request,
    Reset,
    Send,
    Step,
    Wait,
    chunk,
    json_reply,
    reply,
)
from tests.support import raw
from tests.support.fake import ThreadedFake, model_of
from tests.support.posthouse import Posthouse

ACCOUNTS = ("one", "two", "three")
"""The channels of each call, in the order in which they are tried."""
SELLING = {"input": 2_000, "cached_input": 500, "output": 8_000}
"""Nano-dollars per token: what the customer pays."""
COST = {
    "one": {"input": 1_000, "cached_input": 250, "output": 4_000},
    "two": {"input": 1_500, "cached_input": 300, "output": 5_000},
    "three": {"input": 1_700, "cached_input": 400, "output": 6_000},
}
"""What we pay."""
WORDS = 6
KEY = "sk-attempts-0123456789abcdefghijklmnopqrstuvwxyz"

COMMON = f"""
[[keys]]
name = "app"
key = "{KEY}"
balance_usd = "100"

[[prices]]
model = "*"
input = "2"
cached_input = "0.5"
output = "8"
"""
CHANNEL = """
[[channels]]
name = "{model}-{account}"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = "{account}"
models = ["{model}"]
priority = {priority}

[[prices]]
model = "*"
channel = "{model}-{account}"
{rates}
"""

Play = Callable[[Request], tuple[Step, ...]]


def _error(status: int) -> Play:
    body = {"error": {"message": "no", "type": "x", "code": "x"}}
    return lambda _: (Send(json_reply(status, body)),)


def _broken(request: Request) -> tuple[Step, ...]:
    """The head and half of a body, or of a stream before its first content."""
    if request.json.get("stream"):
        events = openai.chat_events(request, 0, None)
        begun = openai.stream_head() + chunk(next(events))
    else:
        whole = json_reply(200, openai.chat_value(request))
        begun = whole[: len(whole) // 2]
    return (Send(begun), Wait(0.02), Reset())


def _html(_: Request) -> tuple[Step, ...]:
    return (Send(reply(200, b"<p>", content_type="text/html")),)


class Fault(Struct, frozen=True):
    """What a provider does to a request, and what we owe for it."""

    steps: Play
    cost: int | None
    """Nothing, or nobody knows."""


FAULTS = {
    "500": Fault(_error(500), 0),
    "503": Fault(_error(503), 0),
    "429": Fault(_error(429), 0),
    "401": Fault(_error(401), 0),
    "reset": Fault(lambda _: (Reset(),), None),
    "close": Fault(lambda _: (Close(),), None),
    "broken": Fault(_broken, None),
    "html": Fault(_html, None),
}
KEPT = "close"
"""What a provider does that closes a kept connection just when it is used."""


class Plan(Struct, frozen=True):
    """One call: the faults by channel; whoever has none answers."""

    stream: bool
    faults: tuple[str, ...]
    variant: str = ""

    @property
    def model(self) -> str:
        """Its model, which has three channels of its own."""
        form = "stream" if self.stream else "whole"
        return "-".join(
            (form, *self.faults, *((self.variant,) if self.variant else ()))
        )

    @property
    def body(self) -> bytes:
        """The request's body."""
        message = {"role": "user", "content": "Which way is shorter, please?"}
        body = {"model": self.model, "messages": [message], "max_tokens": WORDS}
        return json.dumps({**body, "stream": self.stream}).encode()


PLANS = [
    Plan(stream, faults)
    for stream in (False, True)
    for faults in (
        (),
        *((name,) for name in FAULTS),
        ("500", "429"),
        ("503", "reset"),
        ("401", "close"),
        ("500", "503", "500"),
        ("500", "reset", "503"),
    )
]
RESENT = [Plan(stream, (KEPT,), "kept") for stream in (False, True)]


class Provider:
    """Three accounts for each call, at one fake provider."""

    def __init__(self, fake: ThreadedFake) -> None:
        """Play every plan."""
        self.fake = fake
        self.asked: dict[str, list[str]] = {}
        """The accounts that were asked, by model."""
        self._plans = {plan.model: plan for plan in (*PLANS, *RESENT)}
        for model in self._plans:
            fake.on(model, self._behave)

    def _behave(self, request: Request) -> Behaviour:
        plan = self._plans[model_of(request)]
        account = (request.header(b"authorization") or b"").decode().split(" ")[1]
        self.asked.setdefault(plan.model, []).append(account)
        place = ACCOUNTS.index(account)
        usage = openai.chat_usage(request)
        again = plan.variant and len(self.asked[plan.model]) > 1
        if place < len(plan.faults) and not again:
            steps = FAULTS[plan.faults[place]].steps(request)
        else:
            steps = tuple(openai.answer(request).steps)
        return Behaviour(plan.model, steps, usage)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """The provider."""
    with ThreadedFake() as fake:
        yield Provider(fake)


@pytest.fixture(scope="module")
def gateway(provider: Provider, start_posthouse: StartPosthouse) -> Posthouse:
    """A gateway with three channels for each call, so that none disturbs another."""
    channels = [
        CHANNEL.format(
            model=plan.model,
            account=account,
            origin=provider.fake.origin,
            priority=10 - place,
            rates="\n".join(
                f'{unit} = "{rate / 1000}"' for unit, rate in COST[account].items()
            ),
        )
        for plan in (*PLANS, *RESENT)
        for place, account in enumerate(ACCOUNTS)
    ]
    return start_posthouse(COMMON + "".join(channels))


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.model)
def test_attempts_add_up(plan, gateway, provider):
    """The journal, the attempts, the cost and the one charge agree."""
    headers = (("Authorization", f"Bearer {KEY}"),)
    told = raw.send(gateway.url, "/v1/chat/completions", plan.body, headers=headers)
    served = len(plan.faults) < len(ACCOUNTS)
    assert (told.status == 200) == served
    record = gateway.call(told.header("x-request-id"))
    asked = provider.asked[plan.model]
    usage = provider.fake.served(plan.model)[-1].usage
    # Where a kept connection was closed, a request goes out twice.
    assert list(dict.fromkeys(asked)) == list(ACCOUNTS[: len(plan.faults) + served])
    expected = {
        account: FAULTS[name].cost
        for account, name in zip(ACCOUNTS, plan.faults, strict=False)
    }
    if served:
        expected[asked[-1]] = _price(usage, COST[asked[-1]])
    _assert_attempts(record, plan, [(account, expected[account]) for account in asked])
    _assert_charged_once(gateway, record, _price(usage, SELLING) if served else 0)


@pytest.mark.parametrize("plan", RESENT, ids=lambda plan: plan.model)
def test_a_request_that_was_sent_twice_is_two_attempts(plan, gateway, provider):
    """The provider may have read the first: its cost is not known, and we say so."""
    headers = (("Authorization", f"Bearer {KEY}"),)
    raw.send(gateway.url, "/v1/chat/completions", PLANS[0].body, headers=headers)
    told = raw.send(gateway.url, "/v1/chat/completions", plan.body, headers=headers)
    assert told.status == 200
    assert provider.asked[plan.model] == ["one", "one"]
    record = gateway.call(told.header("x-request-id"))
    usage = provider.fake.served(plan.model)[-1].usage
    cost = _price(usage, COST["one"])
    _assert_attempts(record, plan, [("one", None), ("one", cost)])
    first, second = record["attempts"]
    assert (first["outcome"], first["upstream_status"]) == ("failed", 0)
    assert (second["outcome"], second["upstream_status"]) == ("served", 200)
    _assert_charged_once(gateway, record, _price(usage, SELLING))


def _assert_attempts(
    record: Any, plan: Plan, expected: list[tuple[str, int | None]]
) -> None:
    """Each request the provider got is an attempt; the sum is known if all are."""
    assert [
        (attempt["channel"], attempt["cost"]) for attempt in record["attempts"]
    ] == [(f"{plan.model}-{account}", cost) for account, cost in expected]
    known = [cost for _, cost in expected if cost is not None]
    assert record["cost"] == (sum(known) if len(known) == len(expected) else None)


def _assert_charged_once(gateway: Posthouse, record: Any, price: int) -> None:
    """One ledger line, whatever it took."""
    (line,) = gateway.ask("ledger", "--call", record["id"])
    assert record["price"] == price
    assert (line["kind"], line["amount"]) == ("settle" if price else "void", -price)


def _price(usage: dict[str, Any] | None, rates: dict[str, int]) -> int:
    assert usage is not None
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    fresh = usage["prompt_tokens"] - cached
    return (
        fresh * rates["input"]
        + cached * rates["cached_input"]
        + usage["completion_tokens"] * rates["output"]
    )
