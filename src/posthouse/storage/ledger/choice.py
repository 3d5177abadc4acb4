"""Which ledger belongs to a database's URL."""

import secrets
from pathlib import Path
from typing import Final

from posthouse.billing.ports import LedgerStore
from posthouse.settings.secret import write_private
from posthouse.storage.ledger.sqlite import SqliteLedger

HOME: Final = "home.id"
"""A file in the data folder that names it among those of other nodes."""


def open_ledger(url: str, data: Path, *, durable: bool) -> LedgerStore:
    """Open the ledger for one thread; raises LedgerUnavailable.

    Args:
        url: the database.
        data: the folder of which the journals are.
        durable: SQLite syncs at every commit; PostgreSQL always does.
    """
    if url.startswith("sqlite"):
        return SqliteLedger(Path(url.partition("///")[2]), durable=durable)
    # Imported late, as its driver is: an installation on SQLite needs neither.
    from posthouse.storage.ledger.postgres import PostgresLedger  # noqa: PLC0415

    return PostgresLedger(url, home=home_of(data))


def home_of(data: Path) -> str:
    """The name of a data folder, which it is given the first time."""
    path = data / HOME
    write_private(path, lambda: secrets.token_hex(12) + "\n")
    return path.read_text(encoding="ascii").strip()
