"""Errors that a provider tells with status 200 do what their status would have done.

Every case is played twice: by a provider whose row declares the code, with status
200, and by one that answers with the status itself. What the caller, the books and
the channel's health see of the two must not differ.
"""

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from msgspec import Struct, json
from tests.fakes import openai
from tests.fakes.steps import Behave, Behaviour, Send, reply
from tests.fakes.upstream import FakeUpstream
from tests.faults.asked import ask
from tests.faults.channels import channel
from tests.faults.judge import COSTS, PRICES, amount
from tests.faults.station import KEYS, Station, play, running
from tests.faults.wire import Reply
from tests.support.cases import each

from posthouse.routing.health import ChannelHealth

MODEL = "MiniMax-M2.5"


class Case(Struct, frozen=True):
    """A code, and the status that it means."""

    code: int
    status: int
    message: str


CASES = {
    "key refused": Case(2049, 401, "invalid api key"),
    "in arrears": Case(1008, 402, "insufficient balance"),
    "rate limited": Case(1002, 429, "rate limit"),
    "timed out": Case(1001, 408, "timeout"),
    "overloaded": Case(1013, 503, "internal error"),
    "unknown code": Case(7777, 500, "something new"),
}
ALL = {**CASES, "bad request": Case(2013, 400, "invalid params")}


def told(case: Case, form: str) -> Behave:
    """A provider that answers everything with status 200 and a code in the body."""
    base = {"status_code": case.code, "status_msg": case.message}
    value = {"choices": None, "base_resp": base}
    body = json.encode(value)
    if form == "event":
        body = b"data: " + body + b"\n\n"
    kind = "application/json" if form == "body" else "text/event-stream"
    sent = reply(200, body, content_type=kind)
    return lambda _: Behaviour(f"{form} {case.code}", (Send(sent),))


def refused(case: Case) -> Behave:
    """A provider that answers everything with an error status."""
    error = {"message": case.message, "type": "odd", "param": None, "code": None}
    sent = reply(case.status, json.encode({"error": error}))
    return lambda _: Behaviour(str(case.status), (Send(sent),))


FORMS = (("body", False), ("event", True), ("bare", True))
"""How it is told, and whether to a stream: as the body, as an event of the stream,
or as a bare body in its place."""


class Place(Struct, frozen=True):
    """A model of one of the two, and its providers."""

    model: str
    stream: bool
    first: FakeUpstream
    second: FakeUpstream


class Twin:
    """What came of one of the two."""

    def __init__(self) -> None:
        self.shown: list[Any] = []
        self.attempts: list[Any] = []
        self.health: Any = None
        self.asked = 0
        """Requests that the provider had."""

    def see(self, seen: Reply) -> None:
        """Keep what the caller saw, but for what names the provider's own words."""
        error = seen.error if seen.status != 200 else {}
        self.shown.append(
            (
                seen.status,
                error.get("message"),
                seen.headers.get("retry-after"),
                seen.headers.get("x-should-retry"),
            )
        )


def told_of(health: ChannelHealth) -> tuple[Any, ...]:
    """A channel's health without its clock."""
    return (
        health.consecutive,
        health.ejections,
        health.window_failures,
        {index: rest.reason for index, rest in health.resting.items()},
    )


async def play_twins(
    directory: Path,
    case: Case,
    work: Callable[[Station, Place, Twin], Any],
    *,
    backed: bool,
) -> list[Twin]:
    """Do the same with a provider that tells and with one that refuses.

    In each form, one after the other; all in one Posthouse.
    """
    twins = []
    async with AsyncExitStack() as stack:
        text, places = KEYS, []
        for form, stream in FORMS:
            for provider, script in (
                ("minimax", told(case, form)),
                ("openai-compatible", refused(case)),
            ):
                first = await stack.enter_async_context(FakeUpstream(script))
                second = await stack.enter_async_context(FakeUpstream(openai.answer))
                name = f"{form}-{provider}"
                models = [{"public": name, "upstream": MODEL}]
                text += channel(
                    name, first.origin, provider=provider, models=models, priority=2
                )
                if backed:
                    text += channel(
                        f"{name}-2", second.origin, models=models, priority=1
                    )
                places.append(Place(name, stream, first, second))
        station = await stack.enter_async_context(running(directory, text))
        for place in places:
            twins.append(Twin())
            await work(station, place, twins[-1])
            twins[-1].health = told_of(station.health(place.model))
    return twins


def pairs(twins: list[Twin]) -> Iterator[tuple[str, Twin, Twin]]:
    """Who was told and who was refused, by form."""
    for number, (form, _) in enumerate(FORMS):
        yield form, twins[2 * number], twins[2 * number + 1]


