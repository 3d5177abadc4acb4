"""OpenAI's Responses: made, asked for again, built upon, deleted.

A response that follows another one goes to the channel that has that, or, if its
provider keeps none, is asked with all that led to it. Whose response it is was
decided when it was made: to everybody else it does not exist.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import parse_qsl, quote

from msgspec import Raw, structs
from typing_extensions import override

from posthouse.api.calls import Calls
from posthouse.api.resources import ResourceRoutes
from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.openai_responses import DIALECT, history
from posthouse.dialects.openai_responses.history import StoredResponse
from posthouse.errors import InvalidRequest, NotFound, StorageUnavailable
from posthouse.model.call import Operation
from posthouse.observe.logs import logger
from posthouse.relay.call import Incoming
from posthouse.relay.keeping import Keeper, Kept, ResponseStore
from posthouse.relay.passed_on import PassedOn
from posthouse.relay.resources.guard import Guard
from posthouse.routing.plan import Target
from posthouse.server.request import Request
from posthouse.server.routes import Route
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.sse import SSEDecoder

LONGEST_HISTORY = 1_000
"""Responses that may lead to one."""
_DAY_MS = 86_400_000
_PATH = "/v1/responses"
_JSON = (b"content-type", b"application/json")
_EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
_stored = json.decoder(StoredResponse)

log = logger("posthouse")


class ResponsesRoutes:
    """The handlers, over what they need."""

    def __init__(
        self,
        calls: Calls,
        store: ResponseStore,
        passed_on: PassedOn,
        rest: ResourceRoutes,
        *,
        days: int,
    ) -> None:
        """Serve calls.

        Args:
            calls: takes them to the relay.
            store: keeps responses.
            passed_on: asks channels about those that they keep.
            rest: relays what is not treated here.
            days: how long a response can be asked for; 0: not at all.
        """
        self._calls = calls
        self._store = store
        self._passed_on = passed_on
        self._rest = rest
        self._days = days

    def routes(self) -> list[Route]:
        """All of them."""
        manners = DIALECT.manners
        below = f"{_PATH}/"
        return [
            Route(("POST",), _PATH, self.create, manners=manners),
            Route(("GET",), below, self.read, prefix=True, manners=manners),
            Route(("DELETE",), below, self.delete, prefix=True),
            Route(("POST",), below, self.cancel, prefix=True),
        ]

    async def create(self, request: Request) -> None:
        """POST /v1/responses."""
        await self._calls.serve(
            request, DIALECT, DIALECT.parse_request, complete=self._complete
        )

    async def _complete(self, incoming: Incoming) -> Incoming:
        """Find what a request builds upon; raises InvalidRequest."""
        account_id = incoming.principal.account_id
        parsed = await self._referred(incoming.request, account_id)
        incoming = structs.replace(incoming, request=parsed)
        if self._days and history.is_stored(parsed):
            keeper = _Keeper(self._store, incoming, self._days, guard=self._calls.guard)
            incoming = structs.replace(incoming, keeper=keeper)
        previous = history.previous_of(parsed)
        if previous is None:
            return incoming
        kept = await self._store.find(previous, account_id)
        if kept is None:
            raise InvalidRequest(
                f"Previous response with id '{previous[:64]}' not found.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        if kept.data is None:
            credential = await self._credential(kept)
            return structs.replace(
                incoming, channel=kept.channel, credential=credential
            )
        items = await self._history(kept)
        return structs.replace(incoming, request=history.with_history(parsed, items))

    async def _referred(self, parsed: ParsedRequest, account_id: str) -> ParsedRequest:
        """Put items of stored responses in the places of what refers to them."""
        wanted = {history.response_of(name) for name in history.references_of(parsed)}
        items: list[Raw] = []
        for response_id in sorted(filter(None, wanted))[:LONGEST_HISTORY]:
            kept = await self._store.find(response_id, account_id)
            if kept is not None and kept.data is not None:
                items += history.items_of(json.decode_with(_stored, kept.data))
        known = history.known_items(items)
        return history.with_references(parsed, known) if known else parsed

    async def _history(self, kept: Kept) -> list[Raw]:
        """All that led to a response, and the response, oldest first."""
        chain: list[StoredResponse] = []
        following: Kept | None = kept
        while following is not None and following.data is not None:
            stored: StoredResponse = json.decode_with(_stored, following.data)
            chain.append(stored)
            if stored.previous_id is None or len(chain) == LONGEST_HISTORY:
                break
            following = await self._store.find(stored.previous_id, kept.account_id)
        return [item for one in reversed(chain) for item in history.items_of(one)]

    # --- what is kept ---------------------------------------------------------------

    async def read(self, request: Request) -> None:
        """GET /v1/responses/{id} and /v1/responses/{id}/input_items."""
        response_id, _, what = request.tail.partition("/")
        kept = await self._find(request, response_id)
        if kept is None or what not in ("", "input_items"):
            await self._rest.handle(request)
            return
        asked = dict(parse_qsl(request.query.decode("latin-1")))
        streamed = not what and asked.get("stream") == "true"
        if kept.data is None:
            body = await self._ask(kept, request, "GET", what)
        else:
            stored: StoredResponse = json.decode_with(_stored, kept.data)
            if streamed:
                raise InvalidRequest(
                    "Only responses created with background=true can be streamed.",
                    param="stream",
                )
            body = (
                history.render_items(stored, history.read_page(asked))
                if what
                else history.render_response(stored)
            )
        # What is whole is told at once, also as events.
        events = streamed and not body.startswith(b"{")
        await request.client.respond(200, [_EVENTS if events else _JSON], body)

    async def delete(self, request: Request) -> None:
        """DELETE /v1/responses/{id}."""
        kept = await self._find(request, request.tail)
        if kept is None:
            await self._rest.handle(request)
            return
        body = history.render_deleted(kept.id)
        if kept.data is None:
            body = await self._ask(kept, request, "DELETE", "")
        await self._store.forget(kept.id, kept.account_id)
        await request.client.respond(200, [_JSON], body)

    async def cancel(self, request: Request) -> None:
        """POST /v1/responses/{id}/cancel: only what runs in the background."""
        response_id, _, what = request.tail.partition("/")
        kept = None
        if what == "cancel":
            kept = await self._find(request, response_id)
        if kept is None:
            # Beside it there are `/compact` and `/input_tokens`, of no response.
            await self._rest.handle(request)
            return
        if kept.data is not None:
            raise InvalidRequest(
                "Only responses created with background=true can be cancelled.",
                code="invalid_request",
            )
        body = await self._ask(kept, request, "POST", what)
        await request.client.respond(200, [_JSON], body)

    async def _find(self, request: Request, response_id: str) -> Kept | None:
        """One of the caller's own; None: it may be a shared channel's.

        Raises NotFound.
        """
        principal = await self._calls.principal(request)
        kept = await self._store.find(response_id, principal.account_id)
        if kept is None and not self._rest.is_shared(request):
            raise NotFound(f"Response with id '{response_id[:64]}' not found.")
        return kept

    async def _ask(self, kept: Kept, request: Request, method: str, what: str) -> bytes:
        """Ask the channel that has it."""
        path = quote(kept.id, safe="") + (f"/{what}" if what else "")
        query = request.query.decode("latin-1")
        snapshot = self._calls.relay.snapshot
        return await self._passed_on.ask(
            snapshot,
            (kept.channel, await self._credential(kept) or 0),
            Operation.CHAT,
            DIALECT,
            method=method,
            path=f"/{path}?{query}" if query and method == "GET" else f"/{path}",
        )

    async def _credential(self, kept: Kept) -> int | None:
        """Which of its channel's credentials reaches a response; None: any does."""
        guard = self._calls.guard
        if guard is None:
            return None
        table = self._calls.relay.snapshot.table
        return await guard.credential(table, kept.channel, kept.account_id, kept.id)


