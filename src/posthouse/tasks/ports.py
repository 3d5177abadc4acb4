"""What batches ask of storage and of the relay.

A batch belongs to the journal of the process that works on it. When that has ended,
and only then, another may take it: everything that the dead one had settled is in
the ledger by then, so of every line that it was at, it is known whether it was
charged. Whatever is written for a batch is written only while it is still owned.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from posthouse.files.records import Page, StoredFile
from posthouse.tasks.records import (
    Answered,
    Batch,
    Line,
    LineCall,
    LineError,
    LineReply,
)


class BatchLost(Exception):
    """The batch belongs to another process by now, or is gone."""


class TooManyBatches(Exception):
    """An account has as many batches that are not over as it may have."""


class BatchRows(Protocol):
    """Batches in the database; raises StorageUnavailable."""

    async def add(self, batch: Batch) -> None:
        """Write down a new batch; raises TooManyBatches."""

    async def find(self, batch_id: str, account_id: str) -> Batch | None:
        """Give one of an account's."""

    async def page(self, account_id: str, api: str, page: Page) -> Sequence[Batch]:
        """Give a page of an account's, and one more if there is more."""

    async def cancel(self, batch_id: str, at_ms: int) -> Batch | None:
        """Have a batch end early; None if it is over or about to be."""

    async def forget(self, batch_id: str, account_id: str) -> bool:
        """Delete one that is over, with its results; False if there is none."""


class BatchQueue(Protocol):
    """Batches as those who work on them see them; raises StorageUnavailable."""

    async def take(
        self, owner: str, most: int, busy: Mapping[str, int]
    ) -> Sequence[Batch]:
        """Take batches that nobody works on, oldest first.

        `busy` says how many of each account the owner works on: none has all.
        """

    async def change(self, batch: Batch, changes: dict[str, Any]) -> Batch:
        """Write some of a batch's fields; raises BatchLost.

        A batch that was cancelled meanwhile stays so until it ends.
        """

    async def look(self, batch: Batch) -> Batch:
        """Read a batch again; raises BatchLost."""

    async def charged(self, call_id: str) -> bool:
        """Whether the ledger has charged a call, as far as it has come."""

    async def finish(
        self, batch: Batch, changes: dict[str, Any], files: Sequence[StoredFile]
    ) -> None:
        """End a batch with the files that came of it; raises BatchLost.

        Its lines go, and with them their answers. All of it happens, or nothing.
        """


class LineRows(Protocol):
    """The lines of a batch; raises StorageUnavailable, and BatchLost to write."""

    async def fill(self, batch: Batch, lines: Sequence[Line], *, first: bool) -> None:
        """Write lines down; the first of them take the place of any before."""

    async def recover(self, batch: Batch) -> None:
        """Judge the lines that a dead process was at, by the ledger."""

    async def claim(self, batch: Batch, most: int) -> Sequence[Line]:
        """Take the next lines to run, each with the id of its next call."""

    async def keep_answer(self, batch: Batch, line: Line, body: bytes) -> None:
        """Keep what a line's call brought, before that is charged."""

    async def end(
        self, batch: Batch, answered: Sequence[Answered], again: Sequence[int]
    ) -> None:
        """Write down lines that are done, and those that are to be run again."""

    async def read(self, batch: Batch, after: int, most: int) -> Sequence[Answered]:
        """Give lines in order, behind a number: also those that are not done."""


KeepAnswer = Callable[[bytes], Awaitable[None]]


class LineRunner(Protocol):
    """Makes the calls of lines."""

    def takes(self, endpoint: str) -> bool:
        """Whether there are batches of calls to an address."""

    async def judge(self, call: LineCall) -> LineError | None:
        """Say why a call cannot be made as far as its names go; costs nothing."""

    async def run(self, call: LineCall, keep: KeepAnswer) -> LineReply:
        """Make a call; `keep` has its answer before it is charged."""
