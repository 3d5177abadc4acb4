"""Chats that name a model which does not chat: run as what the model does.

The errand is a call of that operation's own route, with its dialect, its price and
its record; only who asked and who is answered speak a chat's dialect. A client that
wants a stream hears that its answer is still being made, and then all of it.
"""

import secrets
import time
from collections.abc import Awaitable, Callable

from msgspec import structs
from typing_extensions import override

from posthouse.api.wrapped_client import WrappedClient
from posthouse.dialects.base import Manners, MediaDialect, ParsedRequest
from posthouse.dialects.errands import (
    Errand,
    Result,
    as_it_came,
    chat_reply,
    errand_of,
    wanted_urls,
    write_answer,
)
from posthouse.dialects.neutral.codec import ChatCodec, Identity
from posthouse.dialects.neutral.media import with_media
from posthouse.errors import (
    PosthouseError,
    UnsupportedOperation,
    UpstreamBadResponse,
)
from posthouse.model.call import PAID_BY_RESULT, Operation
from posthouse.model.chat import ChatRequest, Media
from posthouse.relay.call import TRANSLATION, Deliver, Incoming
from posthouse.relay.media import BringMedia
from posthouse.relay.media_store import MediaStore
from posthouse.relay.ports import Client, Headers
from posthouse.relay.prepare import find_codec, find_dialect
from posthouse.relay.served import Served
from posthouse.relay.service import Relay
from posthouse.relay.stream_writer import StreamWriter
from posthouse.routing.plan import Target
from posthouse.wire import json
from posthouse.wire.multipart import JSON, render_form

Complete = Callable[[Incoming], Awaitable[Incoming]]


class Errands:
    """Runs them."""

    def __init__(
        self,
        *,
        bring: BringMedia,
        pictures: Complete,
        store: MediaStore,
    ) -> None:
        """Run errands with what their own routes have.

        Args:
            bring: fetches URLs.
            pictures: has pictures delivered as a call wants them.
            store: keeps sounds, so that they have a link.
        """
        self._bring = bring
        self._pictures = pictures
        self._store = store

    def is_one(self, relay: Relay, incoming: Incoming) -> bool:
        """Whether a call is a chat that names a model which does something else."""
        request = incoming.request
        if request.operation is not Operation.CHAT:
            return False
        known = relay.snapshot.operations(request.model)
        return bool(known) and Operation.CHAT not in known

    async def run(self, relay: Relay, incoming: Incoming, client: Client) -> None:
        """Run a chat's errand; raises PosthouseError."""
        codec = find_codec(incoming.dialect.name)
        if codec is None:
            raise UnsupportedOperation
        chat = await self._chat(codec, incoming.request)
        known = relay.snapshot.operations(incoming.request.model)
        errand = errand_of(chat, known)
        if errand is None:
            raise UnsupportedOperation
        call = structs.replace(
            incoming,
            dialect=find_dialect(errand.dialect),
            request=_request(errand, incoming.request.model),
            keeper=None,
            forwarded=(),
        )
        if errand.operation in PAID_BY_RESULT:
            call = await self._pictures(call)
        call = structs.replace(call, deliver=self._teller(errand, chat, codec, call))
        if chat.stream:
            await _stream(relay, call, client, incoming.dialect.manners)
        else:
            await relay.serve(call, client)

    def _teller(
        self, errand: Errand, chat: ChatRequest, codec: ChatCodec, call: Incoming
    ) -> Deliver:
        """Make what tells the result of an errand."""
        before, model = call.deliver, call.request.model

        async def deliver(target: Target, served: Served) -> Served:
            if before is not None:
                served = await before(target, served)
            link = None
            sound = errand.operation is Operation.SPEECH
            if sound and not errand.shown:
                link = await self._store.keep(served.body)
            result = Result(served.content_type, served.body, served.usage, link)
            try:
                reply = chat_reply(errand, result)
            except UpstreamBadResponse:
                # It is paid for: whoever asked may make something of it.
                reply = as_it_came(errand, result)
            identity = Identity(secrets.token_hex(12), int(time.time()), model)
            body = write_answer(reply, chat, codec, identity)
            # With losses, the call itself tells into what it was led.
            told = () if errand.losses else ((TRANSLATION, errand.dialect.encode()),)
            return structs.replace(served, body=body, content_type=JSON, headers=told)

        return deliver

    async def _chat(self, codec: ChatCodec, request: ParsedRequest) -> ChatRequest:
        """Read the chat, with what its URLs lead to in their place."""
        chat = codec.read_request(request)
        urls = wanted_urls(chat)
        if not urls:
            return chat
        found: dict[str, Media] = {}
        await self._bring(urls, found)
        return with_media(chat, found)


def _request(errand: Errand, model: str) -> ParsedRequest:
    """Read the errand as if it had come by its own route; raises InvalidRequest."""
    dialect = find_dialect(errand.dialect)
    if errand.form is not None and isinstance(dialect, MediaDialect):
        payload = render_form(errand.form.with_text("model", model))
        parsed = dialect.parse_form(payload.content_type, payload.data)
    else:
        parsed = dialect.parse_request(json.encode({"model": model, **errand.members}))
    return structs.replace(parsed, stream=False, dropped=errand.losses)


async def _stream(
    relay: Relay, call: Incoming, client: Client, manners: Manners
) -> None:
    """Serve a client that wants a stream; raises PosthouseError before it begins."""
    ports = relay.ports
    writer = StreamWriter(client, manners, ports.stream_times, time.monotonic)
    ports.keep_alive.add(writer)
    try:
        await relay.serve(call, _Late(client, writer))
    except PosthouseError as error:
        if not writer.started:
            raise
        await writer.fail(manners.error_frame(error))
    finally:
        ports.keep_alive.remove(writer)


class _Late(WrappedClient):
    """Gives a whole reply to a client that wants a stream."""

    def __init__(self, client: Client, writer: StreamWriter) -> None:
        super().__init__(client)
        self._writer = writer

    @override
    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        self.client.extra = self.extra
        if not self._writer.started:
            others = tuple(one for one in headers if one[0] != b"content-type")
            await self._writer.start(others)
        await self._writer.finish(body)
