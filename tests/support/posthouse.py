"""A real Posthouse: `posthouse serve` as a subprocess, asked through its own CLI."""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, ClassVar

from tests.support import nursery, store
from tests.support.processes import ServerFailed, ServerProcess, free_port
from typing_extensions import override

COMMAND = Path(sys.executable).parent / "posthouse"
RECORD_SECONDS = 10.0
QUICK = {"POSTHOUSE_DRAIN_GRACE_SECONDS": "0"}
"""No load balancer stands before a test's server."""
OF_CALLS = frozenset({"calls", "key", "ledger"})
"""Commands whose answer changes with the calls that end."""
BOOKED_SECONDS = 0.75
"""Within which the ledger has what the journal has: three of its rounds."""
LOOK_SECONDS = 0.05


class Posthouse(ServerProcess):
    """A running server over a data directory and a configuration file."""

    program: ClassVar[str] = "posthouse"
    """The module that it is."""

    def __init__(
        self,
        directory: Path,
        configuration: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it on a free port."""
        directory.mkdir(parents=True, exist_ok=True)
        self.data = directory / "data"
        self.environment = dict(environment or {})
        self.configuration = directory / "posthouse.toml"
        self.configuration.write_text(configuration)
        elsewhere = "POSTHOUSE_DATABASE" in {**os.environ, **self.environment}
        if not elsewhere and not self.data.exists():
            store.lay_out(self.data)
        port = free_port()
        command: list[str | Path] = [self.program, "serve"]
        command += ["--config", self.configuration]
        command += ["--data", self.data, "--host", "127.0.0.1", "--port", str(port)]
        super().__init__(
            command,
            url=f"http://127.0.0.1:{port}",
            ready="/health/ready",
            log=directory / "posthouse.log",
            environment={**QUICK, **(environment or {})},
        )

    def ask(self, *command: str) -> Any:
        """Run a command of the CLI on this data and give its JSON.

        What has ended before is in it.
        """
        if command[0] in OF_CALLS:
            time.sleep(BOOKED_SECONDS)
        return self._ask(*command)

    def _ask(self, *command: str) -> Any:
        code, output = self.run(*command, "--json")
        if code:
            raise ServerFailed(f"posthouse {' '.join(command)} ended {code}: {output}")
        return json.loads(output)

    def call(self, name: str) -> Any:
        """Give a call's record once it is in the database."""
        deadline = time.monotonic() + RECORD_SECONDS
        while True:
            for record in self._ask("calls", "--limit", "1000"):
                if record["id"] == name:
                    return record
            time.sleep(LOOK_SECONDS)
            if time.monotonic() > deadline:
                raise ServerFailed(f"there is no record of the call {name}")

    def run(self, *command: str) -> tuple[int, str]:
        """Run a command of the CLI on this data; give exit code and output."""
        done = nursery.run(
            self.program,
            *command,
            "--data",
            self.data,
            environment={**os.environ, **self.environment},
            timeout=60,
        )
        return done.returncode, done.stdout or done.stderr

    @override
    def _begin(
        self, command: list[str], environment: Mapping[str, str], output: IO[bytes]
    ) -> nursery.Process:
        with Path(os.devnull).open("rb") as nothing:
            files = (nothing, output, output)
            return nursery.start(*command, files=files, environment=environment)

    @override
    def __exit__(self, *_: object) -> None:
        """Stop it, then look whether every call was accounted for."""
        code = self.stop()
        assert code == 0, f"posthouse serve ended {code}:\n{self.output()}"
        code, output = self.run("audit", "--json")
        assert code == 0, f"posthouse audit ended {code}: {output}"
