"""Decimal strings become integer rates, and prices are named by their content."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.catalog.price import (
    FALLBACKS,
    FREE,
    TOKEN_UNITS,
    make_price,
    parse_rate,
    price_content,
)
from posthouse.model.catalog import TierRates
from posthouse.model.money import MAX_AMOUNT
from posthouse.model.usage import Unit


def test_a_token_rate_is_per_million():
    """2.50 USD per million tokens is 2.5 billion nano-dollars per million."""
    assert parse_rate("2.50", "input") == 2_500_000_000


def test_other_units_are_quoted_apiece():
    """An image at 0.04 USD is 40 million nano-dollars a million times over."""
    assert parse_rate("0.04", "image") == 40_000_000 * 1_000_000


@each(
    "text",
    ["", "-1", "+1", "1e3", "NaN", "inf", " 1", "1 ", "1,5", "1.", ".5", "1_000"],
)
def test_what_is_no_plain_decimal_is_refused(text):
    """No sign, exponent, blank or separator passes."""
    with pytest.raises(ValueError, match="not a decimal number"):
        parse_rate(text, "input")


@each("text", ["٣", "²", "0x1"])
def test_digits_of_other_scripts_are_refused(text):
    """Only ASCII digits are digits."""
    with pytest.raises(ValueError, match="not a decimal number"):
        parse_rate(text, "input")


def test_a_rate_finer_than_a_nanodollar_is_refused():
    """A dollar price that cannot be kept exactly is an error, not a rounding."""
    with pytest.raises(ValueError, match="finer"):
        parse_rate("0.0000000001", "input")


def test_a_rate_beyond_64_bits_is_refused():
    """No rate is larger than any amount can be."""
    with pytest.raises(ValueError, match="too large"):
        parse_rate("99999999999", "input")


@given(cents=st.integers(1, 10**7), rate=st.integers(1_000, 10**6))
def test_conversion_is_exact_but_for_one_upward_step(cents, rate):
    """A converted rate is the exact quotient, rounded up to one nano-dollar."""
    text = f"{cents // 100}.{cents % 100:02}"
    divisor = Fraction(rate, 10**4)
    got = parse_rate(text, "input", divisor)
    exact = Fraction(Decimal(text)) * 10**9 / divisor
    assert 0 <= got - exact < 1


def test_input_and_output_price_every_token():
    """Each kind of token takes the rate of what it is a kind of."""
    price = make_price({"input": 3, "output": 7})
    # Cached sound is charged as other cached input where it has no rate.
    assert set(price.rates) == TOKEN_UNITS - {"cached_audio_input"}
    for unit, source in FALLBACKS:
        assert price.rates[unit] == price.rates[source]


def test_a_rate_of_its_own_beats_the_fallback():
    """What a price says about cached input stands, even where it is zero."""
    price = make_price({"input": 3, "cached_input": 0, "output": 7})
    assert price.rates["cached_input"] == 0


def test_output_has_no_fallback():
    """A price for input alone leaves output unpriced."""
    assert "output" not in make_price({"input": 3}).rates


@each("rates", [{}, {"input": 0}, {"input": 0, "output": 0}])
def test_all_zero_without_free_is_refused(rates):
    """Zero is never a slip: free = true is the only way to it."""
    with pytest.raises(ValueError, match="free"):
        make_price(rates)


def test_free_is_free():
    """A free price has no rates."""
    assert FREE.free
    assert FREE.rates == {}


def test_free_with_rates_is_refused():
    """A price cannot be free and cost something."""
    with pytest.raises(ValueError, match="free"):
        make_price({"input": 1}, free=True)


@pytest.mark.parametrize("rate", [-1, MAX_AMOUNT + 1])
def test_rates_out_of_range_are_refused(rate):
    """A rate is no negative number and fits 64 bits."""
    with pytest.raises(ValueError, match="negative or too large"):
        make_price({"input": rate, "output": 1})


def test_a_zero_service_tier_is_refused():
    """A tier cannot be free by omission either."""
    with pytest.raises(ValueError, match="free"):
        make_price({"input": 1}, service_tiers={"flex": TierRates({"input": 0})})


def test_tables_name_the_same_units():
    """A tier without a cached rate would fall back on a dearer one unseen."""
    with pytest.raises(ValueError, match="other units"):
        make_price(
            {"input": 2, "cached_input": 1},
            service_tiers={"flex": TierRates({"input": 1})},
        )


def test_long_context_steps_are_ordered_and_single():
    """Steps stand in order of length, and no length has two."""
    price = make_price(
        {"input": 1}, long_context=[(9, {"input": 3}), (5, {"input": 2})]
    )
    assert [above for above, _ in price.long_context] == [5, 9]
    with pytest.raises(ValueError, match="same length"):
        make_price({"input": 1}, long_context=[(5, {"input": 3}), (5, {"input": 2})])


def test_versions_are_stable_across_releases():
    """A version may never change for the same content: entries name it."""
    price = make_price({"input": 2_500_000_000, "output": 10_000_000_000})
    assert price.version == "07c913b54b6ca695"
    assert FREE.version == "c88a375460b8c55a"


rates = st.dictionaries(
    st.sampled_from([unit.value for unit in Unit]),
    st.integers(1, MAX_AMOUNT),
    min_size=1,
)


@given(rates)
def test_the_order_of_rates_does_not_matter(table):
    """The same rates in another order have the same version and content."""
    backwards = dict(reversed(table.items()))
    first, second = make_price(table), make_price(backwards)
    assert first.version == second.version
    assert price_content(first) == price_content(second)


@given(rates, rates)
def test_different_content_has_a_different_version(one, other):
    """Two prices share a version only if they charge the same."""
    first, second = make_price(one), make_price(other)
    assert (first.version == second.version) == (first.rates == second.rates)
