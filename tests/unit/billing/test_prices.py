"""Prices are found by specificity, and a charge is one exact rounding."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.billing.prices import (
    MEMORY_LIMIT,
    PriceBook,
    charge,
    input_tokens,
    matches,
    price_of_spec,
    rates_for,
    unpriced_units,
)
from posthouse.catalog.price import FREE, TOKEN_UNITS, make_price, price_content
from posthouse.model.catalog import AuthScheme, ModelRow, ProviderRow, TierRates
from posthouse.model.money import MAX_AMOUNT
from posthouse.model.usage import Unit, Usage, UsageSource
from posthouse.settings.file import PriceSpec

MILLION = 1_000_000
LIST = make_price({"input": 2_000, "output": 8_000})
STEPPED = make_price(
    {"input": 10 * MILLION, "output": 20 * MILLION},
    long_context=[
        (100, {"input": 20 * MILLION, "output": 30 * MILLION}),
        (200, {"input": 40 * MILLION, "output": 60 * MILLION}),
    ],
    service_tiers={
        "flex": TierRates(
            {"input": 5 * MILLION, "output": 10 * MILLION},
            ((100, {"input": 10 * MILLION, "output": 15 * MILLION}),),
        ),
        "priority": TierRates({"input": 100 * MILLION, "output": 200 * MILLION}),
    },
)


def used(**quantities):
    """Make a usage of these quantities."""
    return Usage(quantities, UsageSource.PROVIDER)


def provider(name="acme", *, free=False, **models):
    """Make a row with models at these prices."""
    return ProviderRow(
        name=name,
        title=name,
        base_url="",
        auth=AuthScheme.BEARER,
        operations={},
        models={
            model: ModelRow(model, ("chat",), 1000, 10, 100, price)
            for model, price in models.items()
        },
        free=free,
    )


def book(*specs, free=False):
    """Make a book of a small catalogue and the operator's entries."""
    return PriceBook({"acme": provider(free=free, m=LIST, unpriced=None)}, specs)


def spec(model, dollars="1", **fields):
    """Make an operator's entry with this input price."""
    return PriceSpec(model=model, input=dollars, output="2", **fields)


# --- wildcards ------------------------------------------------------------------


@each(
    ("pattern", "name", "expected"),
    [
        ("m", "m", True),
        ("m", "mm", False),
        ("*", "", True),
        ("*", "anything", True),
        ("gpt-*", "gpt-4o", True),
        ("gpt-*", "xgpt-4o", False),
        ("*-mini", "gpt-4o-mini", True),
        ("*-mini", "gpt-4o-mini-1", False),
        ("a*b*c", "abc", True),
        ("a*b*c", "axxbyyc", True),
        ("a*b*c", "acb", False),
        ("ab*ba", "aba", False),
        ("a**b", "ab", True),
        ("a.c", "abc", False),
        ("[a]", "a", False),
    ],
)
def test_a_star_is_any_run_of_characters(pattern, name, expected):
    """Nothing but the star is special."""
    assert matches(pattern, name) is expected


@given(st.text("ab*", max_size=12), st.text("ab", max_size=12))
def test_matching_agrees_with_regular_expressions(pattern, name):
    """The linear matcher says what the obvious one would."""
    import re

    obvious = re.fullmatch(
        ".*".join(map(re.escape, pattern.split("*"))), name, flags=re.DOTALL
    )
    assert matches(pattern, name) is bool(obvious)


def test_matching_takes_linear_time():
    """A hostile name costs no more than its length."""
    assert not matches("*" + "a*" * 50 + "b", "a" * 100_000)


# --- finding --------------------------------------------------------------------


def input_rate(price):
    """Read a price's input rate in dollars."""
    return price.rates["input"] // 10**9


def test_without_an_entry_the_list_price_sells():
    """The catalogue's price of the highest route is the default."""
    assert book().selling("public", "acme", "m") is LIST


