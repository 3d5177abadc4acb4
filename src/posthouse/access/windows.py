"""Counting per minute, and who is at work: the engine behind every limit.

Rules: in no span of 60 seconds is more admitted than the limit. Admissions
within one second share a bucket, which counts until 60 seconds after its last
one; a minute is thus at most 61 buckets, whatever the limit. Refusing counts
nothing. One process, one thread: nothing here waits or locks. The clock is
monotonic, so a change of the wall clock opens and closes no window.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Final

from msgspec import Struct

WINDOW = 60.0
"""Seconds for which an admission counts."""
GRAIN = 1.0
"""Seconds of admissions that share a bucket."""
SWEPT_PER_NEWCOMER = 2
"""Subjects looked at, and dropped when idle, for each one that is added."""
REMEMBERED_RATES = 1024


class Rates(Struct, frozen=True):
    """What one subject is allowed; None is no limit."""

    requests: int | None = None
    """Per minute."""
    tokens: int | None = None
    """Per minute."""
    concurrency: int | None = None


UNLIMITED_RATES: Final = Rates()


@lru_cache(maxsize=REMEMBERED_RATES)
def rates_of(rpm: int | None, tpm: int | None, concurrency: int | None) -> Rates:
    """Share one value among all that have the same limits."""
    return Rates(rpm, tpm, concurrency)


class Limit(Enum):
    """Which limit stood in the way."""

    CONCURRENCY = "concurrency"
    REQUESTS = "requests"
    TOKENS = "tokens"
    SIZE = "size"
    """More tokens than the limit allows in a minute altogether."""


class Refusal(Struct, frozen=True):
    """Nothing was counted; another try makes sense later."""

    limit: Limit
    retry_after: int
    """Seconds, from 1 to 60."""


class Bucket(Struct, gc=False, array_like=True):
    """What was admitted within one grain; tokens may be corrected while it counts.

    Values here are plain and small, for there is one for every active key.
    """

    first: float
    last: float
    requests: int
    tokens: int


class Subject(Struct, gc=False):
    """The counters of one key or channel over a sliding minute."""

    buckets: list[Bucket]
    """In the order of their beginnings."""
    requests: int = 0
    tokens: int = 0
    """Sums over the buckets."""
    at_work: int = 0

    def expire(self, now: float) -> None:
        """Forget what no longer counts."""
        buckets = self.buckets
        while buckets and now - buckets[0].last >= WINDOW:
            oldest = buckets.pop(0)
            self.requests -= oldest.requests
            self.tokens -= oldest.tokens

    def is_idle(self, now: float) -> bool:
        """Whether forgetting the subject changes nothing."""
        self.expire(now)
        return not self.at_work and not self.buckets

    def add(self, now: float, tokens: int) -> Bucket:
        """Count a request and its tokens; give the bucket they stand in."""
        self.requests += 1
        buckets = self.buckets
        bucket = buckets[-1] if buckets else None
        if bucket is None or now - bucket.first >= GRAIN:
            bucket = Bucket(now, now, 1, 0)
            buckets.append(bucket)
        else:
            bucket.last = now
            bucket.requests += 1
        if tokens:
            self.tokens += tokens
            bucket.tokens += tokens
        return bucket

    def correct(self, bucket: Bucket, change: int) -> None:
        """Change the tokens of a bucket; one that has expired changes nothing."""
        buckets = self.buckets
        if buckets and bucket.first >= buckets[0].first:
            bucket.tokens += change
            self.tokens += change

    def seconds_until_request(self, now: float, limit: int) -> float:
        """Give the time until one more request fits under the limit."""
        excess = self.requests + 1 - limit
        for bucket in self.buckets:
            excess -= bucket.requests
            if excess <= 0:
                return bucket.last + WINDOW - now
        return WINDOW

    def seconds_until_tokens(self, now: float, room: int, limit: int) -> float:
        """Give the time until so many more tokens fit under the limit."""
        excess = self.tokens + room - limit
        for bucket in self.buckets:
            excess -= bucket.tokens
            if excess <= 0:
                return bucket.last + WINDOW - now
        return WINDOW


class Permit(Struct, gc=False):
    """One admitted call; release it when the call ends, however it ends.

    Without a subject there is nothing to do.
    """

    _subject: Subject | None
    _rates: Rates
    _bucket: Bucket | None
    _tokens: int
    _clock: Callable[[], float]
    _released: bool = False

    def release(self, tokens_used: int | None = None) -> None:
        """End the call: free its place and count its tokens as they were.

        Safe to call twice; the first call decides.

        Args:
            tokens_used: what the call consumed; None keeps the estimate.
        """
        if self._released or self._subject is None:
            return
        self._released = True
        subject = self._subject
        if self._rates.concurrency is not None:
            subject.at_work -= 1
        if self._bucket is not None and tokens_used is not None:
            change = max(tokens_used, 0) - self._tokens
            if change:
                subject.correct(self._bucket, change)

    def header_lines(self) -> bytes:
        """Write the `x-ratelimit-*` headers of this moment; none without limits."""
        if self._subject is None:
            return b""
        return render_lines(self._subject, self._rates, self._clock())


class WindowTable:
    """Counters by subject; those that have become idle are dropped."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nobody; `clock` gives monotonic seconds."""
        self._clock = clock
        self._subjects: OrderedDict[str, Subject] = OrderedDict()

    def __len__(self) -> int:
        return len(self._subjects)

    def admit(
        self, name: str, rates: Rates, tokens: int = 0, output_tokens: int = 0
    ) -> Permit | Refusal:
        """Count one call of a subject, or say what stood in the way.

        Args:
            name: the subject's own, unique in this table.
            rates: its limits now; they may differ from call to call.
            tokens: what the call is sure to consume.
            output_tokens: what it may consume on top: as much of it is counted
                as there is room for, so that a generous estimate takes the
                rest of the minute instead of being refused.
        """
        now = self._clock()
        subject = self._subjects.get(name)
        if subject is None:
            subject = self._enter(name, now)
        buckets = subject.buckets
        if buckets and now - buckets[0].last >= WINDOW:
            subject.expire(now)
        refusal = judge(subject, rates, tokens, now)
        if refusal is not None:
            return refusal
        if rates.concurrency is not None:
            subject.at_work += 1
        bucket = None
        if rates.tokens is not None:
            room = rates.tokens - subject.tokens
            tokens = min(tokens + output_tokens, room)
            bucket = subject.add(now, tokens)
        elif rates.requests is not None:
            subject.add(now, 0)
        return Permit(subject, rates, bucket, tokens, self._clock)

    def header_lines(self, name: str, rates: Rates) -> bytes:
        """Write the `x-ratelimit-*` headers of a subject, also after a refusal."""
        now = self._clock()
        subject = self._subjects.get(name) or Subject([])
        return render_lines(subject, rates, now)

    def _enter(self, name: str, now: float) -> Subject:
        """Add a subject, and look whether the oldest may go."""
        subjects = self._subjects
        for _ in range(min(SWEPT_PER_NEWCOMER, len(subjects))):
            oldest, subject = subjects.popitem(last=False)
            if not subject.is_idle(now):
                subjects[oldest] = subject
        subject = subjects[name] = Subject([])
        return subject


