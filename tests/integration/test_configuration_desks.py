"""What the command line does to the database: keys and channels of its own."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.integration.configuration_support import Installation

from posthouse.access.authenticator import Authenticator
from posthouse.access.keys import digest
from posthouse.access.principal import Principal
from posthouse.errors import AuthenticationFailed, StorageUnavailable
from posthouse.settings.file import ChannelSpec, KeySpec
from posthouse.storage import changes
from posthouse.storage.channels import ChannelDesk, find_channel, list_channels
from posthouse.storage.database import Database, sqlite_url
from posthouse.storage.key_reader import StoredKeys
from posthouse.storage.keys import KeyDesk, find_key, list_keys
from posthouse.storage.ledger.accounts import open_account
from posthouse.storage.ownership import Refused
from posthouse.storage.prices import keep_versions
from posthouse.storage.schema import accounts, price_versions
from posthouse.storage.schema import keys as key_table

FILE = '[[keys]]\nname = "filed"\n[[channels]]\nname = "filed"\nprovider = "openai"\n'


@pytest.fixture
async def here(
    tmp_path: Path, store: str, patient: None
) -> AsyncIterator[Installation]:
    installation = Installation(tmp_path)
    yield installation
    await installation.close()


@pytest.fixture
def keys(here: Installation) -> KeyDesk:
    return KeyDesk(here.pepper, open_account, clock=lambda: here.now)


@pytest.fixture
def channels(here: Installation) -> ChannelDesk:
    return ChannelDesk(here.box, clock=lambda: here.now)


async def test_created_key_works_and_is_told_once(
    here: Installation, keys: KeyDesk
) -> None:
    """A new key works at once, is listed by its end, and shows nowhere else."""
    async with here.database.write() as connection:
        made = await keys.create(connection, KeySpec("a", models=("m",), tpm=5))
    assert made.key not in repr(made)
    principal = await Authenticator(here.key_store, here.pepper).authenticate(
        made.key, ""
    )
    assert (principal.key_id, principal.name) == (made.id, "a")
    assert (principal.models, principal.tpm) == (("m",), 5)
    assert principal.account_id == "default"
    async with here.database.read() as connection:
        (row,) = await list_keys(connection)
    assert (row.hint, row.owner, row.made) == (made.key[-4:], "database", True)


async def test_created_key_may_have_a_balance(
    here: Installation, keys: KeyDesk
) -> None:
    """A balance opens an account of the key's own."""
    async with here.database.write() as connection:
        made = await keys.create(connection, KeySpec("a", balance_usd="0.5"))
    balances = {row["id"]: row["balance"] for row in await here.rows(accounts)}
    assert balances[made.account_id] == 500_000_000


async def test_given_text_is_kept(here: Installation, keys: KeyDesk) -> None:
    """An operator may bring a key along, but not twice."""
    text = "sk-0123456789abcdefghij"
    async with here.database.write() as connection:
        assert (await keys.create(connection, KeySpec("a", key=text))).key == text
        with pytest.raises(Refused, match="also the key of 'a'"):
            await keys.create(connection, KeySpec("b", key=text))


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (KeySpec("a"), "a key 'a' already"),
        (KeySpec("filed"), "a key 'filed' already"),
        (KeySpec("b/c"), "no slash"),
        (KeySpec("b", rpm=0), "rpm must be"),
        (KeySpec("b", key="env:HOME"), "takes the key itself"),
    ],
)
async def test_bad_key_is_refused(
    here: Installation, keys: KeyDesk, spec: KeySpec, reason: str
) -> None:
    """The same rules hold as in the file."""
    await here.apply(FILE)
    async with here.database.write() as connection:
        await keys.create(connection, KeySpec("a"))
        with pytest.raises(Refused, match=reason):
            await keys.create(connection, spec)


async def test_revoked_key_ends_within_one_poll(
    here: Installation, keys: KeyDesk
) -> None:
    """The feed tells the authenticator, and the key never comes back."""
    door = Authenticator(here.key_store, here.pepper)
    async with here.database.write() as connection:
        made = await keys.create(connection, KeySpec("a"))
    await door.authenticate(made.key, "")
    async with here.database.read() as connection:
        seq = await changes.latest(connection)
    async with here.database.write() as connection:
        await keys.revoke(connection, "a")
        await keys.revoke(connection, "a")
    async with here.database.read() as connection:
        told = await changes.since(connection, seq)
    assert told.keys == (made.id,)
    door.forget(*told.keys)
    with pytest.raises(AuthenticationFailed):
        await door.authenticate(made.key, "")
    async with here.database.write() as connection:
        with pytest.raises(Refused, match="has been revoked"):
            await keys.set_enabled(connection, "a", enabled=True)
        row = await find_key(connection, "a")
    assert row is not None
    assert row.revoked_ms == here.now