def test_an_entry_for_the_public_name_sells():
    """What the operator says of the public name wins over the list."""
    found = book(spec("public")).selling("public", "acme", "m")
    assert input_rate(found) == 1


def test_an_entry_for_the_upstream_name_does_not_sell_another_name():
    """Selling prices follow the name that was asked for."""
    assert book(spec("m")).selling("public", "acme", "m") is LIST


@each(
    ("patterns", "winner"),
    [
        (["*", "gpt-4o"], "gpt-4o"),
        (["gpt-*", "gpt-4*"], "gpt-4*"),
        (["gpt-4*", "gpt-*-mini"], "gpt-4*"),
        (["*", "*-mini"], "*-mini"),
        (["gpt-*", "gpt-*mini"], "gpt-*mini"),
        (["gpt-4o-mini", "gpt-4o-min*", "gpt-4o-mini*"], "gpt-4o-mini"),
        (["g*o-mini", "g*4o-mini"], "g*4o-mini"),
    ],
)
@each("backwards", [False, True])
def test_the_most_specific_entry_wins(patterns, winner, backwards):
    """Exact beats wildcard, then the longer prefix, then the longer text."""
    ordered = patterns[::-1] if backwards else patterns
    name = "gpt-4o" if winner == "gpt-4o" else "gpt-4o-mini"
    prices = [spec(p, str(patterns.index(p) + 1)) for p in ordered]
    found = book(*prices).selling(name, "acme", "m")
    assert input_rate(found) == patterns.index(winner) + 1


def test_of_equals_the_first_wins():
    """Where nothing tells two patterns apart, the file's order does."""
    found = book(spec("a*b*", "1"), spec("a**b", "2")).selling("ab", "acme", "m")
    assert input_rate(found) == 1


def test_the_same_pattern_twice_is_refused():
    """Two prices for one thing are an error, not a lottery."""
    with pytest.raises(ValueError, match="same model and channel"):
        book(spec("m"), spec("m", "2"))
    with pytest.raises(ValueError, match="same model and channel"):
        book(spec("m*"), spec("m*", "2"))


def test_a_channels_entry_is_its_cost_and_sells_nothing():
    """Supplier cost and selling price never mix."""
    prices = book(spec("m", channel="main"))
    assert input_rate(prices.cost("main", "acme", "m")) == 1
    assert prices.selling("m", "acme", "m") is LIST
    assert prices.cost("other", "acme", "m") is LIST


def test_the_same_pattern_for_two_channels_is_fine():
    """Each channel has a shelf of its own."""
    prices = book(spec("m", "1", channel="a"), spec("m", "2", channel="b"), spec("m"))
    assert input_rate(prices.cost("a", "acme", "m")) == 1
    assert input_rate(prices.cost("b", "acme", "m")) == 2


def test_a_channels_cost_falls_back_on_the_list():
    """An entry for other models leaves this one at its list price."""
    assert book(spec("x*", channel="main")).cost("main", "acme", "m") is LIST


@each(
    ("provider_name", "model"), [("acme", "unpriced"), ("acme", "x"), ("nobody", "m")]
)
def test_what_nobody_priced_is_none(provider_name, model):
    """Unpriced is None, never free."""
    prices = book()
    assert prices.list_price(provider_name, model) is None
    assert prices.selling(model, provider_name, model) is None
    assert prices.cost("main", provider_name, model) is None


def test_a_free_providers_unknown_models_are_free():
    """Software of the operator's own costs nothing, whatever its models' names."""
    prices = book(free=True)
    assert prices.selling("llama3", "acme", "llama3") is FREE
    assert prices.list_price("acme", "m") is LIST


def test_an_operator_may_price_a_free_provider():
    """An entry wins over free as over any list price."""
    assert not book(spec("llama*"), free=True).selling("llama3", "acme", "x").free


