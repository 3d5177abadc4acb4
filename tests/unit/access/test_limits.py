"""Limits: exactly what is allowed in any minute, and no memory of the idle."""

import asyncio
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.access.limits import UNLIMITED, Limits
from posthouse.access.models import allows
from posthouse.access.principal import Principal
from posthouse.access.windows import (
    Limit,
    Permit,
    Rates,
    Refusal,
    Subject,
    WindowTable,
)
from posthouse.errors import RateLimited
from posthouse.settings.file import ChannelLimits


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


def told(lines: bytes) -> dict[bytes, bytes]:
    """Read header lines."""
    assert lines.endswith(b"\r\n")
    return dict(line.split(b": ") for line in lines.split(b"\r\n")[:-1])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> Limits:
    return Limits(clock)


def key(
    *, rpm: int | None = None, tpm: int | None = None, concurrency: int | None = None
) -> Principal:
    return Principal("id", "a", "default", rpm=rpm, tpm=tpm, concurrency=concurrency)


async def test_of_a_hundred_at_once_exactly_five_pass(limits: Limits) -> None:
    """rpm = 5 with 100 parallel calls admits exactly 5."""
    results = await asyncio.gather(
        *(limits.admit(key(rpm=5), 1) for _ in range(100)), return_exceptions=True
    )
    assert sum(isinstance(result, Permit) for result in results) == 5
    refused = [result for result in results if isinstance(result, RateLimited)]
    assert len(refused) == 95
    assert {error.retry_after for error in refused} == {60}


async def test_retry_after_is_true(limits: Limits, clock: Clock) -> None:
    """A second before the promised time it is too early, at that time not."""
    await limits.admit(key(rpm=1), 0)
    clock.now += 20
    with pytest.raises(RateLimited, match="1 requests per minute") as caught:
        await limits.admit(key(rpm=1), 0)
    assert caught.value.retry_after == 40
    clock.now += 39
    with pytest.raises(RateLimited):
        await limits.admit(key(rpm=1), 0)
    clock.now += 1
    await limits.admit(key(rpm=1), 0)


@settings(max_examples=150, deadline=None)
@given(
    limit=st.integers(1, 5),
    gaps=st.lists(
        # Crowds within a second, and waits that end around a minute later.
        st.sampled_from([0, 0, 0.25, 0.5, 0.75, 59.25, 59.5, 59.75, 60])
        | st.floats(0, 45),
        max_size=80,
    ),
)
def test_no_minute_admits_more_than_its_limit(limit: int, gaps: list[float]) -> None:
    """Whenever calls come, any span of 60 s holds at most the limit."""
    clock = Clock()
    table = WindowTable(clock)
    admitted: list[float] = []
    for gap in gaps:
        clock.now += gap
        result = table.admit("a", Rates(requests=limit))
        if isinstance(result, Permit):
            admitted.append(clock.now)
        else:
            assert 1 <= result.retry_after <= 60
            recent = [then for then in admitted if clock.now - then < 61]
            assert len(recent) >= limit, "refused although there was room"
    for start in admitted:
        inside = [then for then in admitted if start <= then < start + 60]
        assert len(inside) <= limit


@settings(max_examples=150, deadline=None)
@given(
    calls=st.lists(
        st.tuples(
            st.floats(0, 1) | st.floats(0, 30) | st.floats(58, 61),
            st.integers(0, 60),
            st.integers(0, 200),
            st.integers(0, 120),
        ),
        max_size=50,
    )
)
def test_tokens_are_admitted_by_estimate_and_counted_as_used(
    calls: list[tuple[float, int, int, int]],
) -> None:
    """Admissions fit into the minute; what calls really used is what counts."""
    clock = Clock()
    table = WindowTable(clock)
    limit = 100
    used: list[tuple[float, int]] = []
    for gap, tokens, output, actual in calls:
        clock.now += gap
        result = table.admit("a", Rates(tokens=limit), tokens, output)
        counted = sum(count for then, count in used if clock.now - then < 60)
        if isinstance(result, Permit):
            assert counted + tokens <= limit
            result.release(actual)
            used.append((clock.now, actual))
        else:
            recent = sum(count for then, count in used if clock.now - then < 61)
            assert recent + max(tokens, 1) > limit


