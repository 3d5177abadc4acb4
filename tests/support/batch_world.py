"""A database with what works on batches, a clock, and no provider."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import insert, update

from posthouse.files.service import FileLimits, Files, Limit
from posthouse.settings.environment import Settings
from posthouse.storage.batch_lines import StoredLines
from posthouse.storage.batches import StoredBatches
from posthouse.storage.blobs import ObjectBlobs
from posthouse.storage.database import Database
from posthouse.storage.files import StoredFiles, StoredRemovals
from posthouse.storage.schema import journals
from posthouse.storage.secrets import SecretBox
from posthouse.tasks.batch_run import Slots, Supply, Tools
from posthouse.tasks.batches import BatchWorker
from posthouse.tasks.ports import KeepAnswer
from posthouse.tasks.records import (
    ENDED,
    Batch,
    BatchAPI,
    BatchDetails,
    BatchState,
    Bought,
    LineCall,
    LineError,
    LineReply,
    Place,
)

OURS, THEIRS = "journal-ours", "journal-theirs"
NOW = 1_800_000_000.0
LINE = b'{"custom_id":"line-%d","url":"/v1/x","body":{"n":%d}}'
LINE_BYTES = len(LINE % (1, 1))
Answer = Callable[[LineCall, KeepAnswer], Awaitable[LineReply]]


class Runner:
    """Makes no calls: a test says what comes of each."""

    def __init__(self) -> None:
        self.answer: Answer = self.good
        self.calls: list[str] = []

    def takes(self, endpoint: str) -> bool:
        return True

    async def judge(self, call: LineCall) -> LineError | None:
        return None

    async def run(
        self, call: LineCall, keep: KeepAnswer, bought: Bought | None = None
    ) -> LineReply:
        self.calls.append(call.call_id)
        if bought is not None:
            return await self.answered(bought, keep)
        return await self.answer(call, keep)

    async def answered(self, bought: Bought, keep: KeepAnswer) -> LineReply:
        if bought.status == 200:
            await keep(bought.body)
        return LineReply(bought.status, bought.body)

    async def place(self, call: LineCall, without: frozenset[str]) -> Place | None:
        return None

    async def good(self, call: LineCall, keep: KeepAnswer) -> LineReply:
        body = (
            b'{"for":%b,"usage":{"prompt_tokens":2,"completion_tokens":3}}' % call.body
        )
        await keep(body)
        return LineReply(200, body)


async def _settled() -> None:
    """The ledger has everything, always."""


class World:
    """A database with what works on batches, and a clock."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.now = NOW
        self.database = database
        self.files = Files(
            StoredFiles(database),
            StoredRemovals(database),
            ObjectBlobs(Settings(data=folder)),
            limits=FileLimits(2**30, 2**30),
            clock=lambda: self.now,
        )
        self.rows = StoredBatches(database)
        self.lines = StoredLines(database, SecretBox(bytes(32)), self.files)
        self.runner = Runner()
        self.supply: Supply | None = None

    def worker(self, owner: str = OURS) -> BatchWorker:
        tools = Tools(
            self.rows,
            self.lines,
            self.files,
            self.runner,
            Slots(4),
            _settled,
            self.supply,
        )
        return BatchWorker(tools, owner)

    async def begin(
        self, count: int, name: str = "batch_1", account_id: str = "one", **more: Any
    ) -> Batch:
        got = await self.files.receive(Limit(2**30))
        for number in range(1, count + 1):
            await got.write(LINE % (number, number) + b"\n")
        await got.finish()
        now = int(self.now * 1000)
        batch = Batch(
            id=name,
            account_id=account_id,
            key_id="key",
            api=BatchAPI.OPENAI,
            endpoint="/v1/x",
            state=BatchState.VALIDATING,
            input_file="file-1",
            input_blob=got.blob,
            completion_window="24h",
            details=BatchDetails(),
            created_ms=now,
            expires_ms=now + 86_400_000,
        )
        batch = msgspec.structs.replace(batch, **more)
        await self.rows.add(batch)
        return batch

    async def ended(self, name: str = "batch_1", account_id: str = "one") -> Batch:
        async with asyncio.timeout(30):
            while True:
                batch = await self.rows.find(name, account_id)
                assert batch is not None
                if batch.state in ENDED:
                    return batch
                await asyncio.sleep(0.01)

    async def output(self, name: str | None) -> dict[str, Any]:
        if name is None:
            return {}
        text = await self.files.whole(await self.files.find(name, "one"))
        found = [msgspec.json.decode(line) for line in text.splitlines()]
        return {line["custom_id"]: line for line in found}

    async def journal(self, name: str, state: str) -> None:
        async with self.database.write() as connection:
            await connection.execute(
                insert(journals), [{"id": name, "state": state, "created_ms": 1}]
            )

    async def end_journal(self, name: str) -> None:
        async with self.database.write() as connection:
            await connection.execute(
                update(journals).where(journals.c.id == name).values(state="recovered")
            )
