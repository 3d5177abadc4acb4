"""The auditor's questions to the ledger (what they mean: billing.audit).

All are asked in one read transaction, a consistent snapshot, while the server
goes on writing; the journals are read after it began.
"""

import asyncio
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct
from sqlalchemy import Select, Text, bindparam, column, func, select, text

from posthouse.billing.audit import (
    EXAMPLES,
    AuditReport,
    Findings,
    check_ages,
    check_ended_twice,
)
from posthouse.billing.journal_view import JournalView, view_journals
from posthouse.billing.records import VOID_REASONS
from posthouse.storage.audit_queries import QUERIES
from posthouse.storage.database import Database
from posthouse.storage.engine import AsyncConnection
from posthouse.storage.ledger.queries import read_positions
from posthouse.storage.ownership import now_ms
from posthouse.storage.postgres import relax
from posthouse.storage.schema import accounts, calls, entries, transfers

IDS_PER_QUERY: Final = 500


class Question(Struct, frozen=True):
    """A query of the auditor's, as statements made once."""

    name: str
    first: Select[str]
    """Some of the faults."""
    count: Select[int]
    """How many there are."""


def _question(name: str, query: str) -> Question:
    asked = text(query)
    if ":reasons" in query:
        reasons = bindparam("reasons", sorted(VOID_REASONS), Text, expanding=True)
        asked = asked.bindparams(reasons)
    found = asked.columns(column("fault", Text)).subquery("faults")
    return Question(
        name,
        select(found.c.fault).limit(EXAMPLES),
        select(func.count()).select_from(found),
    )


QUESTIONS: Final = tuple(_question(name, query) for name, query in QUERIES)


async def audit(
    database: Database,
    journals_root: Path,
    *,
    served: Collection[str] = (),
    at_ms: int | None = None,
) -> AuditReport:
    """Check all invariants.

    Args:
        database: the ledger.
        journals_root: the directory of this machine's journals.
        served: the ids of calls that providers say they served (I7).
        at_ms: the time against which ages are measured; now by default.
    """
    findings = Findings()
    async with database.read() as connection:
        await relax(connection)
        positions = await read_positions(connection)
        view = await asyncio.to_thread(view_journals, journals_root, positions)
        for question in QUESTIONS:
            rows = await connection.execute(question.first)
            faults = list(rows.scalars())
            if faults:
                count = await connection.scalar(question.count)
                findings.add(question.name, count or len(faults), faults)
        check_ended_twice(view, await _posted(connection, view.holds), findings)
        counts = await _count(connection, view)
        unknown = await _missing(connection, served, view)
    check_ages(view, now_ms() if at_ms is None else at_ms, findings)
    if unknown:
        # Posted since the snapshot began, perhaps.
        async with database.read() as connection:
            unknown = sorted(set(unknown) - await _posted(connection, unknown))
        lost = [f"call {call_id}: served, and in no ledger" for call_id in unknown]
        findings.add("I7", len(lost), lost)
    return findings.report(counts)


async def _posted(connection: AsyncConnection, ids: Iterable[str]) -> set[str]:
    """Which of the calls have ended in the ledger."""
    names = list(ids)
    found: set[str] = set()
    for start in range(0, len(names), IDS_PER_QUERY):
        part = names[start : start + IDS_PER_QUERY]
        rows = await connection.execute(
            select(transfers.c.reference).where(transfers.c.reference.in_(part))
        )
        found.update(rows.scalars())
    return found


async def _missing(
    connection: AsyncConnection, served: Collection[str], view: JournalView
) -> list[str]:
    """Served calls that neither the snapshot nor a journal knows."""
    known = await _posted(connection, served)
    return sorted(set(served) - known - view.holds.keys() - view.pending.keys())


async def _count(connection: AsyncConnection, view: JournalView) -> dict[str, int]:
    counts = {"open_holds": len(view.holds), "pending": len(view.pending)}
    for table in (accounts, transfers, entries, calls):
        counts[table.name] = (
            await connection.scalar(select(func.count()).select_from(table)) or 0
        )
    overrun = entries.c.account_id == "overrun"
    counts["overruns"] = (
        await connection.scalar(
            select(func.count()).select_from(entries).where(overrun)
        )
        or 0
    )
    return counts
