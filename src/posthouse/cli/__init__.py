"""The command line: `posthouse COMMAND`. One module per group of commands.

Exit codes: 0 done; 1 the thing asked for failed; 2 the configuration or the
command line is at fault.
"""

import sys

from cyclopts import App

from posthouse import __version__
from posthouse.settings.failure import ConfigurationError


def make_app() -> App:
    """Put the commands together."""
    from posthouse.cli import books, channels, demo, keys, maintenance, serve  # noqa: PLC0415 - each command imports what it needs, not all of it

    app = App(
        name="posthouse",
        help="A self-hosted AI API relay: one key and one base URL.",
        version=__version__,
    )
    app.command(serve.serve)
    app.command(demo.demo)
    app.command(keys.app)
    app.command(channels.app)
    app.command(books.calls)
    app.command(books.ledger)
    app.command(books.audit)
    app.command(maintenance.init)
    app.command(maintenance.migrate)
    app.command(maintenance.doctor)
    return app


def main() -> None:
    """Run the command line."""
    try:
        make_app()()
    except ConfigurationError as error:
        sys.stderr.write(f"posthouse: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
