"""Many calls at once, on connections that are opened beforehand."""

import asyncio
from collections.abc import Sequence

from tests.support.raw import RawReply, read_reply

CONNECTING = 50
"""Connections that are opened at a time."""


def request_bytes(path: str, key: str, body: bytes, *, last: bool = True) -> bytes:
    """A request; the connection closes after the last."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: gateway",
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"Connection: {'close' if last else 'keep-alive'}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Crowd:
    """Connected clients that call when all of them are told to."""

    def __init__(self, port: int) -> None:
        """Call a server of this machine."""
        self._port = port
        self._pairs: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.replied = 0
        """Replies that have come to their end."""

    async def gather(self, count: int) -> None:
        """Connect so many clients."""
        while len(self._pairs) < count:
            wanted = min(CONNECTING, count - len(self._pairs))
            self._pairs += await asyncio.gather(
                *(
                    asyncio.open_connection("127.0.0.1", self._port)
                    for _ in range(wanted)
                )
            )

    async def release(self, requests: Sequence[bytes]) -> list[RawReply]:
        """Have each client send its request at once; give all replies."""
        for (_, writer), request in zip(self._pairs, requests, strict=True):
            writer.write(request)
        try:
            return await asyncio.gather(*map(self._read, self._pairs))
        finally:
            self._pairs.clear()

    async def _read(
        self, pair: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    ) -> RawReply:
        reader, writer = pair
        data = await reader.read()
        self.replied += 1
        writer.close()
        return read_reply(data)


async def ask_each(
    port: int, requests: Sequence[bytes], *, at_once: int
) -> list[RawReply]:
    """Make calls, so many at a time; give their replies in order."""
    left = iter(enumerate(requests))
    replies: dict[int, RawReply] = {}

    async def caller() -> None:
        for index, request in left:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            replies[index] = read_reply(await reader.read())
            writer.close()

    await asyncio.gather(*(caller() for _ in range(at_once)))
    return [replies[index] for index in range(len(requests))]
