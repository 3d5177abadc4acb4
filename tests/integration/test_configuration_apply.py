"""Applying a file: all of it or nothing, once, and never what is not its own."""

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import update
from tests.integration.configuration_support import (
    Installation,
    unchanged_on_disk,
)

from posthouse.access.authenticator import Authenticator
from posthouse.access.keys import digest
from posthouse.errors import AuthenticationFailed
from posthouse.settings.failure import ConfigurationError
from posthouse.settings.file import ChannelSpec, FallbackSpec, KeySpec, PriceSpec
from posthouse.storage import changes
from posthouse.storage.channels import ChannelDesk
from posthouse.storage.keys import KeyDesk, decode_rights, list_keys
from posthouse.storage.ledger.accounts import open_account
from posthouse.storage.schema import (
    accounts,
    channels,
    fallbacks,
    keys,
    prices,
    transfers,
)
from posthouse.storage.secrets import SealBroken, SecretBox

EXAMPLE = Path(__file__).parents[2] / "posthouse.example.toml"
GOOD_KEY = "sk-0123456789abcdefghij"
CHANNEL = '[[channels]]\nname = "main"\nprovider = "openai"\n'
KEY = '[[keys]]\nname = "app"\n'


@pytest.fixture
async def here(
    tmp_path: Path, store: str, patient: None
) -> AsyncIterator[Installation]:
    installation = Installation(tmp_path)
    yield installation
    await installation.close()


def door(here: Installation) -> Authenticator:
    return Authenticator(here.key_store, here.pepper)


async def make(here: Installation, spec: KeySpec) -> str:
    desk = KeyDesk(here.pepper, open_account)
    async with here.database.write() as connection:
        return (await desk.create(connection, spec)).key


async def add_channel(here: Installation, spec: ChannelSpec) -> None:
    async with here.database.write() as connection:
        await ChannelDesk(here.box).add(connection, spec)


async def since(here: Installation, seq: int) -> changes.Changes:
    async with here.database.read() as connection:
        return await changes.since(connection, seq)


async def test_the_example_applies_whole(here: Installation) -> None:
    """Every object of the shipped example arrives as its comment says."""
    here.environment["OPENAI_API_KEY"] = "sk-provider-canary"
    report = await here.apply(EXAMPLE.read_text(encoding="utf-8"))
    assert report.created == (
        "channel openai-main",
        "channel sandbox",
        "price gpt-4o",
        "price local/*",
        "fallback gpt-4o",
        "key app",
    )
    assert report.key_files == (here.data / "keys" / "app",)
    assert len(report.warnings) == 1
    assert "is the example's" in report.warnings[0]

    stored = await here.stored()
    file = here.load(EXAMPLE.read_text(encoding="utf-8")).configuration
    main, sandbox = (channel.spec for channel in stored.channels)
    assert main.api_key == ("sk-provider-canary",)
    for name in ChannelSpec.__struct_fields__:
        if name != "api_key":
            assert getattr(main, name) == getattr(file.channels[0], name), name
    assert sandbox == ChannelSpec("sandbox", "sandbox")
    assert stored.prices == file.prices
    assert stored.fallbacks == file.fallbacks

    text = (here.data / "keys" / "app").read_text().strip()
    with pytest.raises(AuthenticationFailed):
        await door(here).authenticate("sk-…", "10.0.0.1")
    # The example's key is dated, so it is recognised by a clock of its time.
    dated = Authenticator(here.key_store, here.pepper, wall_clock=lambda: 1_790_000_000)
    principal = await dated.authenticate(text, "10.0.0.1")
    assert principal.name == "app"
    assert principal.models == ("gpt-*", "fast")
    assert principal.networks == ("10.0.0.0/8",)
    assert principal.expires_at == 1_798_761_600
    assert (principal.rpm, principal.tpm, principal.concurrency) == (600, 200_000, 50)
    assert principal.sandbox is False
    (account,) = (
        row for row in await here.rows(accounts) if row["id"] == principal.account_id
    )
    assert account["balance"] == 25_000_000_000


