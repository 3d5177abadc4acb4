"""Calls answered in one piece: read the whole reply, settle, then hand it over."""

import asyncio

from msgspec import Struct

from posthouse.dialects.base import Answer
from posthouse.errors import UpstreamFault
from posthouse.model.exchange import ExchangeFailure
from posthouse.relay.call import Call
from posthouse.relay.faults import exchange_failed, told_failed
from posthouse.relay.prepare import Prepared
from posthouse.relay.sending import (
    REPLY_LIMIT,
    dispatch,
    forget_refused,
    make_request,
    refusal,
)
from posthouse.relay.served import Completion, Served
from posthouse.relay.several import whole_replies
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
        call = self.call
        prepared = call.prepared(target)
        watch = call.watch
        watch.drain = prepared.drains
        if prepared.several is not None:
            return await whole_replies(
                call, self.sender, target, prepared, seconds=seconds
            )
        request = await make_request(call, prepared, seconds)
        channel = target.member.channel.name
        response = None
        body = None
        try:
            with watch:
                response = await dispatch(call, self.sender, prepared, request)
                if response.status == 200:
                    body = await response.read_all(REPLY_LIMIT)
        except ExchangeFailure as failure:
            if response is None:
                raise exchange_failed(failure, channel) from None
            response.abort()
            raise exchange_failed(failure, channel, status=200) from None
        except ClientGone as gone:
            if response is not None:
                response.abort()
                gone.status = 200
            raise
        except asyncio.CancelledError:
            if response is not None:
                response.abort()
            raise
        if body is None:
            raise await refusal(call, target, prepared, response)
        return whole_reply(call, target, prepared, response=response, body=body)


def whole_reply(
    call: Call,
    target: Target,
    prepared: Prepared,
    *,
    response: UpstreamResponse | None,
    body: bytes,
) -> Served:
    """Read a whole reply of status 200; raises AttemptFailed.

    The headers of `response` are split only where somebody reads them; None has none.
    """
    request, public_model = call.incoming.request, call.public_model(target)
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


def _headers_of(response: UpstreamResponse | None) -> Headers:
    return [] if response is None else response.headers
