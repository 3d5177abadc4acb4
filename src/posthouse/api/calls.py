"""What the routes of every dialect have in common: from a request to the relay.

Every handler authenticates before it reads a byte of the body, and raises what
goes wrong; the dispatcher renders it as the route's dialect has it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from msgspec import structs

from posthouse.access.authenticator import Authenticator
from posthouse.access.ports import Limiter
from posthouse.access.principal import Principal
from posthouse.api.errands import Errands
from posthouse.api.file_inputs import FileInputs
from posthouse.api.leaving import ReadAlong
from posthouse.api.links import Links
from posthouse.dialects.base import Dialect, MediaDialect, ParsedRequest
from posthouse.dialects.resources.treated import may_leave_things, may_name_things
from posthouse.errors import (
    CallerError,
    InvalidRequest,
    ModelNotFound,
    RateLimited,
    UnsupportedOperation,
)
from posthouse.files.references import MARK
from posthouse.observe.trace_context import TraceContext, Tracing
from posthouse.relay.call import Incoming
from posthouse.relay.media import BringMedia
from posthouse.relay.ports import Client
from posthouse.relay.prepare import find_dialect
from posthouse.relay.resources.guard import Guard, Leavings
from posthouse.relay.service import Relay
from posthouse.server.request import Request
from posthouse.server.routes import Handler
from posthouse.wire.multipart import is_form

FORWARDED = frozenset({b"openai-beta", b"anthropic-beta"})
"""The only headers of a caller that a provider of the same dialect sees."""
METADATA = b"x-posthouse-metadata"
"""What rules of routing may ask for, as JSON; beside the body's `metadata`."""
WAIT = b"x-posthouse-wait"
"""Seconds that a caller would rather wait than be told that there is no room."""
_ACTED_ON = FORWARDED | {METADATA, WAIT}
_DECIMAL = re.compile(rb"[0-9]{1,6}(?:\.[0-9]{1,6})?")
_WORDS = re.compile(rb"[ -~]{0,512}")
"""What they may hold: names and versions."""

Parse = Callable[[bytes], ParsedRequest]
Deployment = Callable[[Request, str], Awaitable[None]]
"""Answers a request whose path names the model: by what follows that on Azure."""
Complete = Callable[[Incoming], Awaitable[Incoming]]


