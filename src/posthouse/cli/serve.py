"""`posthouse serve`: the relay itself."""

import asyncio
from typing import Annotated

from cyclopts import Parameter

from posthouse.app import Application, run_options
from posthouse.cli.failures import CommandFailed, explain
from posthouse.cli.installation import Installation, open_installation
from posthouse.cli.options import Config, Data
from posthouse.cli.options import command as make_command
from posthouse.observe import logs
from posthouse.server.address import TrustedProxies
from posthouse.server.cors import CORS
from posthouse.server.dispatch import Dispatcher
from posthouse.server.memory import keep_what_is_there, return_free_memory
from posthouse.server.run import Server, new_event_loop, run
from posthouse.server.sockets import StartupError, bind
from posthouse.settings.environment import Settings, load_settings
from posthouse.settings.loader import LoadedFile, load_file

log = logs.logger("posthouse")


def serve(
    *,
    config: Config = None,
    host: Annotated[
        str | None, Parameter(help="Address to listen at; default 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None, Parameter(help="Port; default 3000, 0 takes a free one.")
    ] = None,
    data: Data = None,
) -> None:
    """Serve calls until SIGTERM; SIGHUP reads the configuration file again.

    Without a configuration file the objects in the database serve.
    """
    keep_what_is_there()
    settings = load_settings(config=config, host=host, port=port, data=data)
    file = None if settings.config is None else load_file(settings.config)
    own = settings if file is None else _with_file(settings, file)
    coloured = {"auto": None, "text": True, "json": False}[settings.log_format]
    logs.configure(settings.log_level, colours=coloured)
    service = _Service(settings, own, file)
    del file
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        try:
            _check_address(own)
            runner.run(service.run())
        except StartupError as error:
            raise CommandFailed(str(error)) from None


def _with_file(settings: Settings, file: LoadedFile) -> Settings:
    """Take the file's settings where nobody has set them otherwise."""
    configuration = file.configuration
    return settings.with_file(configuration.server, configuration.telemetry)


def _check_address(settings: Settings) -> None:
    """Raise StartupError before anything is changed for a server that cannot be."""
    loopback_only = settings.secret is None
    for listener in bind(settings.host, settings.port, loopback_only=loopback_only):
        listener.close()


class _Service:
    """One server and the configuration file behind it."""

    def __init__(self, given: Settings, own: Settings, file: LoadedFile | None) -> None:
        """Take the settings without the file's [server], and with it; the file."""
        self._first = file
        self._given = given
        self._own = own
        self._reloading: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self._installation: Installation
        self._dispatcher: Dispatcher

    async def run(self) -> None:
        """Serve until told to stop."""
        settings = self._own
        async with open_installation(settings) as installation:
            self._installation = installation
            await self._apply_first()
            return_free_memory()
            application = Application(
                settings,
                installation.database,
                box=installation.box,
                pepper=installation.pepper,
            )
            await application.start()
            try:
                for warning in application.warnings():
                    log.warning(warning)
                self._dispatcher = application.dispatcher()
                await run(
                    self._dispatcher,
                    host=settings.host,
                    port=settings.port,
                    options=run_options(
                        settings, started=_started, reload=self._begin_reload
                    ),
                )
            finally:
                await application.close()

    async def _apply_first(self) -> None:
        """Apply the file of the start and keep nothing of it: it may be large."""
        file, self._first = self._first, None
        if file is not None:
            await self._apply(file)

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
                failure = explain(error)
                if failure is None:
                    raise
                log.warning("the configuration was refused", reason=failure.message)
        return_free_memory()

    async def _take(self, file: LoadedFile) -> None:
        """Apply a file to the database and its [server] to this process."""
        await self._apply(file)
        new = _with_file(self._given, file)
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

    async def _apply(self, file: LoadedFile) -> None:
        report = await self._installation.apply(file)
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


def _started(server: Server) -> None:
    for host, port in server.addresses:
        shown = f"[{host}]" if ":" in host else host
        log.info("serving", url=f"http://{shown}:{port}")


command = make_command(serve)
