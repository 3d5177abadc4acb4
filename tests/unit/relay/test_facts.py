"""What is told of a call: the time at providers, usage in sums, times that fit."""

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.model.test_call_record import attempt, record

from posthouse.model.call import CallRecord
from posthouse.relay.attempt import AttemptLog
from posthouse.relay.facts import Ended, facts_of
from posthouse.routing.health import BreakerState, HealthTable, Verdict


def ended(call: CallRecord, elapsed: float, upstream: float) -> Ended:
    """Make a call that ended, of a configuration that is gone."""
    return Ended(call, None, elapsed, upstream, {})


def test_usage_is_told_in_the_sums_that_the_conventions_know() -> None:
    call = record(attempt("a", 1, 5), total_ms=7)
    usage = {
        "input": 1,
        "cached_input": 2,
        "cache_write_5m": 4,
        "cache_write_1h": 8,
        "audio_input": 16,
        "output": 32,
        "reasoning": 64,
        "image": 3,
    }
    call.usage.update(usage)
    found = facts_of(ended(call, 0.0071, 0.005))
    assert found.input_tokens == 31
    assert (found.cached_tokens, found.cache_written_tokens) == (2, 12)
    assert (found.output_tokens, found.reasoning_tokens) == (96, 64)
    assert found.usage == usage


def test_times_are_of_the_clock_on_the_wall() -> None:
    call = record(attempt("a", 1, 5), total_ms=7, first_token_ms=3)
    found = facts_of(ended(call, 0.0071, 0.005))
    assert (found.began_ns, found.ended_ns) == (0, 7_100_000)
    assert (found.attempts[0].began_ns, found.attempts[0].ended_ns) == (
        1_000_000,
        6_000_000,
    )
    assert abs(found.own_seconds - 0.0021) < 1e-9
    assert (found.first_token_ms, found.upstream_first_ms) == (3, 2)


def test_a_channel_that_is_gone_has_no_provider() -> None:
    found = facts_of(ended(record(attempt("a", 1, 5), total_ms=7), 0.007, 0.005))
    assert (found.channel, found.provider) == ("a", "")
    assert (found.attempts[0].provider, found.attempts[0].origin) == ("", "")


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=6))
def test_the_time_at_providers_counts_once_however_attempts_overlap(
    spans: list[tuple[int, int]],
) -> None:
    log = AttemptLog(lambda: 0.0, 0.0)
    log.spans = [(float(start), float(start + length)) for start, length in spans]
    covered = {at for start, length in spans for at in range(start, start + length)}
    assert log.upstream_seconds() == len(covered)


def test_health_says_how_breakers_stand_and_what_rests() -> None:
    table = HealthTable(failures=1, seconds=30.0)
    assert table.breaker("a", 0.0) is BreakerState.CLOSED
    assert table.resting("a", 0.0) == 0
    table.end("a", 0, Verdict.FAILURE, 0.0)
    assert table.breaker("a", 29.0) is BreakerState.OPEN
    assert table.breaker("a", 30.0) is BreakerState.HALF_OPEN
    table.end("a", 0, Verdict.RATE_LIMITED, 0.0, rest=10.0)
    table.end("a", 1, Verdict.REFUSED, 0.0)
    assert table.resting("a", 9.0) == 2
    assert table.resting("a", 10.0) == 1
