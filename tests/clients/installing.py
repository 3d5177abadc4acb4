"""Installs the clients into the cache, once for each version of the lock files.

Those of npm come with their digests from `package-lock.json`, those of PyPI from
`requirements.txt`; the latter have an environment of their own.
"""

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.processes import ROOT, ServerFailed

HERE = Path(__file__).parent
CACHE = ROOT / ".cache"
NODE = CACHE / "clients"
PYTHON = CACHE / "clients-venv"
MODULES = NODE / "node_modules"
CLAUDE = MODULES / "@anthropic-ai" / "claude-code"
INSTALL_SECONDS = 600


def require_node() -> None:
    """Skip the test where there is no node."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("these clients need node and npm, and this machine has none")


@contextmanager
def missing(folder: Path, lock: str) -> Iterator[bool]:
    """Tell whether what a lock file names is not yet in a folder.

    It counts as being there when the block ends well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n")
    wanted = (HERE / lock).read_bytes()
    stamp = folder / "installed"
    with (CACHE / f"{folder.name}.lock").open("w") as guard:
        # Several test processes may want it at the same time.
        fcntl.flock(guard, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_bytes() == wanted:
            yield False
            return
        yield True
        stamp.write_bytes(wanted)


def execute(*command: str | Path, folder: Path) -> None:
    """Run a command of an installation."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if done.returncode:
        raise ServerFailed(f"{command} failed:\n{done.stdout}{done.stderr}")


def install_node() -> None:
    """Install what npm has."""
    require_node()
    with missing(NODE, "package-lock.json") as wanted:
        if not wanted:
            return
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, NODE / name)
        command = ("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
        execute(*command, folder=NODE)
        # The only script that is needed: it puts the program for this machine
        # where the package is called.
        execute("node", "install.cjs", folder=CLAUDE)


def install_python() -> None:
    """Install what PyPI has."""
    with missing(PYTHON, "requirements.txt") as wanted:
        if not wanted:
            return
        execute(sys.executable, "-m", "venv", "--clear", PYTHON, folder=ROOT)
        pip = (PYTHON / "bin" / "python", "-m", "pip", "install", "--quiet")
        options = ("--disable-pip-version-check", "--require-hashes", "--no-deps")
        execute(*pip, *options, "-r", HERE / "requirements.txt", folder=ROOT)


INSTALLERS: tuple[Callable[[], None], ...] = (install_node, install_python)

if __name__ == "__main__":
    for installer in INSTALLERS:
        try:
            installer()
        except pytest.skip.Exception as reason:
            print(reason)
