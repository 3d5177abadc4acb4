"""An answer of a channel to a request that is no call's, read whole."""

from collections.abc import Collection

from posthouse.dialects.base import Dialect
from posthouse.errors import PosthouseError
from posthouse.model.exchange import ExchangeFailure, UpstreamRequest
from posthouse.relay.faults import exchange_failed
from posthouse.relay.secrecy import body_without_secrets, conceal
from posthouse.relay.sending import REPLY_LIMIT
from posthouse.routing.table import Channel
from posthouse.upstream.ports import Sender, UpstreamResponse


async def ask(
    sender: Sender,
    channel: Channel,
    request: UpstreamRequest,
    dialect: Dialect,
    *,
    answers: Collection[int] = (200,),
) -> tuple[UpstreamResponse, bytes]:
    """Give the response and its body; raises PosthouseError.

    Args:
        sender: by which it is asked.
        channel: which is asked, and whose secrets no error shall show.
        request: what it is asked.
        dialect: judges errors.
        answers: the statuses that are none.
    """
    try:
        response = await sender.send(request)
        body = await response.read_all(REPLY_LIMIT)
    except ExchangeFailure as failure:
        raise exchange_failed(failure, channel.name).error from None
    if response.status in answers:
        return response, body
    error: PosthouseError = dialect.parse_error(
        response.status, body_without_secrets(body, channel)
    )
    conceal(error, channel)
    raise error
