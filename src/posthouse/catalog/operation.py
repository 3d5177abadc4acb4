"""Reading the operations of a provider's file; see `load` for what one holds."""

import re
from typing import Any

from msgspec import Struct

from posthouse.catalog.checks import DATE, HEADER, check, require, traits_table
from posthouse.model.call import Operation
from posthouse.model.catalog import (
    FAILED,
    FINISH_REASONS,
    OperationRow,
    Quirks,
    Replies,
    StreamUsage,
)
from posthouse.wire import json

_DIALECT = re.compile(r"[a-z][a-z0-9_]{0,40}")
_ROUTE = re.compile(r"/|(/([A-Za-z0-9._~:-]|\{model\})+)+")
_QUERY = re.compile(r"[A-Za-z0-9._~-]{1,100}")
VERIFIED = re.compile(rf"sdk|unverified|docs:https://\S+ {DATE.pattern}")


class _Quirks(Struct, frozen=True, forbid_unknown_fields=True):
    rename: dict[str, str] = {}
    drop: tuple[str, ...] = ()
    default: dict[str, Any] = {}
    clamp: dict[str, tuple[float, float]] = {}
    stream_usage: StreamUsage = StreamUsage.REQUEST


class OtherDialect(Struct, frozen=True, forbid_unknown_fields=True):
    """A dialect that an operation is spoken in as well."""

    path: str
    verified: str
    query: dict[str, str] = {}
    stream_path: str = ""
    stream_query: dict[str, str] = {}
    stream_headers: dict[str, str] = {}
    count_path: str = ""
    quirks: _Quirks = _Quirks()
    replies: Replies = Replies()
    traits: dict[str, Any] = {}


class OperationTable(OtherDialect, frozen=True, kw_only=True):
    """An operation, as a file has it."""

    dialect: str
    also: dict[str, OtherDialect] = {}


def operation_row(operation: Operation, table: OperationTable) -> OperationRow:
    """Check an operation and give its row."""
    what = f"operations.{operation}"
    require(table.dialect not in table.also, f"{what}: {table.dialect} stands twice")
    return _row(what, table.dialect, table, table.also)


def _row(
    what: str, dialect: str, table: OtherDialect, also: dict[str, OtherDialect]
) -> OperationRow:
    for path in filter(None, (table.path, table.stream_path, table.count_path)):
        check(_ROUTE, path, f"{what}: the path")
    for query in (table.query, table.stream_query):
        for text in (*query, *query.values()):
            check(_QUERY, text, f"{what}: the query")
    for header in table.stream_headers.items():
        check(HEADER, ": ".join(header), f"{what}: the header")
    check(_DIALECT, dialect, f"{what}: the dialect")
    check(VERIFIED, table.verified, f"{what}: verified")
    for reason in table.replies.finish_reasons.values():
        known = reason in FINISH_REASONS or reason == FAILED
        require(known, f"{what}: nobody knows the finish reason {reason!r}")
    return OperationRow(
        path=table.path,
        dialect=dialect,
        verified=table.verified,
        quirks=_quirks(what, table.quirks),
        replies=None if table.replies == Replies() else table.replies,
        query=table.query,
        stream_path=table.stream_path,
        stream_query=table.stream_query,
        stream_headers=table.stream_headers,
        count_path=table.count_path,
        traits=traits_table(table.traits),
        also={
            name: _row(f"{what}.also.{name}", name, o, {}) for name, o in also.items()
        },
    )


def _quirks(what: str, table: _Quirks) -> Quirks:
    for field, (low, high) in table.clamp.items():
        require(low <= high, f"{what}: the bounds of {field!r} are the wrong way")
    for old, new in table.rename.items():
        require(old != new, f"{what}: {old!r} is renamed to itself")
    return Quirks(
        rename=table.rename,
        drop=table.drop,
        default={name: json.raw(value) for name, value in table.default.items()},
        clamp=table.clamp,
        stream_usage=table.stream_usage,
    )
