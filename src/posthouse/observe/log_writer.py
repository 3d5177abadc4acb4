"""Writes log entries where they belong, without holding up who made them.

A pipe that nobody empties blocks its writer, and a loop that is blocked serves
nobody. So while a process serves, entries wait in a bounded queue for a thread;
what finds no place there is dropped and counted, and so are entries that could not
be written. Before and after it they are written at once. The thread writes to the
descriptor itself: a stream's own lock, held for ever, would not let the
interpreter end.
"""

import logging
import os
import threading
from queue import SimpleQueue
from typing import Final, TextIO

from typing_extensions import override

MOST: Final = 10_000
"""Entries that wait at most."""
CLOSE_SECONDS: Final = 1.0
"""For those that wait when the process ends."""


class LogWriter(logging.StreamHandler[TextIO]):
    """A handler for one stream."""

    def __init__(self, stream: TextIO, most: int = MOST) -> None:
        """Write to `stream`, at once until `begin`; at most `most` entries wait."""
        super().__init__(stream)
        self.dropped = 0
        """Entries that were lost."""
        self._most = most
        self._waiting: SimpleQueue[str | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Write in a thread from now on."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="log", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Write at once again, if what waits was taken in time."""
        thread = self._thread
        if thread is None:
            return
        self._waiting.put(None)
        thread.join(CLOSE_SECONDS)
        if not thread.is_alive():
            self._thread = None

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Take one entry; the handler's lock is held."""
        if self._thread is None:
            super().emit(record)
            return
        if self._waiting.qsize() >= self._most:
            self.dropped += 1
            return
        try:
            self._waiting.put(self.format(record) + self.terminator)
        except Exception:  # noqa: BLE001 - as every handler does it
            self.handleError(record)

    @override
    def flush(self) -> None:
        """Flush the stream, unless that is the thread's affair."""
        if self._thread is None:
            super().flush()

    @override
    def close(self) -> None:
        """End with the interpreter."""
        self.end()
        super().close()

    def _write(self) -> None:
        """Write what waits until the end; runs in the thread."""
        while (text := self._waiting.get()) is not None:
            try:
                self._put(text.encode(errors="backslashreplace"))
            except (OSError, ValueError):
                self.dropped += 1

    def _put(self, data: bytes) -> None:
        """Write all of it, however long that takes."""
        descriptor = self.stream.fileno()
        while data:
            data = data[os.write(descriptor, data) :]