async def test_generous_estimate_of_output_is_no_refusal(limits: Limits) -> None:
    """A call takes what is left of the minute, and gives back what it spared."""
    principal = key(tpm=1000)
    first = await limits.admit(principal, 100, output_tokens=16_000)
    with pytest.raises(RateLimited, match="1000 tokens per minute"):
        await limits.admit(principal, 1)
    first.release(150)
    second = await limits.admit(principal, 100, output_tokens=16_000)
    assert told(second.header_lines())[b"x-ratelimit-remaining-tokens"] == b"0"
    second.release(150)
    assert told(second.header_lines())[b"x-ratelimit-remaining-tokens"] == b"700"


async def test_prompt_above_the_whole_limit_is_refused(limits: Limits) -> None:
    """What can never fit says so."""
    with pytest.raises(RateLimited, match="about 1001 tokens, more than the 1000"):
        await limits.admit(key(tpm=1000), 1001)


async def test_refused_call_counts_nothing(limits: Limits) -> None:
    """A call that its tokens stop leaves the number of requests alone."""
    principal = key(rpm=2, tpm=10, concurrency=1)
    permit = await limits.admit(principal, 10)
    permit.release(10)
    for _ in range(5):
        with pytest.raises(RateLimited):
            await limits.admit(principal, 10)
    assert (
        told(limits.header_lines(principal))[b"x-ratelimit-remaining-requests"] == b"1"
    )


async def test_concurrency_is_freed_once(limits: Limits) -> None:
    """Releasing twice frees one place, not two."""
    principal = key(concurrency=2)
    first = await limits.admit(principal, 0)
    await limits.admit(principal, 0)
    with pytest.raises(RateLimited, match="2 requests at the same time") as caught:
        await limits.admit(principal, 0)
    assert caught.value.retry_after == 1
    first.release()
    first.release()
    await limits.admit(principal, 0)
    with pytest.raises(RateLimited):
        await limits.admit(principal, 0)


async def test_second_release_corrects_nothing(limits: Limits) -> None:
    """The first release decides how many tokens a call used."""
    permit = await limits.admit(key(tpm=100), 50)
    permit.release(20)
    permit.release(90)
    assert told(permit.header_lines())[b"x-ratelimit-remaining-tokens"] == b"80"


async def test_correction_after_the_minute_changes_nothing(
    limits: Limits, clock: Clock
) -> None:
    """A long call's tokens belong to the minute in which it began."""
    principal = key(tpm=100)
    permit = await limits.admit(principal, 100)
    clock.now += 61
    later = await limits.admit(principal, 30)
    permit.release(5)
    assert told(later.header_lines())[b"x-ratelimit-remaining-tokens"] == b"70"


async def test_headers_tell_the_moment(limits: Limits, clock: Clock) -> None:
    """Limit, remaining and reset, of requests and of tokens."""
    permit = await limits.admit(key(rpm=5, tpm=1000), 100)
    clock.now += 10.5
    assert told(permit.header_lines()) == {
        b"x-ratelimit-limit-requests": b"5",
        b"x-ratelimit-remaining-requests": b"4",
        b"x-ratelimit-reset-requests": b"50s",
        b"x-ratelimit-limit-tokens": b"1000",
        b"x-ratelimit-remaining-tokens": b"900",
        b"x-ratelimit-reset-tokens": b"50s",
    }


async def test_key_without_limits_costs_nothing(limits: Limits) -> None:
    """Who has no limits leaves no trace and gets no headers."""
    permit = await limits.admit(key(), 10**9)
    assert permit is UNLIMITED
    assert permit.header_lines() == b""
    permit.release(5)
    permit.release(5)
    assert len(limits._keys) == 0


