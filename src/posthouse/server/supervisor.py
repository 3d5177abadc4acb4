"""Several worker processes behind one address, and who looks after them.

The supervisor serves nothing and runs no loop and no thread, so that forking is
safe: what is imported and read is shared by all workers. Rules:

- A worker that dies is replaced in its place, with growing delays while it dies
  young. When one cannot even begin, time after time, all are stopped.
- The first SIGTERM or SIGINT is passed on as SIGTERM, later ones as SIGINT, which
  hurries: a service manager may send SIGTERM to every process by itself. The
  supervisor ends when the last worker has. SIGHUP is passed on when the new
  configuration was taken.
- Signals wait while a worker is forked: none comes to a process that still has
  the supervisor's handlers. Who does not serve yet has none of its own either; a
  signal to stop is then its end, and no failure.
- Workers notice the supervisor's death, however it dies, by the end of a pipe
  that nobody else can write to, and stop as if told.
"""

import os
import random
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NoReturn

from msgspec import Struct

from posthouse.observe.logs import logger

YOUNG_SECONDS = 10.0
"""Who dies before has died young."""
FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0
MOST_FAILURES = 5
"""So often in a row may a worker die before it has ever served."""

_STOPS = (signal.SIGTERM, signal.SIGINT)
_NOTICED = (*_STOPS, signal.SIGHUP, signal.SIGCHLD)

log = logger("posthouse.supervisor")


class Post(Struct, frozen=True):
    """What a worker is given: its place among the others."""

    slot: int
    """From 0; the next worker in this place has the same."""
    ready: int
    """A descriptor that is written to when the worker serves."""
    life: int
    """A descriptor that comes to its end when the supervisor does."""

    def tell_ready(self) -> None:
        """Tell the supervisor that this worker serves."""
        with suppress(OSError):
            os.write(self.ready, b"1")


class _Worker(Struct):
    slot: int
    pid: int
    ready: int
    """Our end of its pipe."""
    born: float
    serving: bool = False


class _Place(Struct):
    """Where a worker belongs that has died."""

    due: float = 0.0
    delay: float = FIRST_DELAY
    failures: int = 0


class Supervisor:
    """Keeps so many workers running."""

    def __init__(
        self,
        work: Callable[[Post], None],
        workers: int,
        *,
        started: Callable[[], None],
        reload: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; `run` forks.

        Args:
            work: is a worker; called in a process of its own, whose end it is.
            workers: how many.
            started: called once, when all of them serve.
            reload: takes a new configuration; whether workers shall follow.
            clock: monotonic seconds.
        """
        self._work = work
        self._started = started
        self._reload = reload
        self._clock = clock
        self._places = [_Place() for _ in range(workers)]
        self._workers: dict[int, _Worker] = {}
        self._stopping = False
        self._failed = False
        self._announced = False
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._life_read, self._life_write = os.pipe()

    def run(self) -> bool:
        """Supervise until told to stop; whether all ended well."""
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        for number in _NOTICED:
            signal.signal(number, _noticed)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        for slot in range(len(self._places)):
            self._fork(slot)
        while self._workers or not self._stopping:
            for key, _ in self._selector.select(self._patience()):
                if key.fileobj is self._wake_read:
                    self._hear()
                else:
                    self._take_ready(key.data)
            self._bury()
            self._replace()
        return not self._failed

    def _patience(self) -> float | None:
        """Seconds until a dead worker's place is due; None: nothing to wait for."""
        if self._stopping:
            return None
        empty = self._empty()
        if not empty:
            return None
        soonest = min(self._places[slot].due for slot in empty)
        return max(0.0, soonest - self._clock())

    def _empty(self) -> list[int]:
        taken = {worker.slot for worker in self._workers.values()}
        return [slot for slot in range(len(self._places)) if slot not in taken]

    # What happens.

    def _hear(self) -> None:
        """Act on the signals that came."""
        for number in self._wake_read.recv(4096):
            if number in _STOPS:
                self._tell(signal.SIGINT if self._stopping else signal.SIGTERM)
                self._stopping = True
            elif number == signal.SIGHUP and not self._stopping and self._reload():
                self._tell(number)

    def _tell(self, number: int) -> None:
        for pid in self._workers:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _take_ready(self, worker: _Worker) -> None:
        """A worker serves, or has died: its pipe can be read."""
        self._selector.unregister(worker.ready)
        worker.serving = bool(os.read(worker.ready, 1))
        if not worker.serving:
            return
        self._places[worker.slot].failures = 0
        log.debug("a worker serves", worker=worker.slot)
        all_serve = all(other.serving for other in self._workers.values())
        if all_serve and not self._empty() and not self._announced:
            self._announced = True
            self._started()

    def _bury(self) -> None:
        """Note who has died."""
        while self._workers:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            worker = self._workers.pop(pid, None)
            if worker is not None:
                self._note_end(worker, os.waitstatus_to_exitcode(status))

    def _note_end(self, worker: _Worker, code: int) -> None:
        with suppress(KeyError):
            self._selector.unregister(worker.ready)
        os.close(worker.ready)
        if self._stopping:
            self._failed |= code != 0 and (worker.serving or -code not in _STOPS)
            return
        place = self._places[worker.slot]
        now = self._clock()
        young = now - worker.born < YOUNG_SECONDS
        place.delay = min(place.delay * 2, LONGEST_DELAY) if young else FIRST_DELAY
        place.due = now + place.delay
        if not worker.serving:
            place.failures += 1
        log.error("a worker died", worker=worker.slot, status=code, seconds=place.delay)
        if place.failures >= MOST_FAILURES:
            log.error("a worker cannot begin; all are stopped", worker=worker.slot)
            self._failed = self._stopping = True
            self._tell(signal.SIGTERM)

    def _replace(self) -> None:
        if self._stopping:
            return
        now = self._clock()
        for slot in self._empty():
            if self._places[slot].due <= now:
                self._fork(slot)

    def _fork(self, slot: int) -> None:
        read, write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _NOTICED)
        pid = os.fork()
        if pid == 0:
            self._be_worker(Post(slot, write, self._life_read), before)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(write)
        worker = _Worker(slot, pid, read, self._clock())
        self._workers[pid] = worker
        self._selector.register(read, selectors.EVENT_READ, worker)

    def _be_worker(self, post: Post, unblocked: Iterable[int]) -> NoReturn:
        """Live a worker's life in a process that was just forked.

        Args:
            post: its place.
            unblocked: the mask of signals to live with.
        """
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            # A terminal's Ctrl-C is for the supervisor, who passes it on.
            os.setpgid(0, 0)
            for number in _NOTICED:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
            self._selector.close()
            self._wake_read.close()
            self._wake_write.close()
            os.close(self._life_write)
            for worker in self._workers.values():
                os.close(worker.ready)
            # The generator's state was copied; siblings must not choose alike.
            random.seed()
            self._work(post)
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001 - the process ends here
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)


def _noticed(_number: int, _frame: object) -> None:
    """The descriptor for wake-ups has told of it."""
