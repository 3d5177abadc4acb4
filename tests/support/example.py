"""One Posthouse whose configuration uses every key of posthouse.example.toml.

Each test looks at one key's effect on a call. They share a server, a fake
provider and two proxies, so they keep to models and keys of their own.
"""

import contextlib
import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from tests.support import raw
from tests.support.fake import ThreadedFake
from tests.support.posthouse import RECORD_SECONDS, Posthouse

from posthouse.model.money import format_usd

CHAT = "/v1/chat/completions"
PROMPT = "Forty bytes of a prompt, ten whole tokens"
MESSAGES = [{"role": "user", "content": PROMPT[:40]}]
INPUT, CACHED, OUTPUT = 7, 4, 16
"""What the fake provider counts for `MESSAGES`: 1 + 10 tokens, 4 of them cached."""

Test = TypeVar("Test", bound=Callable[..., Any])


def shows(*_keys: str) -> Callable[[Test], Test]:
    """Say of which keys a test shows the effect; read by the completeness test."""
    return lambda test: test


def key_of(name: str) -> str:
    """Give the text of the key of a name."""
    return f"sk-example-{name}-{'0123456789' * 4}"


def wait_for_calls(
    posthouse: Posthouse, column: str, value: str, count: int
) -> list[dict[str, Any]]:
    """Give the calls that have a value, once there are so many.

    They are read from the file: a process per look would make tests slow.
    """
    query = (
        "SELECT calls.*, keys.name AS key FROM calls"
        f" JOIN keys ON keys.id = calls.key_id WHERE {column} = ?"
    )
    deadline = time.monotonic() + RECORD_SECONDS
    path = (posthouse.data / "posthouse.db").as_uri()
    with contextlib.closing(sqlite3.connect(f"{path}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        while True:
            rows = [dict(row) for row in database.execute(query, (value,))]
            if len(rows) >= count:
                break
            assert time.monotonic() < deadline, f"{len(rows)} calls with {value}"
            time.sleep(0.02)
    for row in rows:
        row["usage"] = json.loads(row["usage"])
        row["price_usd"] = format_usd(row["price"])
    return rows


@dataclass
class Answer:
    """A reply and the record that the call left."""

    reply: raw.RawReply
    posthouse: Posthouse
    _record: dict[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.reply.status

    @property
    def code(self) -> str:
        """The error's code."""
        code: str = json.loads(self.reply.body)["error"]["code"]
        return code

    @property
    def record(self) -> dict[str, Any]:
        """The call's row in the database, and the name of its key."""
        if not self._record:
            call_id = str(self.reply.header("x-request-id"))
            [self._record] = wait_for_calls(self.posthouse, "calls.id", call_id, 1)
        return self._record

    @property
    def channel(self) -> str:
        """The channel that answered."""
        assert self.status == 200, self.reply.body
        channel: str = self.record["channel"]
        return channel


@dataclass
class Example:
    """The running server and what stands behind it."""

    posthouse: Posthouse
    fake: ThreadedFake
    folder: Path

    def chat(
        self,
        model: str,
        key: str = "app",
        *headers: tuple[str, str],
        **members: Any,
    ) -> Answer:
        """Ask for a chat; every call is of a session of its own."""
        body = {"model": model, "messages": MESSAGES, **members}
        fields = (
            ("Content-Type", "application/json"),
            ("Authorization", f"Bearer {key_of(key)}"),
            ("X-Session-Id", uuid.uuid4().hex),
            *headers,
        )
        data = json.dumps(body).encode()
        reply = raw.send(self.posthouse.url, CHAT, data, headers=fields)
        return Answer(reply, self.posthouse)

    def get(
        self, target: str, key: str = "app", *headers: tuple[str, str]
    ) -> raw.RawReply:
        """Ask for something else."""
        bearer = ("Authorization", f"Bearer {key_of(key)}")
        return raw.send(
            self.posthouse.url, target, method="GET", headers=(bearer, *headers)
        )

    def models(self, key: str = "app") -> set[str]:
        """The models that a key sees."""
        listed = json.loads(self.get("/v1/models", key).body)["data"]
        return {entry["id"] for entry in listed}

    def meanwhile(self, model: str, key: str = "app", **members: Any) -> "Meanwhile":
        """Make a call on a thread while the test goes on."""
        return Meanwhile(lambda: self.chat(model, key, **members))


class Meanwhile:
    """A call on a thread of its own, ended with the `with` block."""

    def __init__(self, call: Callable[[], Answer]) -> None:
        """Take the call."""
        self._call = call
        self._answers: list[Answer] = []
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self._answers.append(self._call())

    def __enter__(self) -> Self:
        """Begin it."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for its end."""
        self._thread.join(30)

    @property
    def answer(self) -> Answer:
        """What came of it."""
        return self._answers[0]
