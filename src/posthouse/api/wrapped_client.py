"""A client in whose place another one stands, who changes what it is told."""

from collections.abc import Callable

from typing_extensions import override

from posthouse.relay.ports import Client, Headers


class WrappedClient(Client):
    """Passes everything on; who derives from it changes something."""

    def __init__(self, client: Client) -> None:
        """Stand before `client`."""
        self.client = client
        self.gone = client.gone
        self.task = client.task
        self.extra = client.extra
        client.on_gone(self._left)

    def _left(self) -> None:
        self.gone = True

    @override
    def on_gone(self, callback: Callable[[], None]) -> None:
        self.client.on_gone(callback)

    @override
    async def start(self, status: int, headers: Headers) -> None:
        self.client.extra = self.extra
        await self.client.start(status, headers)

    @override
    async def write(self, data: bytes) -> None:
        await self.client.write(data)

    @override
    async def finish(self, data: bytes = b"") -> None:
        await self.client.finish(data)

    @override
    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        self.client.extra = self.extra
        await self.client.respond(status, headers, body)

    @override
    def abort(self) -> None:
        self.client.abort()
