"""Channels in the database: credentials sealed, the rest as JSON.

Whatever may hold a secret (API keys, headers, the proxy's URL) is sealed; the
specification keeps what may be shown.
"""

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import structs
from sqlalchemy import Row, bindparam, insert, select, update

from posthouse.settings import checks
from posthouse.settings.credentials import is_reference
from posthouse.settings.file import ChannelSpec, Guarded
from posthouse.storage import changes
from posthouse.storage.engine import AsyncConnection
from posthouse.storage.ownership import Owner, Refused, new_id, now_ms, require_owner
from posthouse.storage.schema import channels
from posthouse.storage.secrets import SecretBox
from posthouse.wire import json

_UPDATE = update(channels).where(channels.c.id == bindparam("row_id"))


class StoredChannel(Guarded, frozen=True):
    """A channel as the database has it, opened."""

    id: str
    owner: str
    created_ms: int
    spec: ChannelSpec
    """Credentials are literal; `enabled` tells whether it may be used now."""


class _Sealed(Guarded, frozen=True):
    """The part of a channel that is kept sealed."""

    __secret__ = frozenset({"api_key", "headers", "proxy"})

    api_key: tuple[str, ...]
    headers: dict[str, str]
    proxy: str | None


def place_of(channel_id: str) -> str:
    """Name the row to which a channel's credentials are bound."""
    return f"channels/{channel_id}"


def to_row(channel: StoredChannel, box: SecretBox) -> dict[str, Any]:
    """Make a row of a channel."""
    spec = channel.spec
    literal = (spec.api_key,) if isinstance(spec.api_key, str) else spec.api_key
    sealed = _Sealed(literal, spec.headers, spec.proxy)
    shown = structs.replace(spec, api_key=(), headers={}, proxy=None)
    return {
        "id": channel.id,
        "name": spec.name,
        "provider": spec.provider,
        "credentials": box.seal(json.encode(sealed), place_of(channel.id)),
        "specification": json.encode(shown).decode(),
        "owner": channel.owner,
        "enabled": spec.enabled,
        "created_ms": channel.created_ms,
    }


def from_row(row: Row[Any], box: SecretBox) -> StoredChannel:
    """Open a row; raises SealBroken."""
    plaintext = box.open(row.credentials, place_of(row.id))
    sealed = json.decode(plaintext, _Sealed)
    shown = json.decode(row.specification.encode(), ChannelSpec)
    spec = structs.replace(
        shown,
        api_key=sealed.api_key,
        headers=sealed.headers,
        proxy=sealed.proxy,
        enabled=bool(row.enabled),
    )
    return StoredChannel(row.id, row.owner, row.created_ms, spec)


async def list_channels(
    connection: AsyncConnection, box: SecretBox
) -> list[StoredChannel]:
    """Give all channels by name, also disabled ones; raises SealBroken."""
    rows = await connection.execute(select(channels).order_by(channels.c.name))
    return [from_row(row, box) for row in rows]


async def find_channel(
    connection: AsyncConnection, box: SecretBox, name: str
) -> StoredChannel | None:
    """Give the channel of a name."""
    found = await connection.execute(select(channels).where(channels.c.name == name))
    row = found.one_or_none()
    return None if row is None else from_row(row, box)


async def insert_channels(
    connection: AsyncConnection, box: SecretBox, added: Iterable[StoredChannel]
) -> None:
    """Add rows; the caller tells the feed of changes."""
    rows = [to_row(channel, box) for channel in added]
    if rows:
        await connection.execute(insert(channels), rows)


async def update_channels(
    connection: AsyncConnection, box: SecretBox, changed: Iterable[StoredChannel]
) -> None:
    """Write rows anew; the caller tells the feed of changes."""
    rows = [{**to_row(channel, box), "row_id": channel.id} for channel in changed]
    if rows:
        await connection.execute(_UPDATE, rows)


class ChannelDesk:
    """Adds and changes the database's own channels, one transaction at a time."""

    def __init__(self, box: SecretBox, *, clock: Callable[[], int] = now_ms) -> None:
        """Take what seals credentials; `clock` gives Unix milliseconds."""
        self._box = box
        self._clock = clock

    async def add(self, connection: AsyncConnection, spec: ChannelSpec) -> str:
        """Add a channel with literal credentials; give its id. Raises Refused."""
        for _, reason in checks.check_channel(spec):
            raise Refused(reason)
        given = (spec.api_key,) if isinstance(spec.api_key, str) else spec.api_key
        if any(is_reference(one) for one in given):
            raise Refused("a stored channel takes the credential itself")
        if await find_channel(connection, self._box, spec.name) is not None:
            raise Refused(f"there is a channel {spec.name!r} already")
        channel = StoredChannel(new_id(), Owner.DATABASE, self._clock(), spec)
        await insert_channels(connection, self._box, [channel])
        await changes.append(connection, [changes.CONFIGURATION], self._clock())
        return channel.id

    async def set_enabled(
        self, connection: AsyncConnection, name: str, *, enabled: bool
    ) -> None:
        """Let a channel be used, or not for now; raises Refused."""
        channel = await find_channel(connection, self._box, name)
        if channel is None:
            raise Refused(f"there is no channel {name!r}")
        require_owner("channel", name, channel.owner)
        if channel.spec.enabled != enabled:
            spec = structs.replace(channel.spec, enabled=enabled)
            changed = structs.replace(channel, spec=spec)
            await update_channels(connection, self._box, [changed])
            await changes.append(connection, [changes.CONFIGURATION], self._clock())
