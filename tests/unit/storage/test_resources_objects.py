"""What providers keep for callers, remembered on both databases."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support import store as databases

from posthouse.relay.resources.objects import Owned, Page
from posthouse.storage.database import Database
from posthouse.storage.objects import StoredObjects

pytestmark = pytest.mark.usefixtures("store")


def thing(name: str, account: str = "one", **more: object) -> Owned:
    """Something that an account has."""
    known = {"channel": "main", "family": "openai", "kind": "/files", "created_ms": 1}
    known |= {"credential": b"c"} | more
    return Owned(id=name, account_id=account, **known)  # type: ignore[arg-type]


@pytest.fixture
async def database(store: str, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty one with its tables."""
    database = Database(databases.new_installation(tmp_path / "posthouse.db"))
    yield database
    await database.close()


@pytest.fixture
def objects(database: Database) -> StoredObjects:
    """What is tested."""
    return StoredObjects(database)


async def test_the_first_owner_stays(
    objects: StoredObjects, database: Database
) -> None:
    await objects.learn([thing("a")])
    await objects.learn([thing("a", "two"), thing("b", "two")])
    elsewhere = StoredObjects(database)
    await elsewhere.learn([thing("a", "two")])
    found = {one.id: one for one in await elsewhere.find(["a", "b", "c"])}
    assert found == {"a": thing("a"), "b": thing("b", "two")}


async def test_each_channel_has_ids_of_its_own(objects: StoredObjects) -> None:
    await objects.learn([thing("a"), thing("a", "two", channel="other")])
    found = await objects.find(["a"])
    assert {(one.channel, one.account_id) for one in found} == {
        ("main", "one"),
        ("other", "two"),
    }


async def test_what_is_gone_can_be_learnt_anew(objects: StoredObjects) -> None:
    await objects.learn([thing("a")])
    await objects.forget(thing("a", "two"))
    assert await objects.find(["a"]) == [thing("a")]
    await objects.forget(thing("a"))
    assert await objects.find(["a"]) == []
    await objects.learn([thing("a", "two")])
    assert await objects.find(["a"]) == [thing("a", "two")]


async def test_pages_follow_each_other(objects: StoredObjects) -> None:
    """Also where several were learnt in one millisecond."""
    made = [thing(f"f{n}", created_ms=n // 2) for n in range(7)]
    others = [thing("x", "two"), thing("y", kind="/batches"), thing("z", family="b")]
    await objects.learn([*made, *others])
    for descending in (True, False):
        seen: list[str] = []
        after = None
        while True:
            page = Page("openai", "/files", 3, descending=descending, after=after)
            rows = await objects.page("one", page)
            if not rows:
                break
            seen += [one.id for one in rows]
            after = rows[-1]
        wanted = [one.id for one in made]
        assert seen == (wanted[::-1] if descending else wanted)


async def test_very_many_are_learnt_at_once(objects: StoredObjects) -> None:
    await objects.learn([thing(f"f{n}") for n in range(1_200)])
    assert len(await objects.find([f"f{n}" for n in range(1_300)])) == 1_200
