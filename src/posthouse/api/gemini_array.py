"""A caller of Google's that wants its stream as one JSON array, not as events."""

from collections.abc import Callable

from typing_extensions import override

from posthouse.dialects.google.framing import ARRAY_HEADERS, JSONArrayFraming
from posthouse.relay.ports import Client, Headers

_FRAMING = frozenset(name for name, _ in ARRAY_HEADERS)


class ArrayClient(Client):
    """Writes for a caller what comes as events as the pieces of an array."""

    def __init__(self, client: Client) -> None:
        """Write to `client`."""
        self._client = client
        self._framing = JSONArrayFraming()
        self.gone = client.gone
        self.task = client.task
        self.extra = client.extra
        client.on_gone(self._left)

    def _left(self) -> None:
        self.gone = True

    @override
    def on_gone(self, callback: Callable[[], None]) -> None:
        self._client.on_gone(callback)

    @override
    async def start(self, status: int, headers: Headers) -> None:
        others = tuple(one for one in headers if one[0] not in _FRAMING)
        self._client.extra = self.extra
        await self._client.start(status, ARRAY_HEADERS + others)

    @override
    async def write(self, data: bytes) -> None:
        await self._client.write(self._framing.feed(data))

    @override
    async def finish(self, data: bytes = b"") -> None:
        last = self._framing.feed(data) if data else b""
        await self._client.finish(last + self._framing.close())

    @override
    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        self._client.extra = self.extra
        await self._client.respond(status, headers, body)

    @override
    def abort(self) -> None:
        self._client.abort()
