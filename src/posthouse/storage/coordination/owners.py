"""Which processes share a folder, and which of them are gone.

A process lives as long as it holds the flock of a file of its own; the kernel
lets go of it when the process dies, however it dies. No process number is ever
written or compared.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from posthouse.billing.journal_lock import FileLock, is_held, try_lock

ALIVE_SECONDS: Final = 0.25
"""For how long one that was found alive is taken to be so."""
MAKING_SECONDS: Final = 0.5
_STEP_SECONDS: Final = 0.005
_MAKING: Final = "making"


class Owners:
    """The processes of a folder, as one of them sees them."""

    def __init__(
        self, folder: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare; `me` enters."""
        self.folder = folder
        self._clock = clock
        self._lock: FileLock | None = None
        self._alive: dict[str, float] = {}
        """Until when others are taken to be alive."""

    def me(self) -> str:
        """This process's own name; the first time it enters. Raises OSError."""
        if self._lock is None:
            with making(self.folder):
                self._forget_dead()
                self._lock = try_lock(self.folder / secrets.token_hex(8))
            if self._lock is None:
                raise OSError("the lock of a new file is held by someone else")
        return self._lock.path.name

    def leave(self) -> None:
        """Be gone; the file goes with us."""
        lock, self._lock = self._lock, None
        if lock is not None:
            with suppress(OSError):
                lock.path.unlink()
            lock.release()

    def is_dead(self, owner: str) -> bool:
        """Whether a process is gone."""
        if self._lock is not None and owner == self._lock.path.name:
            return False
        now = self._clock()
        if now < self._alive.get(owner, 0.0):
            return False
        if not is_held(self.folder / owner):
            self._alive.pop(owner, None)
            return True
        self._alive[owner] = now + ALIVE_SECONDS
        return False

    def _forget_dead(self) -> None:
        """Remove the files of those that are gone."""
        for path in self.folder.iterdir():
            if path.name != _MAKING and not is_held(path):
                path.unlink(missing_ok=True)


@contextmanager
def making(folder: Path) -> Iterator[None]:
    """Be the only process that makes or removes the shared file.

    Raises OSError if others are at it for too long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + MAKING_SECONDS
    while (lock := try_lock(folder / _MAKING)) is None:
        if time.monotonic() > until:
            raise TimeoutError("the shared file is being made by another process")
        time.sleep(_STEP_SECONDS)
    try:
        yield
    finally:
        lock.release()
