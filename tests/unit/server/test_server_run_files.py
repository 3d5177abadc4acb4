"""What processes leave for commands: whole, private, and only while they live."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

from posthouse.server.run_files import STALE, RunFile, read_all


def test_what_is_written_is_read_whole_and_is_private(tmp_path: Path) -> None:
    """By the owner of the data alone."""
    folder = tmp_path / "run"
    file = RunFile(folder, "channels-0")
    file.write(b"one")
    file.write(b"two")
    other = RunFile(folder, "channels-1")
    other.write(b"three")
    assert dict(read_all(folder, "channels")) == {"0": b"two", "1": b"three"}
    assert dict(read_all(folder, "else")) == {}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {0o600}
    file.close()
    other.close()
    assert dict(read_all(folder, "channels")) == {}
    assert not list(folder.glob("*.json"))


def test_what_is_old_says_nothing(tmp_path: Path) -> None:
    """Unless it is said again."""
    file = RunFile(tmp_path, "channels-0")
    file.write(b"same")
    path = tmp_path / "channels-0.json"
    past = time.time() - STALE - 1
    os.utime(path, (past, past))
    assert dict(read_all(tmp_path, "channels")) == {}
    inode = path.stat().st_ino
    file.write(b"same")
    assert dict(read_all(tmp_path, "channels")) == {"0": b"same"}
    assert path.stat().st_ino == inode, "it was written again for nothing"
    path.unlink()
    file.write(b"same")
    assert dict(read_all(tmp_path, "channels")) == {"0": b"same"}
    file.close()


def test_what_a_killed_process_left_says_nothing(tmp_path: Path) -> None:
    """Its lock is gone with it; whoever takes its place is heard."""
    program = (
        "import os, signal, sys, pathlib\n"
        "from posthouse.server.run_files import RunFile\n"
        "RunFile(pathlib.Path(sys.argv[1]), 'channels-0').write(b'dead')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path], check=False)
    assert (tmp_path / "channels-0.json").read_bytes() == b"dead"
    assert dict(read_all(tmp_path, "channels")) == {}
    file = RunFile(tmp_path, "channels-0")
    file.write(b"alive")
    assert dict(read_all(tmp_path, "channels")) == {"0": b"alive"}
    file.close()


def test_a_successor_is_heard_once_its_predecessor_has_ended(tmp_path: Path) -> None:
    """They may overlap for a moment."""
    old = RunFile(tmp_path, "channels-0")
    old.write(b"old")
    new = RunFile(tmp_path, "channels-0")
    new.write(b"new")
    old.close()
    new.write(b"new")
    assert dict(read_all(tmp_path, "channels")) == {"0": b"new"}
    new.close()


def test_a_thread_that_comes_late_writes_nothing(tmp_path: Path) -> None:
    """What was closed stays closed."""
    file = RunFile(tmp_path, "channels-0")
    file.write(b"one")
    file.close()
    file.write(b"two")
    assert not (tmp_path / "channels-0.json").exists()
