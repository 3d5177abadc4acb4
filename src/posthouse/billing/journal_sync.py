"""Power-loss durability: one fsync for all settlements that wait for it.

A settlement waits for the sync that began after its record was written. While
one sync runs, later settlements gather for the next. After a failed sync the
kernel may have dropped the pages, so it is never tried again: the journal is
marked as failed, nothing new is admitted and the process must be restarted.
"""

import asyncio
import os
from concurrent.futures import Future, ThreadPoolExecutor

from posthouse.billing.journal import Journal, Sync
from posthouse.billing.segments import Segment
from posthouse.errors import StorageUnavailable


class GroupSync:
    """Syncs a journal in a thread of its own."""

    def __init__(self, journal: Journal, fsync: Sync = os.fdatasync) -> None:
        """Prepare; the thread starts with the first wait."""
        self._journal = journal
        self._fsync = fsync
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="journal-sync")
        self._waiters: list[asyncio.Future[None]] = []
        self._running = False

    async def wait(self) -> None:
        """Return when everything written so far survives a power loss.

        Raises StorageUnavailable when that cannot be promised.
        """
        if self._journal.failed:
            raise StorageUnavailable
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.append(waiter)
        if not self._running:
            self._start(loop)
        await waiter

    def close(self) -> None:
        """Stop the thread after the sync that runs."""
        self._executor.shutdown()

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        waiters, self._waiters = self._waiters, []
        retired, current = self._journal.unsynced()
        self._running = True
        job = self._executor.submit(self._sync, retired, current)

        def done(job: Future[None]) -> None:
            loop.call_soon_threadsafe(self._finish, waiters, job.exception())

        job.add_done_callback(done)

    def _sync(self, retired: list[Segment], current: Segment) -> None:
        """Sync in the order of writing."""
        for segment in retired:
            self._fsync(segment.descriptor)
            segment.close()
        self._fsync(current.descriptor)

    def _finish(
        self, waiters: list[asyncio.Future[None]], error: BaseException | None
    ) -> None:
        self._running = False
        if error is not None:
            self._journal.failed = True
            waiters, self._waiters = waiters + self._waiters, []
        for waiter in waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(StorageUnavailable())
        if self._waiters:
            self._start(asyncio.get_running_loop())
