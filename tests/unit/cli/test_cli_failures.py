"""What goes wrong is told in one line, with the exit code that fits."""

import sqlite3

from sqlalchemy.exc import OperationalError
from tests.support.cases import each

from posthouse.cli.failures import FAILED, MISUSED, CommandFailed, explain
from posthouse.errors import StorageUnavailable
from posthouse.settings.failure import ConfigurationError
from posthouse.storage.migrate import UnknownSchema
from posthouse.storage.secrets import SealBroken

BUSY = sqlite3.OperationalError("database is locked")


@each(
    ("error", "words", "code"),
    [
        (ConfigurationError("a.toml", 7, "is wrong"), "a.toml:7: is wrong", MISUSED),
        (SealBroken("channels/1 does not open"), "does not open", MISUSED),
        (CommandFailed("no luck"), "no luck", FAILED),
        (UnknownSchema("at step 9"), "newer version", FAILED),
        (BUSY, "busy", FAILED),
        (OperationalError("SELECT secret", {"a": "canary"}, BUSY), "busy", FAILED),
        (sqlite3.OperationalError("unable to open database file"), "permis", FAILED),
        (sqlite3.DatabaseError("file is not a database"), "not a database", FAILED),
        (PermissionError(13, "Permission denied", "data/x"), "data/x: Perm", FAILED),
    ],
)
def test_known_failures(error: Exception, words: str, code: int) -> None:
    """One line that names the thing, never a statement or its values."""
    failure = explain(error)
    assert failure is not None
    assert words in failure.message
    assert "\n" not in failure.message
    assert "canary" not in failure.message
    assert failure.code == code


def test_the_reason_behind_a_storage_failure_is_told() -> None:
    """The service's own words say less."""
    error = StorageUnavailable()
    error.__cause__ = BUSY
    failure = explain(error)
    assert failure is not None
    assert "busy" in failure.message


def test_a_fault_of_the_program_is_not_explained_away() -> None:
    """Its traceback is what a report of it needs."""
    assert explain(TypeError("bug")) is None
