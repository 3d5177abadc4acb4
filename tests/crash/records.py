"""Reads what was written outside of the gateway, as far as it has grown."""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct


class Lines:
    """The whole lines that were added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        """Begin where the file does; it may not be there yet."""
        self._path = path
        self._offset = 0

    def new(self) -> list[bytes]:
        """Give them."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._offset += whole
        return data[:whole].splitlines()


class Told(Struct):
    """A call, as its client saw it."""

    model: str
    key: int
    """The key's place in the campaign's list."""
    how: str = ""
    """Empty while it is in flight; see `clients`."""
    status: int = 0
    id: str = ""
    received: int = 0
    """Bytes of the reply's body."""
    code: str = ""
    began: float = 0.0
    """By the machine's monotonic clock."""
    took: float = 0.0
    """Seconds."""
    retry_after: str = "-"

    @property
    def terminal(self) -> bool:
        """Whether the client was told that its call is over and well."""
        return self.how in ("done", "body")


class Transcript:
    """The clients' transcript."""

    def __init__(self, path: Path) -> None:
        """Read from its beginning."""
        self._lines = Lines(path)
        self.open: dict[str, Told] = {}
        """Calls in flight, by model."""
        self.ended: list[Told] = []
        """Calls that ended and that nobody has taken yet."""
        self.calls = 0

    def read(self) -> None:
        """Read what is new."""
        for line in self._lines.new():
            event, model, key, *rest = line.decode().split(" ")
            if event == "sent":
                assert model not in self.open
                self.open[model] = Told(model, int(key))
                self.calls += 1
                continue
            told = self.open.pop(model)
            told.how, told.id, told.code = rest[0], rest[2], rest[4]
            told.status, told.received = int(rest[1]), int(rest[3])
            told.began, told.took = float(rest[5]), float(rest[6])
            told.retry_after = rest[7]
            self.ended.append(told)

    def take(self) -> list[Told]:
        """Give the calls that ended since the last time."""
        ended, self.ended = self.ended, []
        return ended


class Served(Struct):
    """A call, as the provider saw it: all its requests together."""

    attempts: int = 0
    usage: dict[str, Any] | None = None
    """What the last of them truly amounted to."""
    script: str = ""
    terminal: bool = False
    """The provider sent the end of an answer."""


class ProviderJournal:
    """The provider's journal, by model."""

    def __init__(self, path: Path) -> None:
        """Read from its beginning."""
        self._lines = Lines(path)
        self._models: dict[str, str] = {}
        self.served: dict[str, Served] = {}
        self.by_account: dict[str, list[int]] = {}
        """Numbers of calls, by what was shown of us; whoever has read it clears it."""

    def read(self) -> None:
        """Read what is new."""
        for line in self._lines.new():
            event = msgspec.json.decode(line)
            if event["event"] == "received":
                model = msgspec.json.decode(event["body"])["model"]
                self._models[event["id"]] = model
                account = dict(event["headers"])["authorization"].split()[-1]
                number = int(model.rpartition("-")[2])
                self.by_account.setdefault(account, []).append(number)
                served = self.served.setdefault(model, Served())
                served.attempts += 1
                served.usage, served.script = event["usage"], event["script"]
            elif event["event"] == "terminal":
                self.served[self._models[event["id"]]].terminal = True
            else:
                del self._models[event["id"]]