async def test_no_secret_is_readable_on_disk(here: Installation) -> None:
    """Neither a provider's key, header or proxy nor a caller's key is in the file."""
    here.environment["PROVIDER"] = "sk-provider-canary"
    report = await here.apply(
        CHANNEL + 'api_key = ["env:PROVIDER", "literal-canary"]\n'
        'headers = { X-Secret = "header-canary" }\n'
        'proxy = "http://user:proxy-canary@127.0.0.1:1"\n'
        + KEY
        + f'key = "{GOOD_KEY}"\n[[keys]]\nname = "made"\n'
    )
    made = report.key_files[0].read_text().strip()
    await add_channel(here, ChannelSpec("db", "openai", api_key="database-canary"))
    created = await make(here, KeySpec("stored"))
    stored = await here.stored()
    await here.database.close()
    content = here.bytes_on_disk()
    assert b"main" in content
    assert b"canary" not in content
    for secret in (GOOD_KEY, made, created):
        assert secret.encode() not in content
    assert "canary" not in repr(stored)
    assert "canary" not in repr(report)


async def test_made_key_is_private_and_written_once(here: Installation) -> None:
    """A made key is in a file of mode 0600 that nobody rewrites."""
    (path,) = (await here.apply(KEY)).key_files
    text = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert (await here.apply(KEY + "rpm = 5")).key_files == ()
    assert path.read_text() == text
    path.unlink()
    assert (await here.apply(KEY)).key_files == ()
    assert not path.exists()
    assert (await door(here).authenticate(text.strip(), "")).rpm is None


async def test_key_file_that_is_there_is_taken(here: Installation) -> None:
    """After a crash between file and commit, or with a new database, it holds."""
    path = here.data / "keys" / "app"
    path.parent.mkdir()
    path.write_text(GOOD_KEY + "\n")
    assert (await here.apply(KEY)).key_files == ()
    assert (await door(here).authenticate(GOOD_KEY, "")).name == "app"


async def test_key_file_without_a_key_is_refused(here: Installation) -> None:
    """An emptied file must not become an easy key."""
    path = here.data / "keys" / "app"
    path.parent.mkdir()
    path.touch()
    with pytest.raises(ConfigurationError, match="20 to 256") as caught:
        await here.apply(KEY)
    assert caught.value.source == str(path)


async def test_refused_file_makes_no_key(here: Installation) -> None:
    """A key is made only when all that the file refers to is there."""
    with pytest.raises(ConfigurationError, match="MISSING is not set"):
        await here.apply(KEY + KEY.replace("app", "b") + 'key = "env:MISSING"\n')
    assert not (here.data / "keys").exists()


async def test_sandbox_key_looks_like_one(here: Installation) -> None:
    """A sandbox key's prefix tells people what it is, and its principal the code."""
    (path,) = (await here.apply(KEY + "sandbox = true")).key_files
    text = path.read_text().strip()
    assert text.startswith("sk-test-")
    assert (await door(here).authenticate(text, "")).sandbox is True


async def test_applying_twice_changes_nothing(here: Installation) -> None:
    """A restart with the same file writes nothing and tells nobody."""
    here.environment["OPENAI_API_KEY"] = "sk-provider-canary"
    text = EXAMPLE.read_text(encoding="utf-8")
    await here.apply(text)
    revision = (await here.stored()).revision
    here.now += 1000
    with unchanged_on_disk(here):
        report = await here.apply(text)
    assert not report.changed
    assert report.unchanged == 6
    assert (await here.stored()).revision == revision


