"""A node of a storm: a gateway, its own callers, and what must be true of both."""

import signal
import time
from collections import Counter
from pathlib import Path

from tests.crash.gateway import Gateway, Ready
from tests.crash.processes import Companion
from tests.crash.records import Told, Transcript

CALLS_PER_NODE = 10_000_000
"""Numbers of calls tell whose callers made them."""
READY_SECONDS = 40.0
QUIET_SECONDS = 40.0
END_SECONDS = 30.0


class Guests:
    """Calls of those who call all nodes: each node takes its own."""

    def __init__(self, path: Path) -> None:
        """Read their transcript."""
        self._transcript = Transcript(path)
        self._told: dict[int, list[Told]] = {}
        self.calls: Counter[int] = Counter()
        """Calls that have ended, by node."""

    def take(self, place: int) -> list[Told]:
        """Give a node's calls that have ended since the last time."""
        self._transcript.read()
        for told in self._transcript.take():
            self._told.setdefault(_place(told.model), []).append(told)
        found = self._told.pop(place, [])
        self.calls[place] += len(found)
        return found

    def has_open(self, place: int) -> bool:
        """Whether any call at a node is under way."""
        return any(_place(model) == place for model in self._transcript.open)


def _place(model: str) -> int:
    return int(model.rpartition("-")[2]) // CALLS_PER_NODE


class Node:
    """One of those that share a database, with callers of its own."""

    def __init__(self, folder: Path, place: int, gateway: Gateway) -> None:
        """Prepare; nothing is started."""
        self.place = place
        self.folder = folder
        self.gateway = gateway
        self.told: list[Told] = []
        """All of its calls that have ended."""
        self.faults: list[tuple[str, Told | None]] = []
        self.paused = False
        self.guests: Guests | None = None
        """Those who call it besides its own callers."""
        self._transcript = Transcript(folder / "transcript")
        self._clients: Companion | None = None
        self._mourned = 0
        """Until where in `told` calls may have been lost."""

    def start(self) -> Ready:
        """Start until it serves, as often as it takes; give how soon the last did."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            self.gateway.start()
            ready = self.gateway.wait_ready()
            if ready is not None:
                return ready
            assert time.monotonic() < deadline, self.gateway.tail()

    def wait_ready(self) -> None:
        """Wait until one that runs serves again."""
        deadline = time.monotonic() + READY_SECONDS
        while not self.gateway.is_ready():
            assert self.gateway.running, self.gateway.tail()
            assert time.monotonic() < deadline, self.gateway.tail()
            time.sleep(0.02)

    def send_callers(self, keys: list[str], callers: int, seed: int) -> None:
        """Let callers come; they stay until `call_off`."""
        self._clients = Companion(
            "tests.crash.clients",
            "--balanced",
            "--gateway",
            str(self.gateway.port),
            "--keys",
            ",".join(keys),
            "--transcript",
            self.folder / "transcript",
            "--callers",
            str(callers),
            "--seed",
            str(seed + self.place),
            "--first",
            str(self.place * CALLS_PER_NODE + 1),
            log=self.folder / "clients.log",
        )

    def call_off(self) -> None:
        """Let every call come to its end, and no other begin."""
        if self._clients is not None:
            with self._clients:
                pass
            self._clients = None
        self.read()

    @property
    def calls(self) -> int:
        """Calls that were sent so far."""
        others = 0 if self.guests is None else self.guests.calls[self.place]
        return self._transcript.calls + others

    def read(self) -> int:
        """Read what its callers tell; give how many calls have ended."""
        self._transcript.read()
        self.told += self._transcript.take()
        if self.guests is not None:
            self.told += self.guests.take(self.place)
        return len(self.told)

    def _has_open(self) -> bool:
        """Whether any call is under way."""
        guests = self.guests is not None and self.guests.has_open(self.place)
        return guests or bool(self._transcript.open)

    def nobody_is_lost(self) -> None:
        """Note as a fault who lost a connection to a gateway that lived."""
        self.read()
        for told in self.told[self._mourned :]:
            if told.how == "lost":
                self.fault("nobody was killed, and it was lost", told)
        self._mourned = len(self.told)

    def fault(self, what: str, told: Told | None = None) -> None:
        """Note a fault, and the call that shows it."""
        self.faults.append((what, told))

    def kill(self) -> int:
        """SIGKILL; give how many calls it took with it."""
        self.nobody_is_lost()
        if self.paused:
            self.pause(on=False)
        self.gateway.kill()
        deadline = time.monotonic() + QUIET_SECONDS
        before = len(self.told)
        self.read()
        while self._has_open():
            assert time.monotonic() < deadline, "callers still wait for the dead"
            time.sleep(0.005)
            self.read()
        self._mourned = len(self.told)
        return sum(told.how == "lost" for told in self.told[before:])

    def stop(self) -> None:
        """SIGTERM; it must end well, and no call with it."""
        self.gateway.ask_to_stop()
        code = self.gateway.wait_end(END_SECONDS)
        if code != 0:
            self.fault(f"it ended {code}: {self.gateway.tail()}")
            if code is None:
                self.gateway.kill()
        self.nobody_is_lost()

    def pause(self, *, on: bool) -> None:
        """Let the process stand still, or go on."""
        self.paused = on
        self.gateway.send(signal.SIGSTOP if on else signal.SIGCONT)

    def put_down(self) -> None:
        """End whatever is left."""
        if self.gateway.running:
            self.gateway.send(signal.SIGCONT)
            self.gateway.kill()
        if self._clients is not None:
            self._clients.process.kill()
            self._clients.process.wait()
            for pipe in (self._clients.process.stdin, self._clients.process.stdout):
                assert pipe is not None
                pipe.close()
            self._clients = None