class Calls:
    """Takes requests to the relay."""

    links: Links | None = None
    """Follows links in callers' words, for models that shall read them."""
    inputs: FileInputs | None = None
    """Brings the files that calls name into them."""
    errands: Errands | None = None
    """Runs chats that name a model which does not chat; None: they are refused."""
    guard: Guard | None = None
    """Knows whose the things are that calls name."""

    def __init__(
        self,
        authenticator: Authenticator,
        limits: Limiter,
        relay: Relay,
        *,
        max_body_bytes: int,
        tracing: Tracing | None = None,
        bring: BringMedia | None = None,
    ) -> None:
        """Serve calls through `relay`.

        Without `tracing` nothing is traced, without `bring` no URL is fetched.
        """
        self._bring = bring
        self.deployments: dict[str, Deployment] = {}
        self.relay = relay
        self._authenticator = authenticator
        self._limits = limits
        self._max_body_bytes = max_body_bytes
        self._begin = None if tracing is None else tracing.begin
        # One at a time: they would only wait for each other's interpreter lock.
        self._judge = ThreadPoolExecutor(1, "posthouse-judge")

    def _recalled(self, request: Request) -> Principal | None:
        """Who calls, if the key is remembered and good wherever it is used."""
        presented = request.presented_key()
        principal = self._authenticator.recall(presented) if presented else None
        return None if principal is None or principal.networks else principal

    async def principal(self, request: Request) -> Principal:
        """Who calls; raises what the authenticator does."""
        return self._recalled(request) or await self._authenticator.authenticate(
            request.presented_key(), request.client_address
        )

    def operation(self, name: str) -> Handler:
        """The handler of the operation that a dialect carries."""
        dialect = find_dialect(name)
        return partial(self.serve, dialect=dialect, parse=dialect.parse_request)

    def media(self, name: str) -> Handler:
        """The handler of an operation whose bodies may be forms."""
        dialect = find_dialect(name)
        if not isinstance(dialect, MediaDialect):
            raise TypeError(f"{name} takes no forms")

        async def handle(request: Request) -> None:
            kind = request.header(b"content-type") or b""
            parse = (
                partial(dialect.parse_form, kind)
                if is_form(kind)
                else dialect.parse_request
            )
            await self.serve(request, dialect, parse)

        return handle

    async def serve(
        self,
        request: Request,
        dialect: Dialect,
        parse: Parse,
        *,
        client: Client | None = None,
        complete: Complete | None = None,
    ) -> None:
        """Serve a call; raises PosthouseError.

        Args:
            request: the caller's.
            dialect: what it is in.
            parse: judges the body.
            client: takes the reply in place of the request's own.
            complete: finds what else belongs to the call.
        """
        incoming = await self._incoming(request, dialect, parse)
        if complete is not None:
            incoming = await complete(incoming)
        if self._reaches_further(incoming):
            incoming, client = await self._reaching(incoming, client or request.client)
        try:
            await self.relay.serve(incoming, client or request.client)
        except RateLimited:
            self.tell_limits(request, incoming.principal)
            raise
        except (ModelNotFound, UnsupportedOperation) as error:
            await self._as_errand(request, incoming, client or request.client, error)

    def _reaches_further(self, incoming: Incoming) -> bool:
        """Whether a call may concern more than its model: things kept, or links."""
        request = incoming.request
        if request.model in self.relay.snapshot.table.linked:
            return True
        if request.plain or self.guard is None:
            return False
        name = incoming.dialect.name
        return may_name_things(request, name) or may_leave_things(request, name)

    async def _reaching(
        self, incoming: Incoming, client: Client
    ) -> tuple[Incoming, Client]:
        """Hold a call to its caller's own things, and follow its links.

        Raises PosthouseError.
        """
        guard, name, table = (
            self.guard,
            incoming.dialect.name,
            self.relay.snapshot.table,
        )
        if guard is not None and may_name_things(incoming.request, name):
            incoming = await guard.pinned(incoming, table)
        if guard is not None and may_leave_things(incoming.request, name):
            leavings = Leavings(guard, incoming)
            incoming = structs.replace(incoming, keeper=leavings)
            client = ReadAlong(client, leavings)
        if self.links is not None and incoming.request.model in table.linked:
            incoming = await self.links.followed(incoming)
        return incoming, client

    async def _as_errand(
        self, request: Request, incoming: Incoming, client: Client, error: CallerError
    ) -> None:
        """Run a chat whose model does something else; raises `error` for any other."""
        if self.errands is None or not self.errands.is_one(self.relay, incoming):
            raise error
        try:
            await self.errands.run(self.relay, incoming, client)
        except RateLimited:
            self.tell_limits(request, incoming.principal)
            raise

    def trace(self, request: Request) -> TraceContext | None:
        """Give a call's place in its trace; None: there are no traces."""
        fields = request.client.head.fields
        return self._begin and self._begin(request.request_id, fields)

    def tell_limits(self, request: Request, principal: Principal) -> None:
        """Tell a caller whom its limits refuse what they are."""
        request.client.extra += self._limits.header_lines(principal)

    async def _incoming(
        self, request: Request, dialect: Dialect, parse: Parse
    ) -> Incoming:
        """Read and judge a request; raises PosthouseError."""
        principal = self._recalled(request)
        if principal is None:
            principal = await self.principal(request)
        body = request.arrived_body(self._max_body_bytes)
        if body is None:
            body = await request.body(self._max_body_bytes)
        fields = request.client.head.fields
        incoming = Incoming(
            id=request.request_id,
            principal=principal,
            dialect=dialect,
            request=(
                parse(body)
                if len(body) < dialect.judged_aside
                else await self._aside(partial(parse, body))
            ),
            session=fields.get(b"x-session-id"),
            trace=self._begin and self._begin(request.request_id, fields),
        )
        parsed = incoming.request
        if not parsed.plain and parsed.prompt.has_media:
            incoming = await self._with_media(request, incoming, body, parse)
        if _ACTED_ON.isdisjoint(fields):
            return incoming
        return _complete(incoming, fields)

    async def _with_media(
        self, request: Request, incoming: Incoming, body: bytes, parse: Parse
    ) -> Incoming:
        """Add what a call needs whose prompt is not text alone."""
        if self._bring is not None:
            incoming = structs.replace(incoming, bring=self._bring)
        if self.inputs is None or MARK not in body:
            return incoming

        async def parse_again(other: bytes) -> ParsedRequest:
            return await self._aside(partial(parse, other))

        return await self.inputs.fill(request, incoming, body, parse_again)

    async def body(self, request: Request) -> bytes:
        """Read the whole body, under the limit of all; authenticate before."""
        return await request.body(self._max_body_bytes)

    async def parsed(self, request: Request, parse: Parse) -> ParsedRequest:
        """Read the body and judge it; authenticate before."""
        body = await request.body(self._max_body_bytes)
        return await self._aside(partial(parse, body))

    async def _aside(self, judge: Callable[[], ParsedRequest]) -> ParsedRequest:
        """Judge a large body in a thread; raises InvalidRequest."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._judge, judge)


def _complete(incoming: Incoming, fields: dict[bytes, bytes]) -> Incoming:
    """Add what those of a caller's headers say that few send; raises InvalidRequest."""
    return structs.replace(
        incoming,
        forwarded=forwarded_headers(fields),
        metadata=fields.get(METADATA),
        wait=_seconds(fields[WAIT]) if WAIT in fields else 0.0,
    )


def _seconds(value: bytes) -> float:
    """Read for how long a caller would wait; raises InvalidRequest."""
    if not _DECIMAL.fullmatch(value):
        raise InvalidRequest(
            f"The {WAIT.decode()} header must be a number of seconds",
            code="invalid_wait",
        )
    return float(value)


def forwarded_headers(fields: dict[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
    """Pick the headers that go to the provider; raises InvalidRequest."""
    found = tuple((name, fields[name]) for name in sorted(FORWARDED) if name in fields)
    for name, value in found:
        if not _WORDS.fullmatch(value):
            raise InvalidRequest(f"The {name.decode()} header is malformed.")
    return found
