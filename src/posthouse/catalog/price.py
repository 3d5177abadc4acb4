"""Making prices: decimal strings in, complete and named `Price` values out.

Rules: integers of nano-dollars per million units. A unit that a price does
not name takes the rate of the unit it is a kind of (`FALLBACKS`), so a price
with input and output prices every token. Nothing is free but by saying so.
A price's version is a digest of its content: equal content, equal version, on
every machine and after every restart.
"""

import hashlib
from collections.abc import Iterable, Mapping
from fractions import Fraction

from msgspec import structs

from posthouse.model.catalog import Price, TierRates
from posthouse.model.money import MAX_AMOUNT, NANO_PER_USD, PER_MILLION
from posthouse.model.usage import Unit
from posthouse.wire import json

FALLBACKS: tuple[tuple[Unit, Unit], ...] = (
    (Unit.CACHED_INPUT, Unit.INPUT),
    (Unit.CACHE_WRITE_5M, Unit.INPUT),
    (Unit.CACHE_WRITE_1H, Unit.INPUT),
    (Unit.AUDIO_INPUT, Unit.INPUT),
    (Unit.IMAGE_INPUT, Unit.INPUT),
    (Unit.REASONING, Unit.OUTPUT),
    (Unit.AUDIO_OUTPUT, Unit.OUTPUT),
    (Unit.IMAGE_OUTPUT, Unit.OUTPUT),
)
"""(a unit without a rate of its own, the unit whose rate it takes)."""

# Plain strings: they are looked up for every call.
INPUT_UNITS = frozenset(
    unit.value
    for unit in (
        Unit.INPUT,
        Unit.CACHED_INPUT,
        Unit.CACHED_AUDIO_INPUT,
        Unit.CACHE_WRITE_5M,
        Unit.CACHE_WRITE_1H,
        Unit.AUDIO_INPUT,
        Unit.IMAGE_INPUT,
    )
)
OUTPUT_UNITS = frozenset(
    unit.value
    for unit in (Unit.OUTPUT, Unit.REASONING, Unit.AUDIO_OUTPUT, Unit.IMAGE_OUTPUT)
)
TOKEN_UNITS = INPUT_UNITS | OUTPUT_UNITS

LONGEST_DECIMAL = 40
"""Characters of a decimal string; more is a mistake or an attack."""

Rates = dict[str, int]


def parse_rate(text: str, unit: str, divisor: Fraction = Fraction(1)) -> int:
    """Turn a decimal string into nano-dollars per million units.

    Token units are quoted per million, the others apiece. `divisor` is the
    currency's units per US dollar; what it leaves is rounded up, so that no
    positive price becomes zero. Raises ValueError.
    """
    digits, _, decimals = text.partition(".")
    plain = (digits + decimals).isascii() and (digits + decimals).isdigit()
    if not plain or not digits or len(text) > LONGEST_DECIMAL or text[-1] == ".":
        raise ValueError(f"{unit} = {text!r} is not a decimal number of zero or more")
    scale = NANO_PER_USD if unit in TOKEN_UNITS else NANO_PER_USD * PER_MILLION
    # In integers: reducing fractions would be half the time of a catalogue.
    whole = int(digits + decimals) * scale * divisor.denominator
    parts: int = 10 ** len(decimals) * divisor.numerator
    rate, left = divmod(whole, parts)
    if left and divisor == 1:
        raise ValueError(f"{unit} = {text!r} is finer than can be charged")
    rate += bool(left)
    if rate > MAX_AMOUNT:
        raise ValueError(f"{unit} = {text!r} is too large")
    return rate


def complete(rates: Mapping[str, int]) -> Rates:
    """Add the rates that follow from others by `FALLBACKS`."""
    whole = dict(rates)
    for unit, source in FALLBACKS:
        if unit not in whole and source in whole:
            whole[unit.value] = whole[source]
    return whole


def make_price(
    rates: Mapping[str, int],
    *,
    free: bool = False,
    long_context: Iterable[tuple[int, Mapping[str, int]]] = (),
    service_tiers: Mapping[str, TierRates] | None = None,
) -> Price:
    """Make a price, complete and named by its content; raises ValueError.

    A price without a positive rate is refused unless it says `free`, and a
    free one has no rates at all: zero is never a slip. Every table of a price
    names the same units, so that none falls back on another table's rate.
    """
    tiers = dict(sorted((service_tiers or {}).items()))
    steps = tuple(long_context)
    if free and (rates or tiers or steps):
        raise ValueError("a free price has no rates")
    tables = [rates, *(table for _, table in steps)]
    for tier in tiers.values():
        tables += [tier.rates, *(table for _, table in tier.long_context)]
    for table in tables:
        _check_table(table, rates, free=free)
    price = Price(
        version="",
        rates=complete(rates),
        free=free,
        long_context=_complete_steps(steps),
        service_tiers={
            name: TierRates(complete(tier.rates), _complete_steps(tier.long_context))
            for name, tier in tiers.items()
        },
    )
    digest = hashlib.sha256(price_content(price)).hexdigest()[:16]
    return structs.replace(price, version=digest)


def _check_table(
    table: Mapping[str, int], model: Mapping[str, int], *, free: bool
) -> None:
    if table.keys() != model.keys():
        raise ValueError("a service tier or long-context step names other units")
    if not free and not any(table.values()):
        raise ValueError("no rate is above zero; `free = true` is the way to say so")
    if any(rate < 0 or rate > MAX_AMOUNT for rate in table.values()):
        raise ValueError("a rate is negative or too large")


def _complete_steps(
    steps: Iterable[tuple[int, Mapping[str, int]]],
) -> tuple[tuple[int, Rates], ...]:
    ordered = tuple(
        sorted(
            ((above, complete(rates)) for above, rates in steps),
            key=lambda step: step[0],
        )
    )
    if len({above for above, _ in ordered}) != len(ordered):
        raise ValueError("two long-context steps begin at the same length")
    return ordered


def price_content(price: Price) -> bytes:
    """Write a price as canonical JSON, its version left out.

    The same content gives the same bytes; it is what `price_versions` keeps.
    """
    return json.encode(
        {
            "rates": _ordered(price.rates),
            "free": price.free,
            "long_context": [[step, _ordered(r)] for step, r in price.long_context],
            "service_tiers": {
                name: {
                    "rates": _ordered(tier.rates),
                    "long_context": [[s, _ordered(r)] for s, r in tier.long_context],
                }
                for name, tier in sorted(price.service_tiers.items())
            },
        }
    )


def _ordered(rates: Mapping[str, int]) -> Rates:
    return {str(unit): rates[unit] for unit in sorted(rates)}


FREE = make_price({}, free=True)
"""What software of the operator's own costs."""
