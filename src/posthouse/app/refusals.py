"""Credentials that providers refuse: told to the operator, kept, and shared.

A refusal is written down once, whichever process meets it first; the feed of
changes tells the others. It ends when the credential is another, when the
operator says so (`posthouse channel enable`), or when a provider accepts the
credential after all: one call every ten minutes tries.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from posthouse.observe.logs import logger
from posthouse.routing.health import HealthTable
from posthouse.routing.table import Channel
from posthouse.storage.database import Database
from posthouse.storage.ownership import now_ms
from posthouse.storage.refusals import (
    Refusal,
    add_refusal,
    fingerprint,
    forget_refusals,
    list_refusals,
)

log = logger("posthouse")


class Refusals:
    """What is refused now, as this process knows it."""

    def __init__(
        self,
        database: Database,
        health: HealthTable,
        pepper: bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin knowing of none; `load` reads them.

        Args:
            database: where they are kept.
            health: what is told of them.
            pepper: keys the fingerprints.
            clock: monotonic seconds, the table's.
        """
        self._database = database
        self._health = health
        self._pepper = pepper
        self._clock = clock
        self.known: dict[tuple[str, str], Refusal] = {}
        """By channel and fingerprint; most of the time empty."""
        self._writing: set[asyncio.Task[None]] = set()

    def of_channel(self, channel: Channel) -> dict[int, Refusal]:
        """The refusals of a channel's credentials as they are now, by index."""
        known = self.known
        if not known:
            return {}
        return {
            index: refusal
            for index, credential in enumerate(channel.credentials)
            if (
                refusal := known.get(
                    (channel.name, fingerprint(credential, self._pepper))
                )
            )
        }

    async def load(self, channels: Iterable[Channel]) -> None:
        """Read what is refused, and tell the table of health."""
        async with self._database.read() as connection:
            found = await list_refusals(connection)
        before = {name for name, _ in self.known}
        self.known = {(one.channel, one.fingerprint): one for one in found}
        touched = before | {one.channel for one in found}
        now = self._clock()
        for channel in channels:
            if channel.name in touched:
                self._health.refused(channel.name, self.of_channel(channel), now)

    def refused(self, channel: Channel, credential: int, status: int) -> None:
        """A provider has refused a credential, with this status."""
        if channel.sandbox:
            # Its refusals are asked for.
            return
        key = self._key(channel, credential)
        if key not in self.known:
            refusal = Refusal(*key, credential, status, now_ms())
            self.known[key] = refusal
            # Said before it is kept: a database that is down hides no alert.
            log.error(
                "a provider refused a credential; it is not used",
                channel=channel.name,
                credential=credential,
                status=status,
            )
            self._begin(self._add(refusal))

    def accepted(self, channel: Channel, credential: int) -> None:
        """A provider has served a call that came with a credential."""
        if self.known:
            refusal = self.known.pop(self._key(channel, credential), None)
            if refusal is not None:
                self._begin(self._forget(refusal))

    def _key(self, channel: Channel, credential: int) -> tuple[str, str]:
        name = fingerprint(channel.credentials[credential], self._pepper)
        return channel.name, name

    async def close(self) -> None:
        """Wait for what is being written."""
        if self._writing:
            await asyncio.wait(self._writing)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            log.exception("a refusal could not be kept", exc_info=error)

    async def _add(self, refusal: Refusal) -> None:
        await add_refusal(self._database, refusal)

    async def _forget(self, refusal: Refusal) -> None:
        async with self._database.write() as connection:
            forgotten = await forget_refusals(
                connection, refusal.channel, [refusal.fingerprint], now_ms()
            )
        if forgotten:
            log.info(
                "a provider accepts a credential again",
                channel=refusal.channel,
                credential=refusal.credential,
            )