class _Keeper(Keeper):
    """Keeps the response that one request brings."""

    def __init__(
        self,
        store: ResponseStore,
        incoming: Incoming,
        days: int,
        *,
        guard: Guard | None,
    ) -> None:
        self._store = store
        self._incoming = incoming
        self._parsed = incoming.request
        self._account_id = incoming.principal.account_id
        self._days = days
        self._guard = guard

    @override
    async def keep(self, target: Target, reply: bytes, *, translated: bool) -> None:
        """See the port; what cannot be kept is told to the log, and served."""
        with suppress(MalformedJSON, StorageUnavailable):
            for body in _responses_in(reply):
                stored = history.stored_response(self._parsed, body, _new_id)
                created = int(time.time() * 1000)
                kept = Kept(
                    stored.id,
                    self._account_id,
                    target.member.channel.name,
                    created,
                    created + self._days * _DAY_MS,
                    json.encode(stored) if translated else None,
                )
                await self._store.keep(kept)
                channel = target.member.channel
                if self._guard is not None and len(channel.credentials) > 1:
                    # Only one of them may reach it.
                    await self._guard.learn(self._incoming, target, {kept.id: ""})
                return
        log.warning("a response could not be kept", account=self._account_id)


def _responses_in(reply: bytes) -> Iterator[bytes]:
    """The whole response in a reply, or in the frames that end a stream."""
    if reply.lstrip()[:1] == b"{":
        yield reply
        return
    frames = SSEDecoder()
    for _, data in (*frames.feed(reply), *frames.close()):
        found = history.response_in(data)
        if found is not None:
            yield found


def _new_id() -> str:
    return secrets.token_hex(16)
