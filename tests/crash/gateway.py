"""The gateway under test: the real `posthouse serve`, started, killed, started."""

import http.client
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from tests.crash.processes import environment
from tests.support import nursery
from tests.support.posthouse import COMMAND
from tests.support.processes import ROOT, free_port

SEGMENT_BYTES = 64 * 1024
"""Small, so that the journal goes from one file to the next twice a second."""
DRAIN_SECONDS = 1
START_SECONDS = 60.0
LOOK_EVERY = 0.005


class Ready(Struct, frozen=True):
    """How soon a gateway served."""

    seconds: float
    """From its start."""
    own: float
    """Without those in which it could run and other processes did."""


def _waited(process: int) -> float:
    """Seconds for which a process's threads have waited for a processor."""
    waited = 0
    for path in Path(f"/proc/{process}/task").glob("*/schedstat"):
        try:
            waited += int(path.read_text().split()[1])
        except OSError:
            continue  # The thread has ended.
    return waited / 1e9


class Gateway:
    """One data folder and one port, and one process at a time."""

    def __init__(
        self,
        folder: Path,
        configuration: str,
        more: Mapping[str, str] | None = None,
        program: Sequence[str | Path] = (COMMAND,),
        *,
        forked: bool = False,
    ) -> None:
        """Prepare; nothing is started.

        Args:
            folder: everything of it is in there.
            configuration: its file's content.
            more: variables beside the usual ones, or instead of them.
            program: what takes the command line.
            forked: make processes in a nursery instead, which is much cheaper.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._more = dict(more or {})
        self._program = list(program)
        self._forked = forked
        self.data = folder / "data"
        self.port = free_port()
        self.log = folder / "gateway.log"
        self.points = folder / "points"
        """Where the process names the point at which it dies."""
        self._file = folder / "posthouse.toml"
        self._file.write_text(configuration)
        self._process: nursery.Process | None = None
        self._started = 0.0

    def add_configuration(self, text: str) -> None:
        """Add to what the next process finds in its file."""
        with self._file.open("a") as file:
            file.write(text)

    def configure(self, text: str) -> None:
        """Give the file another content."""
        self._file.write_text(text)

    @property
    def running(self) -> bool:
        """Whether there is a process, and it has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, point: str = "") -> None:
        """Start a process, which dies at a point if one is named."""
        assert not self.running
        own = {
            "POSTHOUSE_DRAIN_GRACE_SECONDS": "0",
            "POSTHOUSE_DRAIN_SECONDS": str(DRAIN_SECONDS),
            "POSTHOUSE_JOURNAL_SEGMENT_BYTES": str(SEGMENT_BYTES),
            "POSTHOUSE_KILL_POINT": point,
            "POSTHOUSE_KILL_REPORT": str(self.points),
            "POSTHOUSE_LOG_FORMAT": "json",
            **self._more,
        }
        variables = self._environment(own)
        command = ["serve", "--config", self._file, "--data", self.data]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        self._started = time.monotonic()
        with self.log.open("ab") as output, Path(os.devnull).open("rb") as nothing:
            if self._forked:
                files = (nothing, output, output)
                self._process = nursery.start(
                    "posthouse", *command, files=files, environment=variables
                )
            else:
                self._process = subprocess.Popen(
                    [*self._program, *command],
                    cwd=ROOT,
                    env=variables,
                    stdin=nothing,
                    stdout=output,
                    stderr=output,
                )

    def _environment(self, own: Mapping[str, str]) -> dict[str, str]:
        """All variables of a process; a fork compiles nothing."""
        if self._forked:
            return {**os.environ, **own}
        return environment(self._folder, **own)

    def wait_ready(self) -> Ready | None:
        """Wait until calls are served; None if it died before."""
        assert self._process is not None
        while not self.is_ready():
            if not self.running:
                return None
            assert time.monotonic() - self._started < START_SECONDS, self.tail()
            time.sleep(LOOK_EVERY)
        seconds = time.monotonic() - self._started
        return Ready(seconds, max(0.0, seconds - _waited(self._process.pid)))

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        self.send(signal.SIGTERM)

    def send(self, number: signal.Signals) -> None:
        """Any other signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait_end(self, seconds: float) -> int | None:
        """The exit code; None if it goes on for longer than that."""
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def died_at(self) -> Counter[str]:
        """How often processes died at points."""
        if not self.points.exists():
            return Counter()
        return Counter(self.points.read_text().split())

    def tail(self) -> str:
        """The last of what it said."""
        return self.log.read_text(errors="replace")[-3000:]

    def errors(self) -> list[str]:
        """What it has logged as an error."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                found.append(line)
                continue
            if event.get("level") in ("error", "critical"):
                found.append(line)
        return found

    def audit(self) -> tuple[bool, str]:
        """What `posthouse audit` says of the books."""
        done = nursery.run(
            "posthouse",
            "audit",
            "--data",
            self.data,
            environment=self._environment(self._more),
            timeout=300,
        )
        return done.returncode == 0, done.stdout + done.stderr

    def is_ready(self) -> bool:
        """Whether calls are served."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


SIGKILLED = -signal.SIGKILL
