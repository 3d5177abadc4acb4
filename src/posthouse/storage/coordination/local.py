"""What the workers of one machine share of limits: `data/coordination.db`.

A counter store in SQLite. Rules: one thread does it all, so the event loop
never waits for a disk or a lock; one exchange is one transaction, and a moment
is taken inside it, so the moments of all processes are in the order of their
transactions. The file may be lost: nothing is synced; one that is gone, damaged
or of another start of the machine, whose clock it cannot tell, is made anew.
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from typing_extensions import override

from posthouse.access.counters import Answer, Ask, Tally, answer
from posthouse.access.ports import CounterStore, CountersUnavailable
from posthouse.access.windows import SWEPT_PER_NEWCOMER
from posthouse.observe.logs import logger
from posthouse.storage.coordination.owners import Owners, making

NAME: Final = "coordination"
FORMAT: Final = 1
"""Of what is in the file; one with another number is made anew."""
BUSY_SECONDS: Final = 0.5
"""How long a transaction waits for those of other processes."""
CLOSE_SECONDS: Final = 2.0
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

_DAMAGED: Final = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_SCHEMA,
    sqlite3.SQLITE_MISMATCH,
}
"""Codes that say that the file is not what we have made."""
_SCHEMA: Final = """
CREATE TABLE subjects (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, tally BLOB NOT NULL
)
"""

log = logger("posthouse.limits")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Tally).decode

Delivery = tuple[Sequence[Ask], "asyncio.Future[list[Answer]]"]


class SqliteCounters(CounterStore):
    """The counters of the processes that share a data folder."""

    def __init__(
        self,
        data: Path,
        clock: Callable[[], float] = time.monotonic,
        boot: str | None = None,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            data: the folder of `coordination.db`.
            clock: seconds that only grow, the same for all processes.
            boot: what tells one start of the machine from another.
        """
        self._path = data / f"{NAME}.db"
        self._owners = Owners(data / NAME)
        self._clock = clock
        self._boot = boot
        self._jobs: queue.SimpleQueue[Delivery | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=NAME, daemon=True)
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        """Device and inode of what the connection has open."""
        self._swept = 0
        """The number of the subject that was looked at last."""

    @override
    def start(self) -> None:
        """Begin the thread."""
        self._thread.start()

    @override
    async def exchange(self, asks: Sequence[Ask]) -> list[Answer]:
        """See CounterStore."""
        done: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._jobs.put((asks, done))
        return await done

    @override
    async def close(self) -> None:
        """Stop the thread and die as an owner."""
        if not self._thread.is_alive():
            return
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, CLOSE_SECONDS)

    # --- the thread ------------------------------------------------------------------

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            asks, done = job
            result: list[Answer] | CountersUnavailable
            try:
                result = self._exchange(asks)
            except CountersUnavailable as error:
                result = error
            except Exception as error:
                log.exception("limits could not be counted", exc_info=error)
                result = CountersUnavailable("a fault of the program")
            # The loop may have ended meanwhile.
            with suppress(RuntimeError):
                done.get_loop().call_soon_threadsafe(_deliver, done, result)
        self._disconnect()
        self._owners.leave()

    def _exchange(self, asks: Sequence[Ask]) -> list[Answer]:
        """Make one transaction; mend or remake the file if it needs that."""
        try:
            try:
                return self._transact(asks)
            except (sqlite3.Error, msgspec.MsgspecError) as error:
                if not _is_damage(error):
                    raise
                self._remake()
                return self._transact(asks)
        except (sqlite3.Error, msgspec.MsgspecError, OSError) as error:
            self._disconnect()
            raise CountersUnavailable(str(error)) from error

    def _transact(self, asks: Sequence[Ask]) -> list[Answer]:
        connection = self._connect()
        owner = self._owners.me()
        connection.execute("BEGIN IMMEDIATE")
        try:
            now = self._clock()
            answers = [self._answer(connection, ask, owner, now) for ask in asks]
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        return answers

    def _answer(
        self, connection: sqlite3.Connection, ask: Ask, owner: str, now: float
    ) -> Answer:
        row = connection.execute(
            "SELECT number, tally FROM subjects WHERE name = ?", (ask.subject,)
        ).fetchone()
        tally = Tally() if row is None else _decode(row[1])
        told = answer(tally, ask, owner=owner, now=now, is_dead=self._owners.is_dead)
        state = _encode(tally)
        if row is None:
            connection.execute(
                "INSERT INTO subjects (name, tally) VALUES (?, ?)", (ask.subject, state)
            )
            self._sweep(connection, now)
        elif state != row[1]:
            connection.execute(
                "UPDATE subjects SET tally = ? WHERE number = ?", (state, row[0])
            )
        return told

    def _sweep(self, connection: sqlite3.Connection, now: float) -> None:
        """For each newcomer look at some that are there, and drop the idle."""
        rows = connection.execute(
            "SELECT number, tally FROM subjects WHERE number > ? "
            "ORDER BY number LIMIT ?",
            (self._swept, SWEPT_PER_NEWCOMER),
        ).fetchall()
        self._swept = rows[-1][0] if len(rows) == SWEPT_PER_NEWCOMER else 0
        for number, state in rows:
            if _decode(state).is_idle(now, self._owners.is_dead):
                connection.execute("DELETE FROM subjects WHERE number = ?", (number,))

    # --- the file --------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        """Give a connection to the file that is there now, made if need be."""
        if self._connection is not None and self._file == _identity(self._path):
            return self._connection
        self._disconnect()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with making(self._owners.folder):
            connection = sqlite3.connect(
                self._path,
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                self._prepare(connection)
            except BaseException:
                self._file = _identity(self._path)
                connection.close()
                raise
            self._connection, self._file = connection, _identity(self._path)
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Set the pragmas; make the tables of a new file, or empty an old one."""
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        boot = self._boot if self._boot is not None else _boot_id()
        if version == 0:
            connection.execute(_SCHEMA)
            connection.execute("CREATE TABLE machine (boot TEXT NOT NULL)")
            connection.execute("INSERT INTO machine VALUES (?)", (boot,))
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        elif version != FORMAT:
            raise sqlite3.DatabaseError("made by another version of the program")
        elif connection.execute("SELECT boot FROM machine").fetchone() != (boot,):
            connection.execute("DELETE FROM subjects")
            connection.execute("UPDATE machine SET boot = ?", (boot,))
        connection.execute("COMMIT")

    def _remake(self) -> None:
        """Remove a damaged file, unless another process has done so already."""
        damaged = self._file
        self._disconnect()
        with making(self._owners.folder):
            if damaged is not None and damaged == _identity(self._path):
                for suffix in ("", "-wal", "-shm"):
                    Path(f"{self._path}{suffix}").unlink(missing_ok=True)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


def _deliver(
    done: "asyncio.Future[list[Answer]]", result: list[Answer] | CountersUnavailable
) -> None:
    """Hand a result to the event loop, unless nobody waits for it any more."""
    if done.done():
        return
    if isinstance(result, CountersUnavailable):
        done.set_exception(result)
    else:
        done.set_result(result)


def _is_damage(error: Exception) -> bool:
    """Whether a new file helps."""
    if not isinstance(error, sqlite3.Error):
        return True
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or (code & 0xFF) in _DAMAGED


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file is there; None if none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _boot_id() -> str:
    """Tell this start of the machine from others, where the system does."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""