async def test_key_may_be_switched_off_and_on(
    here: Installation, keys: KeyDesk
) -> None:
    """A disabled key fails like an unknown one, and works again later."""
    store = here.key_store
    async with here.database.write() as connection:
        made = await keys.create(connection, KeySpec("a"))
        await keys.set_enabled(connection, "a", enabled=False)
    with pytest.raises(AuthenticationFailed):
        await Authenticator(store, here.pepper).authenticate(made.key, "")
    async with here.database.write() as connection:
        await keys.set_enabled(connection, "a", enabled=True)
    assert await Authenticator(store, here.pepper).authenticate(made.key, "")


async def test_what_the_file_owns_is_read_only(
    here: Installation, keys: KeyDesk, channels: ChannelDesk
) -> None:
    """The operator is sent to the file."""
    await here.apply(FILE)
    async with here.database.write() as connection:
        for change in (
            keys.revoke(connection, "filed"),
            keys.set_enabled(connection, "filed", enabled=False),
            channels.set_enabled(connection, "filed", enabled=False),
        ):
            with pytest.raises(Refused, match="comes from the configuration file"):
                await change
        with pytest.raises(Refused, match="there is no key 'x'"):
            await keys.revoke(connection, "x")
        with pytest.raises(Refused, match="there is no channel 'x'"):
            await channels.set_enabled(connection, "x", enabled=True)


async def test_added_channel_is_stored_whole(
    here: Installation, channels: ChannelDesk
) -> None:
    """Everything a file could say can be stored by hand, too."""
    spec = ChannelSpec(
        "a",
        "openai",
        api_key=("k1", "k2"),
        models=("m*",),
        priority=-1,
        weight=3,
        headers={"X-A": "b"},
        proxy="http://127.0.0.1:1",
        on_disconnect="drain",
    )
    async with here.database.write() as connection:
        await channels.add(connection, spec)
        assert (await list_channels(connection, here.box))[0].spec == spec
        await channels.set_enabled(connection, "a", enabled=False)
        found = await find_channel(connection, here.box, "a")
    assert found is not None
    assert found.spec.enabled is False
    async with here.database.read() as connection:
        assert (await changes.since(connection, 0)).configuration


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (ChannelSpec("a", "openai"), "a channel 'a' already"),
        (ChannelSpec("b", "openai", weight=0), "weight must be"),
        (ChannelSpec("b", "openai", api_key="env:K"), "takes the credential itself"),
        (ChannelSpec("b", "openai", base_url="http://metadata/"), "metadata"),
    ],
)
async def test_bad_channel_is_refused(
    here: Installation, channels: ChannelDesk, spec: ChannelSpec, reason: str
) -> None:
    """The same rules hold as in the file."""
    async with here.database.write() as connection:
        await channels.add(connection, ChannelSpec("a", "openai"))
        with pytest.raises(Refused, match=reason):
            await channels.add(connection, spec)


async def test_key_look_up_uses_an_index(here: Installation) -> None:
    """Finding a key does not grow with the number of keys."""
    query = "SELECT id FROM keys WHERE digest = {} AND enabled = 1"
    async with here.database.read() as connection:
        if here.url.startswith("sqlite"):
            asked = "EXPLAIN QUERY PLAN " + query.format("x'00'")
            used = "SEARCH keys USING INDEX"
        else:
            # It would look at all of so few.
            await connection.execute(text("SET LOCAL enable_seqscan = off"))
            asked = "EXPLAIN " + query.format("'00'::bytea")
            used = "Index Scan using uq_keys_digest on keys"
        plan = (await connection.execute(text(asked))).all()
    assert used in plan[0][-1]


async def test_storage_that_fails_is_no_bad_key(tmp_path: Path) -> None:
    """Without a database the answer is 503, never 401."""
    (tmp_path / "empty.db").touch()
    for name in ("absent/posthouse.db", "absent.db", "empty.db"):
        database = Database(sqlite_url(tmp_path / name))
        store = StoredKeys(database)
        for _ in range(2):
            with pytest.raises(StorageUnavailable):
                await store.find(b"x" * 32)
        await store.close()
        await database.close()
    assert not (tmp_path / "absent.db").exists()


