"""Posthouse's rows over a PostgreSQL and a Valkey, as one node and as three.

Both servers come from wheels, as the tests' do. They run on the load generator's
core, and what they spend is told apart: it is not in the cost of a call. Three nodes
share one core; the load generator has as many connections to each, as a balancer
would.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from tests.support.postgres import Server, execute
from tests.support.valkey import Valkey
from typing_extensions import override

from benchmarks import process
from benchmarks.gateways import Upstream, free_port, get, wait_until
from benchmarks.posthouse import Posthouse

SECRET = "of all nodes that are measured, 32 characters"


class OnPostgres(Posthouse):
    """One node, whose database and limits others could share."""

    name = "posthouse-postgres"
    label: ClassVar[str] = "Posthouse, PostgreSQL and Valkey"
    nodes = 1

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        super().__init__(folder, upstream)
        self._ports = [self.port, *(free_port() for _ in range(self.nodes - 1))]
        self._servers: tuple[Server, Valkey] | None = None
        self._url = ""
        self._processes: list[process.Process] = []

    @property
    @override
    def ports(self) -> Sequence[int]:
        return self._ports

    @override
    def environment(self) -> dict[str, str]:
        assert self._servers is not None
        return {
            "POSTHOUSE_DATABASE": self._url,
            "POSTHOUSE_COORDINATION": self._servers[1].url,
            "POSTHOUSE_SECRET": SECRET,
        }

    @override
    def start(self) -> None:
        """Start all nodes at once; the slowest one counts."""
        if self._servers is None:
            self._servers = Server().__enter__(), Valkey().__enter__()
            self._url = self._servers[0].new_database()
        self._processes = [self._start(port) for port in self._ports]
        self.startup_seconds = max(
            wait_until(partial(_serves, port), running, self.ready_seconds)
            for port, running in zip(self._ports, self._processes, strict=True)
        )

    def _start(self, port: int) -> process.Process:
        folder = self.folder / f"node-{port}"
        folder.mkdir(exist_ok=True)
        command = self.command()
        command[command.index("--port") + 1] = str(port)
        command[command.index("--data") + 1] = str(folder)
        return process.Process(
            command,
            core=process.cores()[0],
            log=folder / "output.log",
            environment=self.environment() | {"POSTHOUSE_NODE": folder.name},
        )

    @override
    def stop(self) -> None:
        for running in self._processes:
            running.stop()
        self._processes.clear()

    @override
    def close(self) -> None:
        if self._servers is not None:
            for server in self._servers:
                server.__exit__()
            self._servers = None

    @override
    def cpu(self) -> float:
        return sum(process.cpu_seconds(running.pid) for running in self._processes)

    @override
    def cpu_beside(self) -> float:
        assert self._servers is not None
        return sum(process.cpu_seconds(server.pid) for server in self._servers)

    @override
    def memory(self) -> tuple[int, int]:
        found = [process.memory_bytes(running.pid) for running in self._processes]
        return sum(pss for pss, _ in found), max(rss for _, rss in found)

    @override
    def count(self, question: str) -> int:
        return int(execute(self._url, question)[0][0])


def _serves(port: int) -> bool:
    return get(port, "/health/ready")[0] == 200


class ThreeNodes(OnPostgres):
    """Three nodes, a data folder each; calls come to them in equal parts."""

    name = "posthouse-nodes"
    label = "Posthouse, 3 nodes"
    nodes = 3
