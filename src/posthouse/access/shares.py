"""What one of several processes holds of the limits that they share.

The asking side of shared limits, without I/O: the owner calls `collect`, takes
the asks to the counter store and brings the answers to `apply`, one exchange
at a time. Rules: all that waits goes in one exchange; a subject that is busy
gets some calls ahead, which cost no exchange; what is ahead and unused by its
time is returned; a refusal is final only when nobody can still return what the
call needs. Nothing here costs more for more subjects, except those in use.
"""

import asyncio
import heapq
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from itertools import count, islice
from typing import Final

from msgspec import Struct, field

from posthouse.access.counters import NOTHING, Ahead, Answer, Ask
from posthouse.access.ports import Permit
from posthouse.access.windows import (
    REQUEST_LINES,
    SWEPT_PER_NEWCOMER,
    TOKEN_LINES,
    Limit,
    Rates,
    Refusal,
    whole_seconds,
)

GRACE: Final = 0.03
"""Seconds that another process may take to return what has become free."""
SHORT_GRACE: Final = 0.005
"""What it usually takes."""
AHEAD_SECONDS: Final = 0.25
"""What is wanted ahead is what was used in so long."""
MOST_REFUSALS: Final = 2
"""That may not be final, per call; a busy subject always has something lent."""
LEAST_AHEAD: Final = 2
"""Requests below which nothing is wanted ahead."""
REFUSED_SECONDS: Final = 0.25
"""For how long a refusal that only time can lift is repeated without asking."""
MOST_ASKS: Final = 1000
"""Subjects of one exchange, so that it is answered in time however many there are."""
PACE_SECONDS: Final = 1.0
"""For how long use is counted before it is taken for the pace."""

Outcome = asyncio.Future[Permit | Refusal]


class Waiter(Struct):
    """A call that waits for the store's word."""

    rates: Rates
    tokens: int
    output_tokens: int
    outcome: Outcome
    patient: bool
    """Whether a refusal that may not be final is worth waiting for."""
    refused: int = 0
    """How many times already, though not finally."""


