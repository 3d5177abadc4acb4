"""What a call costs the process meanwhile: memory at its peak, turns of the loop.

A turn is measured in CPU time, so that a busy machine makes none long.
"""

import asyncio
import gc
import time
from pathlib import Path
from typing import Self

EVERY = 0.01
LONGEST_TURN = 0.1
"""Seconds for which nobody else is served."""
_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def _kilobytes(name: str) -> int:
    found = next(
        line for line in _STATUS.read_text().splitlines() if line.startswith(name)
    )
    return int(found.split()[1])


class Probe:
    """Watches between entering and leaving."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self.longest = 0.0
        """Seconds of CPU of the longest turn of the loop."""
        self.grown = 0
        """Bytes between the memory before and its peak."""

    def __enter__(self) -> Self:
        # The tests' own garbage is nobody's wait.
        gc.disable()
        _RESET.write_text("5")
        self._before = _kilobytes("VmRSS:")
        self._last = time.thread_time()
        self._timer = asyncio.get_running_loop().call_later(EVERY, self._tick)
        return self

    def _tick(self) -> None:
        now = time.thread_time()
        self.longest = max(self.longest, now - self._last)
        self._last = now
        self._timer = asyncio.get_running_loop().call_later(EVERY, self._tick)

    def __exit__(self, *_: object) -> None:
        gc.enable()
        self._timer.cancel()
        self.longest = max(self.longest, time.thread_time() - self._last)
        self.grown = (_kilobytes("VmHWM:") - self._before) * 1024