async def test_refused_file_changes_nothing(here: Installation) -> None:
    """The last fault of a file undoes all that came before it."""
    await here.apply(CHANNEL + KEY + f'key = "{GOOD_KEY}"')
    with (
        unchanged_on_disk(here),
        pytest.raises(ConfigurationError, match="MISSING is not set") as caught,
    ):
        await here.apply(
            CHANNEL
            + 'weight = 5\n[[channels]]\nname = "new"\nprovider = "openai"\n'
            + KEY
            + 'key = "env:MISSING"\n'
        )
    assert caught.value.line == 10


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (CHANNEL + 'api_key = "env:MISSING"', 4, "variable MISSING is not set"),
        (CHANNEL + 'api_key = ["a",\n"file:absent"]', 5, "cannot read"),
        (CHANNEL + 'api_key = "env:SPACED"', 4, "no space"),
        (CHANNEL.replace("openai", "opnai"), 3, "did you mean 'openai'?"),
        (KEY + 'key = "env:WEAK"', 3, "20 to 256 characters"),
        (
            KEY + f'key = "{GOOD_KEY}"\n[[keys]]\nname = "b"\nkey = "env:SAME"',
            6,
            "also the key of 'app'",
        ),
        ('[[prices]]\nmodel = "m"\ninput = "1"\nchannel = "x"', 4, "no channel 'x'"),
        ('[[prices]]\nmodel = "m"\nimage = "9999999"', 1, "too large"),
    ],
)
async def test_what_only_applying_finds_has_its_line(
    here: Installation, text: str, line: int, reason: str
) -> None:
    """References, the catalogue and amounts are judged with line and reason."""
    here.environment |= {"SPACED": "canary b", "WEAK": "canary", "SAME": GOOD_KEY}
    with pytest.raises(ConfigurationError) as caught:
        await here.apply(text)
    assert (caught.value.line, reason in caught.value.reason) == (line, True)
    assert "canary" not in str(caught.value)


async def test_absent_objects_are_disabled_and_come_back(here: Installation) -> None:
    """What the file no longer names stops working; its row and money stay."""
    text = CHANNEL + KEY + f'key = "{GOOD_KEY}"\nbalance_usd = "5"\n'
    await here.apply(text + '[[prices]]\nmodel = "m"\nfree = true')
    before = {row["name"]: row["id"] for row in await here.rows(keys)}
    report = await here.apply("")
    assert report.disabled == ("channel main", "price m", "key app")
    assert [channel.spec.enabled for channel in (await here.stored()).channels] == [
        False
    ]
    assert (await here.stored()).prices == ()
    with pytest.raises(AuthenticationFailed):
        await door(here).authenticate(GOOD_KEY, "")
    assert (await here.apply("")).changed is False

    report = await here.apply(text)
    assert report.updated == ("channel main", "key app")
    assert (await door(here).authenticate(GOOD_KEY, "")).key_id == before["app"]
    openings = [row["reference"] for row in await here.rows(transfers)]
    assert openings == ["opening:app"]


async def test_disabled_channel_needs_no_credential(here: Installation) -> None:
    """A channel that is off may wait for its credential."""
    await here.apply(CHANNEL + 'api_key = "env:MISSING"\nenabled = false')
    (channel,) = (await here.stored()).channels
    assert (channel.spec.enabled, channel.spec.api_key) == (False, ())


async def test_balance_is_posted_once(here: Installation) -> None:
    """Editing the balance later posts nothing and warns."""
    text = KEY + f'key = "{GOOD_KEY}"\n'
    assert (await here.apply(text + 'balance_usd = "25"')).warnings == ()
    assert (await here.apply(text + 'balance_usd = "25.00"')).warnings == ()
    report = await here.apply(text + 'balance_usd = "30"')
    assert "posted as 25.00 once" in report.warnings[0]
    assert "posthouse key credit app" in report.warnings[0]
    assert [row["reference"] for row in await here.rows(transfers)] == ["opening:app"]
    balances = {row["id"]: row["balance"] for row in await here.rows(accounts)}
    (key,) = await here.rows(keys)
    assert balances[key["account_id"]] == 25_000_000_000


