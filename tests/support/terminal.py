"""A command on a pseudo-terminal: what a person would see."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.processes import ROOT

_OWN_SIZE = {"COLUMNS", "LINES"}
"""Variables that programs believe more than the terminal."""


def run_on_terminal(
    command: Sequence[str | Path],
    *,
    columns: int = 100,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run a command and give its exit code and all that it wrote.

    Args:
        command: with its arguments.
        columns: the terminal's width.
        environment: variables besides our own.
    """
    inherited = {
        name: value for name, value in os.environ.items() if name not in _OWN_SIZE
    }
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=ROOT,
        env={**inherited, "TERM": "xterm-256color", **(environment or {})},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        close_fds=True,
    )
    os.close(slave)
    written = b""
    try:
        while piece := os.read(master, 65_536):
            written += piece
    except OSError:
        # Linux ends a terminal whose last writer has gone with EIO.
        pass
    finally:
        os.close(master)
    return process.wait(60), written.decode()
