"""Sending to a collector in a process beside the server's.

To make a call's spans, metrics and log record costs several times what the call
itself does, and a thread that did it would hold the interpreter while the server
waits for it. The other process is given facts over a socket pair, a batch at a
time, and answers how many were lost. It alone imports the SDK; it gets none of
the server's secrets, ends when the server is gone, however that ended, and
leaves signals to the whole group to the server.
"""

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from posthouse.observe.facts import CallFacts, LogEntry
from posthouse.observe.reporter import CLOSE_SECONDS

RESTART_SECONDS: Final = 10.0
"""Between two starts, should it die."""
IDLE_SECONDS: Final = 0.5
"""Between two looks whether metrics are due."""
_SIZE: Final = struct.Struct("!I")
_INHERITED: Final = (
    *("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)
_NICER: Final = 5

Item = CallFacts | LogEntry
_encode = msgspec.msgpack.Encoder().encode
_decoder: Final = msgspec.msgpack.Decoder(list[Item])


class CollectorProcess:
    """The server's side; a `Consumer`, used by the reporter's thread."""

    def __init__(
        self,
        endpoint: str,
        signals: Sequence[str],
        *,
        command: Sequence[str] = (sys.executable, "-P", "-m", __name__),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start nothing yet.

        Args:
            endpoint: the collector's base URL.
            signals: of traces, metrics and logs, what is sent.
            command: starts the process.
            clock: monotonic seconds.
        """
        self._command = [*command, endpoint, ",".join(signals), str(uuid.uuid4())]
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._may_start = clock()
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process, if one is there."""
        process = self._process
        return None if process is None else process.pid

    def take(self, items: Sequence[Item]) -> int:
        """Have items sent; give how many were lost. Waits as long as that takes."""
        try:
            connection = self._socket or self._start()
            if connection is None:
                return len(items)
            _send(connection, _encode(items))
            return int.from_bytes(_receive(connection))
        except OSError:
            self._end()
            return len(items)

    def idle(self) -> None:
        """Nothing is due: the process looks after its metrics."""

    def finish(self) -> None:
        """Let the process send the metrics a last time, and end."""
        connection, process = self._socket, self._process
        if connection is None or process is None:
            return
        with suppress(OSError, subprocess.TimeoutExpired):
            connection.shutdown(socket.SHUT_WR)
            process.wait(CLOSE_SECONDS)
        self._end()

    def close(self) -> None:
        """End the process at once; whoever waits for it waits no longer."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()

    def _start(self) -> socket.socket | None:
        """Start the process; None when it is not yet time, or no longer."""
        if self._closed or self._clock() < self._may_start:
            return None
        self._may_start = self._clock() + RESTART_SECONDS
        ours, its = socket.socketpair()
        with its:
            try:
                self._process = subprocess.Popen(  # noqa: S603 -- our own module
                    self._command,
                    stdin=its.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=_environment(),
                    start_new_session=True,
                )
            except OSError:
                ours.close()
                raise
        self._socket = ours
        return ours

    def _end(self) -> None:
        """Let go of a process that does not answer."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


def _environment() -> dict[str, str]:
    """What the process needs; none of the server's secrets."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED or name.startswith(("PYTHON", "OTEL_"))
    }


def _send(connection: socket.socket, data: bytes) -> None:
    connection.sendall(_SIZE.pack(len(data)) + data)


def _receive(connection: socket.socket) -> bytes:
    """Receive what was sent in one go; raises ConnectionError at the end."""
    (size,) = _SIZE.unpack(_exactly(connection, _SIZE.size))
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = connection.recv(min(size, 1 << 20))
        if not part:
            raise ConnectionError("the other side has closed")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def serve(
    connection: socket.socket, endpoint: str, signals: Sequence[str], instance: str
) -> None:
    """Send what comes, until the server is gone."""
    from posthouse.observe.otlp import Collector  # noqa: PLC0415 - the SDK, here alone

    collector = Collector(endpoint, signals, instance=instance)
    with suppress(OSError):
        while True:
            ready, _, _ = select.select([connection], [], [], IDLE_SECONDS)
            if ready:
                items = _decoder.decode(_receive(connection))
                _send(connection, collector.take(items).to_bytes(4))
            collector.idle()
    collector.finish()
    collector.close()


def main() -> None:
    """Be the process."""
    # The server decides when it is over, by closing the socket.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICER)
    endpoint, signals, instance = sys.argv[1:]
    with socket.socket(fileno=0) as connection:
        serve(connection, endpoint, signals.split(","), instance)


if __name__ == "__main__":
    main()
