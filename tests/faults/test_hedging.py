"""Hedged calls: one reply, one settlement, whatever the two attempts meet."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import json
from tests.fakes import openai
from tests.fakes.steps import (
    Behave,
    Behaviour,
    Close,
    Hang,
    Request,
    Reset,
    Send,
    Step,
    Wait,
)
from tests.fakes.upstream import FakeUpstream
from tests.faults.asked import PATHS, ask, body_of, failing
from tests.faults.channels import channel
from tests.faults.station import KEYS, Leaks, Station, eventually, play, running
from tests.faults.wire import Reply

from posthouse.model.call import CallRecord, Outcome

AFTER = 0.15
SLOW = 3.0
PRICE = '[[prices]]\nmodel = "n"\ninput = "7"\noutput = "7"\n'
HEDGED = '[[routing]]\nmodel = "*"\nhedge = {{ after = {} }}\n'
NEVER = 60.0
"""Seconds after which nobody waits any more."""

Test = Callable[[Station, FakeUpstream, FakeUpstream], Awaitable[None]]


def late(seconds: float, behave: Behave = openai.answer) -> Behave:
    """Answer after some seconds."""

    def answer(request: Request) -> Behaviour:
        found = behave(request)
        return Behaviour("late", (Wait(seconds), *found.steps), found.usage)

    return answer


def begun(stop: Step) -> Behave:
    """Stream some words at once, then do something else."""

    def answer(request: Request) -> Behaviour:
        def steps() -> Iterator[Step]:
            for number, step in enumerate(openai.answer(request).steps):
                yield step
                if number == 4:
                    yield Wait(0.05)
                    yield stop

        return Behaviour("begun", steps())

    return answer


def serve(folder: Path, first: Behave, second: Behave, test: Test, **more: Any) -> None:
    """Run a test on channel a, which is asked first, and b beside it."""
    model = more.pop("model_of_b", "m")
    extra = more.pop("extra", "")
    hedged = HEDGED.format(more.pop("after", AFTER))

    async def work() -> None:
        async with FakeUpstream(first) as a, FakeUpstream(second) as b:
            text = KEYS + PRICE + channel("a", a.origin, models=["m"], priority=1)
            text += channel("b", b.origin, models=[model])
            async with running(folder, text + hedged + extra, **more) as station:
                leaks = Leaks()
                await test(station, a, b)
                await station.settled()
                station.hang_up()
                await leaks.assert_none()

    play(work)


async def timed(station: Station, *, stream: bool) -> tuple[Reply, float]:
    began = time.monotonic()
    reply = await ask(station, stream=stream)
    return reply, time.monotonic() - began


async def only(station: Station, reply: Reply) -> CallRecord:
    """The one record of a call, which has one ledger line."""
    record, line = await station.books(reply.headers["x-request-id"])
    assert -line.amount == record.price
    return record


def events_of(stream: bytes) -> list[bytes]:
    """The data of the events of a stream that the fake provider writes."""
    lines = stream.split(b"\n")
    return [line[6:] for line in lines if line.startswith(b"data: ")]


def outcomes(record: CallRecord) -> list[tuple[str, str, int | None]]:
    return [(a.channel, a.outcome, a.cost) for a in record.attempts]


def assert_whole(reply: Reply, *, stream: bool) -> None:
    """One answer, once."""
    assert reply.status == 200, reply.raw
    if stream:
        events = events_of(reply.body)
        assert events.count(b"[DONE]") == 1
        words = [
            choice["delta"].get("content") or ""
            for event in events[:-1]
            for choice in json.decode(event)["choices"]
        ]
        assert "".join(words) == "".join(openai.words(16))
    else:
        content = json.decode(reply.body)["choices"][0]["message"]["content"]
        assert content == "".join(openai.words(16)).rstrip() or content


@pytest.mark.parametrize("stream", [False, True])
def test_the_second_serves_when_the_first_is_slow(
    tmp_path: Path, *, stream: bool
) -> None:
    """The loser is recorded at a cost that nobody knows, and says nothing of health."""

    async def test(station: Station, a: FakeUpstream, b: FakeUpstream) -> None:
        reply, took = await timed(station, stream=stream)
        assert_whole(reply, stream=stream)
        assert AFTER <= took < SLOW / 2
        assert (len(a.served), len(b.served)) == (1, 1)
        record = await only(station, reply)
        assert record.channel == "b"
        assert [(name, outcome) for name, outcome, _ in outcomes(record)] == [
            ("a", Outcome.ABANDONED),
            ("b", Outcome.SERVED),
        ]
        lost, served = record.attempts
        assert lost.cost is None
        assert served.cost
        assert record.cost is None
        assert served.started_ms >= AFTER * 1000 - 5
        assert station.health("a").consecutive == 0
        assert not a.served[0].completed

    serve(tmp_path, late(SLOW), openai.answer, test)


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_is_hedged_that_is_quick(tmp_path: Path, *, stream: bool) -> None:
    """The other channel never hears of it."""

    async def test(station: Station, _: FakeUpstream, b: FakeUpstream) -> None:
        reply, _took = await timed(station, stream=stream)
        assert_whole(reply, stream=stream)
        assert not b.served
        assert outcomes(await only(station, reply))[0][:2] == ("a", Outcome.SERVED)

    serve(tmp_path, openai.answer, openai.answer, test)


@pytest.mark.parametrize("stream", [False, True])
def test_the_first_may_still_win(tmp_path: Path, *, stream: bool) -> None:
    """Its content comes before that of the second."""

    async def test(station: Station, a: FakeUpstream, b: FakeUpstream) -> None:
        reply, _ = await timed(station, stream=stream)
        assert_whole(reply, stream=stream)
        assert len(b.served) == 1
        record = await only(station, reply)
        assert [(name, outcome) for name, outcome, _ in outcomes(record)] == [
            ("b", Outcome.ABANDONED),
            ("a", Outcome.SERVED),
        ]

    serve(tmp_path, late(2 * AFTER), late(SLOW), test)


def test_a_stream_that_has_content_is_not_hedged(tmp_path: Path) -> None:
    """However long it pauses then: content never comes of two channels."""

    async def test(station: Station, _: FakeUpstream, b: FakeUpstream) -> None:
        reply, took = await timed(station, stream=True)
        assert took > 2 * AFTER
        assert reply.status == 200
        assert not b.served

    serve(tmp_path, begun(Wait(3 * AFTER)), openai.answer, test)


def test_a_stream_that_breaks_after_content_ends_there(tmp_path: Path) -> None:
    """The second had been cancelled when the first brought content."""

    async def test(station: Station, _: FakeUpstream, b: FakeUpstream) -> None:
        reply, _took = await timed(station, stream=True)
        assert reply.closed
        assert b"[DONE]" not in reply.body
        assert len(b.served) == 1
        record = await only(station, reply)
        assert record.outcome == Outcome.INTERRUPTED
        assert record.price > 0
        assert [name for name, _, _ in outcomes(record)] == ["b", "a"]

    serve(tmp_path, late(SLOW / 2, begun(Close())), late(2 * SLOW), test)


@pytest.mark.parametrize("stream", [False, True])
def test_one_that_fails_leaves_the_other_to_serve(
    tmp_path: Path, *, stream: bool
) -> None:
    """Its failure counts for its channel."""

    async def test(station: Station, a: FakeUpstream, b: FakeUpstream) -> None:
        reply, _ = await timed(station, stream=stream)
        assert_whole(reply, stream=stream)
        record = await only(station, reply)
        assert [(name, outcome) for name, outcome, _ in outcomes(record)] == [
            ("a", Outcome.FAILED),
            ("b", Outcome.SERVED),
        ]
        assert station.health("a").consecutive == 1
        assert (len(a.served), len(b.served)) == (1, 1)

    serve(tmp_path, late(2 * AFTER, failing(500)), late(3 * AFTER), test)


@pytest.mark.parametrize("stream", [False, True])
def test_one_that_fails_at_once_is_retried_as_ever(
    tmp_path: Path, *, stream: bool
) -> None:
    """There is nothing to hedge."""

    async def test(station: Station, a: FakeUpstream, b: FakeUpstream) -> None:
        reply, took = await timed(station, stream=stream)
        assert_whole(reply, stream=stream)
        assert took < NEVER / 2
        assert (len(a.served), len(b.served)) == (1, 1)

    serve(tmp_path, failing(500), openai.answer, test, after=NEVER)


@pytest.mark.parametrize("stream", [False, True])
def test_when_both_fail_the_caller_hears_of_it_and_pays_nothing(
    tmp_path: Path, *, stream: bool
) -> None:
    """As with one."""

    async def test(station: Station, a: FakeUpstream, b: FakeUpstream) -> None:
        reply, _ = await timed(station, stream=stream)
        assert reply.status == 503
        assert (len(a.served), len(b.served)) == (1, 1)
        [record] = await station.ended(1)
        assert record.price == 0
        assert {name for name, _, _ in outcomes(record)} == {"a", "b"}

    serve(tmp_path, late(2 * AFTER, failing(500)), late(3 * AFTER, failing(500)), test)


def test_slowness_is_no_reason_for_another_model(tmp_path: Path) -> None:
    """A model that stands in does so for failures."""

    async def test(station: Station, a: FakeUpstream, b: FakeUpstream) -> None:
        reply, took = await timed(station, stream=False)
        assert_whole(reply, stream=False)
        assert took >= 3 * AFTER
        assert not b.served

    serve(
        tmp_path,
        late(3 * AFTER),
        openai.answer,
        test,
        model_of_b="n",
        extra='[[fallbacks]]\nmodel = "m"\nto = ["n"]\n',
    )


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_that_leaves_ends_both(tmp_path: Path, *, stream: bool) -> None:
    """It owes its prompt once."""

    async def test(station: Station, a: FakeUpstream, b: FakeUpstream) -> None:
        body = json.encode(body_of("chat", "m", stream=stream))
        peer = await station.begin(PATHS["chat"], body)
        await eventually(lambda: b.served, "it was not hedged")
        await peer.close()
        [record] = await station.ended(1)
        assert record.outcome == Outcome.ABANDONED
        assert record.usage["output"] == 0 if "output" in record.usage else True
        assert record.price > 0
        assert len(record.attempts) == 2
        assert {outcome for _, outcome, _ in outcomes(record)} == {Outcome.ABANDONED}

    serve(tmp_path, late(SLOW), late(SLOW), test)


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_waited_for_room_is_hedged_like_any_other(
    tmp_path: Path, *, stream: bool
) -> None:
    """Its first target is the one whose room it waited for."""

    async def test(station: Station, a: FakeUpstream, b: FakeUpstream) -> None:
        waits = [("x-posthouse-wait", "5")]
        reply = await ask(station, headers=waits, stream=stream)
        assert_whole(reply, stream=stream)
        assert (len(a.served), len(b.served)) == (1, 1)
        record = await only(station, reply)
        assert [name for name, _, _ in outcomes(record)] == ["a", "b"]

    serve(tmp_path, late(SLOW), openai.answer, test)


def test_hedges_are_few_of_many_calls(tmp_path: Path) -> None:
    """A slow provider gets no second storm: a fifth of what is under way, or three."""

    async def test(station: Station, a: FakeUpstream, b: FakeUpstream) -> None:
        replies = await asyncio.gather(*(ask(station) for _ in range(30)))
        assert {reply.status for reply in replies} == {200}
        assert 3 <= len(b.served) <= 8

    serve(tmp_path, late(4 * AFTER), late(4 * AFTER), test)


def test_one_attempt_is_one_attempt(tmp_path: Path) -> None:
    """A hedge counts among the attempts that a call may make."""

    async def test(station: Station, _: FakeUpstream, b: FakeUpstream) -> None:
        reply, _took = await timed(station, stream=False)
        assert reply.status == 200
        assert not b.served

    serve(tmp_path, late(3 * AFTER), openai.answer, test, max_attempts=1)


def test_a_full_channel_is_no_second(tmp_path: Path) -> None:
    """Then the first goes on alone, and its place is given back."""

    async def test(station: Station, a: FakeUpstream, b: FakeUpstream) -> None:
        for _ in range(2):
            reply, _took = await timed(station, stream=False)
            assert reply.status == 200
        assert (len(a.served), len(b.served)) == (2, 1)

    limited = '[[channels]]\nname = "c"\nprovider = "sandbox"\nmodels = ["x"]\n'
    first = {"number": 0}

    def second(request: Request) -> Behaviour:
        first["number"] += 1
        return late(SLOW)(request)

    async def work() -> None:
        async with FakeUpstream(late(2 * AFTER)) as a, FakeUpstream(second) as b:
            text = KEYS + channel("a", a.origin, models=["m"], priority=1)
            text += channel("b", b.origin, models=["m"], limits={"rpm": 1})
            async with running(
                tmp_path, text + limited + HEDGED.format(AFTER)
            ) as station:
                await test(station, a, b)
                await station.settled()

    play(work)


def anything(dice: random.Random) -> Behave:
    """A provider that does anything at all."""
    kinds: list[Callable[[], Behave]] = [
        lambda: openai.answer,
        lambda: late(AFTER),
        lambda: late(2 * AFTER),
        lambda: late(AFTER * dice.random() * 3),
        lambda: late(AFTER * dice.random() * 3, failing(500)),
        lambda: late(AFTER * dice.random() * 3, begun(Close())),
        lambda: failing(429),
        lambda: lambda _: Behaviour("reset", (Wait(AFTER * 1.1), Reset())),
        lambda: lambda _: Behaviour("hang", (Hang(),)),
        lambda: lambda _: Behaviour("nonsense", (Send(b"HTTP/1.1 200\r\n\r\n{"),)),
    ]

    def choose(request: Request) -> Behaviour:
        return dice.choice(kinds)()(request)

    return choose


def test_whatever_happens_each_call_is_settled_once(tmp_path: Path) -> None:
    """A hundred calls over two channels that do anything at all."""
    dice = random.Random(7)

    async def test(station: Station, a: FakeUpstream, b: FakeUpstream) -> None:
        async def one(number: int) -> None:
            await asyncio.sleep(dice.random())
            body = json.encode(body_of("chat", "m", stream=bool(number % 2)))
            peer = await station.begin(PATHS["chat"], body)
            if number % 7 == 0:
                await asyncio.sleep(dice.random() * 2 * AFTER)
                peer.writer.transport.abort()
            else:
                reply = await peer.reply()
                await peer.close()
                if number % 2 and reply.status == 200:
                    events = events_of(reply.body)
                    assert events.count(b"[DONE]") <= 1
                    ids = {
                        json.decode(event).get("id")
                        for event in events
                        if event != b"[DONE]" and b'"error"' not in event
                    }
                    assert len(ids) <= 1, "content of two channels"

        await asyncio.gather(*(one(number) for number in range(100)))
        records = await station.ended(100)
        hedged = sum(
            attempt.outcome == Outcome.ABANDONED
            for record in records
            for attempt in record.attempts
        )
        assert hedged
        assert max(len(record.attempts) for record in records) <= 3

    serve(
        tmp_path,
        anything(dice),
        anything(dice),
        test,
        total_seconds=2,
        stream_seconds=2,
        breaker_failures=1000,
    )
