"""Requests about what a provider keeps, passed on to the channel that has it."""

from posthouse.dialects.base import Dialect
from posthouse.errors import NoChannel, PosthouseError
from posthouse.model.exchange import ExchangeFailure
from posthouse.relay.faults import exchange_failed
from posthouse.relay.prepare import channel_request
from posthouse.relay.secrecy import body_without_secrets, conceal
from posthouse.relay.snapshot import Snapshot
from posthouse.upstream.ports import Sender

REPLY_LIMIT = 64 * 1024 * 1024
"""Bytes of a reply."""
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
        try:
            response = await self._sender.send(request)
            body = await response.read_all(REPLY_LIMIT)
        except ExchangeFailure as failure:
            raise exchange_failed(failure, channel.name).error from None
        if response.status == 200:
            return body
        error: PosthouseError = dialect.parse_error(
            response.status, body_without_secrets(body, channel)
        )
        conceal(error, channel)
        raise error
