"""Files that providers have been given: remembered, and deleted in the end."""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs
from tests.support import store as databases

from posthouse.files.records import StoredFile
from posthouse.model.exchange import (
    Certainty,
    ExchangeFailure,
    FailureKind,
    Timeouts,
    UpstreamRequest,
)
from posthouse.relay.resources.copy_sweep import FIRST_MS, LONGEST_MS, CopySweeper
from posthouse.relay.resources.file_copies import Copy, FileCopies, owned
from posthouse.storage.database import Database
from posthouse.storage.file_copies import StoredCopies
from posthouse.storage.files import StoredFiles
from posthouse.storage.objects import StoredObjects

pytestmark = pytest.mark.usefixtures("store")

FILE = StoredFile("file-1", "one", "a.txt", "user_data", "text/plain", 3, "b1", 1)


def copy(name: str, channel: str = "main", **more: Any) -> Copy:
    """One of the file's."""
    known = {"file_id": FILE.id, "account_id": "one", "family": "openai"}
    known |= {"credential": b"key", "purpose": "assistants", "created_ms": 1}
    return Copy(id=name, channel=channel, **(known | more))


@pytest.fixture
async def database(store: str, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty one with its tables, but for the file."""
    database = Database(databases.new_installation(tmp_path / "posthouse.db"))
    await StoredFiles(database).add(FILE, None)
    yield database
    await database.close()


async def test_copies_are_found_by_either_name(database: Database) -> None:
    rows = StoredCopies(database)
    first, second = copy("up-1"), copy("up-1", "other", created_ms=2)
    for one in (second, first, first):
        await rows.add(one)
    assert await rows.of_files([FILE.id, "file-2"]) == [first, second]
    assert await rows.named(["up-1"]) == [first, second]
    assert await rows.named([]) == []
    await rows.gone(second)
    assert await rows.of_files([FILE.id]) == [first]


class Providers:
    """Answers what it is asked to delete."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.statuses: list[int] = []

    async def send(self, request: UpstreamRequest, _: object = None) -> Any:
        """Take a request."""
        self.asked.append(f"{request.method} {request.target}")
        status = self.statuses.pop(0)
        if not status:
            raise ExchangeFailure(FailureKind.CONNECT, Certainty.NOT_SENT)
        return SimpleNamespace(status=status, release=lambda: None)


def channel() -> Any:
    """What is configured."""
    return SimpleNamespace(
        name="main",
        credentials=("other", "key"),
        base_path="/v1",
        origin="https://provider.example",
        timeouts=Timeouts(),
        provider=SimpleNamespace(resources={"openai": ""}, headers={}),
        spec=SimpleNamespace(headers={}, proxy=None),
    )


async def test_copies_of_deleted_files_are_deleted_until_they_are(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posthouse.relay.prepare.channel_headers", lambda *_: ())
    rows, objects, providers = (
        StoredCopies(database),
        StoredObjects(database),
        Providers(),
    )
    now = 1_000.0
    copies = FileCopies(
        rows,
        objects,
        None,  # type: ignore[arg-type]  # nothing is uploaded
        None,  # type: ignore[arg-type]  # the same
        digest=str.encode,
    )
    table: Any = SimpleNamespace(channels={"main": channel()})
    sweeper = CopySweeper(copies, providers, lambda: table, wall_clock=lambda: now)  # type: ignore[arg-type]  # that is enough of one
    kept, elsewhere = copy("up-1"), copy("up-2", "removed")
    for one in (kept, elsewhere):
        await rows.add(one)
        await objects.learn([owned(one)])
    assert await sweeper.sweep() == 0
    assert providers.asked == []
    await StoredFiles(database).remove(FILE.id, "one")
    for tries, status in enumerate([0, 500, 429]):
        providers.statuses = [status]
        assert await sweeper.sweep() == 0
        assert providers.asked == ["DELETE /v1/files/up-1"] * (tries + 1)
        # It is put off.
        assert await sweeper.sweep() == 0
        now += FIRST_MS / 1000 * 2**tries + 1
    providers.statuses = [404]
    assert await sweeper.sweep() == 1
    assert await rows.named(["up-1"]) == []
    assert await objects.find(["up-1"]) == []
    # What nobody can reach now is remembered.
    [left] = await rows.named(["up-2"])
    assert left == structs.replace(elsewhere, tries=4, due_ms=left.due_ms)
    assert left.due_ms <= now * 1000 + LONGEST_MS
