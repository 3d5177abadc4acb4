"""The feed of changes under many writers: no reader misses what is committed."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.configuration_support import Installation

from posthouse.storage import changes

WRITERS = 6
EACH = 12


@pytest.fixture
async def here(
    tmp_path: Path, store: str, patient: None
) -> AsyncIterator[Installation]:
    installation = Installation(tmp_path)
    yield installation
    await installation.close()


class Abandoned(Exception):
    """A writer changed its mind."""


def abandon(number: int) -> None:
    """Let every third change not happen."""
    if number % 3 == 2:
        raise Abandoned


async def test_a_reader_that_goes_on_where_it_was_misses_nothing(
    here: Installation,
) -> None:
    """Writers that take their time before they commit, or do not, change no order.

    Numbers that are drawn and not committed leave no gap either, for readers would
    forget all that they know at each.
    """
    chance = random.Random(3)
    told: set[str] = set()
    done = asyncio.Event()

    async def write(writer: int) -> None:
        for number in range(EACH):
            subject = f"key:{writer}-{number}"
            try:
                async with here.database.write() as connection:
                    await changes.append(connection, [subject, f"{subject}+"], 1)
                    await asyncio.sleep(chance.random() / 100)
                    abandon(number)
            except Abandoned:
                continue
            told.update({subject, f"{subject}+"})

    seen: list[str] = []

    async def read() -> None:
        seq = 0
        while True:
            ending = done.is_set()
            async with here.database.read() as connection:
                found = await changes.since(connection, seq)
            assert not found.gap
            seq = found.seq
            seen.extend(found.keys)
            if ending:
                return

    reader = asyncio.create_task(read())
    await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
    done.set()
    await reader
    assert len(seen) == len(set(seen))
    assert {f"key:{name}" for name in seen} == told


async def test_a_change_waits_for_the_one_before_it(here: Installation) -> None:
    """Whoever is ready first commits first; the other gets the higher number."""
    order: list[str] = []

    async def write(name: str, *, ready: asyncio.Event, go: asyncio.Event) -> None:
        async with here.database.write() as connection:
            await changes.append(connection, [f"key:{name}"], 1)
            ready.set()
            await go.wait()
        order.append(name)

    first, go = asyncio.Event(), asyncio.Event()
    one = asyncio.create_task(write("one", ready=first, go=go))
    await first.wait()
    second = asyncio.Event()
    two = asyncio.create_task(write("two", ready=second, go=go))
    await asyncio.sleep(0.1)
    assert not second.is_set()
    async with here.database.read() as connection:
        assert (await changes.since(connection, 0)).keys == ()
    go.set()
    await asyncio.gather(one, two)
    assert order == ["one", "two"]
    async with here.database.read() as connection:
        assert (await changes.since(connection, 0)).keys == ("one", "two")
