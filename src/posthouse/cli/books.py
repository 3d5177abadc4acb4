"""`posthouse calls`, `ledger` and `audit`: what happened, and whether it is true.

They only look, also while a server runs. Amounts are exact decimal strings of
US dollars; `--json` has them beside the integers of 10⁻⁹ US dollars.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from cyclopts import Parameter
from msgspec import to_builtins

from posthouse.billing.audit import AuditReport
from posthouse.cli.installation import Books, open_books
from posthouse.cli.options import AsJSON, Data, Limit, command, run
from posthouse.cli.output import (
    Column,
    print_json,
    print_line,
    print_table,
    show_time,
    working,
)
from posthouse.model.call import Outcome
from posthouse.model.money import format_usd
from posthouse.settings.environment import load_settings
from posthouse.settings.failure import ConfigurationError
from posthouse.storage.audit import audit as check_books
from posthouse.storage.keys import (
    DEFAULT_ACCOUNT,
    KeyRow,
    account_of,
    find_key,
    key_names,
)
from posthouse.storage.ledger.queries import LedgerLine, StoredCall

CALL_COLUMNS: Final = (
    Column("time"),
    Column("call", 4),
    Column("key", 2),
    Column("operation", 2),
    Column("model"),
    Column("channel", 3),
    Column("usage", 6),
    Column("price_usd", right=True),
    Column("cost_usd", 5, right=True),
    Column("status", 1, right=True),
    Column("outcome"),
    Column("error", 7),
    Column("first_ms", 8, right=True),
    Column("upstream_ms", 9, right=True),
    Column("own_ms", 10, right=True),
    Column("total_ms", 3, right=True),
)
LEDGER_COLUMNS: Final = (
    Column("line", right=True),
    Column("time", 2),
    Column("kind"),
    Column("reference", 1),
    Column("key", 1),
    Column("account", 4),
    Column("usd", right=True),
    Column("reason", 3),
)
AUDIT_COLUMNS: Final = (
    Column("check"),
    Column("result"),
    Column("promise"),
    Column("examples", 1),
)

Key = Annotated[str | None, Parameter(help="Only those of this key.")]


@dataclass(frozen=True)
class Choice:
    """Which calls to list."""

    key: Key = None
    outcome: Annotated[Outcome | None, Parameter(help="Only those that ended so.")] = (
        None
    )
    operation: Annotated[
        str | None, Parameter(help="Only those of it: chat, image_edit, ….")
    ] = None
    model: Annotated[str | None, Parameter(help="Only those that asked for it.")] = None
    channel: Annotated[
        str | None, Parameter(help="Only those that this channel ended.")
    ] = None


def calls(
    *,
    choice: Annotated[Choice, Parameter(name="*")] = Choice(),
    limit: Limit = 20,
    data: Data = None,
    as_json: AsJSON = False,
) -> None:
    """List calls, the latest first: model, channel, tokens, prices, times, outcome."""

    async def work() -> tuple[list[StoredCall], dict[str, str]]:
        async with open_books(load_settings(data=data)) as books:
            row = await _find(books, choice.key)
            found = await books.ledger.calls(
                key_id=row.id if row else None,
                only={
                    "outcome": choice.outcome,
                    "operation": choice.operation,
                    "requested_model": choice.model,
                    "channel": choice.channel,
                },
                limit=limit,
            )
            ids = {call.record.key_id for call in found}
            async with books.database.read() as connection:
                return found, await key_names(connection, ids)

    found, names = run(work())
    if as_json:
        print_json([_call_object(call, names) for call in found])
        return
    rows = []
    for call in found:
        record = call.record
        rows.append(
            [
                show_time(record.created_ms),
                record.id,
                names.get(record.key_id, record.key_id),
                record.operation,
                record.requested_model,
                record.channel or None,
                " ".join(f"{unit}={n}" for unit, n in record.usage.items()) or None,
                format_usd(record.price),
                _usd(record.cost),
                record.status,
                record.outcome,
                record.error_code or None,
                record.first_token_ms or None,
                record.upstream_ms,
                record.own_ms,
                record.total_ms,
            ]
        )
    print_table(CALL_COLUMNS, rows, empty="There are no such calls.")


def _call_object(call: StoredCall, names: Mapping[str, str]) -> dict[str, Any]:
    """Write a call for scripts: its record by names, its amounts also in USD."""
    record = call.record
    found = {
        name: to_builtins(getattr(record, name)) for name in record.__struct_fields__
    }
    found["key"] = names.get(record.key_id)
    for name in ("price", "list_price", "cost"):
        found[f"{name}_usd"] = _usd(found[name])
    found["upstream_ms"] = record.upstream_ms
    found["own_ms"] = record.own_ms
    found["upstream_first_ms"] = record.upstream_first_ms
    found["attempts"] = [
        {name: getattr(attempt, name) for name in attempt.__struct_fields__}
        for attempt in record.attempts
    ]
    return found


def _usd(amount: int | None) -> str | None:
    return None if amount is None else format_usd(amount)


def ledger(
    *,
    key: Key = None,
    call: Annotated[str | None, Parameter(help="Only this call's.")] = None,
    limit: Limit = 50,
    internal: Annotated[
        bool,
        Parameter(
            show_default=False,
            help="Draws and returns too: money between our own pockets.",
        ),
    ] = False,
    data: Data = None,
    as_json: AsJSON = False,
) -> None:
    """List ledger lines, the newest first, in exact US dollars."""

    async def work() -> tuple[list[LedgerLine], dict[str, str]]:
        async with open_books(load_settings(data=data)) as books:
            row = await _find(books, key)
            lines = await books.ledger.lines(
                account_id=row.account_id if row else None,
                call_id=call,
                limit=limit,
                internal=internal,
            )
            return lines, await owners_of(books, lines)

    lines, owners = run(work())
    if as_json:
        print_json([_line_object(line, owners) for line in lines])
    else:
        print_ledger(lines, owners)


async def owners_of(books: Books, lines: list[LedgerLine]) -> dict[str, str]:
    """Give the keys' names by the accounts that are theirs alone."""
    accounts = {line.account_id for line in lines} - {DEFAULT_ACCOUNT}
    ids = {account.removeprefix(account_of("")) for account in accounts}
    async with books.database.read() as connection:
        names = await key_names(connection, ids)
    return {account_of(key_id): name for key_id, name in names.items()}


