"""The batches that a provider works on itself, as its file declares them.

[batches]
dialect = "openai"                   # a module of dialects/batches
path = "/batches"
files = "/files"                     # only where requests are files
endpoints = { "/chat/completions" = "/v1/chat/completions" }
                                     # by an operation's path, what they call it
verified = "docs:https://… 2026-01-31"
"""

import re

from msgspec import Struct

from posthouse.catalog.checks import check, require
from posthouse.catalog.operation import VERIFIED
from posthouse.model.catalog import BatchRow

_DIALECT = re.compile(r"[a-z][a-z0-9_]{0,40}")
_PATH = re.compile(r"(/[A-Za-z0-9._-]{1,40}){1,6}")


class BatchTable(Struct, frozen=True, forbid_unknown_fields=True):
    """The table as it stands in the file."""

    dialect: str
    path: str
    endpoints: dict[str, str]
    verified: str
    files: str = ""


def batch_row(table: BatchTable) -> BatchRow:
    """Check a table; raises ValueError with a reason."""
    check(_DIALECT, table.dialect, "batches: dialect")
    paths = (table.path, *table.endpoints, *table.endpoints.values())
    for path in (*paths, table.files) if table.files else paths:
        check(_PATH, path, "batches: the path")
    require(bool(table.endpoints), "batches: nothing can be asked in them")
    check(VERIFIED, table.verified, "batches: verified")
    return BatchRow(
        table.dialect, table.path, table.endpoints, table.files, table.verified
    )
