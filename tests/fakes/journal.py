"""What a fake provider did, kept outside of the gateway that it serves.

One JSON line per event, each written with a single O_APPEND write, so a reader
after a SIGKILL of anybody sees whole lines:

- `received`: the request, before anything is answered
- `terminal`: about to send the bytes that complete the answer
- `ended`: how far it came
"""

import os
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from tests.fakes.steps import Request


class Served(Struct):
    """One request and what became of it."""

    id: str
    request: Request
    script: str
    usage: dict[str, Any] | None
    sent: int = 0
    """Bytes of the answer handed to the kernel or waiting for it."""
    terminal: bool = False
    completed: bool = False
    """Every step was carried out."""

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The request's headers; the last one of a name wins."""
        return dict(self.request.headers)


class Journal:
    """Keeps what was served in memory, and in a file if there is one."""

    def __init__(self, path: Path | None = None) -> None:
        self.served: list[Served] = []
        self._file = (
            None
            if path is None
            else os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        )

    def received(self, served: Served) -> None:
        """Note a request before it is answered."""
        self.served.append(served)
        if self._file is not None:
            request = served.request
            self._write(
                {
                    "event": "received",
                    "id": served.id,
                    "script": served.script,
                    "usage": served.usage,
                    "method": request.method,
                    "target": request.target,
                    "headers": [
                        [name.decode("latin-1"), value.decode("latin-1")]
                        for name, value in request.headers
                    ],
                    "body": request.body.decode("utf-8", "replace"),
                }
            )

    def terminal(self, served: Served) -> None:
        """Note that the answer is about to be complete."""
        served.terminal = True
        self._write({"event": "terminal", "id": served.id, "sent": served.sent})

    def ended(self, served: Served, *, completed: bool) -> None:
        """Note the end of an answer."""
        served.completed = completed
        self._write(
            {
                "event": "ended",
                "id": served.id,
                "sent": served.sent,
                "completed": completed,
            }
        )

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, event: dict[str, Any]) -> None:
        """Append one line."""
        if self._file is not None:
            os.write(self._file, msgspec.json.encode(event) + b"\n")


class JournalEntry(Struct):
    """What the file says about one request."""

    id: str
    script: str
    usage: dict[str, Any] | None
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: str
    sent: int = 0
    terminal: bool = False
    completed: bool | None = None
    """None: the fake was still answering when the file was read."""


def read_journal(path: Path) -> list[JournalEntry]:
    """Read a journal file, one entry per request in the order of arrival."""
    entries: dict[str, JournalEntry] = {}
    for line in path.read_bytes().splitlines():
        event = msgspec.json.decode(line)
        kind = event.pop("event")
        if kind == "received":
            entries[event["id"]] = msgspec.convert(event, JournalEntry)
            continue
        entry = entries[event["id"]]
        entry.sent = event["sent"]
        if kind == "terminal":
            entry.terminal = True
        else:
            entry.completed = event["completed"]
    return list(entries.values())