def test_an_operator_may_give_a_model_away():
    """free = true sells at nothing."""
    prices = book(PriceSpec(model="m", free=True))
    assert prices.selling("m", "acme", "m").free


@each(
    "wrong",
    [
        PriceSpec(model="m"),
        PriceSpec(model="m", input="0", output="0"),
        PriceSpec(model="m", input="-1"),
        PriceSpec(model="m", input="1", free=True),
        PriceSpec(model="m", image="NaN"),
        PriceSpec(model="m", input="1e-3"),
    ],
)
def test_a_wrong_entry_is_refused_by_name(wrong):
    """The error names the model; a zero is never taken for a price."""
    with pytest.raises(ValueError, match="the price of 'm'"):
        book(wrong)


def test_every_unit_of_a_spec_counts():
    """No unit that an operator can write is lost on the way."""
    fields = {unit.value: "0.001" for unit in Unit}
    price = price_of_spec(PriceSpec(model="m", **fields))
    assert set(price.rates) == {unit.value for unit in Unit}


def test_versions_name_every_price_with_its_content():
    """What entries refer to can be stored before any call."""
    prices = book(spec("m"), spec("x", channel="main"))
    found = prices.selling("m", "acme", "m")
    versions = prices.versions()
    assert versions[found.version] == price_content(found)
    assert {LIST.version, FREE.version} <= set(versions)
    assert prices.cost("main", "acme", "x").version in versions


def test_versions_are_the_same_after_a_restart():
    """The same configuration gives the same versions."""
    first, second = book(spec("m"), spec("x")), book(spec("x"), spec("m"))
    assert first.versions() == second.versions()


def test_remembered_lookups_are_bounded():
    """Clients may ask for any number of names; memory stays."""
    prices = book(spec("*"))
    for number in range(MEMORY_LIMIT + 10):
        assert prices.selling(f"m{number}", "acme", "m") is not None
    assert len(prices._found) <= MEMORY_LIMIT


# --- charging -------------------------------------------------------------------


def test_a_charge_is_rounded_once_upwards():
    """Two thirds of a nano-dollar and two thirds more are two, not none or four."""
    price = make_price({"input": 666_667, "output": 666_667})
    assert charge(price, used(input=1)) == 1
    assert charge(price, used(input=1, output=1)) == 2
    assert charge(price, used(input=3)) == 3


def test_a_plain_charge():
    """1,000 tokens in and 500 out at 2.50 and 10 dollars."""
    price = make_price({"input": 2_500_000_000, "output": 10_000_000_000})
    assert charge(price, used(input=1_000, output=500)) == 7_500_000


def test_nothing_used_costs_nothing():
    """No usage, no charge."""
    assert charge(LIST, used()) == 0


def test_free_costs_nothing():
    """A free price charges nothing, whatever is used."""
    assert charge(FREE, used(input=10**18, image=5)) == 0


def test_a_request_is_charged_once():
    """A price per request is added to every call."""
    price = price_of_spec(PriceSpec(model="m", request="0.04"))
    assert charge(price, used(input=10**9)) == 40_000_000
    assert charge(price, used()) == 40_000_000


@each(("tokens", "expected"), [(100, 1_000), (101, 2_020), (200, 4_000), (201, 8_040)])
def test_long_context_prices_the_whole_call(tokens, expected):
    """Above a step every token costs that step's rate; at it, not yet."""
    assert charge(STEPPED, used(input=tokens)) == expected


def test_cached_and_media_tokens_lengthen_the_context():
    """The prompt's length counts all its buckets, and no output."""
    quantities = {"input": 50, "cached_input": 40, "image_input": 11, "output": 900}
    assert input_tokens(quantities) == 101
    assert charge(STEPPED, used(**quantities)) == 101 * 20 + 900 * 30


@each(
    ("tier", "expected"),
    [(None, 500), ("flex", 250), ("priority", 5_000), ("scale", 500), ("", 500)],
)
def test_the_reported_tier_has_its_rates(tier, expected):
    """A tier that the price does not name costs the default."""
    assert charge(STEPPED, used(input=50), tier) == expected