async def test_key_without_balance_draws_on_the_default_account(
    here: Installation,
) -> None:
    """The default account has no credit line, which means no limit."""
    text = KEY + f'key = "{GOOD_KEY}"\n'
    await here.apply(text)
    assert (await door(here).authenticate(GOOD_KEY, "")).account_id == "default"
    (row,) = (row for row in await here.rows(accounts) if row["kind"] == "available")
    assert (row["id"], row["balance"], row["credit_line"]) == ("default", 0, None)

    await here.apply(text + 'balance_usd = "0"')
    own = (await door(here).authenticate(GOOD_KEY, "")).account_id
    assert own.startswith("key:")
    report = await here.apply(text)
    assert "default account" in report.warnings[0]
    assert (await door(here).authenticate(GOOD_KEY, "")).account_id == "default"


async def test_replaced_key_text_works_at_once(here: Installation) -> None:
    """A new literal, and a literal that is taken away, replace the old one."""
    other = "sk-another-abcdefghijkl"
    await here.apply(KEY + f'key = "{GOOD_KEY}"')
    await here.apply(KEY + f'key = "{other}"')
    assert await door(here).authenticate(other, "")
    with pytest.raises(AuthenticationFailed):
        await door(here).authenticate(GOOD_KEY, "")
    (path,) = (await here.apply(KEY)).key_files
    assert await door(here).authenticate(path.read_text().strip(), "")
    with pytest.raises(AuthenticationFailed):
        await door(here).authenticate(other, "")


async def test_key_may_be_renamed(here: Installation) -> None:
    """The same text under another name is another key, and the old one is off."""
    await here.apply(KEY + f'key = "{GOOD_KEY}"')
    report = await here.apply('[[keys]]\nname = "new"\n' + f'key = "{GOOD_KEY}"')
    assert (report.created, report.disabled) == (("key new",), ("key app",))
    assert (await door(here).authenticate(GOOD_KEY, "")).name == "new"
    report = await here.apply(KEY + f'key = "{GOOD_KEY}"')
    assert (await door(here).authenticate(GOOD_KEY, "")).name == "app"


async def test_two_keys_may_swap_their_texts(here: Installation) -> None:
    """No order of rows makes a legal file fail."""
    other = "sk-another-abcdefghijkl"

    def text(first: str, second: str) -> str:
        return KEY + f'key = "{first}"\n[[keys]]\nname = "b"\nkey = "{second}"'

    await here.apply(text(GOOD_KEY, other))
    report = await here.apply(text(other, GOOD_KEY))
    assert report.updated == ("key app", "key b")
    assert (await door(here).authenticate(GOOD_KEY, "")).name == "b"
    assert (await door(here).authenticate(other, "")).name == "app"


async def test_database_objects_are_never_touched(here: Installation) -> None:
    """Applying files leaves the database's own objects as they are."""
    await add_channel(here, ChannelSpec("own", "openai", api_key="k"))
    text = await make(here, KeySpec("own", rpm=7))
    async with here.database.write() as connection:
        await connection.execute(
            prices.insert().values(
                id="1",
                model="own",
                channel="",
                specification='{"model":"own","free":true}',
                owner="database",
                created_ms=0,
            )
        )
        await connection.execute(
            fallbacks.insert().values(model="own", targets='["b"]', owner="database")
        )
    with unchanged_on_disk(here):
        assert not (await here.apply("")).changed
    await here.apply(
        CHANNEL
        + '[[prices]]\nmodel = "m"\nchannel = "own"\nfree = true\n'
        + '[[fallbacks]]\nmodel = "m"\nto = ["own"]\n'
        + KEY
    )
    await here.apply("")
    stored = await here.stored()
    assert [channel.spec.enabled for channel in stored.channels] == [False, True]
    assert stored.prices == (PriceSpec("own", free=True),)
    assert stored.fallbacks == (FallbackSpec("own", ("b",)),)
    assert (await door(here).authenticate(text, "")).rpm == 7


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (CHANNEL.replace("main", "own"), 2, "has a channel 'own' of its own"),
        (KEY.replace("app", "own"), 2, "has a key 'own' of its own"),
        (KEY + 'key = "env:OWN"', 3, "also the key of 'own'"),
        ('[[prices]]\nmodel = "own"\nfree = true', 2, "price of its own"),
        ('[[fallbacks]]\nmodel = "own"\nto = ["b"]', 2, "fallback of its own"),
    ],
)
async def test_one_name_in_both_is_refused_with_its_line(
    here: Installation, text: str, line: int, reason: str
) -> None:
    """A name belongs to the file or to the database, never to both."""
    await add_channel(here, ChannelSpec("own", "openai"))
    here.environment["OWN"] = await make(here, KeySpec("own"))
    async with here.database.write() as connection:
        await connection.execute(
            prices.insert().values(
                id="1",
                model="own",
                channel="",
                specification="{}",
                owner="database",
                created_ms=0,
            )
        )
        await connection.execute(
            fallbacks.insert().values(model="own", targets="[]", owner="database")
        )
    with (
        unchanged_on_disk(here),
        pytest.raises(ConfigurationError, match=reason) as caught,
    ):
        await here.apply(text)
    assert caught.value.line == line


