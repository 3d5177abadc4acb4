"""`posthouse key`: the keys of applications."""

from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex
from typing import Annotated

from cyclopts import App, Parameter

from posthouse.cli.installation import open_installation
from posthouse.cli.options import AsJSON, Data, run
from posthouse.cli.output import print_json, print_line, print_note, print_table
from posthouse.model.money import format_usd, parse_usd
from posthouse.settings.environment import load_settings
from posthouse.settings.failure import ConfigurationError
from posthouse.settings.file import KeySpec
from posthouse.storage.keys import KeyDesk, KeyRow, find_key, list_keys
from posthouse.storage.ledger_accounts import credit_account, open_account
from posthouse.storage.ownership import Refused

app = App(name="key", help="Keys of applications: create, list, revoke, credit.")


@dataclass(frozen=True)
class NewKey:
    """What a new key may do; by default everything."""

    balance: Annotated[str | None, Parameter(help="Opening credit in USD.")] = None
    model: Annotated[tuple[str, ...], Parameter(help="Allowed model.")] = ()
    rpm: Annotated[int | None, Parameter(help="Requests per minute.")] = None
    tpm: Annotated[int | None, Parameter(help="Tokens per minute.")] = None
    concurrency: Annotated[int | None, Parameter(help="Calls at a time.")] = None
    ip: Annotated[tuple[str, ...], Parameter(help="Allowed network.")] = ()
    expires: Annotated[datetime | None, Parameter(help="When it ends.")] = None
    sandbox: Annotated[bool, Parameter(help="Reaches only the sandbox.")] = False


@app.command
def create(
    name: str,
    *,
    options: Annotated[NewKey, Parameter(name="*")] = NewKey(),
    data: Data = None,
    as_json: AsJSON = False,
) -> None:
    """Make a key and print it; it is shown this once.

    Without a balance the key draws on the default account.
    """
    spec = KeySpec(
        name=name,
        balance_usd=options.balance,
        models=options.model or None,
        rpm=options.rpm,
        tpm=options.tpm,
        concurrency=options.concurrency,
        ips=options.ip,
        expires=options.expires.astimezone() if options.expires else None,
        sandbox=options.sandbox,
    )

    async def work() -> None:
        async with open_installation(load_settings(data=data)) as installation:
            desk = KeyDesk(installation.pepper, open_account)
            try:
                async with installation.database.write() as connection:
                    made = await desk.create(connection, spec)
            except Refused as refusal:
                raise ConfigurationError("key", None, str(refusal)) from None
            if as_json:
                print_json({"id": made.id, "name": made.name, "key": made.key})
            else:
                print_note("This key is shown once; keep it.")
                print_line(made.key)

    run(work())


@app.command(name="list")
def list_(*, data: Data = None, as_json: AsJSON = False) -> None:
    """List keys with what they may spend."""

    async def work() -> None:
        async with open_installation(load_settings(data=data)) as installation:
            async with installation.database.read() as connection:
                rows = await list_keys(connection)
            balances = {
                balance.account_id: balance
                for balance in await installation.ledger.balances()
            }
        found = []
        for row in rows:
            balance = balances.get(row.account_id)
            unlimited = balance is None or balance.credit_line is None
            found.append(
                {
                    "name": row.name,
                    "hint": row.hint,
                    "state": _state(row),
                    "owner": row.owner,
                    "balance_usd": None
                    if unlimited or balance is None
                    else format_usd(balance.shown),
                }
            )
        if as_json:
            print_json(found)
        else:
            columns = ("name", "hint", "state", "owner", "balance_usd")
            cells = [[entry[column] for column in columns] for entry in found]
            print_table(columns, cells, empty="There are no keys yet.")

    run(work())


def _state(row: KeyRow) -> str:
    if row.revoked_ms is not None:
        return "revoked"
    return "enabled" if row.enabled else "disabled"


@app.command
def revoke(name: str, *, data: Data = None) -> None:
    """End a key for ever; running servers know within two seconds."""

    async def work() -> None:
        async with open_installation(load_settings(data=data)) as installation:
            desk = KeyDesk(installation.pepper, open_account)
            try:
                async with installation.database.write() as connection:
                    await desk.revoke(connection, name)
            except Refused as refusal:
                raise ConfigurationError("key", None, str(refusal)) from None
        print_note(f"The key {name} is revoked.")

    run(work())


@app.command
def credit(
    name: str,
    usd: str,
    *,
    id: Annotated[  # noqa: A002 - the option's name
        str | None, Parameter(help="Posts at most once under this id.")
    ] = None,
    data: Data = None,
) -> None:
    """Add money to a key that has a balance of its own.

    Args:
        name: The key.
        usd: A decimal number of US dollars.
        id: Names the credit, so that repeating the command is safe.
        data: Data folder; default ./data.
    """
    try:
        amount = parse_usd(usd)
    except ValueError as error:
        raise ConfigurationError("credit", None, str(error)) from None

    async def work() -> None:
        async with open_installation(load_settings(data=data)) as installation:
            async with installation.database.write() as connection:
                row = await find_key(connection, name)
                if row is None:
                    raise ConfigurationError("key", None, f"there is no key {name!r}")
                try:
                    posted = await credit_account(
                        connection, row.account_id, amount, id or token_hex(8)
                    )
                except (ValueError, LookupError) as error:
                    raise ConfigurationError("credit", None, str(error)) from None
            balances = await installation.ledger.balances(row.account_id)
        if not posted:
            print_note("This credit was posted before; nothing was added.")
        print_line(f"{name}\t{format_usd(balances[0].shown)}")

    run(work())
