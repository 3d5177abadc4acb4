"""Kept responses: each for itself, however many are written together."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support import store as databases

from posthouse.errors import StorageUnavailable
from posthouse.relay.keeping import Kept
from posthouse.storage.database import Database
from posthouse.storage.responses import StoredResponses
from posthouse.storage.secrets import SecretBox

LATER = 2**52


def kept(name: str, account: str = "one") -> Kept:
    """A response of an account's."""
    return Kept(name, account, "channel", 1, LATER, b"data of " + name.encode())


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[StoredResponses]:
    """A store over an empty database."""
    database = Database(databases.new_installation(tmp_path / "posthouse.db"))
    store = StoredResponses(database, SecretBox(bytes(32)))
    yield store
    await store.close()
    await database.close()


async def test_one_that_cannot_be_kept_keeps_nobody_elses_out(
    store: StoredResponses,
) -> None:
    """A provider may give an id twice."""
    await store.keep(kept("resp_0"))
    names = ("resp_1", "resp_0", "resp_2", "resp_3")
    results = await asyncio.gather(
        *(store.keep(kept(name, "two")) for name in names), return_exceptions=True
    )
    assert [type(one) for one in results] == [
        type(None),
        StorageUnavailable,
        type(None),
        type(None),
    ]
    for name in ("resp_1", "resp_2", "resp_3"):
        assert await store.find(name, "two") == kept(name, "two")
    assert await store.find("resp_0", "one") == kept("resp_0")
    assert await store.find("resp_0", "two") is None


async def test_what_has_expired_is_not_there(store: StoredResponses) -> None:
    await store.keep(Kept("resp_9", "one", "channel", 1, 2, b"old"))
    assert await store.find("resp_9", "one") is None


async def test_it_is_forgotten_by_its_owner_alone(store: StoredResponses) -> None:
    await store.keep(kept("resp_5"))
    assert not await store.forget("resp_5", "two")
    assert await store.forget("resp_5", "one")
    assert await store.find("resp_5", "one") is None
