"""Calls answered in one piece: read the whole reply, settle, then hand it over."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from msgspec import Struct

from posthouse.errors import UpstreamCredential, UpstreamFault
from posthouse.model.exchange import ExchangeFailure, UpstreamRequest
from posthouse.relay.call import Call
from posthouse.relay.faults import (
    AttemptFailed,
    exchange_failed,
    status_failed,
    told_failed,
)
from posthouse.relay.prepare import Prepared
from posthouse.relay.secrecy import body_without_secrets
from posthouse.relay.served import Completion, Served
from posthouse.relay.watch import ClientGone
from posthouse.routing.plan import Target
from posthouse.upstream.ports import Sender, UpstreamResponse

REPLY_LIMIT = 64 * 1024 * 1024
"""Bytes of a whole reply."""
ERROR_LIMIT = 64 * 1024
"""Bytes of an error reply that are read before the connection is closed."""


class UnaryExchange(Struct):
    """Makes one call's attempts at a whole reply."""

    call: Call
    sender: Sender

    async def attempt(self, target: Target, seconds: float) -> Served:
        """Make one attempt; raises AttemptFailed or ClientGone."""
        call = self.call
        call.watch.drain = target.member.channel.spec.on_disconnect == "drain"
        prepared = call.prepared(target)
        request = await _request(call, prepared, seconds)
        channel = target.member.channel.name
        response = None
        body = None
        try:
            with call.watch:
                response = await _dispatch(call, self.sender, prepared, request)
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
            raise await _refusal(call, target, prepared, response)
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


async def send(
    call: Call,
    sender: Sender,
    target: Target,
    prepared: Prepared,
    *,
    seconds: float,
) -> UpstreamResponse:
    """Send a call's request; give the reply's head if its status is 200.

    Raises AttemptFailed or ClientGone.
    """
    request = await _request(call, prepared, seconds)
    try:
        with call.watch:
            response = await _dispatch(call, sender, prepared, request)
    except ExchangeFailure as failure:
        raise exchange_failed(failure, target.member.channel.name) from None
    if response.status == 200:
        return response
    raise await _refusal(call, target, prepared, response)


async def _request(call: Call, prepared: Prepared, seconds: float) -> UpstreamRequest:
    """Write the request, unless nobody would wait for the reply."""
    watch = call.watch
    if call.incoming.bring is not None:
        try:
            with watch:
                await call.bring_media(prepared)
        except ClientGone as gone:
            gone.sent = False
            raise
    if watch.client.gone and not watch.drain:
        raise ClientGone(sent=False)
    return call.render(prepared, seconds)


def _dispatch(
    call: Call, sender: Sender, prepared: Prepared, request: UpstreamRequest
) -> Coroutine[Any, Any, UpstreamResponse]:
    """Send, signed if it must be.

    Not itself a coroutine function: it hands out the right one's.
    """
    authorizer = prepared.authorizer
    if authorizer is None:
        return sender.send(request, call.attempts.resending)
    return authorizer.send(sender, request, call.attempts.resending)


async def _refusal(
    call: Call, target: Target, prepared: Prepared, response: UpstreamResponse
) -> AttemptFailed:
    """Read and judge a reply whose status is not 200."""
    try:
        with call.watch:
            body = await response.read_all(ERROR_LIMIT)
    except ExchangeFailure:
        # The status says enough; whatever follows it is not worth waiting for.
        body = b""
        response.abort()
    except ClientGone:
        response.abort()
        raise
    body = body_without_secrets(body, target.member.channel)
    error = prepared.dialect.parse_error(response.status, body)
    forget_refused(prepared, error)
    return status_failed(error, response.status, response.headers)


def forget_refused(prepared: Prepared, error: UpstreamFault) -> None:
    """Give up the token, if there is one, that a provider refuses."""
    if prepared.authorizer is not None and isinstance(error, UpstreamCredential):
        prepared.authorizer.forget()
