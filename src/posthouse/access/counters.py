"""How a subject stands that several processes share, and how it answers them.

The counting side of shared limits: pure arithmetic on one subject's tally, as
a counter store does it within one transaction. A process asks for the calls
that wait in it and, where there is much room, for some more *ahead*, which it
may hand out by itself until a stated moment. Rules: what is handed out ahead
counts until 60 seconds after that moment, so no span of 60 seconds ever has
more than the limit; a refusal tells until when others may still return what
they hold, so that nobody is refused for what nobody uses; what a process holds
of places is told whole each time, so that a lost message mends itself.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from posthouse.access.windows import (
    GRAIN,
    WINDOW,
    Bucket,
    Rates,
    Refusal,
    Subject,
    judge,
)

LEISURE: Final = 0.25
"""Seconds for which a process may keep what it has ahead, and its returns."""
AMPLE: Final = 8
"""Returns may wait while not more than one part in so many is taken."""
ROOM_PER_PROCESS: Final = 2
"""What remains for each process is at least so many times what one has ahead."""

Correction = tuple[float, int, int]
"""A bucket's first moment; by how much its requests and its tokens change."""


class Ahead(Struct, frozen=True, array_like=True):
    """What a process may hand out by itself."""

    requests: int = 0
    """Wanted: the number of calls, also where requests have no limit."""
    tokens: int = 0
    places: int = 0


NOTHING: Final = Ahead()


class Ask(Struct, frozen=True, array_like=True):
    """What a process tells and wants of one subject."""

    subject: str
    rates: Rates
    among: int
    """How many processes share the limits."""
    held: int = 0
    """Places that the process holds, all told, before the calls are judged."""
    calls: tuple[tuple[int, int], ...] = ()
    """Waiting calls: tokens that are sure, and on top as far as there is room."""
    ahead: Ahead = NOTHING
    """Wanted on top of that."""
    corrections: tuple[Correction, ...] = ()


class Answer(Struct, frozen=True, array_like=True):
    """What the store says to an Ask; times are by its clock, in seconds."""

    verdicts: tuple[int | Refusal, ...]
    """For each call the tokens that were counted, or what stood in the way."""
    bucket: float
    """The first moment of the bucket in which all of it stands."""
    ahead: Ahead
    until: float
    """Until then what is ahead may be used, and returns may wait."""
    requests_left: int
    tokens_left: int
    empty_at: float
    """When the minute is as new, if nothing is added."""
    lent_until: float
    """Until then others may return requests; past if nobody has any."""
    kept_until: float
    """Until then others may return places and tokens; past if nobody does."""
    others: int
    """Places that other processes hold."""


class Tally(Struct, array_like=True):
    """A subject as a store keeps it."""

    buckets: list[Bucket] = []
    places: dict[str, int] = {}
    """By the process that holds them."""
    lent_until: float = 0.0
    kept_until: float = 0.0

    def subject(self, now: float) -> Subject:
        """The counters over the minute that ends now.

        A moment that has not come is another machine's, and counts nothing.
        """
        buckets = self.buckets
        if buckets and buckets[-1].first > now:
            buckets.clear()
            self.lent_until = self.kept_until = 0.0
        subject = Subject(
            buckets,
            sum([bucket.requests for bucket in buckets]),
            sum([bucket.tokens for bucket in buckets]),
            sum(self.places.values()),
        )
        subject.expire(now)
        return subject

    def bury(self, is_dead: Callable[[str], bool]) -> int:
        """Take the places of dead processes back; give their number."""
        dead = [owner for owner in self.places if is_dead(owner)]
        return sum([self.places.pop(owner) for owner in dead])

    def is_idle(self, now: float, is_dead: Callable[[str], bool]) -> bool:
        """Whether forgetting the subject changes nothing."""
        if self.subject(now).buckets:
            return False
        self.bury(is_dead)
        return not self.places


