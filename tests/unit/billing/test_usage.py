"""Reports become disjoint buckets that add up, whatever they say."""

from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.billing.usage import (
    ABSURD_CONTEXTS,
    UNKNOWN_CONTEXT,
    TokenEstimate,
    normalise,
)
from posthouse.catalog.price import INPUT_UNITS, OUTPUT_UNITS
from posthouse.model.usage import ReportedUsage, UsageSource

ESTIMATE = TokenEstimate(input=70, output=30)
NONE = TokenEstimate(input=0, output=0)


def judge(report=None, *, estimate=ESTIMATE, context=1_000, choices=1, **fields):
    """Normalise a report of these fields."""
    reported = report if report is not None else ReportedUsage(**fields)
    return normalise(reported, estimate=estimate, context=context, choices=choices)


def test_a_plain_report_passes():
    """What may be true is taken as it is."""
    got = judge(input=100, output=20)
    assert got.usage.quantities == {"input": 100, "output": 20}
    assert got.usage.source is UsageSource.PROVIDER
    assert got.suspicious == ()


def test_parts_are_taken_out_of_their_totals():
    """No token stands in two buckets."""
    got = judge(
        input=100,
        cached_input=40,
        cache_write_5m=5,
        cache_write_1h=4,
        audio_input=3,
        image_input=2,
        output=50,
        reasoning=30,
        audio_output=10,
        image_output=1,
        searches=2,
    )
    assert got.usage.quantities == {
        "input": 46,
        "cached_input": 40,
        "cache_write_5m": 5,
        "cache_write_1h": 4,
        "audio_input": 3,
        "image_input": 2,
        "output": 9,
        "reasoning": 30,
        "audio_output": 10,
        "image_output": 1,
        "search": 2,
    }
    assert got.suspicious == ()


def test_an_embedding_has_no_output():
    """A missing output that nobody expects is no estimate."""
    got = judge(input=100, estimate=TokenEstimate(70, 0))
    assert got.usage.quantities == {"input": 100}
    assert got.usage.source is UsageSource.PROVIDER


def test_no_report_is_an_estimate():
    """Where the provider says nothing, we count and say so."""
    got = normalise(None, estimate=ESTIMATE, context=1_000)
    assert got.usage.quantities == {"input": 70, "output": 30}
    assert got.usage.source is UsageSource.ESTIMATED
    assert got.suspicious == ()


def test_no_report_and_nothing_delivered_is_no_usage():
    """Nothing in, nothing out, nobody counted."""
    got = normalise(None, estimate=NONE, context=0)
    assert got.usage.quantities == {}
    assert got.usage.source is UsageSource.NONE


def test_a_missing_half_is_estimated():
    """One total of two makes the usage an estimate."""
    got = judge(input=100)
    assert got.usage.quantities == {"input": 100, "output": 30}
    assert got.usage.source is UsageSource.ESTIMATED


@each(
    ("fields", "flag", "expected"),
    [
        ({"input": -5, "output": 20}, "input_negative", {"input": 70, "output": 20}),
        ({"input": 100, "output": -1}, "output_negative", {"input": 100, "output": 30}),
        ({"input": 4_001, "output": 20}, "input_absurd", {"input": 70, "output": 20}),
        ({"input": 9, "output": 10**30}, "output_absurd", {"input": 9, "output": 30}),
        ({"input": 0, "output": 20}, "input_zero", {"input": 70, "output": 20}),
        ({"input": 100, "output": 0}, "output_zero", {"input": 100, "output": 30}),
    ],
)
def test_an_impossible_total_is_clamped_and_named(fields, flag, expected):
    """What cannot be true is replaced by the estimate, and told."""
    got = judge(**fields)
    assert got.usage.quantities == expected
    assert got.usage.source is UsageSource.ESTIMATED
    assert got.suspicious == (flag,)


def test_four_contexts_are_still_believed():
    """The limit itself passes."""
    got = judge(input=4_000, output=4_000)
    assert got.suspicious == ()


def test_every_choice_has_a_window():
    """A hundred answers may be longer than four windows together."""
    assert judge(input=9, output=100_000, choices=100).suspicious == ()
    assert judge(input=9, output=100_000).suspicious == ("output_absurd",)


def test_a_list_to_embed_may_fill_the_window_many_times():
    """What our own count makes plausible is no absurdity."""
    got = judge(input=50_000, estimate=TokenEstimate(40_000, 0))
    assert got.suspicious == ()


def test_an_unknown_context_has_a_limit_too():
    """A model that nobody knows cannot report any number either."""
    limit = ABSURD_CONTEXTS * UNKNOWN_CONTEXT
    assert judge(input=limit, output=1, context=0).suspicious == ()
    assert judge(input=limit + 1, output=1, context=0).suspicious == ("input_absurd",)


def test_zero_input_of_an_empty_prompt_is_believed():
    """No text sent, no tokens counted."""
    got = judge(input=0, output=0, estimate=NONE)
    assert got.suspicious == ()
    assert got.usage.source is UsageSource.PROVIDER


def test_parts_larger_than_their_total_yield():
    """The total stands; the dearer parts keep theirs."""
    got = judge(input=100, cached_input=90, cache_write_5m=30, output=5, reasoning=9)
    assert got.usage.quantities == {
        "cache_write_5m": 30,
        "cached_input": 70,
        "reasoning": 5,
    }
    assert got.suspicious == ("input_parts_exceed_total", "output_parts_exceed_total")


def test_negative_parts_are_left_out():
    """A part below zero would enlarge another bucket."""
    got = judge(input=100, cached_input=-50, output=20)
    assert got.usage.quantities == {"input": 100, "output": 20}
    assert got.suspicious == ("cached_input_negative",)


@each("searches", [-1, 1_001, 2**70])
def test_impossible_searches_are_left_out(searches):
    """No call makes a thousand searches."""
    got = judge(input=100, output=20, searches=searches)
    assert "search" not in got.usage.quantities
    assert got.suspicious == ("searches_impossible",)


numbers = st.none() | st.integers(-(2**70), 2**70) | st.integers(0, 2_000)
reports = st.builds(
    ReportedUsage, **dict.fromkeys(ReportedUsage.__struct_fields__, numbers)
)
estimates = st.builds(
    TokenEstimate, input=st.integers(0, 10**6), output=st.integers(0, 10**6)
)


@given(reports, estimates, st.integers(0, 10**6))
def test_buckets_are_positive_and_add_up(report, estimate, context):
    """For any report: no bucket below one, none beyond belief, sums match."""
    got = normalise(report, estimate=estimate, context=context)
    quantities = got.usage.quantities
    assert all(count > 0 for count in quantities.values())
    window = context or UNKNOWN_CONTEXT
    for units, total, own in (
        (INPUT_UNITS, report.input, estimate.input),
        (OUTPUT_UNITS, report.output, estimate.output),
    ):
        charged = sum(quantities.get(unit, 0) for unit in units)
        limit = ABSURD_CONTEXTS * max(window, own)
        believed = total is not None and 0 <= total <= limit and (total or not own)
        assert charged == (total if believed else own)


@given(reports, estimates, st.integers(0, 10**6))
def test_judging_twice_gives_the_same(report, estimate, context):
    """The normaliser keeps no state."""
    first = normalise(report, estimate=estimate, context=context)
    assert first == normalise(report, estimate=estimate, context=context)