class Share(Struct):
    """What this process holds of one subject."""

    name: str
    rates: Rates
    """As asked last; what is ahead was given under these."""
    waiting: list[Waiter] = field(default_factory=list)
    at_work: int = 0
    """Places of calls under way."""
    spare: int = 0
    """Places that are held without a call."""
    requests: int = 0
    tokens: int = 0
    """Ahead, both in `bucket`."""
    bucket: float = 0.0
    until: float = 0.0
    """Until then what is ahead may be used, and returns may wait."""
    corrections: dict[float, tuple[int, int]] = field(default_factory=dict)
    """To be told: changes of requests and tokens by bucket."""
    used: int = 0
    used_tokens: int = 0
    since: float = 0.0
    """Use is counted since then."""
    pace: float = 0.0
    pace_tokens: float = 0.0
    """Use per second before that."""
    active: bool = False
    """Whether there was a call since the last ask."""
    refusal: Refusal | None = None
    refused_until: float = 0.0
    """Until then others are refused likewise."""
    asked: int = 0
    """Exchanges under way, and groups of calls that will be asked for again."""
    requests_left: int = 0
    tokens_left: int = 0
    empty_at: float = 0.0
    """As the store said last."""

    def has_news(self) -> bool:
        """Whether the store should be told something."""
        return bool(self.spare or self.requests or self.tokens or self.corrections)

    def is_idle(self, now: float) -> bool:
        """Whether forgetting the share changes nothing."""
        return (
            now >= self.empty_at
            and now >= self.until
            and not (self.waiting or self.asked or self.at_work or self.has_news())
        )

    def correct(self, bucket: float, requests: int, tokens: int) -> None:
        """Note a change for the store."""
        before = self.corrections.get(bucket, (0, 0))
        self.corrections[bucket] = (before[0] + requests, before[1] + tokens)

    def give_up_ahead(self) -> None:
        """Return what is ahead."""
        if self.requests or self.tokens:
            self.correct(self.bucket, -self.requests, -self.tokens)
            self.requests = self.tokens = 0
        self.spare = 0

    def wish(self, now: float) -> Ahead:
        """What would be used of, before it is too old, at the present pace."""
        elapsed = now - self.since
        if elapsed >= PACE_SECONDS:
            self.pace, self.pace_tokens = (
                self.used / elapsed,
                self.used_tokens / elapsed,
            )
            self.since, self.used, self.used_tokens = now, 0, 0
        requests = int(max(self.pace, self.used) * AHEAD_SECONDS)
        if not self.active or requests < LEAST_AHEAD:
            return NOTHING
        tokens = int(max(self.pace_tokens, self.used_tokens) * AHEAD_SECONDS)
        return Ahead(requests, max(tokens, 1), 1 + self.at_work // 4)

    def header_lines(self, rates: Rates, now: float) -> bytes:
        """Write `x-ratelimit-*` as the store said last, and as used since."""
        is_empty = now >= self.empty_at
        reset = 0 if is_empty else whole_seconds(self.empty_at - now)
        lines = b""
        if rates.requests is not None:
            left = rates.requests if is_empty else self.requests_left + self.requests
            lines = REQUEST_LINES % (rates.requests, left, reset)
        if rates.tokens is not None:
            left = rates.tokens if is_empty else self.tokens_left + self.tokens
            lines += TOKEN_LINES % (rates.tokens, left, reset)
        return lines


class SharedPermit(Struct):
    """One admitted call; release it when the call ends, however it ends."""

    _shares: "Shares"
    _share: Share
    _rates: Rates
    _bucket: float
    _tokens: int
    _released: bool = False

    def release(self, tokens_used: int | None = None) -> None:
        """See `windows.Permit.release`; the store learns of it in a moment."""
        if self._released:
            return
        self._released = True
        share, rates = self._share, self._rates
        if rates.concurrency is not None:
            share.at_work -= 1
            share.spare += 1
        if rates.tokens is not None and tokens_used is not None:
            change = max(tokens_used, 0) - self._tokens
            if change:
                share.correct(self._bucket, 0, change)
        self._shares.freed(share)

    def undo(self) -> None:
        """Take back a call that was never made."""
        if self._released:
            return
        if self._bucket:
            self._share.correct(self._bucket, -1, 0)
        self.release(0)

    def header_lines(self) -> bytes:
        """Write the `x-ratelimit-*` headers as the store said last."""
        return self._share.header_lines(self._rates, self._shares.clock())


class Shares:
    """All that one process holds of shared limits."""

    def __init__(
        self,
        workers: int,
        wake: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with nothing.

        Args:
            workers: how many processes share the limits.
            wake: called when `collect` has something that should go at once.
            clock: monotonic seconds, the same as the store's.
        """
        self.clock = clock
        self.among = workers
        """How many processes share the limits, as far as is known."""
        self._wake = wake
        self._shares: OrderedDict[str, Share] = OrderedDict()
        self._urgent: dict[str, Share] = {}
        self._leisurely: deque[tuple[float, Share]] = deque()
        """Those that may take their time, by when it ends."""
        self._refused: list[tuple[float, int, Share, list[Waiter]]] = []
        """Calls whose refusal is not final, a heap by when to ask again."""
        self._numbers = count()
        self._asked: list[tuple[Share, list[Waiter], Ask]] = []

    def __len__(self) -> int:
        return len(self._shares)

    # --- the calls' side ----------------------------------------------------------

    def take(
        self, name: str, rates: Rates, tokens: int, output_tokens: int
    ) -> SharedPermit | None:
        """Admit a call from what is ahead; None if the store must be asked."""
        share = self._shares.get(name)
        if share is None or share.waiting:
            return None
        return self._take(share, rates, tokens + output_tokens)

    def refusal(self, name: str, rates: Rates) -> Refusal | None:
        """Say what the store would, where it is known to refuse."""
        share = self._shares.get(name)
        if share is None or self.clock() >= share.refused_until or rates != share.rates:
            return None
        return share.refusal

    def wait(self, name: str, waiter: Waiter) -> None:
        """Let a call wait for the next exchange."""
        share = self._shares.get(name)
        if share is None:
            share = self._enter(name, waiter.rates)
        share.waiting.append(waiter)
        self._hurry(share)

    def freed(self, share: Share) -> None:
        """A call has ended: tell the store at once unless it may wait."""
        if share.has_news() and self.clock() >= share.until:
            self._hurry(share)

    def header_lines(self, name: str, rates: Rates) -> bytes:
        """Write the `x-ratelimit-*` headers of a subject, also after a refusal."""
        share = self._shares.get(name) or Share(name, rates)
        return share.header_lines(rates, self.clock())

    def _take(self, share: Share, rates: Rates, tokens: int) -> SharedPermit | None:
        """Use what is ahead, if it covers the whole call."""
        if (rates is not share.rates and rates != share.rates) or (
            self.clock() >= share.until
        ):
            return None
        if rates.tokens is None:
            tokens = 0
        elif share.tokens < max(tokens, 1):
            return None
        if rates.concurrency is not None:
            if not share.spare or (rates.requests is not None and not share.requests):
                return None
            share.spare -= 1
        elif not share.requests and rates.requests is not None:
            return None
        if rates.requests is not None:
            share.requests -= 1
        share.tokens -= tokens
        return self._permit(share, share.bucket, tokens)

    def _permit(self, share: Share, bucket: float, tokens: int) -> SharedPermit:
        rates = share.rates
        if rates.concurrency is not None:
            share.at_work += 1
        if rates.requests is None and rates.tokens is None:
            bucket = 0.0
        share.used += 1
        share.used_tokens += tokens
        share.active = True
        return SharedPermit(self, share, rates, bucket, tokens)

    def _enter(self, name: str, rates: Rates) -> Share:
        """Add a share, and look whether the oldest may go."""
        shares, now = self._shares, self.clock()
        for _ in range(min(SWEPT_PER_NEWCOMER, len(shares))):
            oldest, share = shares.popitem(last=False)
            if not share.is_idle(now):
                shares[oldest] = share
        share = shares[name] = Share(name, rates, since=now)
        return share

    def _hurry(self, share: Share) -> None:
        self._urgent[share.name] = share
        self._wake()

    # --- the store's side -----------------------------------------------------------

    def due(self) -> float | None:
        """When `collect` will have something, if nothing happens before."""
        times = [self._leisurely[0][0]] if self._leisurely else []
        if self._refused:
            times.append(self._refused[0][0])
        return min(times, default=None)

    def collect(self) -> list[Ask]:
        """Give what the store must be told and asked now; the rest is for the next."""
        now = self.clock()
        urgent = self._urgent
        while self._leisurely and self._leisurely[0][0] <= now:
            share = self._leisurely.popleft()[1]
            if now >= share.until and share.has_news():
                urgent[share.name] = share
        while self._refused and self._refused[0][0] <= now:
            _, _, share, waiters = heapq.heappop(self._refused)
            share.asked -= 1
            share.waiting.extend(waiters)
            urgent[share.name] = share
        first = list(islice(urgent, MOST_ASKS))
        self._asked = [self._ask(urgent.pop(name), now) for name in first]
        if urgent:
            self._wake()
        return [ask for _, _, ask in self._asked]

    def apply(self, answers: Sequence[Answer]) -> None:
        """Take the answers to the last `collect`, in its order."""
        asked, self._asked = self._asked, []
        now = self.clock()
        for (share, waiters, _), told in zip(asked, answers, strict=True):
            self._apply(share, waiters, told, now)

    def fail(self, *, untold: bool) -> list[tuple[str, Waiter]]:
        """Give the calls that wait for a store that does not answer.

        Places are told again at the next exchange.

        Args:
            untold: whether the store has certainly taken nothing; if it may
                have, corrections are not repeated.
        """
        failed = []
        for share, waiters, ask in self._asked:
            share.asked -= 1
            self._urgent[share.name] = share
            if untold:
                for bucket, requests, tokens in ask.corrections:
                    share.correct(bucket, requests, tokens)
            failed += [(share.name, waiter) for waiter in waiters]
        self._asked = []
        for _, _, share, waiters in self._refused:
            share.asked -= 1
            failed += [(share.name, waiter) for waiter in waiters]
        self._refused.clear()
        for share in self._urgent.values():
            failed += [(share.name, waiter) for waiter in share.waiting]
            share.waiting = []
        return failed

    def let_go(self) -> list[tuple[str, Waiter]]:
        """Make ready for the last exchange; give the calls that still wait."""
        waiting = self.fail(untold=False)
        for _, share in self._leisurely:
            self._urgent[share.name] = share
        self._leisurely.clear()
        for share in self._urgent.values():
            share.active = False
        return waiting

    def _ask(self, share: Share, now: float) -> tuple[Share, list[Waiter], Ask]:
        share.give_up_ahead()
        waiters, share.waiting = share.waiting, []
        if waiters:
            share.rates = waiters[-1].rates
        changes, share.corrections = share.corrections, {}
        ask = Ask(
            share.name,
            share.rates,
            self.among,
            share.at_work,
            tuple([(waiter.tokens, waiter.output_tokens) for waiter in waiters]),
            share.wish(now),
            tuple([(bucket, *change) for bucket, change in changes.items()]),
        )
        share.active = False
        share.asked += 1
        return share, waiters, ask

    def _apply(
        self, share: Share, waiters: list[Waiter], told: Answer, now: float
    ) -> None:
        share.asked -= 1
        share.bucket = told.bucket
        share.requests, share.tokens = told.ahead.requests, told.ahead.tokens
        share.spare += told.ahead.places
        share.requests_left, share.tokens_left = told.requests_left, told.tokens_left
        share.empty_at = told.empty_at
        if told.until > share.until:
            share.until = told.until
            if now < told.until:
                self._leisurely.append((told.until, share))
        again: list[Waiter] = []
        again_at = 0.0
        for waiter, verdict in zip(waiters, told.verdicts, strict=True):
            if isinstance(verdict, int):
                self._admit(share, waiter, told.bucket, verdict)
                continue
            at = 0.0 if waiter.outcome.done() else _again_at(waiter, verdict, told, now)
            if at:
                waiter.refused += 1
                again.append(waiter)
                again_at = max(again_at, at)
            elif not waiter.outcome.done():
                waiter.outcome.set_result(verdict)
                if _is_lasting(verdict, told, now):
                    share.refusal = verdict
                    share.refused_until = now + REFUSED_SECONDS
        if again:
            share.asked += 1
            entry = (again_at, next(self._numbers), share, again)
            heapq.heappush(self._refused, entry)
        self._serve_late(share)
        if share.waiting or (share.has_news() and now >= share.until):
            self._hurry(share)

    def _admit(self, share: Share, waiter: Waiter, bucket: float, tokens: int) -> None:
        """Hand a counted call over; its caller may have left meanwhile."""
        permit = self._permit(share, bucket, tokens)
        if waiter.outcome.done():
            permit.undo()
        else:
            waiter.outcome.set_result(permit)

    def _serve_late(self, share: Share) -> None:
        """Serve those who came during the exchange from what is ahead."""
        waiting, share.waiting = share.waiting, []
        for waiter in waiting:
            if waiter.outcome.done():
                continue
            tokens = waiter.tokens + waiter.output_tokens
            permit = self._take(share, waiter.rates, tokens)
            if permit is None:
                share.waiting.append(waiter)
            else:
                waiter.outcome.set_result(permit)


def _again_at(waiter: Waiter, refusal: Refusal, told: Answer, now: float) -> float:
    """When to ask again after a refusal; 0 if it is final.

    What others were lent comes back by its time. Beyond that only places and
    tokens do, when a call of theirs ends: it may just have ended.
    """
    if (
        not waiter.patient
        or waiter.refused == MOST_REFUSALS
        or refusal.limit is Limit.SIZE
    ):
        return 0.0
    returns = told.lent_until
    if refusal.limit is not Limit.REQUESTS:
        returns = max(returns, told.kept_until)
    if returns > now:
        return returns + GRACE
    if refusal.limit is Limit.REQUESTS:
        return 0.0
    if refusal.limit is Limit.CONCURRENCY and not told.others:
        return 0.0
    return now + (GRACE if waiter.refused else SHORT_GRACE)


def _is_lasting(refusal: Refusal, told: Answer, now: float) -> bool:
    """Whether nothing but time can lift a refusal, and not in the next moment.

    Places and tokens may come back at any time, what was lent in its own.
    """
    return (
        refusal.limit is Limit.REQUESTS
        and refusal.retry_after > 1
        and told.lent_until <= now
    )
