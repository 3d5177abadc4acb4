"""Deletes at providers what they were given of files that are gone here.

What cannot be deleted now is tried again, ever more rarely, until it is: a copy is
forgotten only when its provider has said that it is not there any more.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote

from msgspec import structs

from posthouse.errors import StorageUnavailable
from posthouse.model.exchange import ExchangeFailure
from posthouse.observe.logs import logger
from posthouse.relay.resources.file_copies import Copy, FileCopies, address, owned
from posthouse.routing.table import Channel, RoutingTable
from posthouse.upstream.ports import Sender

SWEEP_SECONDS = 30.0
"""Between two looks, if nobody has deleted anything here meanwhile."""
FIRST_MS, LONGEST_MS = 30_000, 24 * 3_600_000
"""Until the second try, and between later ones at most."""
_SWEPT = 50
_GONE = frozenset({404, 410})

log = logger("posthouse.files")


class CopySweeper:
    """Works for one process."""

    def __init__(
        self,
        copies: FileCopies,
        sender: Sender,
        table: Callable[[], RoutingTable],
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Delete copies.

        Args:
            copies: know of them.
            sender: asks providers.
            table: gives the channels of this moment.
            wall_clock: Unix seconds.
        """
        self._copies = copies
        self._sender = sender
        self._table = table
        self._clock = wall_clock
        self._nudged = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the running loop."""
        self._task = asyncio.create_task(self._always())

    def nudge(self) -> None:
        """Look soon: a file has been deleted."""
        self._nudged.set()

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _always(self) -> None:
        while True:
            try:
                await self.sweep()
            except StorageUnavailable:
                log.warning("copies of deleted files could not be looked for")
            except Exception as error:
                log.exception("copies of files could not be swept", exc_info=error)
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._nudged.wait()
            self._nudged.clear()

    async def sweep(self) -> int:
        """Delete what is due; give how many copies are gone."""
        count = 0
        while True:
            now = int(self._clock() * 1000)
            found = await self._copies.rows.orphans(now, _SWEPT)
            for copy in found:
                if await self._is_gone(copy):
                    await self._copies.rows.gone(copy)
                    await self._copies.objects.forget(owned(copy))
                    count += 1
                else:
                    wait = min(FIRST_MS << min(copy.tries, 16), LONGEST_MS)
                    await self._copies.rows.put_off(copy, now + wait)
            if len(found) < _SWEPT:
                return count

    async def _is_gone(self, copy: Copy) -> bool:
        """Delete a copy; whether it is not there any more."""
        channel = self._table().channels.get(copy.channel)
        index = None if channel is None else self._credential(channel, copy)
        if (
            channel is None
            or index is None
            or copy.family not in channel.provider.resources
        ):
            # Who has it is not configured now.
            return False
        request = structs.replace(
            address(channel, index, copy.family, quote(copy.id, safe="")),
            method="DELETE",
        )
        try:
            response = await self._sender.send(request)
        except ExchangeFailure:
            return False
        response.release()
        return response.status < 300 or response.status in _GONE

    def _credential(self, channel: Channel, copy: Copy) -> int | None:
        for index, secret in enumerate(channel.credentials):
            if self._copies.digest(secret) == copy.credential:
                return index
        return None
