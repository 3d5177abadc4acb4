"""Requests about what a provider keeps, passed on to the channel that has it."""

from posthouse.dialects.base import Dialect
from posthouse.errors import NoChannel
from posthouse.relay.asking import ask
from posthouse.relay.prepare import channel_request
from posthouse.relay.snapshot import Snapshot
from posthouse.upstream.ports import Sender

_JSON = (b"content-type", b"application/json")


class PassedOn:
    """Asks channels about what they keep."""

    def __init__(self, sender: Sender) -> None:
        """Ask by way of `sender`."""
        self._sender = sender

    async def ask(
        self,
        snapshot: Snapshot,
        place: tuple[str, int],
        operation: str,
        dialect: Dialect,
        *,
        method: str,
        path: str,
    ) -> bytes:
        """Give the body of the reply; raises PosthouseError.

        Args:
            snapshot: whose channels are asked.
            place: the channel that has it, and the credential that reaches it.
            operation: what made it.
            dialect: in which that was asked; it judges errors.
            method: in capitals.
            path: with its query, behind the operation's own.
        """
        name, credential = place
        channel = snapshot.table.channels.get(name)
        if channel is None or credential >= len(channel.credentials):
            raise NoChannel
        row = channel.provider.operations[operation]
        row = row.also.get(dialect.name, row)
        request = channel_request(
            channel, credential, method, row.path + path, headers=(_JSON,)
        )
        _, body = await ask(self._sender, channel, request, dialect)
        return body
