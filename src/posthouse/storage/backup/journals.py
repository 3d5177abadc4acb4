"""Copies of journals that others are writing: as a kill -9 would leave them.

A copy is made in steps. Each goes on where the one before ended, and the last is
so short that the ledger can be kept from changing meanwhile. Only whole records
are copied. When segments that a copy lacks have gone, all that matters of them is
in later ones (see `billing.journal`), and the copy begins again with those.
"""

import shutil
from pathlib import Path
from typing import IO

from posthouse.billing.journal import NASCENT
from posthouse.billing.segments import (
    HEADER_SIZE,
    DamagedSegment,
    SegmentReader,
    has_records,
    scan,
    segment_numbers,
    segment_path,
)


class JournalCopies:
    """Copies of all journals of a machine, below a folder of our own."""

    def __init__(self, root: Path, target: Path) -> None:
        """Take the journals' folder, which need not be there, and ours."""
        self._root = root
        self._target = target
        self._copies: dict[str, _Copy] = {}

    def advance(self) -> None:
        """Copy what the journals hold now and the copies do not."""
        if not self._root.is_dir():
            return
        for directory in sorted(self._root.iterdir()):
            name = directory.name
            if directory.is_dir() and not name.startswith(NASCENT):
                if name not in self._copies:
                    self._copies[name] = _Copy(directory, self._target / name)
                self._copies[name].advance()

    def files(self, *, without: frozenset[str] = frozenset()) -> list[Path]:
        """Give the segments that were copied, in order, of all journals but some."""
        return [
            segment_path(copy.target, number)
            for name, copy in sorted(self._copies.items())
            if name not in without
            for number in copy.numbers
        ]


class _Copy:
    """The copy of one journal."""

    def __init__(self, source: Path, target: Path) -> None:
        self.target = target
        self.numbers: list[int] = []
        """The segments that were copied; the last one may go on."""
        self._source = source
        self._offset = 0
        """Up to here the last one was copied."""

    def advance(self) -> None:
        """Copy what there is."""
        while not self._follow():
            shutil.rmtree(self.target, ignore_errors=True)
            self.numbers, self._offset = [], 0

    def _follow(self) -> bool:
        """Go on to the end; False if something had gone before it was copied."""
        try:
            present = segment_numbers(self._source)
            number = self.numbers[-1] if self.numbers else min(present, default=0)
            if present and number < present[0]:
                return False
            goes_on = True
            while goes_on:
                # Looked at first: then all that was written before is there, too.
                goes_on = has_records(self._source, number + 1)
                self._copy(number)
                number += 1
        except FileNotFoundError:
            # A segment has gone; or the journal, which was then drained.
            return not self._source.is_dir()
        return True

    def _copy(self, number: int) -> None:
        """Copy what a segment holds beyond what was copied of it."""
        try:
            reader = SegmentReader(self._source, number)
        except DamagedSegment:
            return
        try:
            self.target.parent.mkdir(mode=0o700, exist_ok=True)
            self.target.mkdir(mode=0o700, exist_ok=True)
            with segment_path(self.target, number).open("ab") as target:
                if self.numbers[-1:] != [number]:
                    target.write(_head(self._source, number))
                    self.numbers.append(number)
                    self._offset = HEADER_SIZE
                self._copy_records(reader, target)
        finally:
            reader.close()

    def _copy_records(self, reader: SegmentReader, target: IO[bytes]) -> None:
        while data := reader.read(self._offset):
            used = 0
            for _kind, _payload, end in scan(data, reader.number):
                used = end
            if not used:
                return
            target.write(data[:used])
            self._offset += used


def _head(directory: Path, number: int) -> bytes:
    """Read how a segment begins."""
    with segment_path(directory, number).open("rb") as file:
        return file.read(HEADER_SIZE)
