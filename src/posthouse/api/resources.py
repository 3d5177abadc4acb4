"""Everything of OpenAI's and Anthropic's APIs that is not treated here.

It is relayed as it stands: method, path, query and body up, status, body and the
headers that say something of it down. Which API it is tells `anthropic-version`.
"""

import asyncio
import re
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from functools import partial
from hashlib import blake2b
from urllib.parse import unquote

from msgspec import structs

from posthouse.access.principal import Principal
from posthouse.api.calls import Calls
from posthouse.dialects.anthropic_messages import DIALECT as ANTHROPIC
from posthouse.dialects.resources.names import Named, read_address, read_body
from posthouse.dialects.resources.paths import ResourcePath, read_path
from posthouse.dialects.resources.routes import is_known
from posthouse.dialects.resources.words import FIRST
from posthouse.errors import InvalidRequest, NotFound, RateLimited
from posthouse.relay.resources.lookup import SHARED, Caller
from posthouse.relay.resources.ports import Asked
from posthouse.relay.resources.service import ResourceRelay
from posthouse.server.request import Request
from posthouse.server.routes import Handler, Route

CHANNEL = b"x-posthouse-channel"
"""Names the channel that is asked, where nothing that the request names decides."""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
PATH = "/v1/"

_KEPT_HERE = (
    "/v1/batches",
    "/v1/files",
    "/v1/messages/batches",
    "/v1/realtime/",
    "/v1/uploads",
)
"""With these begin the paths of what Posthouse keeps itself, or refuses, unless all
that a channel has is shared."""
_FILES = ("/v1/files", "/v1/uploads")
_VERSION = b"anthropic-version"
_IDEMPOTENCY = b"idempotency-key"
_PASSED = (
    b"accept",
    b"anthropic-beta",
    _VERSION,
    _IDEMPOTENCY,
    b"if-none-match",
    b"openai-beta",
    b"range",
)
"""The only headers of a caller that a provider sees, beside Content-Type."""
_VALUE = re.compile(rb"[ -~]{0,512}")
_ASKED_AS = {"HEAD": "GET"}
"""The server leaves the body out of what a HEAD is answered."""
_LARGE_BODY = 256 * 1024
"""Bytes from which a body is read in a thread, so that nobody waits for it."""


class ResourceRoutes:
    """The handlers, over what they need."""

    def __init__(self, calls: Calls, relay: ResourceRelay) -> None:
        """Relay, by way of `relay`, what `calls` let in."""
        self._calls = calls
        self._relay = relay

    def routes(self) -> list[Route]:
        """Those beside treated ones, and the one for all that is left."""
        return [
            Route(("GET",), "/v1/chat/completions", self.handle),
            Route(("DELETE",), "/v1/models/", self.handle, prefix=True),
            Route(METHODS, PATH, self.handle, prefix=True, rest=FIRST),
        ]

    def first(self, routes: Iterable[Route]) -> list[Route]:
        """Put the relaying before what keeps things here.

        It comes first where a channel is shared; for files also where one is named.
        """
        return [
            structs.replace(route, handler=self._before(route.handler, route.path))
            if route.path.startswith(_KEPT_HERE)
            else route
            for route in routes
        ]

    def _before(self, handler: Handler, path: str) -> Handler:
        are_files = path.startswith(_FILES)

        async def handle(request: Request) -> None:
            named = are_files and request.header(CHANNEL) is not None
            relayed = named or self.is_shared(request)
            await (self.handle if relayed else handler)(request)

        return handle

    async def handle(self, request: Request) -> None:
        """Relay a request as it stands; raises PosthouseError."""
        family = family_of(request)
        if family == "anthropic":
            request.manners = ANTHROPIC.manners
            request.client.extra += b"request-id: %b\r\n" % request.request_id.encode()
        path = read_path(request.client.head.raw_path.decode("latin-1"))
        self._check_address(path, family)
        principal = await self._calls.principal(request)
        caller = Caller(principal, family, _channel_of(request))
        table = self._calls.relay.snapshot.table
        shared = all(
            channel.spec.resources == SHARED
            for channel in self._relay.lookup.candidates(table, caller)
        )
        body = await self._calls.body(request)
        asked = await self._asked(request, caller, path, body, lenient=shared)
        try:
            await self._relay.serve(asked, request.client, self._calls.relay.snapshot)
        except RateLimited:
            self._calls.tell_limits(request, principal)
            raise

    def _check_address(self, path: ResourcePath, family: str) -> None:
        """Refuse what leads nowhere, whoever asks; raises NotFound."""
        if path.is_administration:
            raise NotFound
        table = self._calls.relay.snapshot.table
        found = self._relay.lookup.channels.of_family(table, family, sandbox=False)
        if any(channel.spec.resources == SHARED for channel in found):
            return
        if not is_known(path):
            raise NotFound

    async def _asked(
        self,
        request: Request,
        caller: Caller,
        path: ResourcePath,
        body: bytes,
        *,
        lenient: bool,
    ) -> Asked:
        """Read what is asked; raises InvalidRequest."""
        content_type = request.header(b"content-type")
        query = _without_key(request.query.decode("latin-1"))
        named = read_address(path.ids, query)
        # What everybody shares the provider judges.
        with suppress(InvalidRequest) if lenient else nullcontext():
            await _read(content_type, body, named, stored=path.first != "responses")
        return Asked(
            _ASKED_AS.get(request.method, request.method),
            path,
            query,
            content_type,
            _headers(request, None if lenient else caller.principal),
            body,
            named,
            request.request_id,
            caller,
            self._calls.trace(request),
        )

    def is_shared(self, request: Request) -> bool:
        """Whether a request that names nothing goes to a channel that all share."""
        lookup = self._relay.lookup
        table = self._calls.relay.snapshot.table
        found = lookup.channels.of_family(table, family_of(request), sandbox=False)
        named = _channel_of(request)
        if named is not None:
            found = tuple(channel for channel in found if channel.name == named)
        return bool(found) and found[0].spec.resources == SHARED


async def _read(
    content_type: bytes | None, body: bytes, named: Named, *, stored: bool
) -> None:
    """Note what a body names; raises InvalidRequest."""
    read = partial(read_body, content_type, body, named, stored=stored)
    if len(body) < _LARGE_BODY:
        read()
    else:
        await asyncio.to_thread(read)


def family_of(request: Request) -> str:
    """The API that a request is in."""
    return "anthropic" if request.header(_VERSION) is not None else "openai"


def _channel_of(request: Request) -> str | None:
    named = request.header(CHANNEL)
    return None if named is None else named.decode("latin-1")


def _without_key(query: str) -> str:
    """Leave out the caller's key, which may stand in a query."""
    if "key" not in unquote(query):
        return query
    kept = [
        pair for pair in query.split("&") if unquote(pair.partition("=")[0]) != "key"
    ]
    return "&".join(kept)


def _headers(
    request: Request, tenant: Principal | None
) -> tuple[tuple[bytes, bytes], ...]:
    """Pick the headers that go up; raises InvalidRequest.

    Tenants who share an account choose keys of idempotency each for itself.
    """
    found = []
    for name in _PASSED:
        value = request.header(name)
        if value is None:
            continue
        if not _VALUE.fullmatch(value):
            raise InvalidRequest(f"The {name.decode()} header is malformed.")
        if name == _IDEMPOTENCY and tenant is not None:
            key = tenant.account_id.encode()[:64]
            value = blake2b(value, digest_size=16, key=key).hexdigest().encode()
        found.append((name, value))
    return tuple(found)
