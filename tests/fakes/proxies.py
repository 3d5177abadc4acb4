"""A tiny HTTP proxy and a tiny SOCKS5 proxy, which note what they were asked.

They carry bytes with asyncio's streams and refuse on demand; for tests of
proxied channels only.
"""

import asyncio
import base64
import contextlib
from typing import Self

from typing_extensions import override


class _Proxy:
    """What both have in common: listen, note, pump."""

    def __init__(self, *, login: tuple[str, str] | None = None) -> None:
        self.asked: list[str] = []
        """`host:port` of every connection asked for, in order."""
        self.refuse = False
        self.answer_nothing = False
        self._login = login
        self._server: asyncio.Server | None = None
        self._pumps: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for pump in tuple(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        await self._server.wait_closed()
        await asyncio.sleep(0)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        try:
            with contextlib.suppress(
                OSError, asyncio.IncompleteReadError, asyncio.CancelledError
            ):
                if self.answer_nothing:
                    await reader.read()
                else:
                    await self.shake_hands(reader, writer)
        finally:
            self._pumps.discard(task)
            writer.transport.abort()

    async def shake_hands(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Speak the proxy's protocol, then call `carry`."""
        raise NotImplementedError

    async def carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        host: str,
        port: int,
    ) -> None:
        """Pump bytes both ways until one side ends."""
        there, back = await asyncio.open_connection(host, port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, back))
                group.create_task(_pump(there, writer))
        except* OSError:
            pass
        finally:
            back.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end, then pass the end on."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.transport.close()


class HTTPProxy(_Proxy):
    """Answers CONNECT."""

    @property
    def url(self) -> str:
        """What a channel's `proxy` says."""
        login = f"{self._login[0]}:{self._login[1]}@" if self._login else ""
        return f"http://{login}127.0.0.1:{self.port}"

    @override
    async def shake_hands(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, _ = head.partition("\r\n")[0].split(" ")
        assert method == "CONNECT"
        self.asked.append(target)
        if self._login:
            text = base64.b64encode(":".join(self._login).encode()).decode()
            if f"Proxy-Authorization: Basic {text}\r\n" not in head:
                writer.write(b"HTTP/1.1 407 Log in\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                return
        if self.refuse:
            writer.write(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        host, _, port = target.rpartition(":")
        await self.carry(reader, writer, host.strip("[]"), int(port))


class SOCKS5Proxy(_Proxy):
    """Answers SOCKS5's CONNECT."""

    @property
    def url(self) -> str:
        """What a channel's `proxy` says."""
        login = f"{self._login[0]}:{self._login[1]}@" if self._login else ""
        return f"socks5://{login}127.0.0.1:{self.port}"

    @override
    async def shake_hands(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        wanted = 2 if self._login else 0
        if wanted not in methods:
            writer.write(b"\x05\xff")
            return
        writer.write(bytes([5, wanted]))
        if self._login:
            await reader.readexactly(1)
            user = await self._counted(reader)
            password = await self._counted(reader)
            good = (user.decode(), password.decode()) == self._login
            writer.write(b"\x01\x00" if good else b"\x01\x01")
            if not good:
                await writer.drain()
                return
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await self._counted(reader)).decode()
        else:
            packed = await reader.readexactly(4 if kind == 1 else 16)
            host = ".".join(str(byte) for byte in packed)
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append(f"{host}:{port}")
        code = 2 if self.refuse else 0
        writer.write(bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0]))
        await writer.drain()
        if code == 0:
            await self.carry(reader, writer, host, port)

    async def _counted(self, reader: asyncio.StreamReader) -> bytes:
        """Read bytes after their count."""
        return await reader.readexactly((await reader.readexactly(1))[0])
