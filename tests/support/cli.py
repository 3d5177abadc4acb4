"""The command line in this process: what it prints, and how it ends."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from posthouse.cli import main


@dataclass(frozen=True)
class Ended:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output as JSON."""
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """Its lines, split at tabs."""
        return [line.split("\t") for line in self.out.splitlines()]


class CommandLine:
    """Runs commands on one data folder, as a script sees them."""

    def __init__(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Take the folder; nothing is made yet."""
        self.data = data
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Ended:
        """Run a command with --data."""
        return self.plain(*arguments, "--data", str(self.data))

    def plain(self, *arguments: str) -> Ended:
        """Run a command as it stands."""
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = self._capsys.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, out, err)
