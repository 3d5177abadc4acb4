"""Transactions that are cancelled before they have begun leave nothing behind."""

import asyncio
import sqlite3
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from posthouse.storage.database import Database, sqlite_url

CONNECT = sqlite3.connect
SECONDS = 0.05
"""Longer than a loop needs to end."""


def slow(*args: Any, **kwargs: Any) -> Any:
    time.sleep(SECONDS)
    return CONNECT(*args, **kwargs)


def test_no_thread_answers_to_a_loop_that_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever it is cancelled: while it connects, or in the first words."""
    faults: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", faults.append)
    url = sqlite_url(tmp_path / "some.db")

    async def work(database: Database) -> None:
        async with database.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def cancelled(after: float) -> None:
        database = Database(url)
        task = asyncio.create_task(work(database))
        await asyncio.sleep(after)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await database.close()

    others = threading.active_count()
    monkeypatch.setattr(sqlite3, "connect", slow)
    asyncio.run(cancelled(0.001))
    monkeypatch.setattr(sqlite3, "connect", CONNECT)
    for step in range(20):
        asyncio.run(cancelled(step * 0.0003))
    end = time.monotonic() + 10
    while threading.active_count() > others and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() == others
    assert not [fault.exc_value for fault in faults]
