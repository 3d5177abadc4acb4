"""Keys found by their ids, for what is done in their name later."""

import time
from collections.abc import Callable
from typing import Final

from msgspec import structs
from sqlalchemy import select

from posthouse.access.principal import Principal
from posthouse.storage.database import Database
from posthouse.storage.files import reading
from posthouse.storage.keys import decode_rights
from posthouse.storage.schema import keys

REMEMBERED_SECONDS: Final = 1.0
"""For which a key may have been revoked without that being seen."""
_MOST: Final = 256


class KeyPrincipals:
    """Finds principals, and remembers each for a moment."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Read from this database; clocks give seconds."""
        self._database = database
        self._clock = clock
        self._wall_clock = wall_clock
        self._found: dict[str, tuple[float, Principal | None]] = {}

    async def find(self, key_id: str) -> Principal | None:
        """Give a usable key's principal; raises StorageUnavailable."""
        now = self._clock()
        until, principal = self._found.get(key_id, (now, None))
        if until <= now:
            principal = await self._read(key_id)
            if len(self._found) >= _MOST:
                self._found.clear()
            self._found[key_id] = (now + REMEMBERED_SECONDS, principal)
        if principal is None or principal.expires_at is None:
            return principal
        return principal if self._wall_clock() < principal.expires_at else None

    async def _read(self, key_id: str) -> Principal | None:
        wanted = select(keys.c.name, keys.c.account_id, keys.c.rights).where(
            keys.c.id == key_id, keys.c.enabled == 1, keys.c.revoked_ms.is_(None)
        )
        async with reading(self._database) as connection:
            row = (await connection.execute(wanted)).one_or_none()
        if row is None:
            return None
        rights = structs.asdict(decode_rights(row.rights))
        return Principal(key_id, row.name, row.account_id, **rights)
