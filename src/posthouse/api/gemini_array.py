"""A caller of Google's that wants its stream as one JSON array, not as events."""

from typing_extensions import override

from posthouse.api.wrapped_client import WrappedClient
from posthouse.dialects.google.framing import ARRAY_HEADERS, JSONArrayFraming
from posthouse.relay.ports import Client, Headers

_FRAMING = frozenset(name for name, _ in ARRAY_HEADERS)


class ArrayClient(WrappedClient):
    """Writes for a caller what comes as events as the pieces of an array."""

    def __init__(self, client: Client) -> None:
        """Write to `client`."""
        super().__init__(client)
        self._framing = JSONArrayFraming()

    @override
    async def start(self, status: int, headers: Headers) -> None:
        others = tuple(one for one in headers if one[0] not in _FRAMING)
        await super().start(status, ARRAY_HEADERS + others)

    @override
    async def write(self, data: bytes) -> None:
        await super().write(self._framing.feed(data))

    @override
    async def finish(self, data: bytes = b"") -> None:
        last = self._framing.feed(data) if data else b""
        await super().finish(last + self._framing.close())
