"""A credential that its provider refuses is out until it is known to be good."""

import asyncio
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.fakes import openai
from tests.fakes.steps import Behaviour, Request
from tests.fakes.upstream import FakeUpstream
from tests.faults.asked import ask, failing
from tests.faults.channels import channel
from tests.faults.station import KEYS, REFUSED, Station, eventually, play, running

from posthouse.cli.channels import _enable
from posthouse.settings.loader import load_file
from posthouse.storage.refusals import list_refusals
from posthouse.storage.schema import refused_credentials

GOOD = "sk-provider-good"
BAD = "sk-provider-bad"


class Strict:
    """A provider that accepts some keys."""

    def __init__(self, *accepted: str) -> None:
        self.accepted = set(accepted)
        self.seen: list[str] = []

    def __call__(self, request: Request) -> Behaviour:
        key = (request.header(b"authorization") or b"").decode().rpartition(" ")[2]
        self.seen.append(key)
        return (openai.chat if key in self.accepted else failing(401))(request)


def configuration(origin: str, *keys: str) -> str:
    return KEYS + channel("a", origin, api_key=list(keys))


def alerts(station: Station) -> list[tuple[int, int]]:
    return [
        (entry["credential"], entry["status"])
        for entry in station.logs
        if entry["event"] == REFUSED
    ]


async def calls(station: Station, count: int) -> list[int]:
    found = []
    for number in range(count):
        reply = await ask(station, headers=[("x-session-id", str(number))])
        found.append(reply.status)
    return found


async def rows(station: Station) -> list[Any]:
    await station.application._refusals.close()
    async with station.installation.database.read() as connection:
        return await list_refusals(connection)


def metric(station: Station, name: str) -> str:
    _, body = station.application.metrics.exposition()
    [line] = [
        line for line in body.decode().splitlines() if line.startswith(f"{name}{{")
    ]
    return line.rsplit(" ", 1)[1]


def test_it_is_told_once_kept_and_known_after_a_restart(tmp_path: Path) -> None:
    """The provider is asked once for it, however many calls and starts there are."""

    async def test() -> None:
        provider = Strict(GOOD)
        async with FakeUpstream(provider) as fake:
            text = configuration(fake.origin, BAD, GOOD)
            async with running(tmp_path, text) as station:
                assert set(await calls(station, 20)) == {200}
                [row] = await rows(station)
                assert (row.channel, row.credential, row.status) == ("a", 0, 401)
                assert alerts(station) == [(0, 401)]
                assert metric(station, "posthouse_credentials_refused") == "1.0"
            async with running(tmp_path, text) as station:
                assert set(await calls(station, 20)) == {200}
                assert alerts(station) == []
                assert station.health("a").resting.keys() == {0}
        assert provider.seen.count(BAD) == 1
        database = (tmp_path / "data" / "posthouse.db").read_bytes()
        assert BAD.encode() not in database

    play(test)


def test_another_credential_in_its_place_is_used_at_once(tmp_path: Path) -> None:
    """A refusal is of the credential, not of its place."""

    async def test() -> None:
        provider = Strict(GOOD)
        async with FakeUpstream(provider) as fake:
            text = configuration(fake.origin, BAD)
            async with running(tmp_path, text, changes_seconds=0.02) as station:
                assert await calls(station, 2) == [503, 503]
                assert len(await rows(station)) == 1
                file = tmp_path / "posthouse.toml"
                file.write_text(configuration(fake.origin, GOOD))
                await station.installation.apply(load_file(file))
                await eventually(
                    lambda: not station.health("a").resting, "it still rests"
                )
                assert await calls(station, 1) == [200]

    play(test)


def test_another_process_learns_of_it_and_of_its_end(tmp_path: Path) -> None:
    """Through the feed of changes; `channel enable` is such a process."""

    async def test() -> None:
        provider = Strict(GOOD)
        async with FakeUpstream(provider) as fake:
            text = configuration(fake.origin, BAD, GOOD)
            async with (
                running(tmp_path, text, changes_seconds=0.02) as station,
                running(tmp_path / "data" / "..", text, changes_seconds=0.02) as other,
            ):
                await calls(station, 10)
                await eventually(
                    lambda: other.health("a").resting.keys() == {0}, "not learnt"
                )
                assert set(await calls(other, 10)) == {200}
                assert provider.seen.count(BAD) == 1
                provider.accepted.add(BAD)
                data = station.installation.settings.data
                done = await _enable("a", 0, data)
                assert done == ["Credentials of a that are tried again: 1."]
                assert await _enable("a", None, data) == []
                for one in (station, other):
                    await eventually(
                        lambda one=one: not one.health("a").resting,  # type: ignore[misc]
                        "not enabled",
                    )
                assert set(await calls(station, 10)) == {200}
                assert provider.seen.count(BAD) > 1

    play(test)


def test_a_provider_that_accepts_it_again_ends_it(tmp_path: Path) -> None:
    """After a while one call tries; what was kept is forgotten."""

    async def test() -> None:
        provider = Strict()
        async with FakeUpstream(provider) as fake:
            with patch("posthouse.routing.health.REFUSED_REST", 0.2):
                text = configuration(fake.origin, BAD)
                async with running(tmp_path, text) as station:
                    assert await calls(station, 3) == [503] * 3
                    await asyncio.sleep(0.25)
                    assert await calls(station, 3) == [503] * 3
                    assert len(provider.seen) == 2
                    assert len(await rows(station)) == 1
                    provider.accepted.add(BAD)
                    await asyncio.sleep(0.25)
                    assert await calls(station, 3) == [200] * 3
                    assert await rows(station) == []
                    assert alerts(station) == [(0, 401)]
                    events = [entry["event"] for entry in station.logs]
                    assert "a provider accepts a credential again" in events

    play(test)


def test_calls_that_meet_it_together_tell_it_once(tmp_path: Path) -> None:
    """One row, one alert; and the sandbox's refusals are none."""

    async def test() -> None:
        async with FakeUpstream(Strict()) as fake:
            text = KEYS + channel("a", fake.origin, api_key=[BAD], models=["m"])
            text += '[[channels]]\nname = "sandbox"\nprovider = "sandbox"\n'
            text += 'models = ["s*"]\n'
            async with running(tmp_path, text) as station:
                await asyncio.gather(*(ask(station) for _ in range(10)))
                assert len(await rows(station)) == 1
                assert alerts(station) == [(0, 401)]
                reply = await ask(station, model="sandbox:error-401")
                assert reply.status == 503
                assert (await station.ended(11))[-1].channel == "sandbox"
                assert len(await rows(station)) == 1
                async with station.installation.database.write() as connection:
                    await connection.execute(refused_credentials.delete())

    play(test)
