"""Sending a call's request to a target, and judging what is no answer."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from posthouse.billing.detokenizer import texts_of_tokens
from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.openai_embeddings.request import token_inputs
from posthouse.errors import UpstreamCredential, UpstreamFault
from posthouse.model.exchange import ExchangeFailure, UpstreamRequest
from posthouse.relay.call import Call
from posthouse.relay.faults import AttemptFailed, exchange_failed, status_failed
from posthouse.relay.prepare import Prepared
from posthouse.relay.secrecy import body_without_secrets
from posthouse.relay.watch import ClientGone
from posthouse.routing.plan import Target
from posthouse.upstream.ports import Sender, UpstreamResponse

REPLY_LIMIT = 64 * 1024 * 1024
"""Bytes of a whole reply."""
ERROR_LIMIT = 64 * 1024
"""Bytes of an error reply that are read before the connection is closed."""


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
    if not call.incoming.request.plain or call.watch.client.gone:
        await complete(call, prepared)
    request = call.render(prepared, seconds)
    try:
        with call.watch:
            response = await dispatch(call, sender, prepared, request)
    except ExchangeFailure as failure:
        raise exchange_failed(failure, target.member.channel.name) from None
    if response.status == 200:
        return response
    raise await refusal(call, target, prepared, response)


async def complete(call: Call, prepared: Prepared) -> None:
    """Find what a target must have beside what the caller has sent.

    Raises PosthouseError, and ClientGone where nobody would wait for the reply.
    """
    if call.incoming.bring is not None:
        await bring(call, prepared)
    if prepared.reads_text and call.incoming.request.token_input:
        await _read_tokens(call.incoming.request)
    if call.watch.gone and not call.watch.drain:
        raise ClientGone(sent=False)


async def _read_tokens(request: ParsedRequest) -> None:
    """Find the texts that tokens stand for; raises InvalidRequest."""
    reading = request.reading
    if not reading.texts:
        inputs = token_inputs(request)
        reading.texts = await asyncio.to_thread(texts_of_tokens, inputs)
        reading.asked = None


async def bring(call: Call, prepared: Prepared) -> None:
    """Fetch what a target must have as bytes; raises PosthouseError or ClientGone."""
    if call.incoming.bring is None:
        return
    try:
        with call.watch:
            await call.bring_media(prepared)
    except ClientGone as gone:
        gone.sent = False
        raise


def dispatch(
    call: Call, sender: Sender, prepared: Prepared, request: UpstreamRequest
) -> Coroutine[Any, Any, UpstreamResponse]:
    """Send, signed if it must be.

    Not itself a coroutine function: it hands out the right one's.
    """
    authorizer = prepared.authorizer
    if authorizer is None:
        return sender.send(request, call.attempts.resending)
    return authorizer.send(sender, request, call.attempts.resending)


async def refusal(
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
