"""What batches ask of storage and of the relay.

A batch belongs to the journal of the process that works on it. When that has ended,
and only then, another may take it: everything that the dead one had settled is in
the ledger by then, so of every line that it was at, it is known whether it was
charged. Whatever is written for a batch is written only while it is still owned.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from posthouse.files.records import Page, StoredFile
from posthouse.tasks.records import (
    Answered,
    Batch,
    Bought,
    Line,
    LineCall,
    LineError,
    LineReply,
    Part,
    Place,
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

    async def cancelled(self, owner: str) -> frozenset[str]:
        """Give those of an owner's that are to end early."""

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

    async def run(
        self, call: LineCall, keep: KeepAnswer, bought: Bought | None = None
    ) -> LineReply:
        """Make a call; `keep` has its answer before it is charged.

        With `bought` there is an answer: it is judged and charged, nobody is asked.
        """

    async def place(self, call: LineCall, without: frozenset[str]) -> Place | None:
        """Say which provider's batch can answer a call; None: none can.

        Channels in `without` take none. Nothing is held, sent or charged.
        """


# --- parts of batches, which providers work on ----------------------------------------


class SupplierRefused(Exception):
    """The provider has not done what was asked, and will not; str() tells why."""


class SupplierUncertain(Exception):
    """Whether the provider has done it, or what it would say, nobody knows."""


class PartGone(Exception):
    """The provider knows nothing of a batch that it was given."""


class PartRows(Protocol):
    """Parts in the database; raises StorageUnavailable, and BatchLost to write."""

    async def unplaced(self, batch: Batch, after: int, most: int) -> Sequence[Line]:
        """Give pending lines, behind a number, that nobody has placed."""

    async def place(
        self, batch: Batch, numbers: Sequence[int], part: Part | None
    ) -> None:
        """Write down that lines go to a provider as a new part, or are run here."""

    async def created(self, batch: Batch, part: Part, remote_id: str) -> None:
        """Write down what the provider calls a part."""

    async def over(self, batch: Batch, part: Part, *, here: bool) -> None:
        """Write down that a part is over; lines without an answer are pending again.

        They are to be placed anew, or with `here` run by us.
        """

    async def all(self, batch: Batch) -> Sequence[Part]:
        """Give all parts of a batch."""

    async def claim(
        self, batch: Batch, part: Part, numbers: Sequence[int]
    ) -> Sequence[Line]:
        """Take those of some lines that wait for a part's answers, to charge them.

        Each has the id of its next call.
        """


class Progress(Struct, frozen=True):
    """How far a provider's batch is."""

    ended: bool
    results: tuple[str, ...] = ()
    """Where its answers are, as the supplier understands it."""
    reason: str = ""
    """Why there are none, as the provider says."""


class Suppliers(Protocol):
    """Providers that have batches of their own.

    Raises SupplierUncertain where the provider cannot be asked or understood now.
    """

    def known(self) -> bool:
        """Whether there is one at all."""

    async def create(self, part: Part, lines: Mapping[int, Place]) -> str:
        """Have a part worked on; give the provider's name for it.

        Raises SupplierRefused if it certainly is not.
        """

    async def find(self, part: Part, others: frozenset[str]) -> str | None:
        """Give the provider's name for a part that it may have; None: it has not.

        Raises PartGone where there is nobody to ask any more. `others` are names
        that belong to other parts.
        """

    async def look(self, part: Part) -> Progress:
        """Ask how far a part is; raises PartGone."""

    async def cancel(self, part: Part) -> None:
        """Have a part end early, if it has not; raises nothing."""

    def results(
        self, part: Part, progress: Progress
    ) -> AsyncIterator[tuple[int, Bought | None]]:
        """Give answers by the lines' numbers, as the provider has them.

        None: it has not answered. What is not a line's result is left out.
        """


class Reserves(Protocol):
    """Money that is set aside for what providers work on."""

    async def open(self, batch: Batch, part: Part) -> bool:
        """Set aside what a part may cost; False: the account has not so much."""

    async def free(self, part: Part, *, used: bool) -> None:
        """Give it back: its lines are about to be charged, if it was of any use."""
