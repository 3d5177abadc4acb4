"""Find on which line of a TOML text a key, table or array element begins.

The text has been accepted by `tomli` before, so this reader only has to keep
its place, never to judge. A path is a tuple of names and indices, such as
("channels", 1, "limits", "rpm").
"""

import re
from bisect import bisect_right

import tomli

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_QUOTED = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}\n#]*")


def locate(text: str) -> dict[Path, int]:
    """Map every path of a valid TOML text to its line, counted from 1."""
    return _Reader(text).read()


def line_of(lines: dict[Path, int], path: Path) -> int | None:
    """Give the line of the path, or of its nearest parent that has one."""
    for length in range(len(path), 0, -1):
        found = lines.get(path[:length])
        if found is not None:
            return found
    return None


class _Reader:
    """One pass over one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._lines: dict[Path, int] = {}
        self._arrays: dict[Path, int] = {}

    def read(self) -> dict[Path, int]:
        """Walk the text and give what was found."""
        table: Path = ()
        self._skip()
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip()
        return self._lines

    def _skip(self) -> None:
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _peek(self) -> str:
        self._skip()
        return self._text[self._at]

    def _mark(self, path: Path, start: int) -> None:
        self._lines.setdefault(path, bisect_right(self._starts, start))

    def _header(self) -> Path:
        """Read `[a.b]` or `[[a.b]]`; give the path that follows it."""
        start = self._at
        is_array = self._text.startswith("[[", start)
        self._at += 2 if is_array else 1
        names = self._names()
        self._skip()
        self._at += 2 if is_array else 1
        table = (*self._resolve(names[:-1]), names[-1])
        if is_array:
            index = self._arrays.get(table, -1) + 1
            self._arrays[table] = index
            self._mark(table, start)
            table = (*table, index)
        elif table in self._arrays:
            table = (*table, self._arrays[table])
        self._mark(table, start)
        return table

    def _resolve(self, names: list[str]) -> Path:
        """Enter the last element of each array of tables on the way."""
        path: Path = ()
        for name in names:
            path = (*path, name)
            if path in self._arrays:
                path = (*path, self._arrays[path])
        return path

    def _names(self) -> list[str]:
        """Read a dotted key."""
        names = [self._name()]
        while self._peek() == ".":
            self._at += 1
            self._skip()
            names.append(self._name())
        return names

    def _name(self) -> str:
        self._skip()
        match = _BARE.match(self._text, self._at)
        if match:
            self._at = match.end()
            return match.group()
        quoted = self._quoted()
        return str(tomli.loads(f"name = {quoted}")["name"])

    def _quoted(self) -> str:
        match = _QUOTED.match(self._text, self._at)
        if match is None:
            raise ValueError(f"not valid TOML at character {self._at}")
        self._at = match.end()
        return match.group()

    def _pair(self, table: Path) -> None:
        """Read `key = value` inside a table."""
        start = self._at
        path = table
        for name in self._names():
            path = (*path, name)
            self._mark(path, start)
        self._skip()
        self._at += 1
        self._value(path)

    def _value(self, path: Path) -> None:
        first = self._peek()
        if first in "\"'":
            self._quoted()
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            match = _SCALAR.match(self._text, self._at)
            self._at = match.end() if match else self._at

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        while self._peek() != "]":
            element = (*path, index)
            self._mark(element, self._at)
            self._value(element)
            index += 1
            if self._peek() == ",":
                self._at += 1
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while self._peek() != "}":
            self._pair(path)
            if self._peek() == ",":
                self._at += 1
        self._at += 1