async def test_changed_limit_holds_at_once(limits: Limits) -> None:
    """Raising or lowering a limit needs no new minute."""
    await limits.admit(key(rpm=1), 0)
    await limits.admit(key(rpm=2), 0)
    with pytest.raises(RateLimited):
        await limits.admit(key(rpm=2), 0)


def test_channel_over_its_limit_is_passed_over(limits: Limits) -> None:
    """A channel's refusal is a value, for the caller is not at fault."""
    first = limits.admit_channel("a", ChannelLimits(concurrency=1, rpm=3))
    assert isinstance(first, Permit)
    refusal = limits.admit_channel("a", ChannelLimits(concurrency=1, rpm=3))
    assert refusal == Refusal(Limit.CONCURRENCY, 1)
    first.release()
    assert isinstance(limits.admit_channel("a", ChannelLimits(rpm=2)), Permit)
    refusal = limits.admit_channel("a", ChannelLimits(rpm=2))
    assert refusal == Refusal(Limit.REQUESTS, 60)
    assert limits.admit_channel("b", ChannelLimits()) is UNLIMITED


def test_idle_subjects_are_dropped_and_busy_ones_kept(clock: Clock) -> None:
    """Passers-by do not fill the memory; whoever still counts is not lost."""
    table = WindowTable(clock)
    busy = table.admit("busy", Rates(concurrency=1))
    assert isinstance(busy, Permit)
    most = 0
    for index in range(5000):
        clock.now += 0.06
        table.admit(f"passer {index}", Rates(requests=1))
        most = max(most, len(table))
    # A thousand come per minute, so a few thousand at most stay.
    assert most <= 2100
    assert isinstance(table.admit("busy", Rates(concurrency=1)), Refusal)
    busy.release()
    assert isinstance(table.admit("busy", Rates(concurrency=1)), Permit)


def test_a_minute_is_at_most_61_buckets(clock: Clock) -> None:
    """A limit of a million takes no more memory than one of a hundred."""
    subject = Subject([])
    for _ in range(50_000):
        clock.now += 0.01
        subject.expire(clock.now)
        subject.add(clock.now, 1)
    assert len(subject.buckets) <= 61


async def test_active_keys_are_small() -> None:
    """A key that has called within the minute takes a few hundred bytes."""
    limits = Limits()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for index in range(5000):
            principal = Principal(
                f"{index:024}", "a", "default", rpm=600, tpm=10**6, concurrency=5
            )
            (await limits.admit(principal, 1000)).release(900)
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert used / 5000 <= 500


async def test_admission_is_cheap() -> None:
    """A key with all limits is admitted and released within few µs."""
    limits = Limits()
    principal = key(rpm=10**9, tpm=10**12, concurrency=10)
    best = 1.0
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(200):
            permit = await limits.admit(principal, 100)
            permit.release(50)
        best = min(best, (time.perf_counter() - start) / 200)
    assert best <= 20e-6


@each(
    ("models", "model", "expected"),
    [
        (None, "anything", True),
        (("gpt-4o",), "gpt-4o", True),
        (("gpt-4o",), "gpt-4o-mini", False),
        (("gpt-*", "fast"), "gpt-4o", True),
        (("gpt-*", "fast"), "fast", True),
        (("gpt-*", "fast"), "faster", False),
        (("*",), "anything/at:all", True),
        (("a*c",), "abc", True),
        (("a*c",), "ab", False),
        (("a.c",), "abc", False),
        ((), "a", False),
    ],
)
def test_allowed_models(
    models: tuple[str, ...] | None, model: str, expected: bool
) -> None:
    """Names are exact, `*` is any run of characters, None allows all."""
    assert allows(Principal("id", "a", "default", models=models), model) is expected
