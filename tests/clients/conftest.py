"""The servers behind the clients, and the clients' scripts, run once each."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.clients import installing
from tests.clients.providers import FIXTURES, KEY, MODELS, configuration
from tests.support.posthouse import Posthouse
from tests.support.processes import ServerProcess, free_port, python_module

SCRIPTS = Path(__file__).parent / "scripts"
SECONDS = 110

Told = dict[str, dict[str, dict[str, Any]]]
"""By model and turn, what a client had."""


class Script(NamedTuple):
    """A client's script and what it is called with."""

    name: str
    argument: str = ""

    def command(self, url: str) -> list[str]:
        """Give the command that runs it with every model."""
        arguments = [url, KEY, *([self.argument] * bool(self.argument)), *MODELS]
        if self.name.endswith(".py"):
            program = str(installing.PYTHON / "bin" / "python")
            return [program, str(SCRIPTS / self.name), *arguments]
        return ["node", str(installing.NODE / "scripts" / self.name), *arguments]


RunScript = Callable[[Script], Told]


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the servers' files and logs."""
    return tmp_path_factory.mktemp("clients")


@pytest.fixture(scope="session")
def llama(directory: Path) -> Iterator[ServerProcess]:
    """llama.cpp with a tiny model."""
    from tests.support import llama

    model = directory / "tiny.gguf"
    llama.write_model(model)
    port = free_port()
    with ServerProcess(
        python_module("tests.support.llama", model, str(port)),
        url=f"http://127.0.0.1:{port}",
        ready="/health",
        log=directory / "llama.log",
    ) as server:
        yield server


@pytest.fixture(scope="session")
def aimock(directory: Path) -> Iterator[ServerProcess]:
    """aimock, which plays an account of each dialect."""
    from tests.support.aimock import server

    with server.start(directory, free_port(), FIXTURES) as running:
        yield running


class WidePosthouse(Posthouse):
    """Posthouse with a provider more than it is shipped with."""

    program = "tests.clients.catalogue"


@pytest.fixture(scope="session")
def posthouse(
    directory: Path, aimock: ServerProcess, llama: ServerProcess
) -> Iterator[Posthouse]:
    """Posthouse over all of them; its books must be in order at the end."""
    ports = (int(server.url.rpartition(":")[2]) for server in (aimock, llama))
    text = configuration(aimock=next(ports), llama=next(ports))
    with WidePosthouse(directory / "posthouse", text) as posthouse:
        yield posthouse


@pytest.fixture(scope="session")
def node() -> Path:
    """Where the clients of npm are."""
    installing.install_node()
    # node looks for modules from where a script lies.
    place = installing.NODE / "scripts"
    place.mkdir(exist_ok=True)
    for script in SCRIPTS.glob("*.mjs"):
        (place / script.name).write_bytes(script.read_bytes())
    return installing.NODE


@pytest.fixture(scope="session")
def run_script(posthouse: Posthouse, request: pytest.FixtureRequest) -> RunScript:
    """Run a script, unless it has been."""
    known: dict[Script, Told] = {}

    def run(script: Script) -> Told:
        if script not in known:
            if script.name.endswith(".py"):
                installing.install_python()
            else:
                request.getfixturevalue("node")
            done = subprocess.run(
                script.command(posthouse.url),
                env={**os.environ, "PYTHONWARNINGS": "ignore"},
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            known[script] = json.loads(done.stdout.splitlines()[-1])
        return known[script]

    return run
