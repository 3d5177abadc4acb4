"""Servers as subprocesses: started, awaited, their output kept, stopped."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from tests.support.nursery import ROOT, Process

START_SECONDS = 30.0
STOP_SECONDS = 20.0


class ServerFailed(Exception):
    """A server did not start; the message ends with its output."""


def free_port() -> int:
    """Give a port of 127.0.0.1 that nobody listens on.

    Not one of those that the system gives to connections outward: it might do so
    before the server has it.
    """
    while True:
        port = secrets.randbelow(20_000) + 12_000
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class ServerProcess:
    """One server; as a context manager it is stopped at the end."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        url: str,
        ready: str,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it.

        Args:
            command: what to run, in the project's root.
            url: where it will listen, without a path.
            ready: a path that answers 200 once it serves.
            log: where its output goes.
            environment: variables besides our own.
        """
        self.url = url
        self.log = log
        self._ready = ready
        with log.open("ab") as output:
            self.process = self._begin(
                [str(part) for part in command],
                {**os.environ, **(environment or {})},
                output,
            )

    def _begin(
        self, command: list[str], environment: Mapping[str, str], output: IO[bytes]
    ) -> Process:
        """Start a process in a session of its own."""
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        """Wait until it serves."""
        deadline = time.monotonic() + START_SECONDS
        while not self._serves():
            if self.process.poll() is not None or time.monotonic() > deadline:
                code = self.process.poll()
                self.stop()
                raise ServerFailed(f"{self.url} (exit {code}):\n{self.output()}")
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def _serves(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + self._ready, timeout=5) as reply:
                status: int = reply.status
                return status == 200
        except (OSError, urllib.error.URLError):
            return False

    def stop(self) -> int:
        """Ask it to end, wait, and give its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise ServerFailed(f"{self.url} did not stop:\n{self.output()}") from None

    def output(self) -> str:
        """Give the last part of what it said."""
        return self.log.read_text(errors="replace")[-6000:]


def python_module(name: str, *arguments: str | Path) -> list[str | Path]:
    """Give the command that runs a module with this interpreter."""
    return [sys.executable, "-m", name, *arguments]
