"""One call on its way through the relay: what is known of it from the start."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from msgspec import Struct, structs
from typing_extensions import override

from posthouse.access.principal import Principal
from posthouse.dialects.base import Dialect, ParsedRequest
from posthouse.dialects.neutral.images import ImageTranslation, SeveralImages
from posthouse.model.call import PAID_BY_RESULT
from posthouse.model.catalog import Price
from posthouse.model.exchange import UpstreamRequest
from posthouse.observe.trace_context import TraceContext
from posthouse.relay.attempt import AttemptLog
from posthouse.relay.keeping import Keeper
from posthouse.relay.masks import turn_mask
from posthouse.relay.media import BringMedia
from posthouse.relay.ports import Client
from posthouse.relay.prepare import Prepared
from posthouse.relay.served import Served
from posthouse.relay.snapshot import NO_MENU, Menu, Offer, Snapshot, Way
from posthouse.relay.sought import Sought
from posthouse.relay.waiting import Resource, Waiter
from posthouse.relay.watch import ClientWatch
from posthouse.routing.plan import Target
from posthouse.tasks.records import Bought

SANDBOX_HEADER = (b"x-posthouse-sandbox", b"true")
"""Nobody shall take the sandbox's answer for a model's."""

TRANSLATION = b"x-posthouse-translation"
"""The provider's dialect, then what it was not told (-) or told otherwise (~)."""
TRANSLATION_LIMIT = 1024
"""Characters of that header."""

Headers = tuple[tuple[bytes, bytes], ...]


KeepFirst = Callable[[Served], Awaitable[None]]
"""Keep what was served; if that raises, nothing is charged."""
Deliver = Callable[[Target, Served], Awaitable[Served]]
"""Change what is paid for before the client has it: pictures fetched or kept for
it. Raises nothing."""


class Incoming(Struct, frozen=True):
    """A call as a handler passes it on."""

    id: str
    principal: Principal
    dialect: Dialect
    request: ParsedRequest
    session: bytes | None
    """What the caller says its session is."""
    forwarded: Headers = ()
    """Those of the caller's headers that go to providers."""
    trace: TraceContext | None = None
    """Its place in a trace; None: there are no traces."""
    wait: float = 0.0
    """Seconds that the caller would rather wait than be refused for want of room."""
    metadata: bytes | None = None
    """What the caller's header of that name says, for rules of routing."""
    channel: str | None = None
    """The only one that may serve it, for it has what the call builds on."""
    credential: int | None = None
    """The only one of that channel's that reaches it; None: any does."""
    bring: BringMedia | None = None
    """Fetches what the request's URLs lead to; None: it has none."""
    keeper: Keeper | None = None
    """Keeps the reply for later calls; None: nobody does."""
    keep_first: KeepFirst | None = None
    """Keeps a whole reply before it is charged; None: nobody does."""
    off_peak: bool = False
    """Whether it may take its time, and costs what a batch does."""
    sought: Sought | None = None
    """Where it could be answered is all that is asked; None: it is to be answered."""
    bought: Bought | None = None
    """What a provider's batch has answered already; None: nobody has."""
    deliver: "Deliver | None" = None
    """Puts a whole reply into the form that the client wants; None: it has it."""


