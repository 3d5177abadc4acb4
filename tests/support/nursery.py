"""Processes that need not start from nothing: forked from one that is there.

Most of what a short-lived server or a command costs is the import of its modules.
A nursery is a process, started when a test first needs it, that has them imported.
Every further process is a fork of it with a command line, variables, a folder and
files of its own, and then is what it would be anyhow; `posthouse serve` makes its
workers likewise. How the program starts is shown by tests of the installed command.
"""

import atexit
import functools
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module, reload
from pathlib import Path
from pkgutil import walk_packages
from typing import IO, Any, Final

ROOT = Path(__file__).parents[2]
OTHERS: Final = (
    "aiosqlite",
    "asyncpg",
    "cyclopts.help",
    "encodings.idna",
    "hiredis",
    "httptools",
    "prometheus_client",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "structlog",
    "uvicorn.lifespan.off",
    "uvloop",
)
"""Modules that are not ours."""
OURS: Final = (
    "posthouse.cli.backup",
    "posthouse.cli.books",
    "posthouse.cli.channels",
    "posthouse.cli.doctor",
    "posthouse.cli.keys",
    "posthouse.cli.maintenance",
    "posthouse.cli.serve",
)
"""What the commands import when they run, but for dialects."""
ARMING: Final = "POSTHOUSE_KILL_POINT"
"""A variable that one of our modules reads when it is imported."""
EARLY: Final = ("LD_", "PYTHON", "TZ")
"""How those begin that are read before."""
MESSAGE = 256 * 1024
MOST_DESCRIPTORS = 65536
DESCRIPTORS = 4
"""Standard input, output and error, and a pipe for how it ended."""


class Born:
    """A process that was forked; of `subprocess.Popen` it has what tests use."""

    def __init__(self, pid: int, args: list[str], ended: int) -> None:
        """Take what the nursery has answered."""
        self.pid = pid
        self.args = args
        self.returncode: int | None = None
        self._ended = ended

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; raises subprocess.TimeoutExpired."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            waiting = select.poll()
            waiting.register(self._ended, select.POLLIN)
            if waiting.poll(None if timeout is None else timeout * 1000):
                told = os.read(self._ended, 16)
                os.close(self._ended)
                assert told, "the nursery has died"
                self.returncode = int(told)
        return self.returncode


class _Nursery:
    """The process that is forked; it ends with the one that has started it."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno()), *modules],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        atexit.register(self._close)

    def bear(
        self, args: list[str], files: Sequence[IO[Any]], environment: Mapping[str, str]
    ) -> Born:
        """Fork a process."""
        request = json.dumps([args, dict(environment)]).encode()
        ended, ending = os.pipe()
        try:
            with self._lock:
                descriptors = [*(file.fileno() for file in files), ending]
                socket.send_fds(self._socket, [request], descriptors)
                answer = self._socket.recv(16)
        finally:
            os.close(ending)
        assert answer, "the nursery has died"
        return Born(int(answer), args, ended)

    def _close(self) -> None:
        self._socket.close()
        self._process.wait()


@functools.cache
def _nursery(modules: tuple[str, ...]) -> _Nursery:
    return _Nursery(modules)


Process = Born | subprocess.Popen[bytes]


def start(
    module: str,
    *arguments: str | Path,
    files: tuple[IO[Any], IO[Any], IO[Any]],
    environment: Mapping[str, str],
) -> Process:
    """Run a module in the project's root, in a session of its own.

    Args:
        module: as `python -m` takes it.
        arguments: its command line.
        files: its standard input, output and error.
        environment: all of its variables.
    """
    args = [module, *map(str, arguments)]
    if _early(environment) != _early(os.environ):
        stdin, stdout, stderr = files
        return subprocess.Popen(
            [sys.executable, "-m", *args],
            cwd=ROOT,
            env=dict(environment),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    return _nursery((*OTHERS, *OURS)).bear(args, files, environment)


def _early(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in environment.items() if name.startswith(EARLY)
    }


def run(
    module: str,
    *arguments: str | Path,
    environment: Mapping[str, str],
    timeout: float,
) -> "subprocess.CompletedProcess[str]":
    """Run a module to its end; see `start`. What it writes is in the result."""
    with (
        Path(os.devnull).open() as nothing,
        tempfile.TemporaryFile("w+") as output,
        tempfile.TemporaryFile("w+") as errors,
    ):
        files = (nothing, output, errors)
        process = start(module, *arguments, files=files, environment=environment)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(
            process.args, code, output.read(), errors.read()
        )


# --- in the nursery ------------------------------------------------------------------


def _serve(requests: socket.socket) -> list[str] | None:
    """Fork for each request; give a fork its command line, and None at the end."""
    endings: dict[int, int] = {}
    woken, waker = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker)
    while True:
        ready, _, _ = select.select([requests, woken], [], [])
        if woken in ready:
            os.read(woken, MESSAGE)
            _mourn(endings)
        if requests not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(requests, MESSAGE, DESCRIPTORS)
        if not message:
            return None
        pid = os.fork()
        if not pid:
            requests.detach()
            return _become(message, descriptors)
        *files, endings[pid] = descriptors
        for descriptor in files:
            os.close(descriptor)
        requests.send(str(pid).encode())


def _mourn(endings: dict[int, int]) -> None:
    """Tell how those ended that have."""
    for pid in list(endings):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            ending = endings.pop(pid)
            with suppress(BrokenPipeError):
                os.write(ending, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(ending)


def _become(message: bytes, descriptors: list[int]) -> list[str]:
    """Be what was asked for, in a fork; give its command line."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    for number, descriptor in enumerate(descriptors[:-1]):
        os.dup2(descriptor, number)
    os.closerange(len(descriptors) - 1, MOST_DESCRIPTORS)
    args, environment = json.loads(message)
    os.environ.clear()
    os.environ.update(environment)
    if os.environ.get(ARMING):
        _arm()
    # What they were belongs to the nursery.
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115 - for good
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(  # noqa: SIM115
        2, "w", 1, errors="backslashreplace", closefd=False
    )
    return args


def _arm() -> None:
    """Have the points of the crash suite as if all were only imported now."""
    points = vars(reload(sys.modules["posthouse.billing.killpoints"]))
    for name, module in tuple(sys.modules.items()):
        if name.startswith("posthouse."):
            known = {"ARMED", "reach"} & vars(module).keys()
            vars(module).update({one: points[one] for one in known})


def _code_of(module: str) -> int:
    """Run a module; give the exit code."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        raise
    return 0


def _end(code: int) -> None:
    """End as an interpreter does, but leave its memory to the system.

    To take it apart would first copy what is shared with the nursery.
    """
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _know() -> None:
    """Import and read what servers find out when they start, the same each time."""
    from posthouse import dialects
    from posthouse.catalog.load import load_catalog

    for found in walk_packages(dialects.__path__, dialects.__name__ + "."):
        import_module(found.name)
    load_catalog()


def main() -> None:
    """Import the modules, then fork until nobody is there to ask."""
    descriptor, *modules = sys.argv[1:]
    for module in modules:
        import_module(module)
    _know()
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(descriptor)) as requests:
        args = _serve(requests)
    if args is not None:
        module, *arguments = args
        sys.argv = [module, *arguments]
        _end(_code_of(module))


if __name__ == "__main__":
    main()
