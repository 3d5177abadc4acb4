"""A TCP proxy that a test makes slow, deaf, dumb or absent; on TLS if it likes."""

import asyncio
import contextlib
import ssl
from typing import Self


class TCPProxy:
    """Stands before a port of this machine; use it in an `async with` block."""

    def __init__(self, target: int, context: ssl.SSLContext | None = None) -> None:
        self.delay = 0.0
        """Seconds by which what the server says is late."""
        self.is_deaf = False
        """Connections are taken, and nothing of them is carried."""
        self.port = 0
        self.connections = 0
        """All that were ever taken."""
        self._target = target
        self._context = context
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.shut()

    async def open(self) -> None:
        """Take connections, at the same port as before."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self._context
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Take none any more, and cut those that there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self.cut()

    async def cut(self) -> None:
        """End all connections in the middle."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                if self.is_deaf:
                    await asyncio.Event().wait()
                inner = await asyncio.open_connection("127.0.0.1", self._target)
                try:
                    await self._carry((reader, writer), inner)
                finally:
                    inner[1].transport.abort()
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _carry(
        self,
        outer: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        inner: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        async with asyncio.TaskGroup() as both:
            there = both.create_task(self._pump(outer[0], inner[1], slow=False))
            back = both.create_task(self._pump(inner[0], outer[1], slow=True))
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            there.cancel()
            back.cancel()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slow: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if slow and self.delay:
                    await asyncio.sleep(self.delay)
                while self.is_deaf:
                    await asyncio.sleep(0.01)
                writer.write(data)