async def test_feed_tells_what_changed_and_no_more(here: Installation) -> None:
    """Channels, prices and fallbacks are one subject; keys are one each."""
    start = (await here.stored()).revision
    await here.apply(CHANNEL + KEY + f'key = "{GOOD_KEY}"')
    told = await since(here, start)
    ids = tuple(row["id"] for row in await here.rows(keys))
    assert (told.configuration, told.keys, told.gap) == (True, ids, False)

    await here.apply(CHANNEL + KEY + f'key = "{GOOD_KEY}"\nrpm = 5')
    told_later = await since(here, told.seq)
    assert (told_later.configuration, told_later.keys) == (False, ids)
    await here.apply(CHANNEL + "weight = 2\n" + KEY + f'key = "{GOOD_KEY}"\nrpm = 5')
    told_last = await since(here, told_later.seq)
    assert (told_last.configuration, told_last.keys) == (True, ())
    assert (await since(here, told_last.seq)).seq == told_last.seq


async def test_another_secret_is_noticed(here: Installation) -> None:
    """A wrong POSTHOUSE_SECRET is named, and changes nothing."""
    await here.apply(CHANNEL + 'api_key = "k"')
    here.box = SecretBox(b"x" * 32)
    with pytest.raises(SealBroken, match="POSTHOUSE_SECRET"):
        await here.stored()
    with unchanged_on_disk(here), pytest.raises(SealBroken):
        await here.apply("")


async def test_credentials_are_bound_to_their_row(here: Installation) -> None:
    """Contents that were swapped between two channels do not open."""
    await here.apply(
        CHANNEL + 'api_key = "a"\n' + CHANNEL.replace("main", "b") + 'api_key = "b"'
    )
    rows = await here.rows(channels)
    async with here.database.write() as connection:
        for row, other in zip(rows, reversed(rows), strict=True):
            swap = update(channels).where(channels.c.id == row["id"])
            await connection.execute(swap.values(credentials=other["credentials"]))
    with pytest.raises(SealBroken):
        await here.stored()


async def test_thousands_of_keys_apply_in_one_go(here: Installation) -> None:
    """Nothing is written when unchanged; one look at the feed tells of them all."""
    text = "\n".join(
        f'[[keys]]\nname = "k{index}"\nkey = "sk-{index:020}"' for index in range(1500)
    )
    assert len((await here.apply(text)).created) == 1500
    told = await since(here, 0)
    assert (told.keys, told.gap) == ((), True)
    assert (await since(here, told.seq)).seq == told.seq
    assert (await here.apply(text)).unchanged == 1500
    assert len((await here.apply("")).disabled) == 1500


async def test_rights_are_shared_between_equal_keys(here: Installation) -> None:
    """Keys with the same rights share one value in memory."""
    await here.apply(
        KEY + 'models = ["a"]\n' + KEY.replace("app", "b") + 'models = ["a"]'
    )
    async with here.database.read() as connection:
        first, second = await list_keys(connection)
    assert first.permissions is second.permissions
    assert decode_rights("{}").models is None
    assert len(digest(here.pepper, "x")) == 32
