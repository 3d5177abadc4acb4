"""Rate limits that several processes share, over a store of counters.

A call whose subject has calls ahead is admitted at once, without waiting;
others wait for the next exchange with the store, which one task makes for all
of them. While the store does not answer, each process enforces its part of the
limits alone: nobody is turned away for that, and nobody is without limits.
"""

import asyncio
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from typing_extensions import override

from posthouse.access.limits import UNLIMITED, rate_limited
from posthouse.access.ports import (
    CounterStore,
    CountersUnavailable,
    Limiter,
    Permit,
)
from posthouse.access.principal import Principal
from posthouse.access.shares import Outcome, SharedPermit, Shares, Waiter
from posthouse.access.windows import (
    REMEMBERED_RATES,
    UNLIMITED_RATES,
    Rates,
    Refusal,
    WindowTable,
    rates_of,
)
from posthouse.observe.logs import logger
from posthouse.settings.file import ChannelLimits

PATIENCE_SECONDS: Final = 1.0
"""How long calls wait for the store, once; after that they do not any more."""
RETRY_SECONDS: Final = 1.0
"""Between attempts to reach a store that does not answer."""
STEADY_SECONDS: Final = 10.0
"""A store that fails again earlier is left alone twice as long each time."""
MOST_RETRY_SECONDS: Final = 16.0

log = logger("posthouse.limits")