def test_a_tier_has_its_own_steps():
    """Flex has a long-context step of its own, priority none."""
    assert rates_for(STEPPED, 150, "flex")["input"] == 10 * MILLION
    assert rates_for(STEPPED, 150, "priority")["input"] == 100 * MILLION


def test_unpriced_tokens_cost_the_dearest_rate():
    """Output that an embedding's price does not know is not free."""
    price = make_price({"input": 2 * MILLION, "audio_input": 5 * MILLION})
    usage = used(input=10, output=10)
    assert unpriced_units(price, usage) == ("output",)
    assert charge(price, usage) == 20 + 50


def test_unpriced_other_units_are_named():
    """A search without a price cannot be charged, but is told."""
    usage = used(input=MILLION, search=2)
    assert charge(LIST, usage) == 2_000
    assert unpriced_units(LIST, usage) == ("search",)
    assert unpriced_units(FREE, usage) == ()


def test_unpriced_tokens_of_a_flat_price_are_covered_by_it():
    """A price per request covers the call's tokens."""
    price = price_of_spec(PriceSpec(model="m", request="1"))
    assert charge(price, used(input=10, output=5)) == 10**9


units = st.sampled_from([unit.value for unit in Unit])
whole = st.integers(-(2**70), 2**70)
sane = st.dictionaries(units, st.integers(0, 2**40), max_size=6)
tables = st.dictionaries(units, st.integers(1, 2**40), min_size=1)


@given(table=tables, quantities=st.dictionaries(units, whole))
def test_no_number_breaks_a_charge(table, quantities):
    """Whatever the quantities, a charge is from 0 to 2⁶³-1 and never fails."""
    assert (
        0
        <= charge(make_price(table), Usage(quantities, UsageSource.PROVIDER))
        <= (MAX_AMOUNT)
    )


@given(table=tables, quantities=sane)
def test_a_charge_is_exact(table, quantities):
    """A charge is the exact sum, at most one nano-dollar above it."""
    price = make_price(table)
    usage = Usage(dict(quantities), UsageSource.PROVIDER)
    if "cached_input" in price.rates and "cached_audio_input" not in price.rates:
        # Cached sound costs what is cached costs, if nobody says otherwise.
        sound = quantities.pop("cached_audio_input", 0)
        quantities["cached_input"] = quantities.get("cached_input", 0) + sound
    priced = {u: n for u, n in quantities.items() if u in price.rates}
    priced.pop("request", None)
    known = [rate for unit, rate in price.rates.items() if unit in TOKEN_UNITS]
    exact = Fraction(sum(n * price.rates[u] for u, n in priced.items()), MILLION)
    exact += Fraction(price.rates.get("request", 0), MILLION)
    missing = [n for u, n in quantities.items() if u in TOKEN_UNITS - priced.keys()]
    exact += Fraction(sum(missing) * max(known, default=0), MILLION)
    assert 0 <= charge(price, usage) - exact < 1 or exact > MAX_AMOUNT


@given(table=tables, quantities=sane, more=st.integers(0, 2**40), unit=units)
def test_more_use_never_costs_less(table, quantities, more, unit):
    """No quantity, however huge, lowers a charge (no overflow, no credit)."""
    price = make_price(table)
    larger = {**quantities, unit: quantities.get(unit, 0) + more}
    less = charge(price, Usage(quantities, UsageSource.PROVIDER))
    assert charge(price, Usage(larger, UsageSource.PROVIDER)) >= less


@given(quantities=st.dictionaries(units, st.integers(-(2**70), 0)))
def test_negative_quantities_are_no_credit(quantities):
    """What is below zero counts for nothing."""
    price = make_price({unit.value: MILLION for unit in Unit if unit != "request"})
    assert charge(price, Usage(quantities, UsageSource.PROVIDER)) == 0
