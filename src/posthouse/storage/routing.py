"""Policies and rules of routing in the database, in the order of their owner."""

from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

from msgspec import Struct
from sqlalchemy import delete, insert, select

from posthouse.settings.file import RoutingSpec, RuleSpec
from posthouse.storage.engine import AsyncConnection
from posthouse.storage.ownership import Owner
from posthouse.storage.schema import routing
from posthouse.wire import json

T = TypeVar("T", bound=Struct)


class Kind(StrEnum):
    """What a row is."""

    POLICY = "policy"
    RULE = "rule"


async def list_policies(
    connection: AsyncConnection, owner: Owner | None = None
) -> list[RoutingSpec]:
    """Give the policies of one owner or of all."""
    return await _list(connection, Kind.POLICY, RoutingSpec, owner)


async def list_rules(
    connection: AsyncConnection, owner: Owner | None = None
) -> list[RuleSpec]:
    """Give the rules of one owner or of all, in the order in which they are asked."""
    return await _list(connection, Kind.RULE, RuleSpec, owner)


async def _list(
    connection: AsyncConnection, kind: Kind, form: type[T], owner: Owner | None
) -> list[T]:
    statement = (
        select(routing.c.specification)
        .where(routing.c.kind == kind)
        .order_by(routing.c.position, routing.c.name)
    )
    if owner is not None:
        statement = statement.where(routing.c.owner == owner)
    rows = await connection.execute(statement)
    return [json.decode(row.specification.encode(), form) for row in rows]


async def names_of_database(connection: AsyncConnection, kind: Kind) -> set[str]:
    """Give the names that the file may not use."""
    rows = await connection.execute(
        select(routing.c.name).where(
            routing.c.kind == kind, routing.c.owner == Owner.DATABASE
        )
    )
    return {row.name for row in rows}


async def replace_file(
    connection: AsyncConnection, kind: Kind, specs: Iterable[tuple[str, Struct]]
) -> None:
    """Make these the file's, by name; the caller tells the feed of changes."""
    await connection.execute(
        delete(routing).where(routing.c.kind == kind, routing.c.owner == Owner.FILE)
    )
    rows = [
        {
            "kind": kind,
            "name": name,
            "position": position,
            "specification": json.encode(spec).decode(),
            "owner": Owner.FILE,
        }
        for position, (name, spec) in enumerate(specs)
    ]
    if rows:
        await connection.execute(insert(routing), rows)