class SharedLimits(Limiter):
    """The limits of all keys and channels, among several processes."""

    def __init__(
        self,
        store: CounterStore,
        workers: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        patience: float | None = None,
    ) -> None:
        """Prepare; call `start` before the first call.

        Args:
            store: what the processes share.
            workers: how many processes there are at least.
            clock: monotonic seconds, the same as the store's.
            patience: seconds for an exchange; None is PATIENCE_SECONDS.
        """
        self._store = store
        self._workers = workers
        self._clock = clock
        self._patience = patience
        self._news = asyncio.Event()
        self._shares = Shares(workers, self._news.set, clock)
        self._alone = WindowTable(clock)
        self._is_alone = False
        self._retry_at = 0.0
        """When to ask a store again that did not answer."""
        self._retry_seconds = RETRY_SECONDS
        self._shared_since = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._pump: asyncio.Task[None] | None = None
        self._is_closing = False

    @property
    def is_alone(self) -> bool:
        """Whether the store does not answer, so that each process counts alone."""
        return self._is_alone

    @property
    def _processes(self) -> int:
        """How many share the limits; what the store said last if it does not answer."""
        return max(self._workers, self._store.processes)

    async def start(self) -> None:
        """Reach the store; one that cannot be reached is tried again later."""
        self._store.start()
        await self._exchange()
        self._pump = asyncio.create_task(self._run())
        self._set_timer()

    async def close(self) -> None:
        """Tell the store what it does not know yet, return what is held, stop."""
        self._is_closing = True
        if self._pump is not None:
            # An exchange under way is not cut off: it may have been heard.
            self._news.set()
            await self._pump
        if self._timer is not None:
            self._timer.cancel()
        self._answer_alone(self._shares.let_go())
        await self._exchange()
        self._is_alone = True
        await self._store.close()

    @override
    def admit_now(
        self, principal: Principal, tokens: int, *, output_tokens: int = 0
    ) -> Permit | None:
        rates = principal.rates
        if rates is None:
            return UNLIMITED
        name = "key " + principal.key_id
        return self._shares.take(name, rates, tokens, output_tokens)

    @override
    async def admit(
        self, principal: Principal, tokens: int, *, output_tokens: int = 0
    ) -> Permit:
        """Count a call of a key, as `Limits.admit_now` does; this may wait.

        Args:
            principal: whose call it is.
            tokens: the prompt's estimate.
            output_tokens: the answer's greatest length.

        Raises:
            RateLimited: with `retry_after` from 1 to 60 seconds.
        """
        permit = self.admit_now(principal, tokens, output_tokens=output_tokens)
        if permit is not None:
            return permit
        name, rates = "key " + principal.key_id, principal.rates or UNLIMITED_RATES
        result = await self._ask(
            name, Waiter(rates, tokens, output_tokens, self._outcome(), patient=True)
        )
        if isinstance(result, Refusal):
            raise rate_limited(result, rates, tokens)
        return result

    @override
    def header_lines(self, principal: Principal) -> bytes:
        """Write the `x-ratelimit-*` headers of a key, for a reply that refuses."""
        rates = principal.rates or UNLIMITED_RATES
        name = "key " + principal.key_id
        if self._is_alone:
            return self._alone.header_lines(name, _part(rates, self._processes))
        return self._shares.header_lines(name, rates)

    async def admit_channel(self, name: str, limits: ChannelLimits) -> Permit | Refusal:
        """Count an attempt on a channel, or say why it must be passed over.

        A refusal never waits for what others may return: there may be another
        channel.
        """
        if limits.rpm is None and limits.concurrency is None:
            return UNLIMITED
        rates = rates_of(limits.rpm, None, limits.concurrency)
        name = "channel " + name
        permit = self._shares.take(name, rates, 0, 0)
        if permit is not None:
            return permit
        waiter = Waiter(rates, 0, 0, self._outcome(), patient=False)
        return await self._ask(name, waiter)

    # --- asking the store -----------------------------------------------------------

    @staticmethod
    def _outcome() -> Outcome:
        return asyncio.get_running_loop().create_future()

    async def _ask(self, name: str, waiter: Waiter) -> Permit | Refusal:
        if self._is_alone:
            return self._admit_alone(name, waiter)
        refusal = self._shares.refusal(name, waiter.rates)
        if refusal is not None:
            return refusal
        self._shares.wait(name, waiter)
        outcome = waiter.outcome
        try:
            return await outcome
        except asyncio.CancelledError:
            if outcome.done() and not outcome.cancelled():
                permit = outcome.result()
                if isinstance(permit, SharedPermit):
                    permit.undo()
                elif not isinstance(permit, Refusal):
                    permit.release(0)
            raise

    async def _run(self) -> None:
        """Make exchanges as long as there is something to tell or to ask."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self._is_closing:
                return
            if self._clock() >= self._retry_at:
                await self._exchange()
            self._set_timer()

    async def _exchange(self) -> None:
        """Tell and ask all that is to be told and asked now."""
        asks = self._shares.collect()
        if not asks and not self._is_alone and self._pump is not None:
            return
        try:
            patience = PATIENCE_SECONDS if self._patience is None else self._patience
            async with asyncio.timeout(patience):
                answers = await self._store.exchange(asks)
        except (CountersUnavailable, TimeoutError) as error:
            self._fail(error)
            return
        if self._is_alone:
            self._is_alone = False
            self._retry_at = 0.0
            self._shared_since = self._clock()
            log.info("limits are shared among the processes again")
        self._shares.among = self._processes
        self._shares.apply(answers)

    def _set_timer(self) -> None:
        """Wake the task when the next thing is due."""
        loop = asyncio.get_running_loop()
        now = self._clock()
        due = self._retry_at if self._is_alone else self._shares.due()
        timer = self._timer
        if due is None:
            return
        if timer is not None:
            if self._timer_at <= due:
                return
            timer.cancel()
        self._timer_at = due
        self._timer = loop.call_later(max(0.0, due - now), self._ring)

    def _ring(self) -> None:
        """The time has come; if it is a little early, the timer is set again."""
        self._timer = None
        self._news.set()

    # --- without the store -----------------------------------------------------------

    def _fail(self, error: Exception) -> None:
        now = self._clock()
        if not self._is_alone:
            self._is_alone = True
            self._retry_seconds = (
                min(self._retry_seconds * 2, MOST_RETRY_SECONDS)
                if now - self._shared_since < STEADY_SECONDS
                else RETRY_SECONDS
            )
            log.warning(
                "limits cannot be shared among the processes; each keeps to its part",
                processes=self._processes,
                reason=str(error) or "no answer in time",
            )
        self._retry_at = now + self._retry_seconds
        untold = isinstance(error, CountersUnavailable) and error.untold
        self._answer_alone(self._shares.fail(untold=untold))

    def _answer_alone(self, waiting: list[tuple[str, Waiter]]) -> None:
        for name, waiter in waiting:
            if not waiter.outcome.done():
                waiter.outcome.set_result(self._admit_alone(name, waiter))

    def _admit_alone(self, name: str, waiter: Waiter) -> Permit | Refusal:
        """Count a call within this process's part of the limits.

        One that would fit the whole, but not the part, takes all of the part.
        """
        part = _part(waiter.rates, self._processes)
        tokens = waiter.tokens
        if part.tokens is not None and tokens <= (waiter.rates.tokens or 0):
            tokens = min(tokens, part.tokens)
        return self._alone.admit(name, part, tokens, waiter.output_tokens)


@lru_cache(maxsize=REMEMBERED_RATES)
def _part(rates: Rates, processes: int) -> Rates:
    """One process's part of the limits; at least one of each."""

    def part(limit: int | None) -> int | None:
        return None if limit is None else max(1, limit // processes)

    return Rates(part(rates.requests), part(rates.tokens), part(rates.concurrency))
