"""The processes around the gateway: they outlive it, and end with the suite."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.processes import ROOT

STOP_SECONDS = 20.0


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Our environment and `more`, with compiled modules kept.

    A gateway that compiles all of itself at each start tells nothing about how
    soon one serves again; where this process keeps none, `folder` does.
    """
    if sys.dont_write_bytecode:
        more["PYTHONDONTWRITEBYTECODE"] = ""
        more["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
    return {**os.environ, **more}


async def until_orphaned() -> None:
    """Return when standard input ends: whoever started this process is done."""
    loop = asyncio.get_running_loop()
    ended = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(ended), sys.stdin.buffer
    )
    await ended.read()


class Companion:
    """A module of this suite as a process that is told to end by a closed pipe."""

    def __init__(self, module: str, *arguments: str | Path, log: Path) -> None:
        """Start it."""
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *(str(part) for part in arguments)],
                cwd=ROOT,
                env=environment(log.parent),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"{self.process.args} died: {self.log.read_text()[-3000:]}"
        return line.strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it, and see that it ended well."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process.stdout.close()
        assert error or code == 0, self.log.read_text()[-3000:]
