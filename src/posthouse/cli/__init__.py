"""The command line: `posthouse COMMAND`. One module per group of commands.

Exit codes: 0 done; 1 the thing asked for failed; 2 the configuration or the
command line is at fault; 130 interrupted. What goes wrong is told in one line
on standard error. A command's module is imported when it is run, not before:
`--help` and `--version` must come at once.
"""

import gc
import os
import sys
from collections.abc import Callable
from inspect import BoundArguments
from typing import Any, Final

from cyclopts import App, CycloptsError

from posthouse import __version__
from posthouse.cli.options import PLAIN

COMMANDS: Final = {
    "serve": ("serve:command", "Serve calls until SIGTERM."),
    "demo": ("demo:command", "Show a chat through the relay, and what it cost."),
    "init": (
        "maintenance:init_command",
        "Set up a data folder with a key.",
    ),
    "key": ("keys:app", "Keys of applications: create, list, revoke, credit."),
    "channel": ("channels:app", "Accounts at providers: add, list, test."),
    "calls": ("books:calls_command", "List calls, the latest first."),
    "batches": ("batches:batches_command", "List batches, the latest first."),
    "ledger": ("books:ledger_command", "List ledger lines, the newest first."),
    "audit": ("books:audit_command", "Check the books: ten invariants of the money."),
    "migrate": (
        "maintenance:migrate_command",
        "Bring the schema up to date.",
    ),
    "backup": (
        "backup:backup_command",
        "Write a backup of the data folder while the server runs.",
    ),
    "restore": (
        "backup:restore_command",
        "Restore a backup into an empty data folder.",
    ),
    "doctor": ("doctor:command", "Look at all that a healthy installation needs."),
}
"""Each command, where it is, and its line in the help."""

INTERRUPTED = 130


def make_app() -> App:
    """Put the commands together; none of their modules is imported yet."""
    app = App(
        name="posthouse",
        help="A self-hosted AI API relay: one key and one base URL.",
        version=__version__,
        help_formatter="default" if sys.stdout.isatty() else "plain",
        default_parameter=PLAIN,
    )
    for name, (place, summary) in COMMANDS.items():
        app.command(f"{__name__}.{place}", name=name, help=summary)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: without the program's name; those of the process by default.
    """
    sys.exit(_run(make_app(), arguments))


def _run(app: App, arguments: list[str] | None) -> Any:
    """Run a command; give what `sys.exit` takes."""
    try:
        command, bound = _imported(app, arguments)
        command(*bound.args, **bound.kwargs)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain when
        # it flushes what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except CycloptsError as error:
        chain = " ".join(("posthouse", *(error.command_chain or ())))
        _complain(f"posthouse: {error}", f"Try `{chain} --help`.")
        return 2
    except Exception as error:
        from posthouse.cli.failures import explain  # noqa: PLC0415 - it knows storage, which takes its time

        failure = explain(error)
        if failure is None:
            raise
        _complain(f"posthouse: {failure.message}")
        return failure.code
    return 0


def _imported(
    app: App, arguments: list[str] | None
) -> tuple[Callable[..., Any], BoundArguments]:
    """Import the command that is asked for, and read its arguments.

    Importing makes next to no garbage, and modules live for ever: looking for it
    meanwhile, or among them later, would be a tenth of a start.
    Raises CycloptsError.
    """
    gc.disable()
    try:
        command, bound, _ = app.parse_args(
            arguments, exit_on_error=False, print_error=False
        )
    finally:
        gc.freeze()
        gc.enable()
    return command, bound


def _complain(message: str, hint: str = "") -> None:
    """Write what went wrong, in red where there are colours."""
    if sys.stderr.isatty() and "NO_COLOR" not in os.environ:
        message = f"\x1b[31m{message}\x1b[0m"
    sys.stderr.write(f"{message}\n{hint}\n" if hint else f"{message}\n")
