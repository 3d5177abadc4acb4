"""Named instants at which the crash suite kills the process.

With POSTHOUSE_KILL_POINT=name[:count] in the environment when the process
starts, the count-th arrival (default the first) at that name is a SIGKILL of
the process by itself; before it the name is appended to the file in
POSTHOUSE_KILL_REPORT. Without the variable `reach` does nothing.
"""

import os
import signal
from typing import Final

_wanted, _, _count = os.environ.get("POSTHOUSE_KILL_POINT", "").partition(":")

ARMED: Final = _wanted
"""The name that kills this process, empty when there is none."""

POINTS: Final = frozenset(
    {
        "draw.before_commit",
        "draw.after_commit",
        "hold.after_open_record",
        "hold.after_answering_record",
        "hold.after_progress_record",
        "settle.before_record",
        "settle.after_record",
        "void.before_record",
        "void.after_record",
        "journal.mid_creation",
        "journal.after_creation",
        "journal.registered",
        "journal.mid_segment",
        "journal.mid_record",
        "journal.before_rotation",
        "journal.after_seal",
        "journal.after_rotation",
        "journal.after_carry",
        "journal.before_reclaim",
        "drain.before_commit",
        "drain.after_commit",
        "return.before_commit",
        "return.after_commit",
        "recovery.after_replay",
        "recovery.before_commit",
        "recovery.after_commit",
        "recovery.mid_removal",
        "recovery.before_rmdir",
        "close.after_drain",
        "close.after_commit",
    }
)
"""The names inside billing and the ledger store; relay and storage add theirs."""


class _Countdown:
    """Counts arrivals at the armed point and kills at the last one."""

    def __init__(self, arrivals: int) -> None:
        self.left = arrivals

    def reach(self, name: str) -> None:
        """Die here if this is the armed point's last arrival."""
        if name != ARMED:
            return
        self.left -= 1
        if self.left > 0:
            return
        report = os.environ.get("POSTHOUSE_KILL_REPORT")
        if report:
            with open(report, "a", encoding="utf-8") as file:  # noqa: PTH123 - no more imports at this instant
                file.write(name + "\n")
        os.kill(os.getpid(), signal.SIGKILL)


def _pass(_name: str) -> None:
    """Do nothing: no point is armed."""


reach = _Countdown(int(_count or 1)).reach if ARMED else _pass
