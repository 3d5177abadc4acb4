"""Processes under measurement: where they run, what they cost, how they end.

A process's CPU time is read from its POSIX clock, in nanoseconds: user and
system together, ended threads included. (`/proc/PID/stat` shows the same sum
in ticks of 10 ms, too coarse for a round of a second.) Children are counted
while they live, and through `cutime + cstime` of their parent afterwards.
"""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
CPUCLOCK_SCHED = 2


@cache
def cores() -> tuple[int, int]:
    """The core for gateways, and the core for load and upstream.

    Asked first before anything is pinned, and remembered.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise SystemExit("the benchmark needs two CPU cores")
    return allowed[0], allowed[1]


def allow_descriptors(wanted: int) -> int:
    """Raise the limit of open files, children inherit it; give what there is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return soft
    for limits in ((wanted, max(hard, wanted)), (min(wanted, hard), hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        except (ValueError, OSError):
            continue
        return limits[0]
    return soft


def end_in_order() -> None:
    """Let SIGTERM unwind, so that what was started is stopped as well."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Processes started inside run on this core alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command's name; [] if it ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def family(root: int) -> list[int]:
    """A process and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := stat_fields(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def clock_seconds(pid: int) -> float:
    """CPU time of one process, all threads, in seconds."""
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)


def cpu_seconds(root: int) -> float:
    """CPU time of a process, its living children and those it has reaped."""
    total = 0.0
    for pid in family(root):
        fields = stat_fields(pid)
        if fields:
            reaped = int(fields[13]) + int(fields[14])
            total += clock_seconds(pid) + reaped / TICKS_PER_SECOND
    return total


def turns(pid: int) -> tuple[float, float]:
    """Seconds that a process's main thread has run, and waited for its core."""
    ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(ran) / 1e9, int(waited) / 1e9


def memory_bytes(root: int) -> tuple[int, int]:
    """Resident memory of a process family: (PSS, RSS of the largest)."""
    shared_out = 0
    largest = 0
    for pid in family(root):
        folder = Path(f"/proc/{pid}")
        resident = int((folder / "statm").read_text().split()[1]) * PAGE_BYTES
        largest = max(largest, resident)
        for line in (folder / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                shared_out += int(line.split()[1]) * 1024
    return shared_out, largest


def open_descriptors(root: int) -> int:
    """How many files and sockets a process family holds."""
    return sum(len([*Path(f"/proc/{pid}/fd").iterdir()]) for pid in family(root))


class Process:
    """A pinned process in a session of its own, with its output in a file."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        core: int,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        self._output = log.open("ab")
        with pinned(core):
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self.pid = self._popen.pid

    def ended(self) -> bool:
        """Whether it is gone."""
        return self._popen.poll() is not None

    def last_words(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-2000:]

    def stop(self, seconds: float = 30.0) -> None:
        """Ask it to end, wait, and end it after so many seconds."""
        self._popen.terminate()
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()
        self._output.close()


def output(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """What a short command prints, on either stream."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    return (done.stdout + done.stderr).strip()
