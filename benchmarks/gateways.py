"""The rows: each gateway in one form, so that all are measured alike.

A gateway is started with its configuration written into its own folder, asked
until it is ready, measured, and stopped. `settle` waits until everything that
the calls caused has been done, so that late work (a journal's drain) counts.
"""

import asyncio
import http.client
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from benchmarks import process
from benchmarks.bodies import chat_body, chat_requests

READY_SECONDS = 120.0
ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".bench"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, path: str, seconds: float = 10.0) -> tuple[int, bytes]:
    """A plain GET: status and body; status 0 when nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


class Upstream:
    """The fake upstream's process, on the load generator's core."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._process = process.Process(
            [sys.executable, "-m", "benchmarks.upstream", str(self.port), "5000"],
            core=process.cores()[1],
            log=folder / "upstream.log",
        )
        try:
            wait_until(lambda: get(self.port, "/")[0] == 200, self._process)
        except SystemExit:
            self.stop()
            raise

    def served(self) -> int:
        """How many calls it has answered."""
        return int(get(self.port, "/")[1])

    def pace(self, rate: float) -> None:
        """Chunks per second over all streams."""
        get(self.port, f"/rate/{rate:g}")

    def stop(self) -> None:
        self._process.stop()


def wait_until(
    ready: Callable[[], bool],
    running: process.Process,
    seconds: float = READY_SECONDS,
) -> float:
    """Seconds until it is ready; ends the benchmark when it never is."""
    began = time.monotonic()
    while not ready():
        if running.ended() or time.monotonic() - began > seconds:
            raise SystemExit(f"not ready: {running.log}\n{running.last_words()}")
        time.sleep(0.01)
    return time.monotonic() - began


class Gateway:
    """One row. Subclasses say how it is configured and started."""

    name: ClassVar[str]
    label: ClassVar[str]
    calls = 10_000  # in a round of unary calls
    chunk_rate = 15_000  # chunks per second over all streams
    call_rate = 500  # calls per second in the open loop
    ready_seconds = READY_SECONDS  # allowed from start to ready
    streams = 200  # at once; 0 where streams cannot be measured
    path = "/v1/chat/completions"
    headers: tuple[str, ...] = ()
    keys: Sequence[str] = ("sk-bench",)

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        self.folder = folder / self.name
        self.folder.mkdir(parents=True)
        self.upstream = upstream
        self.port = free_port()
        self.made = 0
        self.startup_seconds = 0.0
        self._process: process.Process | None = None

    @classmethod
    def install(cls) -> None:
        """See that it can be started; nothing to do by default."""

    def version(self) -> str:
        """What is measured."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """Write the configuration, give the command line."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Variables that it needs beside ours."""
        return {}

    def is_ready(self) -> bool:
        """Whether it would answer a call."""
        return get(self.port, "/v1/models")[0] == 200

    def start(self) -> None:
        """Start it on the gateways' core and wait until it is ready."""
        self._process = process.Process(
            self.command(),
            core=process.cores()[0],
            log=self.folder / "output.log",
            environment=self.environment(),
        )
        self.startup_seconds = wait_until(
            self.is_ready, self._process, self.ready_seconds
        )

    def stop(self) -> None:
        """End it as an operator would."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def close(self) -> None:
        """End what it needed beside itself; nothing by default."""

    @property
    def ports(self) -> Sequence[int]:
        """Where it may be called."""
        return [self.port]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def cpu(self) -> float:
        """CPU seconds of all its processes so far."""
        return process.cpu_seconds(self.pid)

    def cpu_beside(self) -> float:
        """CPU seconds so far of the servers that it needs beside itself."""
        return 0.0

    def memory(self) -> tuple[int, int]:
        """Resident bytes: PSS of all its processes, RSS of the largest."""
        return process.memory_bytes(self.pid)

    def requests(
        self, *, stream: bool = False, chunks: int = 20, model: str = "bench"
    ) -> list[bytes]:
        """The bytes of its calls, one request for each of its keys."""
        body = chat_body(model=model, chunks=chunks, stream=stream)
        return chat_requests(self.keys, body, path=self.path, headers=self.headers)

    async def settle(self) -> None:
        """Wait until nothing is left to do for the calls made so far."""
        await asyncio.sleep(0)

    def proof(self) -> dict[str, object]:
        """Evidence that every call was accounted for; nothing to show here."""
        return {}


class Direct(Gateway):
    """No gateway: what the generator and the upstream need by themselves."""

    name = "direct"
    label = "direct to the upstream"

    @override
    def version(self) -> str:
        return "-"

    @override
    def start(self) -> None:
        self.port = self.upstream.port

    @override
    def cpu(self) -> float:
        return 0.0


NGINX_CONFIGURATION = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 32768; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    upstream fake {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://fake;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 3600s;
        }}
    }}
}}
"""


class Nginx(Gateway):
    """A bare reverse proxy: the floor that everything else is compared with."""

    name = "nginx"
    label = "nginx, bare proxy"

    @staticmethod
    def program() -> str | None:
        """Where nginx is: the system's, or the one under `.bench/`."""
        places = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
        return shutil.which("nginx", path=f"{places}:{HOME}/nginx/usr/sbin")

    @override
    @classmethod
    def install(cls) -> None:
        """Unpack Debian's package where no nginx is; nothing is set up or started."""
        if cls.program() is not None:
            return
        folder = HOME / "nginx"
        folder.mkdir(parents=True, exist_ok=True)
        script = "apt-get download nginx && dpkg -x nginx_*.deb ."
        process.output(["sh", "-c", f"cd '{folder}' && {script}"])
        if cls.program() is None:
            raise SystemExit(
                "The benchmark compares with nginx, and there is none here:"
                " apt-get install nginx-light"
            )

    @override
    def version(self) -> str:
        return process.output([str(self.program()), "-v"]).rpartition("/")[2]

    @override
    def command(self) -> list[str]:
        configuration = self.folder / "nginx.conf"
        configuration.write_text(
            NGINX_CONFIGURATION.format(
                folder=self.folder, upstream=self.upstream.port, port=self.port
            )
        )
        return [str(self.program()), "-p", str(self.folder), "-c", str(configuration)]
