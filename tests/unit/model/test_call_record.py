"""What a call's record tells of its time: the providers' part and our own."""

from hypothesis import given
from hypothesis import strategies as st

from posthouse.model.call import AttemptRecord, CallRecord


def attempt(channel: str, started_ms: int, duration_ms: int) -> AttemptRecord:
    """Make an attempt."""
    return AttemptRecord(
        channel, 0, "m", started_ms, duration_ms, "served", "", 200, None
    )


def record(
    *attempts: AttemptRecord,
    total_ms: int,
    first_token_ms: int = 0,
    streamed: bool = True,
) -> CallRecord:
    """Make a record of a call that the last attempt served."""
    return CallRecord(
        id="req_1",
        created_ms=0,
        key_id="key_1",
        operation="chat",
        dialect="openai_chat",
        streamed=streamed,
        requested_model="m",
        channel=attempts[-1].channel if attempts else "",
        upstream_model="m",
        usage={},
        usage_source="none",
        cost=None,
        list_price=0,
        price=0,
        price_version="",
        status=200,
        outcome="served",
        error_code="",
        first_token_ms=first_token_ms,
        total_ms=total_ms,
        attempts=list(attempts),
    )


def test_what_no_attempt_covers_is_our_own() -> None:
    found = record(attempt("a", 2, 10), attempt("b", 15, 80), total_ms=100)
    assert (found.upstream_ms, found.own_ms) == (90, 10)


def test_attempts_side_by_side_count_once() -> None:
    found = record(attempt("a", 0, 100), attempt("b", 20, 30), total_ms=101)
    assert (found.upstream_ms, found.own_ms) == (100, 1)


def test_the_first_token_of_a_stream_is_the_provider_s_from_its_attempt_on() -> None:
    tries = attempt("a", 1, 30), attempt("b", 31, 500)
    assert record(*tries, total_ms=531, first_token_ms=90).upstream_first_ms == 59
    assert record(*tries, total_ms=531).upstream_first_ms == 0
    whole = record(*tries, total_ms=531, first_token_ms=531, streamed=False)
    assert whole.upstream_first_ms == 0


def test_a_call_without_attempts_is_all_our_own() -> None:
    found = record(total_ms=7)
    assert (found.upstream_ms, found.own_ms) == (0, 7)


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), max_size=5),
    st.integers(0, 3000),
)
def test_the_parts_never_exceed_what_they_are_parts_of(
    spans: list[tuple[int, int]], total_ms: int
) -> None:
    found = record(*(attempt("a", *span) for span in spans), total_ms=total_ms)
    covered = {ms for start, length in spans for ms in range(start, start + length)}
    assert found.upstream_ms == len(covered)
    assert found.own_ms == max(0, total_ms - len(covered))
