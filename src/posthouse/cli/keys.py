"""`posthouse key`: the keys of applications."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from posthouse.cli.installation import open_books, open_installation
from posthouse.cli.options import PLAIN, AsJSON, Data, run
from posthouse.cli.output import (
    Column,
    iso_time,
    print_json,
    print_line,
    print_note,
    print_table,
)
from posthouse.model.money import format_usd, parse_usd
from posthouse.settings.environment import load_settings
from posthouse.settings.failure import ConfigurationError
from posthouse.settings.file import KeySpec
from posthouse.storage.keys import (
    DEFAULT_ACCOUNT,
    CreatedKey,
    KeyDesk,
    KeyRow,
    find_key,
    list_keys,
)
from posthouse.storage.ledger.accounts import (
    ReferenceTaken,
    credit_account,
    open_account,
)
from posthouse.storage.ledger.queries import Balance
from posthouse.storage.ownership import Refused

KeyName = Annotated[str, Parameter(help="The key.")]

app = App(
    name="key",
    default_parameter=PLAIN,
    help="Keys of applications: create, list, revoke, credit.",
)

COLUMNS: Final = (
    Column("name"),
    Column("hint", 5),
    Column("state"),
    Column("remaining_usd", right=True),
    Column("spent_usd", right=True),
    Column("rpm", 3, right=True),
    Column("tpm", 3, right=True),
    Column("concurrency", 3, right=True),
    Column("models", 4),
    Column("ips", 6),
    Column("expires", 6),
    Column("sandbox", 6),
    Column("group", 6),
    Column("owner", 7),
)


@dataclass(frozen=True)
class NewKey:
    """What a new key may do; by default everything."""

    balance: Annotated[
        str | None,
        Parameter(help="Opening credit in USD; without one, the default account pays."),
    ] = None
    model: Annotated[
        tuple[str, ...],
        Parameter(show_default=False, help="Allowed model, * for any run; repeatable."),
    ] = ()
    rpm: Annotated[int | None, Parameter(help="Requests per minute.")] = None
    tpm: Annotated[int | None, Parameter(help="Tokens per minute.")] = None
    concurrency: Annotated[int | None, Parameter(help="Calls at a time.")] = None
    ip: Annotated[
        tuple[str, ...],
        Parameter(show_default=False, help="Allowed network; repeatable."),
    ] = ()
    expires: Annotated[
        datetime | None, Parameter(help="When it ends; UTC unless it says otherwise.")
    ] = None
    sandbox: Annotated[
        bool,
        Parameter(
            show_default=False, help="Reaches only the sandbox, and costs nothing."
        ),
    ] = False
    group: Annotated[
        str | None, Parameter(help="What rules of routing may ask for.")
    ] = None


@app.command
def create(
    name: KeyName,
    /,
    *,
    options: Annotated[NewKey, Parameter(name="*")] = NewKey(),
    data: Data = None,
    as_json: AsJSON = False,
) -> None:
    """Make a key and print it; it is shown this once.

    Running servers take it at once.
    """
    expires = options.expires
    if expires is not None and expires.tzinfo is None:
        expires = expires.replace(tzinfo=UTC)
    spec = KeySpec(
        name=name,
        balance_usd=options.balance,
        models=options.model or None,
        rpm=options.rpm,
        tpm=options.tpm,
        concurrency=options.concurrency,
        ips=options.ip,
        expires=expires,
        sandbox=options.sandbox,
        group=options.group,
    )

    async def work() -> CreatedKey:
        async with open_installation(load_settings(data=data)) as installation:
            desk = KeyDesk(installation.pepper, open_account)
            try:
                async with installation.database.write() as connection:
                    return await desk.create(connection, spec)
            except (Refused, ValueError) as refusal:
                raise ConfigurationError("key", None, str(refusal)) from None

    made = run(work())
    if as_json:
        print_json({"id": made.id, "name": made.name, "key": made.key})
    else:
        print_note("This key is shown once; keep it.")
        print_line(made.key)


@app.command(name="list")
def list_(*, data: Data = None, as_json: AsJSON = False) -> None:
    """List keys: their limits, what they have spent, what remains."""

    async def work() -> list[dict[str, Any]]:
        async with open_books(load_settings(data=data)) as books:
            async with books.database.read() as connection:
                rows = await list_keys(connection)
            balances = {
                balance.account_id: balance for balance in await books.ledger.balances()
            }
            spent = await books.ledger.spent()
        return [
            _describe(row, balances.get(row.account_id), spent.get(row.id, 0))
            for row in rows
        ]

    found = run(work())
    if as_json:
        print_json(found)
        return
    cells = [[_cell(entry[column.name]) for column in COLUMNS] for entry in found]
    print_table(COLUMNS, cells, empty="There are no keys yet.")


def _describe(row: KeyRow, balance: Balance | None, spent: int) -> dict[str, Any]:
    """Write a key for scripts; what has no limit is null."""
    rights = row.permissions
    limited = balance is not None and balance.credit_line is not None
    return {
        "name": row.name,
        "id": row.id,
        "hint": row.hint,
        "state": _state(row),
        "owner": row.owner,
        "account": row.account_id,
        "balance_usd": format_usd(balance.shown) if limited and balance else None,
        "remaining_usd": format_usd(balance.shown + (balance.credit_line or 0))
        if limited and balance
        else None,
        "spent_usd": format_usd(spent),
        "models": rights.models,
        "rpm": rights.rpm,
        "tpm": rights.tpm,
        "concurrency": rights.concurrency,
        "ips": rights.networks,
        "expires": iso_time(rights.expires_at and rights.expires_at * 1000),
        "sandbox": rights.sandbox,
        "group": rights.group,
        "created": iso_time(row.created_ms),
    }


def _cell(value: Any) -> str | int | None:
    """Write a value of `_describe` for a table."""
    if isinstance(value, bool):
        return "yes" if value else None
    if isinstance(value, tuple):
        return " ".join(value) or None
    found: str | int | None = value
    return found


def _state(row: KeyRow) -> str:
    if row.revoked_ms is not None:
        return "revoked"
    expires_at = row.permissions.expires_at
    if expires_at is not None and expires_at <= time.time():
        return "expired"
    return "enabled" if row.enabled else "disabled"


@app.command
def revoke(name: KeyName, /, *, data: Data = None) -> None:
    """End a key for ever; running servers know within two seconds."""
    settings = load_settings(data=data)

    async def work() -> None:
        async with open_installation(settings, make=False) as installation:
            desk = KeyDesk(installation.pepper, open_account)
            try:
                async with installation.database.write() as connection:
                    await desk.revoke(connection, name)
            except Refused as refusal:
                raise ConfigurationError("key", None, str(refusal)) from None

    run(work())
    print_note(f"The key {name} is revoked.")


@app.command
def credit(
    name: KeyName,
    usd: Annotated[str, Parameter(help="A decimal number of US dollars.")],
    /,
    *,
    id: Annotated[  # noqa: A002 - the option's name
        str | None,
        Parameter(help="Names the credit: it is posted once, however often asked."),
    ] = None,
    data: Data = None,
    as_json: AsJSON = False,
) -> None:
    """Add money to a key that has a balance of its own; print what it has now."""
    try:
        amount = parse_usd(usd)
    except ValueError as error:
        raise ConfigurationError("credit", None, str(error)) from None
    credit_id = id or token_hex(8)
    settings = load_settings(data=data)

    async def work() -> tuple[bool, Balance]:
        async with open_installation(settings, make=False) as installation:
            async with installation.database.write() as connection:
                row = await find_key(connection, name)
                _check_account(name, row)
                account = row.account_id if row else ""
                try:
                    posted = await credit_account(
                        connection, account, amount, credit_id
                    )
                except ReferenceTaken:
                    reason = f"{credit_id!r} named another credit before"
                    raise ConfigurationError("credit", None, reason) from None
                except (ValueError, LookupError) as error:
                    raise ConfigurationError("credit", None, str(error)) from None
            found = await installation.ledger.balances(account)
            return posted, found[0]

    posted, balance = run(work())
    shown = format_usd(balance.shown)
    if as_json:
        print_json(
            {"name": name, "id": credit_id, "posted": posted, "balance_usd": shown}
        )
        return
    if not posted:
        print_note("This credit was posted before; nothing was added.")
    print_line(f"{name}\t{shown}")


def _check_account(name: str, row: KeyRow | None) -> None:
    """Raise ConfigurationError when a key has no balance that could be credited."""
    if row is None:
        raise ConfigurationError("key", None, f"there is no key {name!r}")
    if row.account_id == DEFAULT_ACCOUNT:
        reason = f"{name!r} has no balance of its own: the default account pays for it"
        raise ConfigurationError("credit", None, reason)
