"""Tells of calls that have ended, in a thread of its own: nobody waits for it.

What has ended is put into a bounded queue, which costs a call next to nothing;
the thread gives it to a consumer, which makes lines, or spans, metrics and log
records of it. When the queue is full, because a collector is slow or dead, what
comes is dropped and counted: the queue does not grow, and no call is held up.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

from posthouse.observe.facts import CallFacts, LogEntry
from posthouse.observe.logs import logger

BATCH: Final = 128
"""Items that are handed over together at most, and that wake the thread.

To describe so many holds the interpreter for some two milliseconds.
"""
WAKE_SECONDS: Final = 1.0
"""For which what has ended waits at most for company."""
CLOSE_SECONDS: Final = 3.0
"""For the rest to be sent when the process ends."""

Describe = Callable[[Any], CallFacts]
"""Makes facts of what was put; called in the thread."""

COMPONENT: Final = "posthouse.telemetry"
_log = logger(COMPONENT)


class Consumer(Protocol):
    """Takes what there is to tell; used by one thread."""

    def take(self, items: Sequence[CallFacts | LogEntry]) -> int:
        """Tell it; give how many items were lost."""

    def idle(self) -> None:
        """Do what is due without anything to tell."""

    def finish(self) -> None:
        """Do what is due at the end."""

    def close(self) -> None:
        """End what waits, at once: called from another thread."""


class Reporter:
    """The queue and the thread."""

    def __init__(
        self, consumer: Consumer, describe: Describe, *, most: int = 4096
    ) -> None:
        """Tell `consumer`; at most `most` items wait."""
        self.dropped = 0
        """Items for which there was no place."""
        self.failed = 0
        """Items that the consumer could not deliver."""
        self._consumer = consumer
        self._describe = describe
        self._most = most
        self._queue: deque[Any] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._failing = False
        self._thread = threading.Thread(
            target=self._run, name="posthouse-telemetry", daemon=True
        )

    @property
    def queued(self) -> int:
        """Items that wait."""
        return len(self._queue)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, item: Any) -> None:
        """Tell of something, from any thread: a LogEntry, or what is described."""
        queue = self._queue
        waiting = len(queue)
        if waiting >= self._most:
            self.dropped += 1
            return
        queue.append(item)
        if waiting == BATCH:
            self._wake.set()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Send what waits, for so long at most; blocks: call it in a thread."""
        self._closing = True
        self._wake.set()
        self._thread.join(seconds)
        self._consumer.close()
        # If it hangs now it is left behind; the thread keeps no process alive.
        self._thread.join(seconds / 10)

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(WAKE_SECONDS)
            self._wake.clear()
            self._tell()
        self._tell()
        with self._guarded():
            self._consumer.finish()

    def _tell(self) -> None:
        """Hand over what waits."""
        queue = self._queue
        while queue:
            items = [queue.popleft() for _ in range(min(BATCH, len(queue)))]
            lost = len(items)
            with self._guarded():
                lost = self._consumer.take([self._facts(item) for item in items])
            self.failed += lost
            self._note(failing=bool(lost))
        with self._guarded():
            self._consumer.idle()

    def _facts(self, item: Any) -> CallFacts | LogEntry:
        return item if isinstance(item, LogEntry) else self._describe(item)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Keep the consumer's faults here: the thread must go on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - any fault of theirs
            _log.error("telemetry could not be made", exc_info=error)

    def _note(self, *, failing: bool) -> None:
        """Say so when deliveries begin to fail, and when they no longer do."""
        if failing is self._failing:
            return
        self._failing = failing
        if failing:
            _log.warning("telemetry cannot be delivered; it is dropped")
        else:
            _log.info("telemetry is delivered again")
