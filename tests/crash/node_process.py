"""`posthouse` as a storm wants it: its clock is off, and its patience may be short.

    STORM_CLOCK=300 STORM_SILENT=3 python -m tests.crash.node_process serve …

The time of day is wrong by so many seconds. Machines count as dead after so many
of silence, not after a minute.
"""

import os
import sys
import time

HASTY_SECONDS = 6.0
SHORTER = 12
"""A machine lets hear of itself so often in that time."""


def main() -> None:
    """Change what is to be changed, then be `posthouse`."""
    shift = int(os.environ["STORM_CLOCK"])
    now, now_ns = time.time, time.time_ns
    # Before anything of ours is imported: it keeps the functions that it finds.
    vars(time).update(
        time=lambda: now() + shift, time_ns=lambda: now_ns() + shift * 10**9
    )
    from posthouse.billing import drain_thread
    from posthouse.cli import main as posthouse

    silent = float(os.environ["STORM_SILENT"])
    renew = min(drain_thread.RENEW_SECONDS, silent / SHORTER)
    vars(drain_thread).update(SILENT_SECONDS=silent, RENEW_SECONDS=renew)
    sys.argv[0] = "posthouse"
    posthouse()


if __name__ == "__main__":
    main()