def judge(subject: Subject, rates: Rates, tokens: int, now: float) -> Refusal | None:
    """Say which limit a call of so many tokens would break, if any."""
    if rates.concurrency is not None and subject.at_work >= rates.concurrency:
        return Refusal(Limit.CONCURRENCY, 1)
    if rates.requests is not None and subject.requests >= rates.requests:
        wait = subject.seconds_until_request(now, rates.requests)
        return Refusal(Limit.REQUESTS, whole_seconds(wait))
    if rates.tokens is not None:
        if tokens > rates.tokens:
            return Refusal(Limit.SIZE, int(WINDOW))
        # Also a call that seems to need none waits when all have been used.
        needed = max(tokens, 1)
        if subject.tokens + needed > rates.tokens:
            wait = subject.seconds_until_tokens(now, needed, rates.tokens)
            return Refusal(Limit.TOKENS, whole_seconds(wait))
    return None


def whole_seconds(wait: float) -> int:
    """Round a wait up to whole seconds from 1 to 60."""
    return min(max(math.ceil(wait), 1), int(WINDOW))


def render_lines(subject: Subject, rates: Rates, now: float) -> bytes:
    """Write limit, remaining and reset for requests and tokens, as header lines."""
    buckets = subject.buckets
    if buckets and now - buckets[0].last >= WINDOW:
        subject.expire(now)
    empty = math.ceil(buckets[-1].last + WINDOW - now) if buckets else 0
    requests, tokens = rates.requests, rates.tokens
    shown: tuple[int, ...] = ()
    if requests is not None:
        left = requests - subject.requests
        shown = (requests, max(0, left), empty)
    if tokens is None:
        return REQUEST_LINES % shown if shown else b""
    left = tokens - subject.tokens
    of_tokens = (tokens, max(0, left), empty)
    return _ALL_LINES % (shown + of_tokens) if shown else TOKEN_LINES % of_tokens


_LINES = (
    b"x-ratelimit-limit-%b: %%d\r\n"
    b"x-ratelimit-remaining-%b: %%d\r\n"
    b"x-ratelimit-reset-%b: %%ds\r\n"
)
REQUEST_LINES = _LINES % ((b"requests",) * 3)
TOKEN_LINES = _LINES % ((b"tokens",) * 3)
_ALL_LINES = REQUEST_LINES + TOKEN_LINES
