"""Counting tokens in a process beside the server's, started at the first count.

An encoding takes some seventy megabytes, and making one holds the interpreter
for a quarter of a second: no server should have that in its own process. The
other one is given texts over a socket pair, one after the other. It ends when
nothing has been asked for a while, and when the server is gone, however that
ended; signals to the whole group it leaves to the server. When it fails twice
in a row, the text is counted here, so that there is a count in any case.
"""

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Final

from posthouse.billing.tokenizer import count_here

IDLE_SECONDS: Final = 600.0
REPLY_SECONDS: Final = 30.0
"""For an answer, an encoding's loading included, before the process is given up."""
END_SECONDS: Final = 2.0
_ATTEMPTS: Final = 2
_REQUEST: Final = struct.Struct("!II")
"""Bytes of the model's name, bytes of the text; both follow as UTF-8."""
_REPLY: Final = struct.Struct("!Q")
_INHERITED: Final = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")
_NICER: Final = 5


class TokenProcess:
    """The server's side; `close` it at the end."""

    def __init__(
        self,
        *,
        idle_seconds: float = IDLE_SECONDS,
        reply_seconds: float = REPLY_SECONDS,
        command: Sequence[str] = (sys.executable, "-P", "-m", __name__),
        count: Callable[[str, str], int] = count_here,
    ) -> None:
        """Start nothing yet.

        Args:
            idle_seconds: without a text, after which the process ends.
            reply_seconds: in which it must answer.
            command: starts it.
            count: counts where the process cannot.
        """
        self._command = [*command, str(idle_seconds)]
        self._reply_seconds = reply_seconds
        self._count = count
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process, if one is there."""
        return None if self._process is None else self._process.pid

    def count(self, text: str, model: str) -> int:
        """Count the tokens of a text; blocks, from whichever thread."""
        request = _request(text, model)
        with self._turn:
            for _ in range(0 if self._closed else _ATTEMPTS):
                try:
                    return self._ask(request)
                except OSError:
                    self._end()
        return self._count(text, model)

    def close(self) -> None:
        """End the process."""
        with self._turn:
            self._closed = True
            self._end()

    def _ask(self, request: bytes) -> int:
        connection = self._socket or self._start()
        connection.sendall(request)
        (found,) = _REPLY.unpack(_receive(connection, _REPLY.size))
        return int(found)

    def _start(self) -> socket.socket:
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
        ours.settimeout(self._reply_seconds)
        self._socket = ours
        return ours

    def _end(self) -> None:
        """Close the socket, which the process obeys; kill it where it does not."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment() -> dict[str, str]:
    """What an interpreter needs to start; none of the server's secrets."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED or name.startswith("PYTHON")
    }


def _request(text: str, model: str) -> bytes:
    # JSON can carry lone surrogates.
    name = model.encode(errors="surrogatepass")
    content = text.encode(errors="surrogatepass")
    return _REQUEST.pack(len(name), len(content)) + name + content


def _receive(connection: socket.socket, size: int) -> bytes:
    """Receive so many bytes; raises ConnectionError when the other side is gone."""
    parts = []
    while size:
        part = connection.recv(min(size, 1 << 20))
        if not part:
            raise ConnectionError("the other side has closed")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def serve(connection: socket.socket, idle_seconds: float) -> None:
    """Count what is asked, until nothing is or nobody can."""
    while True:
        try:
            connection.settimeout(idle_seconds)
            sizes = _REQUEST.unpack(_receive(connection, _REQUEST.size))
            connection.settimeout(None)
            model, text = (
                _receive(connection, size).decode(errors="surrogatepass")
                for size in sizes
            )
            connection.sendall(_REPLY.pack(count_here(text, model)))
        except OSError:
            return


def main() -> None:
    """Be the process."""
    # The server decides when it is over, by closing the socket.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICER)
    with socket.socket(fileno=0) as connection:
        serve(connection, float(sys.argv[1]))


if __name__ == "__main__":
    main()
