"""`posthouse serve`: the relay itself."""

import asyncio
import sys
from pathlib import Path

from posthouse.app import Application, run_options
from posthouse.cli.installation import Installation, open_installation
from posthouse.cli.options import Config, Data
from posthouse.observe import logs
from posthouse.server.run import Server, new_event_loop, run
from posthouse.server.sockets import StartupError
from posthouse.settings.environment import Settings, load_settings
from posthouse.settings.failure import ConfigurationError
from posthouse.settings.loader import load_file

log = logs.logger("posthouse")


def serve(
    *,
    config: Config = None,
    host: str | None = None,
    port: int | None = None,
    data: Data = None,
) -> None:
    """Serve calls until SIGTERM; SIGHUP reads the configuration file again.

    Args:
        config: The configuration file; without one the database's objects serve.
        host: Address to listen at; default 127.0.0.1.
        port: Port to listen at; default 3000, 0 takes a free one.
        data: Data folder; default ./data.
    """
    settings = load_settings(config=config, host=host, port=port, data=data)
    if settings.config is not None:
        file = load_file(settings.config)
        settings = settings.with_file(file.configuration.server)
    coloured = {"auto": None, "text": True, "json": False}[settings.log_format]
    logs.configure(settings.log_level, colours=coloured)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        try:
            runner.run(_serve(settings))
        except StartupError as error:
            sys.stderr.write(f"posthouse: {error}\n")
            sys.exit(1)


async def _serve(settings: Settings) -> None:
    async with open_installation(settings) as installation:
        if settings.config is not None:
            await _apply(installation, settings.config)
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
            reloading: set[asyncio.Task[None]] = set()

            def reload() -> None:
                task = asyncio.ensure_future(_reload(installation))
                reloading.add(task)
                task.add_done_callback(reloading.discard)

            await run(
                application.dispatcher(),
                host=settings.host,
                port=settings.port,
                options=run_options(settings, started=_started, reload=reload),
            )
        finally:
            await application.close()


def _started(server: Server) -> None:
    for host, port in server.addresses:
        log.info("serving", url=f"http://{host}:{port}")


async def _reload(installation: Installation) -> None:
    """Apply the file again; a faulty one is refused and the old one stays."""
    path = installation.settings.config
    if path is None:
        log.warning("there is no configuration file to read again")
        return
    try:
        await _apply(installation, path)
    except ConfigurationError as error:
        log.warning("the configuration was refused", reason=str(error))


async def _apply(installation: Installation, path: Path) -> None:
    file = await asyncio.to_thread(load_file, path)
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
