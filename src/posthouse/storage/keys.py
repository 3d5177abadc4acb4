"""Keys in the database: made, listed, revoked; `key_reader` finds them by digest.

Only a key's digest and its last characters are kept. Every write tells the
feed of changes, in its own transaction. Rows are never deleted: the ledger
names them.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar

from msgspec import Struct, structs
from sqlalchemy import Row, bindparam, insert, select, update

from posthouse.access.keys import digest, hint, new_key
from posthouse.model.money import parse_usd
from posthouse.settings import checks
from posthouse.settings.credentials import is_reference
from posthouse.settings.file import Guarded, KeySpec
from posthouse.storage import changes
from posthouse.storage.engine import AsyncConnection
from posthouse.storage.ownership import Owner, Refused, new_id, now_ms, require_owner
from posthouse.storage.schema import accounts, keys
from posthouse.wire import json

DEFAULT_ACCOUNT = "default"
REMEMBERED_RIGHTS = 1024
AT_ONCE = 500
"""Ids per query and rows per statement."""

OpenAccount = Callable[[AsyncConnection, str, str, int], Awaitable[bool]]
"""(connection, account id, name, nano-dollars): open an account with no credit
line, and post the opening credit once under `opening:<name>`; whether it was
posted now. Zero opens the account and posts nothing."""

T = TypeVar("T")

_UPDATE = update(keys).where(keys.c.id == bindparam("row_id"))


class Rights(Struct, frozen=True, omit_defaults=True):
    """What a key may do, as its row keeps it; see Principal for the meanings."""

    models: tuple[str, ...] | None = None
    networks: tuple[str, ...] = ()
    expires_at: int | None = None
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    sandbox: bool = False
    group: str | None = None


class KeyRow(Struct, frozen=True):
    """A key as the database has it."""

    id: str
    name: str
    digest: bytes
    hint: str
    account_id: str
    opening: int | None
    """Nano-dollars of the opening credit; None when none was asked for."""
    rights: str
    """`Rights` as JSON."""
    owner: str
    made: bool
    """Whether the key's text was made here rather than given."""
    enabled: bool
    revoked_ms: int | None
    created_ms: int

    @property
    def permissions(self) -> Rights:
        """The rights as a value."""
        return decode_rights(self.rights)


_FLAGS = tuple(map(KeyRow.__struct_fields__.index, ("made", "enabled")))
"""Which columns are truth values; the database has numbers."""


class CreatedKey(Guarded, frozen=True):
    """A new key; its text is told here and never again."""

    __secret__ = frozenset({"key"})

    id: str
    name: str
    account_id: str
    key: str


@lru_cache(maxsize=REMEMBERED_RIGHTS)
def decode_rights(text: str) -> Rights:
    """Read rights; keys with the same ones share the value."""
    return json.decode(text.encode(), Rights)


def encode_rights(spec: KeySpec) -> str:
    """Write the rights that a specification grants."""
    return _encoded(
        Rights(
            models=spec.models,
            networks=spec.ips,
            expires_at=int(spec.expires.timestamp()) if spec.expires else None,
            rpm=spec.rpm,
            tpm=spec.tpm,
            concurrency=spec.concurrency,
            sandbox=spec.sandbox,
            group=spec.group,
        )
    )


@lru_cache(maxsize=REMEMBERED_RIGHTS)
def _encoded(rights: Rights) -> str:
    """Write rights; keys with the same ones share the text."""
    return json.encode(rights).decode()


def from_row(row: Row[Any]) -> KeyRow:
    """Make a value of a row that has the table's columns in their order."""
    values = list(row)
    for place in _FLAGS:
        values[place] = bool(values[place])
    return KeyRow(*values)


def in_parts(values: Iterable[T]) -> Iterator[list[T]]:
    """Cut values into lists of so many as one statement takes."""
    left = iter(values)
    while part := list(islice(left, AT_ONCE)):
        yield part


async def list_keys(connection: AsyncConnection) -> list[KeyRow]:
    """Give all keys by name, also revoked ones."""
    rows = await connection.execute(select(keys).order_by(keys.c.name))
    return [from_row(row) for row in rows]


async def find_key(connection: AsyncConnection, name: str) -> KeyRow | None:
    """Give the key of a name."""
    found = await connection.execute(select(keys).where(keys.c.name == name))
    row = found.one_or_none()
    return None if row is None else from_row(row)


async def key_names(
    connection: AsyncConnection, ids: Collection[str]
) -> dict[str, str]:
    """Give the names of keys by their ids; ids that are no key's are left out."""
    statement = select(keys.c.id, keys.c.name)
    found: dict[str, str] = {}
    for part in in_parts(ids):
        rows = await connection.execute(statement.where(keys.c.id.in_(part)))
        found.update((row.id, row.name) for row in rows)
    return found


