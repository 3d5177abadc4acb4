"""A request that comes from no connection: made by the service for a caller.

It is an `Exchange` like any other to those who answer it. Its body is there from
the beginning, and its reply is kept instead of sent.
"""

import asyncio
from typing import Any

from typing_extensions import override

from posthouse.server.context import ServerContext
from posthouse.server.exchange import Exchange
from posthouse.server.heads import Headers, RequestHead


class InnerExchange(Exchange):
    """A request without a connection, and the reply to it."""

    def __init__(self, context: ServerContext, head: RequestHead, body: bytes) -> None:
        """Begin in the task that runs."""
        # There is no link: whatever would need one is overridden.
        self.context = context
        self.head = head
        self.keep_alive = True
        self.received = len(body)
        self.body_done = True
        self.task = asyncio.current_task()
        self.status = 0
        """The reply's; 0 while there is none."""
        self.reply = b""
        self._buffer = body

    @property
    @override
    def peer(self) -> str:
        return ""

    @property
    @override
    def is_choked(self) -> bool:
        return False

    @override
    async def read(self) -> bytes:
        data, self._buffer = bytes(self._buffer), b""
        return data

    @override
    async def start(self, status: int, headers: Headers) -> None:
        self.started = True
        self.status = status

    @override
    async def write(self, data: bytes) -> None:
        self.reply += data

    @override
    async def finish(self, data: bytes = b"") -> None:
        self.reply += data
        self.complete = True

    @override
    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        self.respond_now(status, headers, body)

    @override
    def respond_now(self, status: int, headers: Headers, body: bytes) -> None:
        self.started = self.complete = True
        self.status = status
        self.reply = body

    @override
    def abort(self) -> None:
        self.complete = True


def inner_head(path: str, fields: dict[bytes, bytes], size: int) -> RequestHead:
    """Write the head of a POST that the service makes."""
    values: dict[str, Any] = {
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query": b"",
        "version": "1.1",
        "fields": fields,
        "content_length": size,
        "chunked": False,
    }
    return RequestHead(**values)
