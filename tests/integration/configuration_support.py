"""A database on disk and what applying a file to it needs, for the tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from posthouse.settings.loader import LoadedFile, load_file
from posthouse.settings.secret import CREDENTIALS, PEPPER, Secret
from posthouse.storage.configuration import (
    StoredConfiguration,
    Workshop,
    apply_file,
    load_configuration,
)
from posthouse.storage.database import Database, sqlite_url
from posthouse.storage.report import ApplyReport
from posthouse.storage.schema import accounts, metadata, transfers
from posthouse.storage.secrets import SecretBox

SECRET = Secret(b"an installation's secret, long enough")
PROVIDERS = frozenset({"openai", "sandbox", "ollama"})


async def open_account(
    connection: AsyncConnection, account_id: str, name: str, amount: int
) -> bool:
    """Play the ledger: an account with its opening transfer, posted once."""
    known = await connection.scalar(
        select(accounts.c.id).where(accounts.c.id == account_id)
    )
    if known is None:
        await connection.execute(
            insert(accounts).values(
                id=account_id,
                kind="available",
                balance=amount,
                credit_line=0,
                created_ms=0,
            )
        )
    reference = f"opening:{name}"
    posted = await connection.scalar(
        select(transfers.c.id).where(transfers.c.reference == reference)
    )
    if posted is not None or not amount:
        return False
    await connection.execute(
        insert(transfers).values(
            kind="opening",
            reference=reference,
            account_id=account_id,
            reason=str(amount),
            created_ms=0,
        )
    )
    return True


class Installation:
    """A data folder with its database; `apply` writes and applies a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()
        self.path = folder / "posthouse.toml"
        self.database_path = self.data / "posthouse.db"
        self.database = Database(sqlite_url(self.database_path))
        self.box = SecretBox(SECRET.derive(CREDENTIALS))
        self.pepper = SECRET.derive(PEPPER)
        self.environment: dict[str, str] = {}
        self.now = 1_000

    async def create(self) -> None:
        async with self.database.write() as connection:
            await connection.run_sync(metadata.create_all)

    def load(self, text: str) -> LoadedFile:
        self.path.write_text(text, encoding="utf-8")
        return load_file(self.path)

    async def apply(self, text: str) -> ApplyReport:
        workshop = Workshop(
            box=self.box,
            pepper=self.pepper,
            data=self.data,
            open_account=open_account,
            providers=PROVIDERS,
            environment=self.environment,
            clock=lambda: self.now,
        )
        return await apply_file(self.database, self.load(text), workshop)

    async def stored(self) -> StoredConfiguration:
        return await load_configuration(self.database, self.box)

    async def rows(self, table: Any) -> list[dict[str, Any]]:
        async with self.database.read() as connection:
            found = await connection.execute(select(table))
            return [dict(row) for row in found.mappings()]

    def bytes_on_disk(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.data.glob("posthouse.db*"))


@contextmanager
def unchanged_on_disk(installation: Installation) -> Iterator[None]:
    """Fail when the database has another content afterwards."""
    import sqlite3

    def dump() -> list[str]:
        connection = sqlite3.connect(installation.database_path)
        try:
            return list(connection.iterdump())
        finally:
            connection.close()

    before = dump()
    yield
    assert dump() == before
