"""Calls answered in one piece: read the whole reply, settle, then hand it over."""

import asyncio

from msgspec import Struct

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


class UnaryExchange(Struct):
    """Makes one call's attempts at a whole reply."""

    call: Call
    sender: Sender

    async def attempt(self, target: Target, seconds: float) -> Served:
        """Make one attempt; raises AttemptFailed or ClientGone."""
        call = self.call
        call.watch.drain = target.member.channel.spec.on_disconnect == "drain"
        prepared = call.prepared(target)
        if prepared.several is not None:
            return await whole_replies(
                call, self.sender, target, prepared, seconds=seconds
            )
        request = await make_request(call, prepared, seconds)
        channel = target.member.channel.name
        response = None
        body = None
        try:
            with call.watch:
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
        return self._served(target, prepared, response, body)

    def _served(
        self,
        target: Target,
        prepared: Prepared,
        response: UpstreamResponse,
        body: bytes,
    ) -> Served:
        """Read the reply; raises AttemptFailed."""
        call = self.call
        try:
            reply = prepared.dialect.parse_reply(
                call.incoming.request, body, call.public_model(target)
            )
        except UpstreamFault as error:
            forget_refused(prepared, error)
            raise told_failed(error, response.headers) from None
        return Served(
            target,
            Completion.WHOLE,
            reply.usage,
            reply.service_tier,
            reply.output_text,
            body=reply.body,
        )
