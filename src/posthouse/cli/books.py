"""`posthouse calls`, `ledger` and `audit`: what happened, and whether it is true."""

import sys
from typing import Any

from msgspec import to_builtins

from posthouse.billing.audit import AuditReport
from posthouse.cli.installation import Installation, open_installation
from posthouse.cli.options import AsJSON, Data, run
from posthouse.cli.output import print_json, print_line, print_table, show_time
from posthouse.model.money import format_usd
from posthouse.settings.environment import load_settings
from posthouse.settings.failure import ConfigurationError
from posthouse.storage.audit import audit as check_books
from posthouse.storage.keys import find_key
from posthouse.storage.ledger_queries import LedgerLine, StoredCall


def calls(
    *,
    key: str | None = None,
    limit: int = 20,
    data: Data = None,
    as_json: AsJSON = False,
) -> None:
    """List the latest calls: model, channel, tokens, prices, times, outcome."""

    async def work() -> list[StoredCall]:
        async with open_installation(load_settings(data=data)) as installation:
            key_id = await _key_id(installation, key)
            return await installation.ledger.calls(key_id=key_id, limit=limit)

    found = run(work())
    if as_json:
        print_json([_call_object(call) for call in found])
        return
    rows = []
    for call in found:
        record = call.record
        rows.append(
            [
                show_time(record.created_ms),
                record.id,
                record.requested_model,
                record.channel,
                " ".join(f"{unit}={n}" for unit, n in record.usage.items()),
                format_usd(record.price),
                None if record.cost is None else format_usd(record.cost),
                record.status,
                record.outcome,
                record.first_token_ms or None,
                record.total_ms,
            ]
        )
    columns = (
        "time",
        "call",
        "model",
        "channel",
        "usage",
        "price_usd",
        "cost_usd",
        "status",
        "outcome",
        "first_ms",
        "total_ms",
    )
    print_table(columns, rows, empty="There are no calls yet.")


def _call_object(call: StoredCall) -> dict[str, Any]:
    record = call.record
    names = record.__struct_fields__
    found = {name: to_builtins(getattr(record, name)) for name in names}
    found["attempts"] = [
        {name: getattr(attempt, name) for name in attempt.__struct_fields__}
        for attempt in record.attempts
    ]
    return found


def ledger(
    *,
    key: str | None = None,
    call: str | None = None,
    limit: int = 50,
    internal: bool = False,
    data: Data = None,
    as_json: AsJSON = False,
) -> None:
    """List ledger lines, the newest first.

    Args:
        key: Only this key's account.
        call: Only this call's.
        limit: How many.
        internal: Also draws and returns, which move money between pockets.
        data: Data folder; default ./data.
        as_json: Print JSON.
    """

    async def work() -> list[LedgerLine]:
        async with open_installation(load_settings(data=data)) as installation:
            account = None
            if key is not None:
                async with installation.database.read() as connection:
                    row = await find_key(connection, key)
                if row is None:
                    raise ConfigurationError("key", None, f"there is no key {key!r}")
                account = row.account_id
            return await installation.ledger.lines(
                account_id=account, call_id=call, limit=limit, internal=internal
            )

    lines = run(work())
    if as_json:
        print_json([to_builtins(line) for line in lines])
    else:
        print_ledger(lines)


def print_ledger(lines: list[LedgerLine]) -> None:
    """Print ledger lines for people."""
    rows = [
        [
            line.id,
            show_time(line.created_ms),
            line.kind,
            line.reference or None,
            line.account_id,
            format_usd(line.amount),
            line.reason or None,
        ]
        for line in lines
    ]
    columns = ("line", "time", "kind", "reference", "account", "usd", "reason")
    print_table(columns, rows, empty="The ledger is empty.")


async def _key_id(installation: Installation, name: str | None) -> str | None:
    if name is None:
        return None
    async with installation.database.read() as connection:
        row = await find_key(connection, name)
    if row is None:
        raise ConfigurationError("key", None, f"there is no key {name!r}")
    return row.id


def audit(*, data: Data = None, as_json: AsJSON = False) -> None:
    """Check the books: I1 to I10. Exit code 1 if anything is wrong."""

    async def work() -> AuditReport:
        async with open_installation(load_settings(data=data)) as installation:
            return await check_books(installation.database, installation.journals)

    report = run(work())
    if as_json:
        print_json(to_builtins(report))
    else:
        rows = [
            [
                check.name,
                "ok" if check.passed else f"{check.faults} faults",
                check.title,
                "; ".join(check.examples) or None,
            ]
            for check in report.checks
        ]
        print_table(("check", "result", "promise", "examples"), rows, empty="")
        counted = ", ".join(f"{name} {count}" for name, count in report.counts.items())
        print_line(f"{'clean' if report.clean else 'FAULTS FOUND'}: {counted}")
    sys.exit(0 if report.clean else 1)
