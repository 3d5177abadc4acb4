"""What a serving process leaves for commands on the same machine, while it runs.

Each process has a file of its own in the run's folder, which only the owner of
the data may read: written whole or not at all, and touched as long as it is
true. A lock beside it, held by the process and by nobody else, tells what a
dead one has left from what is alive.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

STALE = 10.0
"""Seconds after which a file that nobody touches says nothing."""
_SUFFIX = ".json"
_LOCK = ".lock"
_PRIVATE = 0o600


class RunFile:
    """One process's file; `close` it at the end."""

    def __init__(self, folder: Path, name: str) -> None:
        """Take the place of whoever had it before.

        Args:
            folder: of the run; it is made if it is not there.
            name: what is told, and the process's place.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / f"{name}{_SUFFIX}"
        self._content = b""
        self._lock = os.open(
            folder / f"{name}{_LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE
        )
        self._held = False
        self._closed = False
        self._writing = threading.Lock()

    def write(self, content: bytes) -> None:
        """Say this from now on; any thread may, until it is closed."""
        with self._writing:
            if not self._closed:
                self._write(content)

    def _write(self, content: bytes) -> None:
        if not self._held:
            # Whoever else holds it is about to end.
            with suppress(BlockingIOError):
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._held = True
        if content == self._content:
            with suppress(FileNotFoundError):
                os.utime(self._path)
                return
        whole = self._path.with_suffix(".new")
        descriptor = os.open(
            whole, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _PRIVATE
        )
        try:
            os.write(descriptor, content)
        finally:
            os.close(descriptor)
        whole.replace(self._path)
        self._content = content

    def close(self) -> None:
        """Say nothing any more."""
        with self._writing:
            self._closed = True
            self._path.unlink(missing_ok=True)
            os.close(self._lock)


def read_all(folder: Path, kind: str) -> Iterator[tuple[str, bytes]]:
    """Give what the processes that live say, by the end of their file's name.

    Args:
        folder: of the run; it need not be there.
        kind: how the names begin.
    """
    now = time.time()
    for path in sorted(folder.glob(f"{kind}-*{_SUFFIX}")):
        with suppress(OSError):
            if now - path.stat().st_mtime <= STALE and _is_held(path):
                yield path.stem.removeprefix(f"{kind}-"), path.read_bytes()


def _is_held(path: Path) -> bool:
    """Whether the process that wrote a file is alive."""
    with path.with_suffix(_LOCK).open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
