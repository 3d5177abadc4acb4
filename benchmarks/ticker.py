"""Instants more exact than an event loop's timers, which count milliseconds."""

import asyncio
import ctypes
import os
from collections.abc import Callable

CLOCK_MONOTONIC = 1
ABSOLUTE = 1
libc = ctypes.CDLL(None, use_errno=True)


class Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Itimerspec(ctypes.Structure):
    _fields_ = (("interval", Timespec), ("value", Timespec))


def timespec(seconds: float) -> Timespec:
    """Seconds, as the kernel takes them."""
    whole = int(seconds)
    return Timespec(whole, int((seconds - whole) * 1e9))


class Ticker:
    """A kernel timer on the loop; `tick(n)` tells that n instants have passed."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, tick: Callable[[int], None]
    ) -> None:
        self._loop = loop
        self._tick = tick
        self._file = libc.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        loop.add_reader(self._file, self._passed)

    def every(self, seconds: float, *, after: float) -> None:
        """Tick periodically, the first time after so many seconds."""
        self._set(0, Itimerspec(timespec(seconds), timespec(after)))

    def stop(self) -> None:
        """Tick no more until it is set anew."""
        self._set(0, Itimerspec(timespec(0), timespec(0)))

    def at(self, instant: float) -> None:
        """Tick once at an instant of the monotonic clock, at once if it is past."""
        self._set(ABSOLUTE, Itimerspec(timespec(0), timespec(instant)))

    def close(self) -> None:
        """Give the timer back."""
        self._loop.remove_reader(self._file)
        os.close(self._file)

    def _set(self, flags: int, value: Itimerspec) -> None:
        if libc.timerfd_settime(self._file, flags, ctypes.byref(value), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def _passed(self) -> None:
        try:
            passed = int.from_bytes(os.read(self._file, 8), "little")
        except BlockingIOError:  # it was set anew between the event and the read
            return
        self._tick(passed)
