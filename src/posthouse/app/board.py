"""What this process tells commands of its channels, about once a second."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from posthouse.observe.logs import logger
from posthouse.observe.siblings import PUBLISH_SECONDS, Siblings
from posthouse.routing.status import ChannelStatus
from posthouse.server.run_files import RunFile
from posthouse.wire import json

KIND = "channels"
LEAST_SECONDS, MOST_SECONDS = 1.0, 5.0
"""Between two writings."""
SHARE = 0.01
"""Of its time, at most, that the process spends on this, however many there are."""

log = logger("posthouse")


class Board:
    """Writes how channels stand, until it is closed."""

    def __init__(self, describe: Callable[[], dict[str, ChannelStatus]]) -> None:
        """Take what looks at the channels."""
        self._describe = describe
        self._task: asyncio.Task[None] | None = None

    def start(self, folder: Path, worker: int) -> None:
        """Begin, in the running loop.

        Args:
            folder: of the run.
            worker: this process's place.
        """
        self._task = asyncio.create_task(self._write(folder, worker))

    async def close(self) -> None:
        """Say nothing any more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _write(self, folder: Path, worker: int) -> None:
        try:
            file = RunFile(folder, f"{KIND}-{worker}")
        except OSError as error:
            log.warning("commands cannot be told how channels stand", reason=str(error))
            return
        try:
            while True:
                began = time.thread_time()
                content = json.encode(self._describe())
                pause = (time.thread_time() - began) / SHARE
                with suppress(OSError):
                    # A full disk is no reason to serve nobody, nor is a slow one.
                    await asyncio.to_thread(file.write, content)
                await asyncio.sleep(min(max(pause, LEAST_SECONDS), MOST_SECONDS))
        finally:
            with suppress(OSError):
                file.close()


async def publish(siblings: Siblings) -> None:
    """Leave the figures of this worker for the others, until cancelled."""
    try:
        while True:
            await asyncio.to_thread(siblings.write, siblings.figures())
            await asyncio.sleep(PUBLISH_SECONDS)
    finally:
        siblings.write(siblings.figures(), last=True)


def begin_anew() -> None:
    """Stop, so that whoever looks after this process starts it again."""
    log.critical("other machines took this one for dead: it was away for too long")
    os.kill(os.getpid(), signal.SIGTERM)
