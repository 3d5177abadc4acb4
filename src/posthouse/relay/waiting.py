"""Waiting for room instead of a 429, for callers that ask for it.

Who waits is served by tenant in turn, so nobody gets ahead by asking more
often: of what becomes free each tenant has the same share, as long as it has
anyone waiting. A newcomer never overtakes those who wait for the same thing.
The queue is bounded, a wait ends at its deadline with the refusal that it was
to avoid, and a client that leaves leaves the queue. There is no task, timer or
look-up for calls that do not wait.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from msgspec import Struct

from posthouse.errors import PosthouseError, RateLimited, UpstreamRateLimited
from posthouse.relay.watch import ClientWatch

LOOK_EVERY = 0.05
"""Seconds between two looks for room that nobody here has told of."""
LEAST_PAUSE = 0.005
PAUSE_FACTOR = 10.0
"""Between two looks, as a multiple of what the last one took."""
FULL = "Too many calls wait already."
RETRY_AFTER = 1.0

Resource = tuple[str, str]
"""What is waited for: the limits of a key, or room on the channels of a model."""

T = TypeVar("T")


class _Ticket(Struct, eq=False):
    """One call in the queue."""

    resource: Resource
    turn: "asyncio.Future[bool]"
    """True: it may try; false: its time is over."""
    tried: "asyncio.Future[bool] | None" = None
    """Whether the present try was good, for the one who gave the turn."""


class Waiter(Struct, frozen=True):
    """Who waits, for what, and for how long."""

    tenant: str
    resource: Resource
    deadline: float
    """By the running loop's clock."""
    watch: ClientWatch


class FairQueue:
    """The calls of one process that wait."""

    def __init__(self, most: int, longest: float) -> None:
        """Let at most `most` calls wait, each for at most `longest` seconds."""
        self._most = most
        self.longest = longest
        self._tenants: OrderedDict[str, deque[_Ticket]] = OrderedDict()
        """In the order of their turns."""
        self._ahead: Counter[Resource] = Counter()
        self.waiting = 0
        """How many calls wait now."""
        self._room = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    def room(self) -> None:
        """Something may have become free."""
        self._room.set()

    async def take(self, waiter: Waiter, attempt: Callable[[], Awaitable[T]]) -> T:
        """Give what `attempt` gives, as soon as it is no longer refused.

        Raises what it raises: refusals (RateLimited, UpstreamRateLimited) once
        the wait is over, anything else at once; ClientGone when it has left.
        """
        refusal: PosthouseError = RateLimited(FULL, retry_after=RETRY_AFTER)
        if not self._ahead[waiter.resource]:
            try:
                return await attempt()
            except (RateLimited, UpstreamRateLimited) as error:
                refusal = error
        loop = asyncio.get_running_loop()
        if self.waiting >= self._most or loop.time() >= waiter.deadline:
            raise refusal
        ticket = _Ticket(waiter.resource, loop.create_future())
        self._enter(waiter.tenant, ticket)
        timer = loop.call_at(waiter.deadline, _end, ticket)
        try:
            while True:
                with waiter.watch:
                    may_try = await ticket.turn
                if not may_try:
                    raise refusal
                ticket.turn = loop.create_future()
                if loop.time() >= waiter.deadline:
                    _end(ticket)
                try:
                    found = await attempt()
                except (RateLimited, UpstreamRateLimited) as error:
                    refusal = error
                    _tell(ticket, good=False)
                else:
                    _tell(ticket, good=True)
                    return found
        finally:
            timer.cancel()
            self._leave(waiter.tenant, ticket)

    async def close(self) -> None:
        """Give no more turns."""
        if self._pump is not None:
            self._pump.cancel()
            with suppress(asyncio.CancelledError):
                await self._pump

    def _enter(self, tenant: str, ticket: _Ticket) -> None:
        self._tenants.setdefault(tenant, deque()).append(ticket)
        self._ahead[ticket.resource] += 1
        self.waiting += 1
        if self._pump is None:
            self._pump = asyncio.create_task(self._give_turns())

    def _leave(self, tenant: str, ticket: _Ticket) -> None:
        # Whatever made it leave, whoever gave it a turn must not wait for it.
        _tell(ticket, good=False)
        _end(ticket)
        tickets = self._tenants[tenant]
        tickets.remove(ticket)
        if not tickets:
            del self._tenants[tenant]
        self._ahead[ticket.resource] -= 1
        if not self._ahead[ticket.resource]:
            del self._ahead[ticket.resource]
        self.waiting -= 1

    async def _give_turns(self) -> None:
        """Let those who wait try, again and again, until nobody is left."""
        clock = asyncio.get_running_loop().time
        try:
            while self.waiting:
                self._room.clear()
                began = clock()
                await self._go_round()
                # Looking takes the longer, the more wait; calls come before that.
                await asyncio.sleep(max(LEAST_PAUSE, PAUSE_FACTOR * (clock() - began)))
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY):
                        await self._room.wait()
        finally:
            self._pump = None

    async def _go_round(self) -> None:
        """Give turns until nobody who waits finds room."""
        taken: set[Resource] = set()
        """What there is no more room for."""
        while True:
            found = False
            for tenant in list(self._tenants):
                if await self._serve(tenant, taken):
                    found = True
                    if tenant in self._tenants:
                        self._tenants.move_to_end(tenant)
            if not found:
                return

    async def _serve(self, tenant: str, taken: set[Resource]) -> bool:
        """Let a tenant's calls try, until one finds room; add what is taken."""
        for ticket in tuple(self._tenants.get(tenant, ())):
            if ticket.resource in taken or ticket.turn.done():
                continue
            if await self._let_try(ticket):
                return True
            taken.add(ticket.resource)
        return False

    async def _let_try(self, ticket: _Ticket) -> bool:
        """Give one call its turn; whether it found room."""
        ticket.tried = asyncio.get_running_loop().create_future()
        ticket.turn.set_result(True)
        return await ticket.tried


def _end(ticket: _Ticket) -> None:
    """A ticket's time is over."""
    if not ticket.turn.done():
        ticket.turn.set_result(False)


def _tell(ticket: _Ticket, *, good: bool) -> None:
    """Say what came of a try to whoever gave the turn for it."""
    if ticket.tried is not None and not ticket.tried.done():
        ticket.tried.set_result(good)