def answer(
    tally: Tally, ask: Ask, *, owner: str, now: float, is_dead: Callable[[str], bool]
) -> Answer:
    """Take what is told, judge what is asked, change the tally.

    Args:
        tally: of the subject.
        ask: of one process.
        owner: that process.
        now: the store's time; never before that of an earlier answer.
        is_dead: whether a process is gone without having returned its places.
    """
    subject = tally.subject(now)
    _correct(subject, ask.corrections)
    before = tally.places.get(owner, 0)
    subject.at_work += ask.held - before
    rates = ask.rates
    if (
        rates.concurrency is not None
        and subject.at_work + len(ask.calls) > rates.concurrency
    ):
        tally.places.pop(owner, None)
        subject.at_work -= tally.bury(is_dead)
    others = subject.at_work - ask.held
    verdicts = tuple([_admit(subject, rates, call, now) for call in ask.calls])
    ahead = _lend(subject, ask)
    until = now
    if ahead is not NOTHING:
        until = tally.lent_until = now + LEISURE
        subject.at_work += ahead.places
        if rates.requests is not None or rates.tokens is not None:
            _count(subject, now, ahead.requests, ahead.tokens).last = until
    if ahead is not NOTHING or (ask.calls and _is_ample(subject, rates)):
        until = tally.kept_until = now + LEISURE
    if subject.at_work > others:
        tally.places[owner] = subject.at_work - others
    else:
        tally.places.pop(owner, None)
    return _answer(tally, subject, rates, (verdicts, ahead, until, others))


def _answer(
    tally: Tally,
    subject: Subject,
    rates: Rates,
    given: tuple[tuple[int | Refusal, ...], Ahead, float, int],
) -> Answer:
    """Say what was given, and how the subject stands now."""
    verdicts, ahead, until, others = given
    newest = subject.buckets[-1] if subject.buckets else None
    return Answer(
        verdicts,
        newest.first if newest is not None else 0.0,
        ahead,
        until,
        max(0, (rates.requests or 0) - subject.requests),
        max(0, (rates.tokens or 0) - subject.tokens),
        newest.last + WINDOW if newest is not None else 0.0,
        tally.lent_until,
        tally.kept_until,
        others,
    )


def _correct(subject: Subject, corrections: tuple[Correction, ...]) -> None:
    """Change the buckets that still count."""
    for first, requests, tokens in corrections:
        for bucket in subject.buckets:
            if bucket.first == first:
                bucket.requests += requests
                bucket.tokens += tokens
                subject.requests += requests
                subject.tokens += tokens
                break


def _admit(
    subject: Subject, rates: Rates, call: tuple[int, int], now: float
) -> int | Refusal:
    """Count one call as `WindowTable.admit` does; give its tokens."""
    tokens, output_tokens = call
    refusal = judge(subject, rates, tokens, now)
    if refusal is not None:
        return refusal
    if rates.concurrency is not None:
        subject.at_work += 1
    if rates.tokens is not None:
        tokens = min(tokens + output_tokens, rates.tokens - subject.tokens)
        _count(subject, now, 1, tokens)
        return tokens
    if rates.requests is not None:
        _count(subject, now, 1, 0)
    return 0


def _count(subject: Subject, now: float, requests: int, tokens: int) -> Bucket:
    """Count at this moment; give the bucket."""
    subject.requests += requests
    subject.tokens += tokens
    buckets = subject.buckets
    if buckets and now - buckets[-1].first < GRAIN:
        bucket = buckets[-1]
        # What was lent may already let it count for longer.
        bucket.last = max(bucket.last, now)
        bucket.requests += requests
        bucket.tokens += tokens
    else:
        bucket = Bucket(now, now, requests, tokens)
        buckets.append(bucket)
    return bucket


def _lend(subject: Subject, ask: Ask) -> Ahead:
    """What may be handed out ahead: enough for whole calls, or nothing.

    Where there is too little room for all that is wanted, all of it is less.
    """
    wanted, rates = ask.ahead, ask.rates
    share = ROOM_PER_PROCESS * ask.among
    places, part = 0, 1.0
    if rates.concurrency is not None:
        places = min(wanted.places, (rates.concurrency - subject.at_work) // share)
        if places <= 0:
            return NOTHING
    if rates.requests is not None and wanted.requests:
        room = (rates.requests - subject.requests) // share
        part = min(part, room / wanted.requests)
    if rates.tokens is not None and wanted.tokens:
        room = (rates.tokens - subject.tokens) // share
        part = min(part, room / wanted.tokens)
    requests = int(wanted.requests * part)
    if requests <= 0:
        return NOTHING
    return Ahead(
        requests if rates.requests is not None else 0,
        wanted.tokens * requests // wanted.requests if rates.tokens is not None else 0,
        places,
    )


def _is_ample(subject: Subject, rates: Rates) -> bool:
    """Whether nobody will miss for a moment what is not yet returned."""
    if rates.concurrency is None and rates.tokens is None:
        return False
    return (
        rates.concurrency is None or subject.at_work * AMPLE <= rates.concurrency
    ) and (rates.tokens is None or subject.tokens * AMPLE <= rates.tokens)
