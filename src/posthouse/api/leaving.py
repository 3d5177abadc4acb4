"""A client in whose place answers are read along, for what they leave behind."""

from typing_extensions import override

from posthouse.api.wrapped_client import WrappedClient
from posthouse.relay.ports import Client
from posthouse.relay.resources.guard import Leavings


class ReadAlong(WrappedClient):
    """Reads streams along."""

    def __init__(self, client: Client, leavings: Leavings) -> None:
        """Stand before `client`."""
        super().__init__(client)
        self._leavings = leavings

    @override
    async def write(self, data: bytes) -> None:
        self._leavings.read_along(data)
        await super().write(data)
