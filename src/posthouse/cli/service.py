"""One serving process, alone or as a worker, and the configuration file behind it."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterable

from msgspec import structs

from posthouse.app import Application, run_options
from posthouse.cli.failures import explain
from posthouse.cli.installation import Installation, open_installation
from posthouse.observe import logs
from posthouse.server.address import TrustedProxies
from posthouse.server.cors import CORS
from posthouse.server.dispatch import Dispatcher
from posthouse.server.memory import return_free_memory
from posthouse.server.run import Server, run
from posthouse.server.sockets import bind
from posthouse.server.supervisor import Post
from posthouse.settings.environment import Settings
from posthouse.settings.loader import LoadedFile, load_file

log = logs.logger("posthouse")


class Service:
    """One serving process and the configuration file behind it."""

    def __init__(
        self,
        given: Settings,
        own: Settings,
        file: LoadedFile | None,
        post: Post | None = None,
    ) -> None:
        """Take the settings without the file's [server], and with it; the file.

        With a post it is a worker: who supervises it applies the file.
        """
        self._first = file
        self._post = post
        self._given = given
        self._own = own
        self._reloading: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self._installation: Installation
        self._dispatcher: Dispatcher

    async def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop, on the settings' address or on sockets."""
        with logs.hold_up_nobody():
            await self._run(sockets)

    async def _run(self, sockets: list[socket.socket] | None) -> None:
        """Open what is on disk, serve, and leave all of it in order."""
        settings = self._own
        async with open_installation(settings) as installation:
            self._installation = installation
            if self._first is not None:
                first, self._first = self._first, None
                await apply_file(installation, first)
                # It may be large, and nothing of it is needed any more.
                del first
            return_free_memory()
            application = Application(
                settings,
                installation.database,
                box=installation.box,
                pepper=installation.pepper,
                worker=0 if self._post is None else self._post.slot,
            )
            await application.start()
            try:
                await self._serve(application, sockets or bind_own(settings))
            finally:
                await application.close()

    async def _serve(
        self, application: Application, sockets: list[socket.socket]
    ) -> None:
        """Serve on sockets until told to stop."""
        for warning in application.warnings():
            log.warning(warning)
        self._dispatcher = application.dispatcher()
        options = run_options(
            self._own, started=self._started, reload=self._begin_reload
        )
        if self._post is not None:
            options = structs.replace(options, supervised=True)
        await run(self._dispatcher, sockets, options)

    def _started(self, server: Server) -> None:
        if self._post is None:
            tell_addresses(server.addresses)
        else:
            self._post.tell_ready()
            loop = asyncio.get_running_loop()
            loop.add_reader(self._post.life, self._orphaned, self._post.life)

    def _orphaned(self, life: int) -> None:
        """Stop: the supervisor is gone."""
        asyncio.get_running_loop().remove_reader(life)
        os.kill(os.getpid(), signal.SIGTERM)

    def _begin_reload(self) -> None:
        """Start what SIGHUP asks for; one after the other."""
        task = asyncio.ensure_future(self._reload())
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)

    async def _reload(self) -> None:
        """Apply the file again; a faulty one is refused and the old one stays."""
        path = self._given.config
        if path is None:
            log.warning("there is no configuration file to read again")
            return
        async with self._turn:
            try:
                await self._take(await asyncio.to_thread(load_file, path))
            except Exception as error:
                if not is_refusal(error):
                    raise
        return_free_memory()

    async def _take(self, file: LoadedFile) -> None:
        """Apply a file to the database and its [server] to this process."""
        if self._post is None:
            await apply_file(self._installation, file)
        new = with_file(self._given, file)
        self._dispatcher.trust(
            CORS(new.cors_origins), TrustedProxies(new.trusted_proxies)
        )
        if new.durability != self._own.durability:
            log.warning("durability changes with the next start")
        if any(
            getattr(new, name) != getattr(self._own, name)
            for name in new.__struct_fields__
            if name.startswith("telemetry_")
        ):
            log.warning("telemetry changes with the next start")


def with_file(settings: Settings, file: LoadedFile) -> Settings:
    """Take the file's settings where nobody has set them otherwise."""
    configuration = file.configuration
    return settings.with_file(configuration.server, configuration.telemetry)


def bind_own(settings: Settings) -> list[socket.socket]:
    """Listen on the settings' address; raises StartupError.

    Without a secret of its own an installation listens on this machine only.
    """
    loopback_only = settings.secret is None
    return bind(settings.host, settings.port, loopback_only=loopback_only)


async def apply_file(installation: Installation, file: LoadedFile) -> None:
    """Apply a file to the database, and say what came of it."""
    report = await installation.apply(file)
    log.info(
        "configuration applied",
        created=len(report.created),
        updated=len(report.updated),
        disabled=len(report.disabled),
    )
    for warning in report.warnings:
        log.warning(warning)
    for key_file in report.key_files:
        log.info("a key was made", file=str(key_file))


def is_refusal(error: Exception) -> bool:
    """Whether a file was not taken for its own fault, which is then told."""
    failure = explain(error)
    if failure is None:
        return False
    log.warning("the configuration was refused", reason=failure.message)
    return True


def tell_addresses(addresses: Iterable[tuple[str, int]], **more: int) -> None:
    """Say where calls are served."""
    for host, port in addresses:
        shown = f"[{host}]" if ":" in host else host
        log.info("serving", url=f"http://{shown}:{port}", **more)
