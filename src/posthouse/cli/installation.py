"""An installation on disk: its settings, secret, database and catalogue.

Every command opens one. Opening makes what is missing (the data folder, the
secret, the schema), so the first command of a new user simply works.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from posthouse.catalog.load import load_catalog
from posthouse.model.catalog import ProviderRow
from posthouse.settings.environment import Settings
from posthouse.settings.loader import LoadedFile
from posthouse.settings.secret import CREDENTIALS, PEPPER, load_secret
from posthouse.storage.configuration import Workshop, apply_file
from posthouse.storage.database import Database
from posthouse.storage.ledger_accounts import open_account
from posthouse.storage.ledger_queries import LedgerReader
from posthouse.storage.migrate import migrate
from posthouse.storage.report import ApplyReport
from posthouse.storage.secrets import SecretBox


class Installation(Struct, frozen=True):
    """What commands work on."""

    settings: Settings
    database: Database
    box: SecretBox
    pepper: bytes
    catalog: Mapping[str, ProviderRow]

    @property
    def journals(self) -> Path:
        """The folder of this machine's journals."""
        return self.settings.data / "journal"

    @property
    def ledger(self) -> LedgerReader:
        """The ledger, for reading."""
        return LedgerReader(self.database, self.journals)

    async def apply(self, file: LoadedFile) -> ApplyReport:
        """Make the database say what a configuration file says.

        Raises ConfigurationError, and then nothing has changed.
        """
        return await apply_file(
            self.database,
            file,
            Workshop(
                box=self.box,
                pepper=self.pepper,
                data=self.settings.data,
                open_account=open_account,
                providers=self.catalog.keys(),
            ),
        )


@asynccontextmanager
async def open_installation(settings: Settings) -> AsyncIterator[Installation]:
    """Open the installation in `settings.data`, bringing its schema up to date."""
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    secret = load_secret(settings)
    database = Database(settings.database, durable=settings.durability == "power")
    try:
        await migrate(database)
        yield Installation(
            settings=settings,
            database=database,
            box=SecretBox(secret.derive(CREDENTIALS)),
            pepper=secret.derive(PEPPER),
            catalog=load_catalog(),
        )
    finally:
        await database.close()
