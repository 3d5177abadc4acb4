"""What commands print: tables and colour for people, plain text for pipes.

A table is drawn on a terminal; elsewhere it is lines of tab-separated cells
under a line of headings, every column always there. `--json` prints one JSON
document, whatever the other end is. Names may come from strangers: nothing
that could steer a terminal or add a line is printed as it is. `rich` is
imported only when a terminal is there to see it.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct

from posthouse.wire import json

Row = Sequence[str | int | None]

STYLES: Final = {
    "ok": "green",
    "clean": "green",
    "enabled": "green",
    "served": "green",
    "warning": "yellow",
    "rejected": "yellow",
    "abandoned": "yellow",
    "disabled": "yellow",
    "expired": "yellow",
    "revoked": "red",
    "fault": "red",
    "failed": "red",
    "interrupted": "red",
}
"""Words that stand for a state, and the colour that people see them in."""

_PADDING = 3
"""What a column costs in a table besides its cells."""


class Column(Struct, frozen=True):
    """A column of a table."""

    name: str
    rank: int = 0
    """On a narrow terminal the columns of the highest rank go first; 0 stays."""
    right: bool = False
    """Whether it holds numbers."""


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    sys.stdout.write(json.pretty(value) + "\n")


def print_table(columns: Sequence[Column], rows: Sequence[Row], *, empty: str) -> None:
    """Print rows.

    Args:
        columns: their headings.
        rows: cells in the columns' order; None is shown as a dash.
        empty: what to say when there is none; said on standard error.
    """
    if not rows:
        print_note(empty)
        return
    cells = [
        ["-" if cell is None else printable(str(cell)) for cell in r] for r in rows
    ]
    if sys.stdout.isatty():
        _draw(columns, cells)
        return
    for line in [[column.name for column in columns], *cells]:
        sys.stdout.write("\t".join(line) + "\n")


def printable(text: str) -> str:
    """Write what cannot be seen as Python would."""
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text)


def _draw(columns: Sequence[Column], rows: list[list[str]]) -> None:
    """Draw the columns that say something and for which there is room."""
    from rich.console import Console  # noqa: PLC0415 - see above
    from rich.table import Table  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415 - see above

    console = Console(highlight=False)
    shown, hidden = choose_columns(columns, rows, console.width)
    table = Table(header_style="bold")
    for index in shown:
        column = columns[index]
        table.add_column(column.name, justify="right" if column.right else "left")
    for row in rows:
        table.add_row(
            *(Text(row[index], style=STYLES.get(row[index], "")) for index in shown)
        )
    console.print(table)
    if hidden:
        names = ", ".join(columns[index].name for index in hidden)
        print_note(f"A wider terminal shows {names} too; --json shows all.")


def choose_columns(
    columns: Sequence[Column], rows: list[list[str]], width: int
) -> tuple[list[int], list[int]]:
    """Choose what a terminal shows.

    Args:
        columns: all of them.
        rows: the cells as they will be shown.
        width: of the terminal, in characters.

    Returns the indexes of the columns shown, and of those left out for want of
    room. Columns without any value are in neither.
    """
    widths = [
        max(len(column.name), *(len(row[index]) for row in rows)) + _PADDING
        for index, column in enumerate(columns)
    ]
    shown = [
        index
        for index, column in enumerate(columns)
        if not column.rank or any(row[index] != "-" for row in rows)
    ]
    hidden: list[int] = []
    while sum(widths[index] for index in shown) + 1 > width:
        last = max(shown, key=lambda index: (columns[index].rank, index))
        if not columns[last].rank:
            break
        shown.remove(last)
        hidden.append(last)
    return shown, sorted(hidden)


def print_line(text: str, style: str | None = None) -> None:
    """Print a line that a script may read; `style` is seen on terminals only."""
    if style is None or not sys.stdout.isatty():
        sys.stdout.write(text + "\n")
        return
    from rich.console import Console  # noqa: PLC0415 - see above

    Console(highlight=False, soft_wrap=True).print(text, style=style, markup=False)


def print_note(text: str, style: str = "dim") -> None:
    """Tell a person something that no script reads, on standard error."""
    sys.stdout.flush()
    if not sys.stderr.isatty():
        sys.stderr.write(text + "\n")
        return
    from rich.console import Console  # noqa: PLC0415 - see above

    Console(stderr=True, highlight=False).print(text, style=style, markup=False)


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show that something takes its time; only a terminal sees it."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - see above

    with Console(stderr=True).status(text):
        yield


def show_time(milliseconds: int | None) -> str | None:
    """Write Unix milliseconds as UTC."""
    if milliseconds is None:
        return None
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def iso_time(milliseconds: int | None) -> str | None:
    """Write Unix milliseconds as RFC 3339, to the second."""
    shown = show_time(milliseconds)
    return None if shown is None else f"{shown.replace(' ', 'T')}Z"