async def test_a_server_that_does_not_answer_is_no_bad_key() -> None:
    """The same within a second, whether it refuses or says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        places = [mute.getsockname()[1], 1]
        for port in places:
            database = Database(f"postgresql://me:not-for-eyes@127.0.0.1:{port}/p")
            store = StoredKeys(database)
            began = time.monotonic()
            with pytest.raises(StorageUnavailable) as caught:
                await store.find(b"x" * 32)
            assert time.monotonic() - began < 2
            assert "eyes" not in repr(caught.value.__cause__)
            await store.close()
            await database.close()


async def test_many_keys_are_found_in_few_reads(here: Installation) -> None:
    """Look-ups that come together go together, each with its own answer."""
    names = [f"sk-{index:020}" for index in range(250)]
    await here.apply(
        "\n".join(f'[[keys]]\nname = "k{name}"\nkey = "{name}"' for name in names[::2])
    )
    reads = []
    read = here.key_store._read

    async def counted(digests: list[bytes]) -> dict[bytes, Principal]:
        reads.append(len(digests))
        return await read(digests)

    here.key_store._read = counted  # type: ignore[method-assign]
    found = await asyncio.gather(
        *(here.key_store.find(digest(here.pepper, name)) for name in names),
        *(here.key_store.find(digest(here.pepper, name)) for name in names),
    )
    expected = [
        f"k{name}" if not index % 2 else None for index, name in enumerate(names)
    ]
    assert [principal and principal.name for principal in found] == expected * 2
    assert reads == [100, 100, 50]


async def test_damaged_row_leaves_nobody_waiting(here: Installation) -> None:
    """What cannot be read is an error at once, and only then."""
    await here.apply(FILE)
    text = (here.data / "keys" / "filed").read_text().strip()
    async with here.database.write() as connection:
        await connection.execute(key_table.update().values(rights="{"))
    with pytest.raises(StorageUnavailable):
        await here.key_store.find(digest(here.pepper, text))
    async with here.database.write() as connection:
        await connection.execute(key_table.update().values(rights="{}"))
    assert await here.key_store.find(digest(here.pepper, text))


async def test_both_ways_of_reading_agree(here: Installation) -> None:
    """What the thread reads from a file, the engine reads from any database."""
    await here.apply(FILE)
    text = (here.data / "keys" / "filed").read_text().strip()
    by_thread = await here.key_store.find(digest(here.pepper, text))
    here.key_store._path = None
    assert by_thread is not None
    assert await here.key_store.find(digest(here.pepper, text)) == by_thread
    assert await here.key_store.find(b"x" * 32) is None


async def test_feed_survives_pruning(here: Installation) -> None:
    """Pruned changes are noticed as a gap, and numbers are never given again."""
    async with here.database.write() as connection:
        await changes.append(connection, ["key:a", "key:a", "account:b"], 1)
        await changes.append(connection, ["key:c"], 2)
    async with here.database.read() as connection:
        told = await changes.since(connection, 0)
    assert (told.keys, told.others, told.seq) == (("a", "c"), ("account:b",), 3)
    assert not told.gap
    async with here.database.write() as connection:
        assert await changes.prune(connection, 3) == 3
        await changes.append(connection, ["key:d"], 4)
    async with here.database.read() as connection:
        told = await changes.since(connection, 1)
        assert (told.seq, told.keys, told.gap) == (4, ("d",), True)
        assert not (await changes.since(connection, 3)).gap


async def test_price_versions_are_kept_once(here: Installation) -> None:
    """A version's content is written once and never changed."""
    async with here.database.write() as connection:
        assert await keep_versions(connection, {"v1": b"{}", "v2": b"[]"}, 1) == 2
        assert await keep_versions(connection, {"v1": b"other", "v3": b"1"}, 2) == 1
    rows = {row["version"]: row["content"] for row in await here.rows(price_versions)}
    assert rows == {"v1": "{}", "v2": "[]", "v3": "1"}


async def test_two_writers_wait_for_each_other(
    here: Installation, keys: KeyDesk
) -> None:
    """Of two that make the same name at once, one is refused properly."""

    async def create() -> str:
        async with here.database.write() as connection:
            return (await keys.create(connection, KeySpec("a"))).id

    results = await asyncio.gather(create(), create(), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Refused", "str"]