async def insert_keys(connection: AsyncConnection, rows: Iterable[KeyRow]) -> None:
    """Add rows; the caller tells the feed of changes."""
    for part in in_parts(rows):
        await connection.execute(insert(keys), [structs.asdict(row) for row in part])


async def update_keys(connection: AsyncConnection, rows: Iterable[KeyRow]) -> None:
    """Write rows anew, in their order; the caller tells the feed of changes."""
    for part in in_parts(rows):
        values = [{**structs.asdict(row), "row_id": row.id} for row in part]
        await connection.execute(_UPDATE, values)


async def ensure_default_account(connection: AsyncConnection, created_ms: int) -> None:
    """Open the account that keys without a balance draw on, if there is none."""
    found = await connection.scalar(
        select(accounts.c.id).where(accounts.c.id == DEFAULT_ACCOUNT)
    )
    if found is None:
        await connection.execute(
            insert(accounts).values(
                id=DEFAULT_ACCOUNT,
                kind="available",
                balance=0,
                credit_line=None,
                created_ms=created_ms,
            )
        )


def account_of(key_id: str) -> str:
    """Name the account of a key that has a balance of its own."""
    return f"key:{key_id}"


class KeyDesk:
    """Makes and changes the database's own keys, one transaction at a time."""

    def __init__(
        self,
        pepper: bytes,
        open_account: OpenAccount,
        *,
        make_key: Callable[..., str] = new_key,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        """Take what a new key needs.

        Args:
            pepper: the secret part of every digest.
            open_account: posts an opening credit.
            make_key: makes a key's text; takes `sandbox`.
            clock: Unix time in milliseconds.
        """
        self._pepper = pepper
        self._open_account = open_account
        self._make_key = make_key
        self._clock = clock

    async def create(self, connection: AsyncConnection, spec: KeySpec) -> CreatedKey:
        """Add a key and give its text; raises Refused."""
        for _, reason in checks.check_key(spec):
            raise Refused(reason)
        if spec.key is not None and is_reference(spec.key):
            raise Refused("a stored key takes the key itself")
        if await find_key(connection, spec.name) is not None:
            raise Refused(f"there is a key {spec.name!r} already")
        created_ms = self._clock()
        key_id = new_id()
        opening = None if spec.balance_usd is None else parse_usd(spec.balance_usd)
        if opening is None:
            account_id = DEFAULT_ACCOUNT
            await ensure_default_account(connection, created_ms)
        else:
            account_id = account_of(key_id)
            await self._open_account(connection, account_id, spec.name, opening)
        text = spec.key or self._make_key(sandbox=spec.sandbox)
        row = KeyRow(
            id=key_id,
            name=spec.name,
            digest=digest(self._pepper, text),
            hint=hint(text),
            account_id=account_id,
            opening=opening,
            rights=encode_rights(spec),
            owner=Owner.DATABASE,
            made=spec.key is None,
            enabled=True,
            revoked_ms=None,
            created_ms=created_ms,
        )
        holder = await name_of_digest(connection, row.digest)
        if holder is not None:
            raise Refused(f"this is also the key of {holder!r}")
        await insert_keys(connection, [row])
        await changes.append(connection, [changes.key_subject(key_id)], created_ms)
        return CreatedKey(key_id, spec.name, account_id, text)

    async def revoke(self, connection: AsyncConnection, name: str) -> None:
        """End a key for ever; raises Refused."""
        row = await self._own(connection, name)
        if row.revoked_ms is None:
            now = self._clock()
            await self._change(connection, structs.replace(row, revoked_ms=now))

    async def set_enabled(
        self, connection: AsyncConnection, name: str, *, enabled: bool
    ) -> None:
        """Let a key work, or not for now; raises Refused."""
        row = await self._own(connection, name)
        if row.revoked_ms is not None:
            raise Refused(f"the key {name!r} has been revoked")
        if row.enabled != enabled:
            await self._change(connection, structs.replace(row, enabled=enabled))

    async def _own(self, connection: AsyncConnection, name: str) -> KeyRow:
        row = await find_key(connection, name)
        if row is None:
            raise Refused(f"there is no key {name!r}")
        require_owner("key", name, row.owner)
        return row

    async def _change(self, connection: AsyncConnection, row: KeyRow) -> None:
        await update_keys(connection, [row])
        subject = changes.key_subject(row.id)
        await changes.append(connection, [subject], self._clock())


async def name_of_digest(connection: AsyncConnection, digest: bytes) -> str | None:
    """Give the name of the key that has this digest."""
    return await connection.scalar(select(keys.c.name).where(keys.c.digest == digest))
