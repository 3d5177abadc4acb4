"""`posthouse init` and `migrate`: setting an installation up, keeping it up."""

from posthouse.cli.installation import open_installation
from posthouse.cli.options import AsJSON, Data, command, run
from posthouse.cli.output import print_json, print_line, print_note
from posthouse.settings.environment import load_settings
from posthouse.settings.file import ChannelSpec, KeySpec
from posthouse.storage.channels import ChannelDesk, list_channels
from posthouse.storage.database import Database
from posthouse.storage.keys import CreatedKey, KeyDesk, list_keys
from posthouse.storage.ledger.accounts import open_account
from posthouse.storage.migrate import migrate as migrate_database

FIRST_KEY = "first"
SANDBOX = "sandbox"


def init(*, data: Data = None, as_json: AsJSON = False) -> None:
    """Set up a data folder: secret, database, the sandbox, a first key.

    Running it again changes nothing.
    """

    async def work() -> tuple[bool, CreatedKey | None]:
        async with open_installation(load_settings(data=data)) as installation:
            desk = KeyDesk(installation.pepper, open_account)
            async with installation.database.write() as connection:
                lacks_channel = not await list_channels(connection, installation.box)
                if lacks_channel:
                    spec = ChannelSpec(name=SANDBOX, provider=SANDBOX)
                    await ChannelDesk(installation.box).add(connection, spec)
                if await list_keys(connection):
                    return lacks_channel, None
                return lacks_channel, await desk.create(
                    connection, KeySpec(name=FIRST_KEY)
                )

    added, made = run(work())
    if as_json:
        print_json(
            {
                "channel": SANDBOX if added else None,
                "key": None if made is None else {"name": made.name, "key": made.key},
            }
        )
        return
    if added:
        print_note("The channel sandbox answers without any provider.")
    if made is None:
        print_note("There are keys already; none was made.")
    else:
        print_note("The first key; it is shown this once, keep it:")
        print_line(made.key)
    print_note("Next: posthouse channel add, then posthouse serve.")


def migrate(*, data: Data = None, as_json: AsJSON = False) -> None:
    """Bring the database's schema up to date; print the steps that were done."""
    settings = load_settings(data=data)

    async def work() -> list[str]:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        database = Database(settings.database_url)
        try:
            return await migrate_database(database)
        finally:
            await database.close()

    done = run(work())
    if as_json:
        print_json({"done": done})
        return
    for step in done:
        print_line(step)
    if not done:
        print_note("The schema is up to date.")


init_command = command(init)
migrate_command = command(migrate)