class Call(Struct, eq=False):
    """A call under way; belongs to one task."""

    incoming: Incoming
    snapshot: Snapshot
    watch: ClientWatch
    clock: Callable[[], float]
    started: float
    """When it began, by that clock."""
    created_ms: int
    """When it began, by the wall clock."""
    attempts: AttemptLog
    menu: Menu = NO_MENU
    """Who may serve it; set when it is admitted."""
    other_prices: tuple[Price, ...] = ()
    """Of the further models that the body names."""
    prompt_tokens: int = 0
    """The estimate made of byte lengths."""
    found: tuple[Target, Way] | None = None
    """The way that was found last, and for which target."""

    @classmethod
    def begin(
        cls,
        incoming: Incoming,
        client: Client,
        snapshot: Snapshot,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> "Call":
        """Begin a call that its client waits for."""
        started = clock()
        watch = ClientWatch(client)
        client.on_gone(watch.left)
        attempts = AttemptLog(clock, started)
        request = incoming.request
        if request.counted and request.operation in PAID_BY_RESULT:
            attempts.once = True
        created_ms = int(wall_clock() * 1000)
        return cls(incoming, snapshot, watch, clock, started, created_ms, attempts)

    @override
    def __repr__(self) -> str:
        """Say which it is; what is asked stays out of logs."""
        return f"Call({self.incoming.id!r})"

    def fork(self) -> "Call":
        """The same call, for one of several attempts that overlap.

        Its attempts are its own. `enter` comes before anything is waited for.
        """
        attempts = AttemptLog(self.clock, self.started, once=self.attempts.once)
        return structs.replace(self, attempts=attempts, found=None)

    def part(self, request: ParsedRequest) -> "Call":
        """The same call, for one of several requests that make up one attempt.

        `enter` comes before anything is waited for.
        """
        incoming = structs.replace(self.incoming, request=request)
        return structs.replace(self, incoming=incoming, found=None)

    def enter(self) -> None:
        """Let the client's leaving end the waits of the task that calls this."""
        client = self.watch.client
        self.watch = ClientWatch(client, asyncio.current_task())
        client.on_gone(self.watch.left)

    def waiter(self, resource: Resource, longest: float) -> Waiter:
        """Who waits, for as long as it asks, but at most so many seconds in all."""
        wait = min(self.incoming.wait, longest) - self.elapsed()
        deadline = asyncio.get_running_loop().time() + wait
        tenant = self.incoming.principal.account_id
        return Waiter(tenant, resource, deadline, self.watch)

    def elapsed(self) -> float:
        """Seconds since the call began."""
        return self.clock() - self.started

    def elapsed_ms(self) -> int:
        """Milliseconds since the call began."""
        return int((self.clock() - self.started) * 1000)

    def offer(self, target: Target) -> Offer:
        """What the model that a target serves costs."""
        return self.menu.offers[target.routes.model]

    def prepared(self, target: Target) -> Prepared:
        """What every request of the call's operation to a target has in common."""
        return self.way(target).prepared

    def way(self, target: Target) -> Way:
        """How a target serves the call."""
        found = self.found
        if found is not None and found[0] is target:
            return found[1]
        member, model = target.member, target.routes.model
        name, dialect = member.channel.name, self.incoming.dialect.name
        place = (model, name, member.credential, member.upstream_model, dialect)
        way = self.menu.ways.get(place)
        if way is None:
            asked = self.incoming.request.operation
            way = self.snapshot.way(self.menu, place, member, asked)
        for_several = way.prepared.for_several
        if for_several is not None and self.incoming.request.choices > 1:
            way = structs.replace(way, prepared=for_several)
        self.found = target, way
        return way

    async def bring_media(self, prepared: Prepared) -> None:
        """Fetch what a target must have as bytes; turn masks that it has otherwise.

        Raises PosthouseError.
        """
        bring, translation = self.incoming.bring, prepared.translation
        if bring is None or translation is None:
            return
        request = self.incoming.request
        wanted = translation.wanted_media(request)
        if wanted:
            await bring(wanted, request.reading.media)
        if isinstance(translation, ImageTranslation):
            await turn_mask(translation, request)

    def render(self, prepared: Prepared, seconds: float) -> UpstreamRequest:
        """Write the request for a target, to be over within so many seconds."""
        incoming = self.incoming
        request = incoming.request
        blank = prepared.streamed if request.stream else prepared.whole
        target, headers, timeouts = blank.target, blank.headers, blank.timeouts
        if seconds < timeouts.total:
            timeouts = structs.replace(timeouts, total=seconds)
        if incoming.forwarded and not prepared.translation:
            headers += incoming.forwarded
        trace = incoming.trace
        if trace is not None and trace.passed_on:
            member = prepared.member
            headers += trace.headers(member.channel.name, member.credential)
        if prepared.media is None:
            body = prepared.dialect.render_request(request, prepared.edits)
        else:
            written = prepared.media.render_body(request, prepared.edits)
            # The body's type comes first in every request's headers.
            headers = ((b"content-type", written.content_type), *headers[1:])
            body = written.data
            named = prepared.media.target_of(request)
            target = prepared.base_path + named if named else target
        return UpstreamRequest(
            "POST", blank.origin, target, headers, body, timeouts, blank.proxy
        )

    def headers(self, target: Target) -> Headers:
        """What a reply tells beside itself."""
        return headers_of(target, self.translation(target))

    def translation(self, target: Target) -> str:
        """Say into what the request was translated, and what that has cost it.

        "" where it reached the provider as it was.
        """
        request = self.incoming.request
        kept, told = request.kept, request.dropped
        if kept is None and not told:
            # No translation has read it, which is so of most calls.
            return ""
        prepared = self.prepared(target)
        name = prepared.dialect.name
        if prepared.translation:
            told += () if kept is None else kept.losses.get(name, ())
        elif not told:
            return ""
        return " ".join((name, *told))[:TRANSLATION_LIMIT] if told else name

    async def keep(self, target: Target, reply: bytes) -> None:
        """Keep a reply, or the frames that end one, if that was asked for."""
        keeper = self.incoming.keeper
        if keeper is not None:
            translated = self.prepared(target).translation is not None
            await keeper.keep(target, reply, translated=translated)

    def unknown_usages(self, target: Target) -> tuple[None, ...]:
        """What is known of each request's usage before any was told.

        Empty where there is but one request.
        """
        several = self.prepared(target).several
        if isinstance(several, SeveralImages):
            # They are counted apiece.
            return ()
        return () if several is None else (None,) * self.incoming.request.choices

    def public_model(self, target: Target) -> str | None:
        """The name that a reply must carry; None leaves it as it comes."""
        return self.way(target).public_model


def headers_of(target: Target, translation: str) -> Headers:
    """What a reply tells beside itself; see `Call.translation`."""
    headers: Headers = (SANDBOX_HEADER,) if target.member.channel.sandbox else ()
    if translation:
        headers += ((TRANSLATION, translation.encode("ascii", "replace")),)
    return headers
