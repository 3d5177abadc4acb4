"""An installation on disk: its settings, secret, database and catalogue.

Commands that change something open an Installation; opening makes what is
missing (the data folder, the secret, the schema), so that the first command of
a new user simply works. Commands that only look open its Books: that makes and
changes nothing, and goes on beside a running server.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from posthouse.catalog.load import load_catalog
from posthouse.model.catalog import ProviderRow
from posthouse.routing.table import ChannelDefaults, make_channel
from posthouse.settings.database import shown_database
from posthouse.settings.environment import Settings
from posthouse.settings.failure import ConfigurationError
from posthouse.settings.loader import LoadedFile
from posthouse.settings.secret import CREDENTIALS, FILE_NAME, PEPPER, load_secret
from posthouse.storage.configuration import Workshop, apply_file
from posthouse.storage.database import Database
from posthouse.storage.ledger.queries import LedgerReader
from posthouse.storage.migrate import HEAD, UnknownSchema, migrate, schema_version
from posthouse.storage.report import ApplyReport
from posthouse.storage.secrets import SecretBox

DATABASE_NAME = "posthouse.db"
_NOTHING = "holds no installation; run `posthouse init`"


class Books(Struct, frozen=True):
    """What commands that only look work on."""

    settings: Settings
    database: Database

    @property
    def journals(self) -> Path:
        """The folder of this machine's journals."""
        return self.settings.data / "journal"

    @property
    def ledger(self) -> LedgerReader:
        """The ledger, for reading."""
        return LedgerReader(self.database, self.journals)

    def open_box(self) -> SecretBox:
        """Give what opens credentials; raises ConfigurationError without secret."""
        path = self.settings.data / FILE_NAME
        if self.settings.secret is None and not path.exists():
            reason = "is not there, and POSTHOUSE_SECRET is not set"
            raise ConfigurationError(str(path), None, reason)
        return SecretBox(load_secret(self.settings).derive(CREDENTIALS))


class Installation(Books, frozen=True):
    """What commands that change something work on."""

    box: SecretBox
    pepper: bytes
    catalog: Mapping[str, ProviderRow]

    async def apply(self, file: LoadedFile) -> ApplyReport:
        """Make the database say what a configuration file says.

        Raises ConfigurationError, and then nothing has changed.
        """
        self._check_channels(file)
        return await apply_file(
            self.database,
            file,
            Workshop(
                box=self.box,
                pepper=self.pepper,
                data=self.settings.data,
                providers=self.catalog.keys(),
            ),
        )

    def _check_channels(self, file: LoadedFile) -> None:
        """Refuse a channel that could not be served, before it is stored."""
        for index, spec in enumerate(file.configuration.channels):
            provider = self.catalog.get(spec.provider)
            if provider is None:
                continue  # `apply_file` refuses it with a guess at what was meant
            try:
                make_channel(spec, provider, (), ChannelDefaults())
            except ValueError as error:
                raise file.refuse(("channels", index), str(error)) from None


@asynccontextmanager
async def open_installation(
    settings: Settings, *, make: bool = True
) -> AsyncIterator[Installation]:
    """Open the installation in `settings.data`, bringing its schema up to date.

    Args:
        settings: of the command.
        make: make what is missing; otherwise an installation that is not there
            raises ConfigurationError.
    """
    _check_folder(settings, must_exist=not make)
    database = Database(settings.database_url, durable=settings.durability == "power")
    try:
        if not make:
            await _require_schema(settings, database)
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        secret = load_secret(settings)
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


@asynccontextmanager
async def open_books(settings: Settings) -> AsyncIterator[Books]:
    """Open what is there for looking at it; nothing is made or migrated.

    Raises ConfigurationError when there is nothing, or it needs a migration.
    """
    _check_folder(settings, must_exist=True)
    database = Database(settings.database_url)
    try:
        version = await _require_schema(settings, database)
        if version is None or version < HEAD:
            reason = "its schema is not up to date; run `posthouse migrate`"
            raise ConfigurationError("the database", None, reason)
        if version != HEAD:
            raise UnknownSchema(f"the database is at step {version}, unknown here")
        yield Books(settings, database)
    finally:
        await database.close()


async def _require_schema(settings: Settings, database: Database) -> str | None:
    """Give its step; raise ConfigurationError when a server has no installation."""
    version = await schema_version(database)
    if version is None and settings.database is not None:
        raise ConfigurationError(shown_database(settings.database), None, _NOTHING)
    return version


def _check_folder(settings: Settings, *, must_exist: bool) -> None:
    """Raise ConfigurationError when the data folder cannot be the right one."""
    if settings.data.exists() and not settings.data.is_dir():
        raise ConfigurationError(str(settings.data), None, "is not a folder")
    if not must_exist or settings.database is not None:
        return
    if not (settings.data / DATABASE_NAME).exists():
        reason = f"{_NOTHING}, or name one with --data"
        raise ConfigurationError(str(settings.data), None, reason)
