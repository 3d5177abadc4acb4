"""Who changes keys, channels and balances during a storm, on the database itself."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from posthouse.settings.file import ChannelSpec, KeySpec
from posthouse.settings.secret import CREDENTIALS, PEPPER, Secret
from posthouse.storage.channels import ChannelDesk
from posthouse.storage.database import Database
from posthouse.storage.keys import KeyDesk, find_key
from posthouse.storage.ledger.accounts import credit_account, open_account
from posthouse.storage.secrets import SecretBox

T = TypeVar("T")
CONNECTIONS = 5
"""Of a pool of six; who waits for one for long is refused."""


class Desk:
    """Works on a thread of its own; each change gives the moment of its commit."""

    def __init__(self, url: str, secret: str) -> None:
        """Change what is in a database, with the installation's secret."""
        root = Secret(secret.encode())
        self._keys = KeyDesk(root.derive(PEPPER), open_account)
        self._channels = ChannelDesk(SecretBox(root.derive(CREDENTIALS)))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._database = Database(url)

    def close(self) -> None:
        """End."""
        self._run(self._database.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def create_key(
        self, name: str, text: str, rpm: int | None = None, usd: str | None = None
    ) -> float:
        """Make a key, of the default account where it has no money of its own."""
        spec = KeySpec(name=name, key=text, rpm=rpm, balance_usd=usd)
        return self._change(lambda connection: self._keys.create(connection, spec))

    def revoke_key(self, name: str) -> float:
        """End a key."""
        return self._change(lambda connection: self._keys.revoke(connection, name))

    def add_channel(self, spec: ChannelSpec) -> float:
        """Add a channel."""
        return self._change(lambda connection: self._channels.add(connection, spec))

    def enable_channel(self, name: str, *, enabled: bool) -> float:
        """Switch a channel."""
        return self._change(
            lambda connection: self._channels.set_enabled(
                connection, name, enabled=enabled
            )
        )

    def credit(self, name: str, amount: int, identity: str, times: int) -> int:
        """Credit a key so often at once under one id; give how often it was new."""

        at_once = asyncio.Semaphore(CONNECTIONS)

        async def once() -> bool:
            async with at_once, self._database.write() as connection:
                row = await find_key(connection, name)
                assert row is not None
                return await credit_account(
                    connection, row.account_id, amount, identity
                )

        async def often() -> int:
            return sum(await asyncio.gather(*(once() for _ in range(times))))

        return self._run(often())

    def _change(self, work: Callable[[AsyncConnection], Awaitable[object]]) -> float:
        async def change() -> float:
            async with self._database.write() as connection:
                await work(connection)
            return time.monotonic()

        return self._run(change())

    def _run(self, work: Awaitable[T]) -> T:
        async def whole() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(whole(), self._loop).result(60)
