"""Pieces of Markdown that the generated pages share."""

from collections.abc import Iterable, Iterator


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Give the lines of a table; cells may hold any text."""
    names = list(head)
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def page(*parts: str | Iterable[str]) -> str:
    """Join paragraphs and tables into a page."""
    lines: list[str] = []
    for part in parts:
        if isinstance(part, str):
            lines += [part.strip("\n"), ""]
        else:
            lines += part
    return "\n".join(lines).rstrip() + "\n"
