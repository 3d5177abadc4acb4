"""A database on disk and what applying a file to it needs, for the tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select
from tests.support import store

from posthouse.settings.loader import LoadedFile, load_file
from posthouse.settings.secret import CREDENTIALS, PEPPER, Secret
from posthouse.storage.configuration import (
    StoredConfiguration,
    Workshop,
    apply_file,
    load_configuration,
)
from posthouse.storage.database import Database
from posthouse.storage.key_reader import StoredKeys
from posthouse.storage.report import ApplyReport
from posthouse.storage.schema import metadata
from posthouse.storage.secrets import SecretBox

SECRET = Secret(b"an installation's secret, long enough")
PROVIDERS = frozenset({"openai", "sandbox", "ollama"})


class Installation:
    """A data folder with its database; `apply` writes and applies a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()
        self.path = folder / "posthouse.toml"
        self.database_path = self.data / "posthouse.db"
        self.url = store.new_installation(self.database_path)
        self.database = Database(self.url)
        self.key_store = StoredKeys(self.database)
        self.box = SecretBox(SECRET.derive(CREDENTIALS))
        self.pepper = SECRET.derive(PEPPER)
        self.environment: dict[str, str] = {}
        self.now = 1_000

    async def close(self) -> None:
        await self.key_store.close()
        await self.database.close()

    def load(self, text: str) -> LoadedFile:
        self.path.write_text(text, encoding="utf-8")
        return load_file(self.path)

    async def apply(self, text: str) -> ApplyReport:
        workshop = Workshop(
            box=self.box,
            pepper=self.pepper,
            data=self.data,
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

    def dump(self) -> list[str]:
        """All that the database has."""
        if self.url.startswith("sqlite"):
            import sqlite3

            connection = sqlite3.connect(self.database_path)
            try:
                return list(connection.iterdump())
            finally:
                connection.close()
        from tests.support.postgres import execute

        return [
            f"{table.name}: {row}"
            for table in metadata.sorted_tables
            for row in sorted(execute(self.url, f"SELECT * FROM {table.name}"))
        ]

    def bytes_on_disk(self) -> bytes:
        if not self.url.startswith("sqlite"):
            return "\n".join(self.dump()).encode()
        return b"".join(path.read_bytes() for path in self.data.glob("posthouse.db*"))


@contextmanager
def unchanged_on_disk(installation: Installation) -> Iterator[None]:
    """Fail when the database has another content afterwards."""
    before = installation.dump()
    yield
    assert installation.dump() == before
