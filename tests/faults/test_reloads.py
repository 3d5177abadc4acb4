"""Configurations that change under load: each call is of one of them, whole.

Channel, credential and price always belong to one file (G-O5); what was under way
when credentials and addresses changed ends as it began (G-O6).
"""

import asyncio
from pathlib import Path
from typing import Any

from msgspec import json
from tests.fakes import openai
from tests.fakes.steps import Behaviour, Request
from tests.fakes.upstream import FakeUpstream
from tests.fakes.upstream import running as serving
from tests.faults.asked import PATHS, body_of
from tests.faults.channels import channel
from tests.faults.station import KEYS, Station, eventually, play, running

from posthouse.app import Application
from posthouse.settings.loader import load_file

CHANGES = 0.02
"""Seconds between two looks for changes."""


def _file(version: int, origin: str) -> str:
    """A configuration in which everything says which one it is."""
    keys = KEYS.replace('input = "2"', f'input = "{2 + version}"')
    return keys + channel(
        "a",
        origin,
        api_key=f"sk-version-{version}",
        models=[{"public": "m", "upstream": f"m-{version}"}],
        headers={"X-Version": str(version)},
    )


async def _apply(station: Station, directory: Path, text: str) -> Any:
    """Apply a file; give the configuration that calls meet from then on."""
    before = station.application.relay.snapshot
    file = directory / "posthouse.toml"
    file.write_text(text)
    await station.installation.apply(load_file(file))
    await eventually(
        lambda: station.application.relay.snapshot is not before, "it is not followed"
    )
    return station.application.relay.snapshot


def _versions(request: Request) -> set[str]:
    """Which files a request is of, by all that tells."""
    credential = (request.header(b"authorization") or b"").decode()
    return {
        credential.removeprefix("Bearer sk-version-"),
        (request.header(b"x-version") or b"").decode(),
        str(request.json["model"]).removeprefix("m-"),
    }


def test_each_call_is_of_one_configuration(tmp_path: Path) -> None:
    """Files come one after the other while calls go on: no request mixes two."""

    async def test() -> None:
        first, second = FakeUpstream(openai.answer), FakeUpstream(openai.answer)
        async with serving(first, second):
            origins = (first.origin, second.origin)
            text = _file(0, origins[0])
            async with running(tmp_path, text, changes_seconds=CHANGES) as station:
                body = json.encode(body_of("chat", "m"))
                over = asyncio.Event()
                seen: list[str] = []

                async def call() -> None:
                    while not over.is_set():
                        reply = await station.ask(PATHS["chat"], body)
                        assert reply.status == 200, reply.raw
                        seen.append(reply.call_id)

                async with asyncio.TaskGroup() as group:
                    for _ in range(4):
                        group.create_task(call())
                    for version in range(1, 13):
                        await _apply(
                            station, tmp_path, _file(version, origins[version % 2])
                        )
                        await asyncio.sleep(0.05)
                    over.set()
                asked: dict[str, int] = {}
                for place, fake in enumerate((first, second)):
                    for served in fake.served:
                        (name,) = _versions(served.request)
                        assert int(name) % 2 == place, "another file's address"
                        asked[name] = asked.get(name, 0) + 1
                assert len(asked) >= 10
                records = await station.ended(len(seen))
                charged: dict[str, int] = {}
                for record in records:
                    name = record.upstream_model.removeprefix("m-")
                    output = 8000 * record.usage["output"]
                    cached = 500 * record.usage["cached_input"]
                    read = (record.price - output - cached) // record.usage["input"]
                    assert read == 1000 * (2 + int(name)), "another file's price"
                    charged[name] = charged.get(name, 0) + 1
                assert charged == asked

    play(test)


def test_a_changed_configuration_is_that_of_a_fresh_start(tmp_path: Path) -> None:
    """What a server has come to is what one that begins now would have."""

    async def test() -> None:
        async with FakeUpstream(openai.answer) as provider:
            text = _file(0, provider.origin)
            async with running(tmp_path, text, changes_seconds=CHANGES) as station:
                other = _file(7, provider.origin) + channel("b", provider.origin)
                await _apply(station, tmp_path, other)
                final = _file(9, provider.origin) + channel(
                    "c", provider.origin, priority=3, weight=2
                )
                reached = await _apply(station, tmp_path, final)
                fresh = await station.application._read_snapshot()
                restarted = Application(
                    station.application.settings,
                    station.installation.database,
                    box=station.installation.box,
                    pepper=station.installation.pepper,
                )
                begun = await restarted._read_snapshot()
                for snapshot in (fresh, begun):
                    assert snapshot.table.channels.keys() == {"a", "c"}
                    for name, found in snapshot.table.channels.items():
                        known = reached.table.channels[name]
                        assert found.spec == known.spec
                        assert found.credentials == known.credentials
                        assert found.timeouts == known.timeouts
                    assert list(snapshot.prices.versions()) == list(
                        reached.prices.versions()
                    )

    play(test)


STREAMS = 100


def test_streams_end_well_whatever_changes_meanwhile(tmp_path: Path) -> None:
    """New credentials, addresses and pools: a hundred streams are whole."""

    async def test() -> None:
        def slowly(request: Request) -> Behaviour:
            return openai.chat(request, interval=0.2)

        old, new = FakeUpstream(slowly), FakeUpstream(openai.answer)
        async with serving(old, new):
            text = _file(0, old.origin)
            async with running(tmp_path, text, changes_seconds=CHANGES) as station:
                body = json.encode(body_of("chat", "m", stream=True))
                calls = [
                    asyncio.create_task(station.ask(PATHS["chat"], body))
                    for _ in range(STREAMS)
                ]
                await eventually(lambda: len(old.served) == STREAMS, "not all began")
                for version in range(1, 6):
                    await _apply(station, tmp_path, _file(version, new.origin))
                    station.hang_up_idle()
                    reply = await station.ask(PATHS["chat"], body)
                    assert reply.ended
                    (served,) = new.served[version - 1 :]
                    assert _versions(served.request) == {str(version)}
                assert not any(call.done() for call in calls), "nothing was under way"
                for reply in await asyncio.gather(*calls):
                    assert (reply.status, reply.ended) == (200, True)
                    assert reply.body.endswith(b"data: [DONE]\n\n")
                for record in await station.ended(STREAMS + 5):
                    assert (record.outcome, record.usage["output"]) == ("served", 16)
                assert len(old.served) == STREAMS, "something was asked twice"

    play(test)
