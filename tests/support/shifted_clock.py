"""`posthouse` whose time of day is some seconds off, as a file says at each moment.

    SHIFTED_CLOCK=FILE python -m tests.support.shifted_clock serve …

What is shifted is what the program asks for, in each of its processes; the system's own
clock, by which files have their times, is everybody's.
"""

import mmap
import os
import struct
import sys
import time
from pathlib import Path

SECONDS = struct.Struct("d")
VARIABLE = "SHIFTED_CLOCK"


class Clock:
    """The file, for who shifts the time."""

    def __init__(self, path: Path) -> None:
        """Begin with the right time."""
        self._path = path
        path.write_bytes(SECONDS.pack(0.0))

    def shift(self, seconds: float) -> None:
        """Be so far ahead of the right time from now on."""
        with self._path.open("r+b") as file:
            file.write(SECONDS.pack(seconds))


def main() -> None:
    """Change the time, then be `posthouse`."""
    with Path(os.environ[VARIABLE]).open("rb") as file:
        place = mmap.mmap(file.fileno(), SECONDS.size, prot=mmap.PROT_READ)
    now, now_ns = time.time, time.time_ns

    def ahead() -> float:
        (seconds,) = SECONDS.unpack_from(place)
        return float(seconds)

    # Before anything of ours is imported: it keeps the functions that it finds.
    vars(time).update(
        time=lambda: now() + ahead(),
        time_ns=lambda: now_ns() + int(ahead() * 1e9),
    )
    from posthouse.cli import main as posthouse

    sys.argv[0] = "posthouse"
    posthouse()


if __name__ == "__main__":
    main()
