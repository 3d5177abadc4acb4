"""`posthouse serve`: the relay itself."""

import asyncio
from typing import Annotated

from cyclopts import Parameter

from posthouse.app import RUN
from posthouse.cli.failures import CommandFailed
from posthouse.cli.installation import open_installation
from posthouse.cli.options import Config, Data
from posthouse.cli.options import command as make_command
from posthouse.cli.service import (
    Service,
    apply_file,
    bind_own,
    is_refusal,
    tell_addresses,
    with_file,
)
from posthouse.observe import logs
from posthouse.observe.siblings import forget_figures
from posthouse.server.memory import return_free_memory, share_one_heap
from posthouse.server.run import new_event_loop
from posthouse.server.sockets import StartupError, bind_for_each
from posthouse.server.supervisor import Post, Supervisor
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
    workers: Annotated[
        int | None, Parameter(help="Processes that serve; default 1.")
    ] = None,
    data: Data = None,
) -> None:
    """Serve calls until SIGTERM; SIGHUP reads the configuration file again.

    Without a configuration file the objects in the database serve.
    """
    share_one_heap()
    settings = load_settings(
        config=config, host=host, port=port, workers=workers, data=data
    )
    file = None if settings.config is None else load_file(settings.config)
    own = settings if file is None else with_file(settings, file)
    coloured = {"auto": None, "text": True, "json": False}[settings.log_format]
    logs.configure(settings.log_level, colours=coloured)
    try:
        _check_address(own)
        if own.workers > 1:
            supervise(settings, own, file)
            return
        service = Service(settings, own, file)
        del file
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(service.run())
    except StartupError as error:
        raise CommandFailed(str(error)) from None


def supervise(given: Settings, own: Settings, file: LoadedFile | None) -> None:
    """Serve with several processes; raises StartupError and CommandFailed."""
    # A loop of the standard library: it leaves no thread behind that a fork
    # would lose.
    asyncio.run(_prepare(own, file))
    del file
    return_free_memory()
    sockets = bind_for_each(own.workers, own.host, own.port)

    def work(post: Post) -> None:
        service = Service(given, own, None, post)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(service.run(sockets[post.slot]))

    def started() -> None:
        addresses = [listener.getsockname()[:2] for listener in sockets[0]]
        tell_addresses(addresses, workers=own.workers)

    supervisor = Supervisor(
        work, own.workers, started=started, reload=lambda: _reload(given, own)
    )
    forget_figures(own.data / RUN)
    if not supervisor.run():
        raise CommandFailed("a worker failed; the log says why")


async def _prepare(settings: Settings, file: LoadedFile | None) -> None:
    """Make what is missing, and apply a file for all workers."""
    async with open_installation(settings) as installation:
        if file is not None:
            await apply_file(installation, file)


def _reload(given: Settings, own: Settings) -> bool:
    """Apply the file again for all workers; whether they shall read it, too."""
    if given.config is None:
        log.warning("there is no configuration file to read again")
        return False
    try:
        asyncio.run(_prepare(own, load_file(given.config)))
    except Exception as error:
        if not is_refusal(error):
            raise
        return False
    return True


def _check_address(settings: Settings) -> None:
    """Raise StartupError before anything is changed for a server that cannot be."""
    for listener in bind_own(settings):
        listener.close()


command = make_command(serve)
