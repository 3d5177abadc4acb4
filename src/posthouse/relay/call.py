"""One call on its way through the relay: what is known of it from the start."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from msgspec import Struct, structs

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
from posthouse.relay.snapshot import Menu, Offer, Snapshot
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


class Call:
    """A call under way; belongs to one task."""

    __slots__ = (
        "attempts",
        "clock",
        "created_ms",
        "found",
        "incoming",
        "menu",
        "other_prices",
        "prompt_tokens",
        "snapshot",
        "started",
        "watch",
    )

    def __init__(
        self,
        incoming: Incoming,
        client: Client,
        snapshot: Snapshot,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Start the call's clock."""
        self.incoming = incoming
        self.snapshot = snapshot
        self.clock = clock
        self.started = started = clock()
        self.created_ms = int(wall_clock() * 1000)
        self.watch = ClientWatch(client)
        self.attempts = AttemptLog(clock, started)
        request = incoming.request
        if request.counted and request.operation in PAID_BY_RESULT:
            self.attempts.once = True
        self.menu: Menu
        """Who may serve it; set when it is admitted."""
        self.other_prices: list[Price] = []
        """Of the further models that the body names."""
        self.prompt_tokens = 0
        """The estimate made of byte lengths."""
        self.found: tuple[Target, Prepared] | None = None
        """What `prepared` has given last, and for which target."""

    def fork(self) -> "Call":
        """The same call, for one of several attempts that overlap.

        Its attempts are its own. `enter` comes before anything is waited for.
        """
        fork = Call.__new__(Call)
        fork.incoming = self.incoming
        fork.snapshot = self.snapshot
        fork.clock = self.clock
        fork.started = self.started
        fork.created_ms = self.created_ms
        fork.watch = self.watch
        fork.attempts = AttemptLog(
            self.clock,
            self.started,
            later=bool(self.attempts.records),
            once=self.attempts.once,
        )
        fork.menu = self.menu
        fork.other_prices = self.other_prices
        fork.prompt_tokens = self.prompt_tokens
        fork.found = None
        return fork

    def part(self, request: ParsedRequest) -> "Call":
        """The same call, for one of several requests that make up one attempt.

        `enter` comes before anything is waited for.
        """
        part = self.fork()
        part.attempts = self.attempts
        part.incoming = structs.replace(self.incoming, request=request)
        return part

    def enter(self) -> None:
        """Let the client's leaving end the waits of the task that calls this."""
        self.watch = ClientWatch(self.watch.client, asyncio.current_task())

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
        found = self.found
        if found is not None and found[0] is target:
            return found[1]
        incoming = self.incoming
        request = incoming.request
        operation = request.operation
        if self.menu.instead:
            operation = self.menu.instead.get(target.routes.model, operation)
        prepared = self.snapshot.prepared(
            target.member, operation, incoming.dialect.name
        )
        if request.choices > 1 and prepared.for_several is not None:
            prepared = prepared.for_several
        self.found = target, prepared
        return prepared

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
        request = self.incoming.request
        stream = request.stream
        timeouts = prepared.stream_timeouts if stream else prepared.timeouts
        if self.attempts.records or self.attempts.later:
            timeouts = structs.replace(timeouts, total=min(timeouts.total, seconds))
        forwarded = () if prepared.translation else self.incoming.forwarded
        trace = self.incoming.trace
        if trace is not None and trace.passed_on:
            member = prepared.member
            forwarded += trace.headers(member.channel.name, member.credential)
        headers = prepared.stream_headers if stream else prepared.headers
        target = prepared.stream_target if stream else prepared.target
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
            method="POST",
            origin=prepared.origin,
            target=target,
            headers=headers + forwarded if forwarded else headers,
            body=body,
            timeouts=timeouts,
            proxy=prepared.proxy,
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
        public = target.routes.model
        return None if target.member.upstream_model == public else public


def headers_of(target: Target, translation: str) -> Headers:
    """What a reply tells beside itself; see `Call.translation`."""
    headers: Headers = (SANDBOX_HEADER,) if target.member.channel.sandbox else ()
    if translation:
        headers += ((TRANSLATION, translation.encode("ascii", "replace")),)
    return headers
