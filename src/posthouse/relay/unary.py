"""Calls answered in one piece: read the whole reply, settle, then hand it over."""

import asyncio

from msgspec import Struct

from posthouse.dialects.base import Answer
from posthouse.errors import UpstreamFault
from posthouse.model.exchange import ExchangeFailure
from posthouse.relay.call import Call
from posthouse.relay.faults import exchange_failed, told_failed
from posthouse.relay.sending import (
    REPLY_LIMIT,
    complete,
    dispatch,
    forget_refused,
    refusal,
)
from posthouse.relay.served import Completion, Served
from posthouse.relay.several import whole_replies
from posthouse.relay.snapshot import Way
from posthouse.relay.watch import ClientGone
from posthouse.routing.plan import Target
from posthouse.upstream.ports import Sender, UpstreamResponse

Headers = list[tuple[bytes, bytes]]
_WHOLE = Completion.WHOLE
"""Members of an enumeration are slow to look up for each call."""


class UnaryExchange(Struct):
    """Makes one call's attempts at a whole reply."""

    call: Call
    sender: Sender

    async def attempt(self, target: Target, seconds: float) -> Served:
        """Make one attempt; raises AttemptFailed or ClientGone."""
        call, watch = self.call, self.call.watch
        way = call.way(target)
        prepared = way.prepared
        watch.drain = prepared.drains
        if prepared.several is not None:
            return await whole_replies(
                call, self.sender, target, prepared, seconds=seconds
            )
        if not call.incoming.request.plain or watch.client.gone:
            await complete(call, prepared)
        request = call.render(prepared, seconds)
        response = body = None
        try:
            with watch:
                response = await dispatch(call, self.sender, prepared, request)
                if response.status == 200:
                    body = await response.read_all(REPLY_LIMIT)
        except (ExchangeFailure, ClientGone, asyncio.CancelledError) as error:
            raise _broken_off(error, target, response) from None
        if body is None:
            raise await refusal(call, target, prepared, response)
        return whole_reply(call, target, way, response=response, body=body)


def whole_reply(
    call: Call,
    target: Target,
    way: Way,
    *,
    response: UpstreamResponse | None,
    body: bytes,
) -> Served:
    """Read a whole reply of status 200; raises AttemptFailed.

    The headers of `response` are split only where somebody reads them; None has none.
    """
    request, public_model = call.incoming.request, way.public_model
    prepared = way.prepared
    media = prepared.media
    try:
        if media is None:
            reply = prepared.dialect.parse_reply(request, body, public_model)
        else:
            answer = Answer(_headers_of(response), body)
            reply = media.parse_answer(request, answer, public_model)
    except UpstreamFault as error:
        forget_refused(prepared, error)
        raise told_failed(error, _headers_of(response)) from None
    return Served(
        target,
        _WHOLE,
        reply.usage,
        reply.service_tier,
        reply.output_text,
        body=reply.body,
        content_type=reply.content_type,
        headers=reply.headers,
    )


def _broken_off(
    error: BaseException, target: Target, response: UpstreamResponse | None
) -> BaseException:
    """What an attempt ends with whose exchange came to no end; that is closed."""
    if response is not None:
        response.abort()
    status = 0 if response is None else 200
    if isinstance(error, ExchangeFailure):
        return exchange_failed(error, target.member.channel.name, status=status)
    if isinstance(error, ClientGone):
        error.status = status
    return error


def _headers_of(response: UpstreamResponse | None) -> Headers:
    return [] if response is None else response.headers
