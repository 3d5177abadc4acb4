"""What commands print: tables and colour for people, plain text for pipes.

`--json` prints one JSON document, whatever the other end is.
"""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from posthouse.wire import json

Row = Sequence[str | int | None]


def console() -> Console:
    """The terminal, or whatever stands in its place."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    sys.stdout.write(json.pretty(value) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Row], *, empty: str) -> None:
    """Print rows: a table on a terminal, tab-separated lines elsewhere.

    Args:
        columns: their headings.
        rows: cells; None is shown as a dash.
        empty: what to say when there is none; said on standard error.
    """
    if not rows:
        print_note(empty)
        return
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for line in [list(columns), *cells]:
            sys.stdout.write("\t".join(line) + "\n")
        return
    table = Table(*columns, header_style="bold")
    for line in cells:
        table.add_row(*line)
    console().print(table)


def print_line(text: str, style: str | None = None) -> None:
    """Print a line that a script may read; `style` is seen on terminals only."""
    console().print(text, style=style, markup=False)


def print_note(text: str) -> None:
    """Tell a person something that no script reads."""
    Console(stderr=True, highlight=False).print(text, style="dim", markup=False)


def show_time(milliseconds: int | None) -> str | None:
    """Write Unix milliseconds as UTC."""
    if milliseconds is None:
        return None
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S")