def print_ledger(lines: list[LedgerLine], owners: Mapping[str, str]) -> None:
    """Print ledger lines for people; `owners` gives accounts' keys."""
    rows = [
        [
            line.id,
            show_time(line.created_ms),
            line.kind,
            line.reference or None,
            owners.get(line.account_id),
            line.account_id,
            format_usd(line.amount),
            line.reason or None,
        ]
        for line in lines
    ]
    print_table(LEDGER_COLUMNS, rows, empty="There are no such lines.")


def _line_object(line: LedgerLine, owners: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = to_builtins(line)
    found["key"] = owners.get(line.account_id)
    found["usd"] = format_usd(line.amount)
    found["held_usd"] = _usd(line.held)
    found["entries_usd"] = [
        [account, format_usd(amount)] for account, amount in line.entries
    ]
    return found


async def _find(books: Books, name: str | None) -> KeyRow | None:
    """Give a key's row; None when none was named."""
    if name is None:
        return None
    async with books.database.read() as connection:
        row = await find_key(connection, name)
    if row is None:
        raise ConfigurationError("key", None, f"there is no key {name!r}")
    return row


def audit(*, data: Data = None, as_json: AsJSON = False) -> None:
    """Check the books: I1 to I10. Exit code 1 if anything is wrong."""

    async def work() -> AuditReport:
        async with open_books(load_settings(data=data)) as books:
            return await check_books(books.database, books.journals)

    with working("Checking the books"):
        report = run(work())
    if as_json:
        print_json(to_builtins(report))
    else:
        rows = [
            [
                check.name,
                "ok" if check.passed else "fault",
                check.title,
                _examples(check.faults, check.examples),
            ]
            for check in report.checks
        ]
        print_table(AUDIT_COLUMNS, rows, empty="")
        counted = ", ".join(f"{name} {count}" for name, count in report.counts.items())
        verdict, style = ("clean", "green") if report.clean else ("faulty", "red")
        print_line(f"{verdict}: {counted}", style)
    sys.exit(0 if report.clean else 1)


def _examples(faults: int, examples: list[str]) -> str | None:
    """Say how many faults there are, and which."""
    return f"{faults} faults: {'; '.join(examples)}" if faults else None


calls_command = command(calls)
ledger_command = command(ledger)
audit_command = command(audit)
