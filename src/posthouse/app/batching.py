"""Batches, wired: what callers ask of them, and who works on them in this process."""

import asyncio
from collections.abc import Callable, Sequence

from posthouse.api.batches import BatchRoutes
from posthouse.api.calls import Calls
from posthouse.api.line_calls import LineCalls, RoutedLines
from posthouse.api.message_batches import MessageBatchRoutes
from posthouse.billing.holds import HoldManager
from posthouse.files.service import Files
from posthouse.observe.metrics import Metrics
from posthouse.relay.batches.reserves import HeldReserves
from posthouse.relay.batches.suppliers import HTTPSuppliers
from posthouse.server.routes import Route
from posthouse.settings.environment import Settings
from posthouse.storage.batch_lines import StoredLines
from posthouse.storage.batch_parts import StoredParts
from posthouse.storage.batches import StoredBatches
from posthouse.storage.database import Database
from posthouse.storage.key_principals import KeyPrincipals
from posthouse.storage.secrets import SecretBox
from posthouse.tasks.batch_run import Slots, Supply, Tools
from posthouse.tasks.batches import BatchWorker, Desk

CLOSING_SECONDS = 30.0
"""For which calls of batches may go on when the process stops."""

SENT_AT_ONCE = 2
"""Batches that are put together for providers at a time."""

Plane = Callable[[Calls], Sequence[Route]]
"""Gives the routes of everything that can be asked."""


class Batching:
    """One process's part in batches."""

    def __init__(
        self, settings: Settings, database: Database, *, box: SecretBox, files: Files
    ) -> None:
        """Wire what needs no waiting."""
        self._settings = settings
        self._files = files
        self._rows = StoredBatches(database)
        self._lines = StoredLines(database, box, files)
        self._parts = StoredParts(database)
        self._principals = KeyPrincipals(database)
        self._worker: BatchWorker | None = None

    def routes(self, calls: Calls, plane: Plane, holds: HoldManager) -> list[Route]:
        """Give the routes, and begin to work on batches, in the running loop."""
        settings = self._settings
        runner = RoutedLines(
            plane(LineCalls.over(calls)),
            self._principals.find,
            buffered=settings.max_buffered_bytes,
        )
        desk = Desk(self._rows, runner)
        if settings.batch_concurrency:
            tools = Tools(
                self._rows,
                self._lines,
                self._files,
                runner,
                Slots(settings.batch_concurrency),
                holds.drain,
                self._supply(calls, holds),
            )
            self._worker = BatchWorker(tools, holds.journal.id)
            self._worker.start()
            desk.wake = self._worker.wake
        return [
            *BatchRoutes(calls, self._files, desk).routes(),
            *MessageBatchRoutes(
                calls, self._files, desk, max_body_bytes=settings.max_body_bytes
            ).routes(),
        ]

    def _supply(self, calls: Calls, holds: HoldManager) -> Supply:
        """What providers' own batches are worked with."""
        relay = calls.relay
        return Supply(
            self._parts,
            HTTPSuppliers(lambda: relay.snapshot, relay.ports.sender),
            HeldReserves(holds),
            self._settings.batch_poll_seconds,
            asyncio.Semaphore(SENT_AT_ONCE),
        )

    def export(self, metrics: Metrics) -> None:
        """Have every scrape look."""

        def working() -> int:
            return 0 if self._worker is None else self._worker.working

        def calls() -> int:
            return 0 if self._worker is None else self._worker.calls

        def resting() -> int:
            return 0 if self._worker is None else self._worker.resting

        metrics.gauge(
            "posthouse_batches_upstream", "Batches that wait for providers.", resting
        )
        metrics.gauge("posthouse_batches", "Batches that are worked on.", working)
        metrics.gauge("posthouse_batch_calls", "Calls of batches under way.", calls)

    async def close(self) -> None:
        """Let the calls of batches end, and leave the batches where they are."""
        if self._worker is not None:
            await self._worker.close(min(self._settings.drain_seconds, CLOSING_SECONDS))