@each("case", CASES.values(), ids=CASES)
def test_another_channel_answers(tmp_path: Path, case: Case) -> None:
    """The caller notices nothing, pays one answer, and the attempt is noted as free."""

    async def work(station: Station, place: Place, twin: Twin) -> None:
        seen = await ask(station, model=place.model, stream=place.stream)
        assert (seen.status, seen.ended) == (200, True)
        assert case.message.encode() not in seen.raw
        assert (len(place.first.served), len(place.second.served)) == (1, 1)
        record, line = await station.books(seen.call_id)
        failed, served = record.attempts
        assert (served.channel, served.outcome) == (f"{place.model}-2", "served")
        assert line.amount == -amount(record.usage, PRICES)
        assert served.cost == amount(record.usage, COSTS)
        twin.attempts = [
            (failed.outcome, failed.error_code, failed.upstream_status, failed.cost)
        ]
        assert failed.upstream_status == case.status
        assert failed.cost == 0

    async def test() -> None:
        twins = await play_twins(tmp_path / str(case.code), case, work, backed=True)
        for form, one, other in pairs(twins):
            assert one.attempts == other.attempts, form
            assert one.health == other.health, form

    play(test)


@each("case", ALL.values(), ids=ALL)
def test_alone_it_is_the_same_error_and_opens_the_same_breaker(
    tmp_path: Path, case: Case
) -> None:
    """Nothing is charged, and the provider is asked no oftener than for the status."""

    async def work(station: Station, place: Place, twin: Twin) -> None:
        for _attempt in range(7):
            seen = await ask(station, model=place.model, stream=place.stream)
            twin.see(seen)
            record, line = await station.books(seen.call_id)
            assert line.amount == 0
            twin.attempts.append(
                [
                    (a.outcome, a.error_code, a.upstream_status, a.cost)
                    for a in record.attempts
                ]
            )
        twin.asked = len(place.first.served)

    async def test() -> None:
        twins = await play_twins(tmp_path / str(case.code), case, work, backed=False)
        for form, one, other in pairs(twins):
            assert one.shown == other.shown, form
            assert one.attempts == other.attempts, form
            assert one.health == other.health, form
            assert one.asked == other.asked, form
            if case.status in (500, 503, 408):
                assert one.asked == 5, form

    play(test)


def test_a_filtered_answer_is_the_callers_affair(tmp_path: Path) -> None:
    """It is told as OpenAI tells it, tried nowhere else and no fault of the channel."""

    async def test() -> None:
        script = told(Case(1026, 400, "input new_sensitive"), "body")
        async with FakeUpstream(script) as first, FakeUpstream(openai.answer) as second:
            text = KEYS + channel(
                "a", first.origin, provider="minimax", models=[MODEL], priority=2
            )
            text += channel("b", second.origin, models=[MODEL], priority=1)
            async with running(tmp_path, text) as station:
                seen = await ask(station, model=MODEL)
                assert seen.status == 400
                assert seen.error["code"] == "content_filter"
                assert seen.error["message"] == "input new_sensitive"
                assert not second.served
                record, line = await station.books(seen.call_id)
                assert (line.amount, record.outcome) == (0, "rejected")
                assert told_of(station.health("a"))[:2] == (0, 0)

    play(test)


def test_a_code_after_content_ends_the_stream(tmp_path: Path) -> None:
    """What was delivered is charged, the error is told, and nothing pretends an end."""

    async def test() -> None:
        chunk = {"id": "x", "choices": [{"index": 0, "delta": {"content": "one two "}}]}
        bad = {"choices": None, "base_resp": {"status_code": 1013, "status_msg": "no"}}
        body = b"".join(b"data: " + json.encode(v) + b"\n\n" for v in (chunk, bad))
        sent = reply(200, body, content_type="text/event-stream")
        late = [Behaviour("late", (Send(sent),))]
        async with FakeUpstream(late) as first, FakeUpstream(openai.answer) as second:
            text = KEYS + channel(
                "a", first.origin, provider="minimax", models=[MODEL], priority=2
            )
            text += channel("b", second.origin, models=[MODEL], priority=1)
            async with running(tmp_path, text) as station:
                seen = await ask(station, model=MODEL, stream=True)
                assert (seen.status, seen.ended) == (200, False)
                assert b"one two " in seen.body
                assert b"upstream_overloaded" in seen.body
                assert b"[DONE]" not in seen.body
                assert not second.served
                record, line = await station.books(seen.call_id)
                assert record.outcome == "interrupted"
                assert line.amount < 0

    play(test)
