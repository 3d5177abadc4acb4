"""The page of the command line, from each command's own help."""

import io
import sys
from unittest import mock

from rich.console import Console

import markdown
from posthouse.cli import COMMANDS, make_app

WIDTH = 88

INTRODUCTION = """\
# Command line

Generated from each command's `--help` by `make docs`.

On a terminal commands draw tables and colours, as wide as there is room; elsewhere
they write lines of tab-separated cells under a line of headings, and notes go to
standard error. `--json` prints one JSON document wherever a script may want it;
amounts are exact decimal strings there. What is missing in it is `null`.

Commands that only look (`key list`, `channel list`, `channel test`, `calls`,
`ledger`, `audit`, `doctor`) make nothing and change nothing. All commands may be used
while a server runs on the same data folder; it sees changes within two seconds.

Exit codes: 0 done; 1 what was asked for failed; 2 the configuration or the command
line is at fault; 130 interrupted. What went wrong is one line on standard error.
"""


def help_of(*tokens: str) -> str:
    """Give a command's help as a pipe sees it."""
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, force_terminal=False)
    with mock.patch.object(sys, "stdout", out):
        make_app().help_print(list(tokens), console=console)
    return "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())


def commands() -> list[tuple[str, ...]]:
    """Give every command with its group's name before it."""
    app = make_app()
    found: list[tuple[str, ...]] = []
    for name in COMMANDS:
        inner = [child for child in app[name] if not child.startswith("-")]
        found += [(name, child) for child in inner] or [(name,)]
    return found


def page() -> str:
    """Write the page."""
    parts = [INTRODUCTION, f"```text\n{help_of()}\n```"]
    for tokens in commands():
        title = " ".join(("posthouse", *tokens))
        parts.append(f"## {title}\n\n```text\n{help_of(*tokens)}\n```")
    return markdown.page(*parts)
