"""Who owns a journal: the process that holds the flock of its `lock` file.

The kernel lets go of the lock when its holder dies, however it dies; no
process number is ever written or compared.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

LOCK_NAME: Final = "lock"
WRITER_LOCK: Final = "writer.lock"
"""In the journals' root: held by the one process that drains them."""


class FileLock:
    """An exclusive lock on a file, held until `release` or death."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """Wrap a descriptor whose flock is held; use `try_lock`."""
        self.path = path
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go; the file stays."""
        os.close(self._descriptor)


def try_lock(path: Path, *, create: bool = True) -> FileLock | None:
    """Lock the file at `path` unless someone else holds it.

    Without `create` a missing file cannot be locked, and neither can one that
    was removed while we opened it.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return FileLock(path, descriptor)
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock of a file; to ask disturbs nobody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
