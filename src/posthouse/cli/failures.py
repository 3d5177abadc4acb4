"""What an operator is told when a command fails: one line, and an exit code.

An exception that is not known here is a fault of the program, and its
traceback is what a report of it needs.
"""

import sqlite3
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct
from sqlalchemy.exc import DBAPIError

from posthouse.errors import StorageUnavailable
from posthouse.settings.failure import ConfigurationError
from posthouse.storage.migrate import MigrationFailed, UnknownSchema
from posthouse.storage.secrets import SealBroken

FAILED = 1
MISUSED = 2
_BUSY = "the database is busy: another program is writing to it; try again"


class CommandFailed(Exception):
    """A command did not do what it was asked for; str() says why."""


Known = tuple[tuple[type[BaseException], ...], Callable[[Any], str], int]
"""Kinds of exceptions, what is said of them, and the exit code."""


class Failure(Struct, frozen=True):
    """How a command ends."""

    message: str
    code: int


def explain(error: BaseException) -> Failure | None:
    """Say what went wrong; None when it is a fault of the program."""
    for kinds, describe, code in _KNOWN:
        if isinstance(error, kinds):
            return Failure(describe(error), code)
    return None


def _newer(error: Exception) -> str:
    return f"{error}: a newer version of posthouse made it; use that one"


def _system(error: Any) -> str:
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}"


def _database(error: Exception) -> str:
    """Name the database's reason, without the statement and its values."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    reason = str(cause)
    if "locked" in reason or "busy" in reason:
        return _BUSY
    if "unable to open" in reason or "readonly" in reason:
        return f"the database: {reason}; look at the data folder's permissions"
    return f"the database: {reason}"


def _storage(error: Exception) -> str:
    """Name the reason behind the service's own error."""
    cause = error.__cause__ or error.__context__
    found = explain(cause) if cause is not None else None
    return found.message if found else str(error)


_KNOWN: Final[tuple[Known, ...]] = (
    ((ConfigurationError, SealBroken), str, MISUSED),
    ((CommandFailed, MigrationFailed), str, FAILED),
    ((UnknownSchema,), _newer, FAILED),
    ((StorageUnavailable,), _storage, FAILED),
    ((DBAPIError, sqlite3.Error), _database, FAILED),
    ((OSError,), _system, FAILED),
)
