"""What the catalogue's files are held to; each raises ValueError with a reason."""

import re
from typing import Any

import msgspec

from posthouse.model.traits import Traits

DATE = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")

HEADER = re.compile(r"[a-z][a-z0-9-]{0,40}: [ -~]{1,200}")


def require(condition: bool, reason: str) -> None:
    """Hold to a condition."""
    if not condition:
        raise ValueError(reason)


def check(pattern: re.Pattern[str], text: str, what: str) -> None:
    """Hold a text to a pattern."""
    require(pattern.fullmatch(text) is not None, f"{what} {text!r} is malformed")


def traits_table(table: dict[str, Any]) -> dict[str, Any]:
    """Hold a table to what `Traits` may say; gives the table."""
    msgspec.convert(table, Traits)
    return table
