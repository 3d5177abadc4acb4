"""Probes: channels are looked at while no call does, and nobody is charged."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.fakes import openai
from tests.fakes.steps import Behaviour, Request
from tests.fakes.upstream import FakeUpstream
from tests.faults.asked import ask, failing
from tests.faults.channels import channel
from tests.faults.station import KEYS, Leaks, Station, eventually, play, running

from posthouse.settings.file import ProbeSpec

EVERY = 0.05
"""Seconds; a file takes no less than one."""


class Provider:
    """A provider that is well or ill, in parts."""

    def __init__(self) -> None:
        self.chat = self.models = 200
        self.asked: list[tuple[str, str]] = []

    def __call__(self, request: Request) -> Behaviour:
        self.asked.append((request.method, request.target))
        status = self.models if request.method == "GET" else self.chat
        if status == 404:
            return openai.unknown(request)
        return (openai.answer if status == 200 else failing(status))(request)


def probe_often(station: Station, model: str | None = None) -> None:
    """Look every twentieth of a second."""
    set_probe(station, ProbeSpec(EVERY, model))


def set_probe(station: Station, probe: ProbeSpec | None) -> None:
    """Give the channels that are looked at another probe, or none."""
    application = station.application
    channels = application.relay.snapshot.table.channels
    for name, one in channels.items():
        if one.spec.probe is not None:
            spec = structs.replace(one.spec, probe=probe)
            channels[name] = structs.replace(one, spec=spec)
    application._prober.follow(application.relay.snapshot)


def text_for(origin: str, **more: Any) -> str:
    probe = {"every": 86400}
    return KEYS + channel("a", origin, models=["m"], probe=probe, **more)


async def looks(provider: Provider, count: int) -> None:
    """Wait for so many looks more."""
    begin = len(provider.asked)
    await eventually(lambda: len(provider.asked) >= begin + count, "no looks")


def test_a_list_half_opens_a_breaker_and_a_call_closes_it(tmp_path: Path) -> None:
    """Long before its time; the list alone does not close it."""

    async def test() -> None:
        provider = Provider()
        async with FakeUpstream(provider) as fake:
            text = text_for(fake.origin)
            async with running(tmp_path, text, breaker_seconds=300) as station:
                provider.chat = 500
                for _ in range(5):
                    assert (await ask(station)).status == 503
                assert len(provider.asked) == 5
                assert (await ask(station)).status == 503
                assert len(provider.asked) == 5, "the breaker is not open"
                probe_often(station)
                await looks(provider, 2)
                assert station.health("a").ejections == 1
                provider.chat = 200
                await eventually(
                    lambda: (
                        station.health("a").open_until < 1e9
                        and station.application._health.blocked(
                            "a", 0, asyncio.get_running_loop().time()
                        )
                        is None
                    ),
                    "it did not half-open",
                )
                assert (await ask(station)).status == 200
                assert station.health("a").ejections == 0
                records = await station.ended(7)
                assert len(records) == 7
                assert {
                    target for method, target in provider.asked if method == "GET"
                } == {"/v1/models"}

    play(test)


def test_a_chat_closes_a_breaker_and_is_no_call(tmp_path: Path) -> None:
    """It asks for one token, is charged to nobody and stands in no record."""

    async def test() -> None:
        provider = Provider()
        async with FakeUpstream(provider) as fake:
            text = text_for(fake.origin)
            async with running(tmp_path, text, breaker_seconds=300) as station:
                provider.chat = 500
                for _ in range(5):
                    await ask(station)
                probe_often(station, "m")
                await looks(provider, 2)
                assert station.health("a").ejections > 1
                provider.chat = 200
                await eventually(
                    lambda: not station.health("a").ejections, "it did not close"
                )
                served = fake.served[-1].request
                assert served.json["max_tokens"] == 1
                assert len(await station.ended(5)) == 5
                probe = station.application._describe()["a"].probe
                assert probe is not None
                assert probe.code == ""
                events = [entry["event"] for entry in station.logs]
                assert events.count("a probe failed") == 1
                assert events.count("a probe succeeds again") == 1

    play(test)


def test_looks_that_fail_open_a_breaker_before_any_call(tmp_path: Path) -> None:
    """The next channel serves from the first call on."""

    async def test() -> None:
        ill, well = Provider(), Provider()
        async with FakeUpstream(ill) as first, FakeUpstream(well) as second:
            ill.models = ill.chat = 500
            text = text_for(first.origin, priority=1)
            text += channel("b", second.origin, models=["m"])
            async with running(tmp_path, text, breaker_seconds=300) as station:
                probe_often(station)
                await eventually(
                    lambda: station.health("a").ejections, "it did not open"
                )
                assert (await ask(station)).status == 200
                assert all(method == "GET" for method, _ in ill.asked)

    play(test)


@pytest.mark.parametrize("model", ["m", None])
def test_a_refused_credential_comes_back_by_a_chat_alone(
    tmp_path: Path, model: str | None
) -> None:
    """A list does not tell whether the account has credit."""

    async def test() -> None:
        provider = Provider()
        async with (
            FakeUpstream(provider) as fake,
            running(tmp_path, text_for(fake.origin)) as station,
        ):
            provider.chat = 402
            assert (await ask(station)).status == 503
            refusals = station.application._refusals
            assert len(refusals.known) == 1
            provider.chat = 200
            probe_often(station, model)
            await asyncio.sleep(4 * EVERY)
            assert len(provider.asked) == 1, "a credential that rests was used"
            rest = station.health("a").resting[0]
            object.__setattr__(rest, "until", 0.0)
            await looks(provider, 1)
            if model is None:
                assert len(refusals.known) == 1
                assert list(station.health("a").resting) == [0]
            else:
                await eventually(lambda: not refusals.known, "it is still refused")
                assert station.health("a").resting == {}

    play(test)


def test_a_look_finds_out_that_a_credential_is_refused(tmp_path: Path) -> None:
    """Before a call meets it."""

    async def test() -> None:
        provider = Provider()
        async with (
            FakeUpstream(provider) as fake,
            running(tmp_path, text_for(fake.origin)) as station,
        ):
            provider.models = 401
            probe_often(station)
            await eventually(
                lambda: station.application._refusals.known, "nobody was told"
            )
            assert list(station.health("a").resting) == [0]

    play(test)


def test_a_provider_without_a_list_is_not_taken_for_ill(tmp_path: Path) -> None:
    """404 says nothing of its chats."""

    async def test() -> None:
        provider = Provider()
        async with (
            FakeUpstream(provider) as fake,
            running(tmp_path, text_for(fake.origin)) as station,
        ):
            provider.models = 404
            probe_often(station)
            await looks(provider, 8)
            assert station.health("a").consecutive == 0

    play(test)


def test_probes_are_off_until_a_channel_asks_and_end_with_it(tmp_path: Path) -> None:
    """There is no task without one; a channel at its limit is left alone."""

    async def test() -> None:
        provider = Provider()
        async with FakeUpstream(provider) as fake:
            plain = KEYS + channel("a", fake.origin, models=["m"])
            async with running(tmp_path / "plain", plain) as station:
                assert station.application._prober._tasks == {}
            text = text_for(fake.origin, limits={"concurrency": 1})
            async with running(tmp_path / "probed", text) as station:
                leaks = Leaks()
                probe_often(station)
                await looks(provider, 2)
                table = station.application.relay.snapshot.table
                table.channels["a"].load.in_flight = 1
                await asyncio.sleep(2 * EVERY)
                count = len(provider.asked)
                await asyncio.sleep(4 * EVERY)
                assert len(provider.asked) == count
                table.channels["a"].load.in_flight = 0
                await looks(provider, 1)
                set_probe(station, None)
                station.hang_up()
                await leaks.assert_none()

    play(test)
