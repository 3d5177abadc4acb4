"""`x-posthouse-wait`: room is waited for instead of a 429."""

import asyncio
import time
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec import json
from tests.fakes import openai
from tests.fakes.steps import Behaviour, Request
from tests.fakes.upstream import FakeUpstream
from tests.faults.asked import PATHS, ask, body_of
from tests.faults.channels import channel
from tests.faults.station import KEY, KEYS, Leaks, Station, eventually, play, running
from tests.faults.wire import Reply

OTHER = KEY.replace("application", "neighbour12")
LIMITED = KEYS.replace('balance_usd = "1000"', 'balance_usd = "1000"\n{limits}')
PAUSE = 0.02
"""Seconds between the provider's words; an answer has sixteen."""


def paced(request: Request) -> Behaviour:
    return openai.chat(request, interval=PAUSE)


async def wait(station: Station, seconds: str, key: str = KEY, **more: bool) -> Reply:
    body = json.encode(body_of("chat", "m", stream=True, **more))
    header = ("x-posthouse-wait", seconds)
    return await station.ask(PATHS["chat"], body, [header], key)


def text_for(origin: str, of_key: str = "", **more: object) -> str:
    return LIMITED.format(limits=of_key) + channel("a", origin, models=["m"], **more)


def test_calls_beyond_a_keys_concurrency_wait_for_each_other(tmp_path: Path) -> None:
    """One after the other; those that do not ask are refused as ever."""

    async def test() -> None:
        async with FakeUpstream(paced) as fake:
            text = text_for(fake.origin, "concurrency = 1")
            async with running(tmp_path, text) as station:
                leaks = Leaks()
                waiting = [asyncio.create_task(wait(station, "20")) for _ in range(4)]
                await eventually(lambda: fake.served, "nobody began")
                assert (await ask(station)).status == 429
                replies = await asyncio.gather(*waiting)
                assert [reply.status for reply in replies] == [200] * 4
                records = await station.ended(4)
                spans = sorted(
                    (r.attempts[0].started_ms + r.created_ms, r.attempts[0].duration_ms)
                    for r in records
                )
                for (begin, took), (following, _) in pairwise(spans):
                    assert following >= begin + took - 20
                await station.settled()
                station.hang_up()
                await asyncio.sleep(0.1)
                await leaks.assert_none()

    play(test)


def test_calls_beyond_a_channels_limits_wait_in_turn(tmp_path: Path) -> None:
    """A tenant of many calls does not keep another's single one out."""

    async def test() -> None:
        async with FakeUpstream(paced) as fake:
            text = text_for(fake.origin, limits={"concurrency": 1})
            text += f'[[keys]]\nname = "other"\nkey = "{OTHER}"\n'
            async with running(tmp_path, text) as station:
                many = [asyncio.create_task(wait(station, "30")) for _ in range(8)]
                await eventually(lambda: fake.served, "nobody began")
                await asyncio.sleep(0.1)
                single = await wait(station, "30", OTHER)
                assert single.status == 200
                done = [task for task in many if task.done()]
                assert len(done) <= 4, "it waited for the others' turns"
                replies = await asyncio.gather(*many)
                assert {reply.status for reply in replies} == {200}

    play(test)


@pytest.mark.parametrize("limits", ["rpm = 1", ""])
def test_a_wait_ends_with_the_429(tmp_path: Path, limits: str) -> None:
    """At what the caller asks for, or at the setting if that is less."""

    async def test() -> None:
        async with FakeUpstream(openai.answer) as fake:
            more = {} if limits else {"limits": {"rpm": 1}}
            text = text_for(fake.origin, limits, **more)
            async with running(tmp_path, text, wait_seconds=0.5) as station:
                assert (await wait(station, "5")).status == 200
                for asked, least in (("0.2", 0.2), ("1000", 0.5)):
                    began = time.monotonic()
                    reply = await wait(station, asked)
                    took = time.monotonic() - began
                    assert reply.status == 429
                    assert "retry-after" in reply.headers
                    assert least <= took < least + 0.4
                assert (await wait(station, "0")).status == 429
                assert len(fake.served) == 1

    play(test)


def test_a_client_that_leaves_while_it_waits_is_charged_nothing(
    tmp_path: Path,
) -> None:
    """Before the hold there is not even a record; after it, one that says so."""

    async def test() -> None:
        async with FakeUpstream(paced) as fake:
            text = text_for(fake.origin, "concurrency = 1")
            async with running(tmp_path / "key", text) as station:
                await _leave_while_waiting(station, fake)
                assert len(await station.ended(1)) == 1
        async with FakeUpstream(paced) as fake:
            text = text_for(fake.origin, limits={"concurrency": 1})
            async with running(tmp_path / "channel", text) as station:
                await _leave_while_waiting(station, fake)
                records = await station.ended(2)
                left = next(record for record in records if record.status == 499)
                assert (left.price, left.attempts) == (0, [])
                assert len(fake.served) == 1

    play(test)


async def _leave_while_waiting(station: Station, fake: FakeUpstream) -> None:
    first = asyncio.create_task(wait(station, "20"))
    await eventually(lambda: fake.served, "nobody began")
    body = json.encode(body_of("chat", "m", stream=True))
    header = ("x-posthouse-wait", "20")
    peer = await station.begin(PATHS["chat"], body, [header])
    queue = station.application._queue
    await eventually(lambda: queue.waiting == 1, "it does not wait")
    peer.writer.transport.abort()
    await eventually(lambda: queue.waiting == 0, "it still waits")
    assert (await first).status == 200
    await station.settled()


@pytest.mark.parametrize("value", ["soon", "-1", "1e9", "", "nan", "1234567"])
def test_a_wait_that_is_no_number_is_refused(tmp_path: Path, value: str) -> None:
    """Nothing is guessed from it."""

    async def test() -> None:
        async with (
            FakeUpstream(openai.answer) as fake,
            running(tmp_path, text_for(fake.origin)) as station,
        ):
            reply = await wait(station, value)
            assert (reply.status, reply.error["code"]) == (400, "invalid_wait")

    play(test)


def test_what_never_fits_is_not_waited_for(tmp_path: Path) -> None:
    """A prompt of more tokens than its key has in a minute."""

    async def test() -> None:
        async with (
            FakeUpstream(openai.answer) as fake,
            running(tmp_path, text_for(fake.origin, "tpm = 10")) as station,
        ):
            began = time.monotonic()
            assert (await wait(station, "10")).status == 429
            assert time.monotonic() - began < 1

    play(test)
