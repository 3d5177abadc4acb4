"""Who owns a row: the configuration file, or the database itself.

File-owned rows are read-only to everyone but the file; the file never touches
the others; and no name is in both.
"""

import secrets
import time
from enum import StrEnum


class Owner(StrEnum):
    """What a row is changed through."""

    FILE = "file"
    DATABASE = "database"


class Refused(Exception):
    """A change that cannot be made; str() tells the operator why."""


def new_id() -> str:
    """Make an id that no other row has."""
    return secrets.token_hex(12)


def now_ms() -> int:
    """Give Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def require_owner(kind: str, name: str, owner: str) -> None:
    """Raise Refused when a row belongs to the file."""
    if owner == Owner.FILE:
        raise Refused(
            f"the {kind} {name!r} comes from the configuration file; change it there"
        )
