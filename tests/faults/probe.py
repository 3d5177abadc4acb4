"""What a call costs the process meanwhile: memory at its peak, turns of the loop.

A turn is measured in CPU time, so that a busy machine makes none long; and what it
takes altogether in seconds in which the loop was let run.
"""

import asyncio
import gc
import time
from pathlib import Path
from typing import Self

EVERY = 0.01
LONGEST_TURN = 0.1
"""Seconds for which nobody else is served."""


class Memory:
    """A process's memory between entering and leaving."""

    def __init__(self, process: int | str = "self") -> None:
        """Of which process, by its number."""
        self._folder = Path(f"/proc/{process}")
        self.grown = 0
        """Bytes between the memory before and its peak."""

    def __enter__(self) -> Self:
        (self._folder / "clear_refs").write_text("5")
        self._before = self._kilobytes("VmRSS:")
        return self

    def __exit__(self, *_: object) -> None:
        self.grown = (self._kilobytes("VmHWM:") - self._before) * 1024

    def _kilobytes(self, name: str) -> int:
        lines = (self._folder / "status").read_text().splitlines()
        found = next(line for line in lines if line.startswith(name))
        return int(found.split()[1])


class Probe:
    """Watches between entering and leaving."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self.longest = 0.0
        """Seconds of CPU of the longest turn of the loop."""
        self.served = 0.0
        """Seconds, of which those do not count in which the machine served others."""
        self._memory = Memory()

    @property
    def grown(self) -> int:
        """Bytes between the memory before and its peak."""
        return self._memory.grown

    def __enter__(self) -> Self:
        # The tests' own garbage is nobody's wait.
        gc.disable()
        self._memory.__enter__()
        self._last, self._last_wall = time.thread_time(), time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(EVERY, self._tick)
        return self

    def _tick(self) -> None:
        self._count()
        self._timer = asyncio.get_running_loop().call_later(EVERY, self._tick)

    def _count(self) -> None:
        now, wall = time.thread_time(), time.monotonic()
        own = now - self._last
        self.longest = max(self.longest, own)
        self.served += min(wall - self._last_wall, own + EVERY)
        self._last, self._last_wall = now, wall

    def __exit__(self, *_: object) -> None:
        gc.enable()
        self._timer.cancel()
        self._count()
        self._memory.__exit__()
