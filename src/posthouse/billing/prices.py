"""What a call costs: the book that finds prices, and the one charge.

Rules: integers of nano-dollars; one rounding per call, upwards. A price with
input and output prices every token (`catalog/price.py` says how).

Operator entries are matched by wildcard (`*` is any run of characters). An
exact name beats a wildcard, then the longer text before the first `*` wins,
then the longer text altogether, then the entry that stands first. An entry
has one rate per unit, whatever the service tier or the prompt's length.
"""

from collections.abc import Iterable, Mapping
from itertools import chain

from msgspec import Struct

from posthouse.catalog.price import (
    FREE,
    INPUT_UNITS,
    TOKEN_UNITS,
    make_price,
    parse_rate,
    price_content,
)
from posthouse.model.catalog import ModelRow, Price, ProviderRow
from posthouse.model.money import MAX_AMOUNT, PER_MILLION
from posthouse.model.usage import Unit, Usage
from posthouse.settings.file import PriceSpec

MEMORY_LIMIT = 4096
"""Look-ups that a book remembers; what clients may name is unbounded."""

_REQUEST = Unit.REQUEST.value
_CACHED, _CACHED_AUDIO = Unit.CACHED_INPUT.value, Unit.CACHED_AUDIO_INPUT.value


def price_of_spec(spec: PriceSpec) -> Price:
    """Read an operator's entry; raises ValueError naming the model and reason."""
    try:
        rates = {
            unit.value: parse_rate(text, unit)
            for unit in Unit
            if (text := getattr(spec, unit.value)) is not None
        }
        return make_price(rates, free=spec.free)
    except ValueError as error:
        raise ValueError(f"the price of {spec.model!r}: {error}") from None


def matches(pattern: str, name: str) -> bool:
    """Whether `*` as any run of characters makes `pattern` into `name`.

    Time is linear in both; a pattern is no regular expression.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == name
    last = rest.pop()
    if len(name) < len(first) + len(last):
        return False
    if not name.startswith(first) or not name.endswith(last):
        return False
    position, end = len(first), len(name) - len(last)
    for part in rest:
        found = name.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True


class _Entry(Struct, frozen=True):
    """An operator's price for the names that match a pattern."""

    pattern: str
    price: Price


def _specificity(entry: _Entry) -> tuple[bool, int, int]:
    exact = "*" not in entry.pattern
    literal = len(entry.pattern.replace("*", ""))
    return (exact, len(entry.pattern.partition("*")[0]), literal)


class _Shelf:
    """The operator's entries for one purpose, most specific first."""

    def __init__(self, entries: Iterable[_Entry]) -> None:
        """Sort the entries; raises ValueError when two have one pattern."""
        ranked = sorted(entries, key=_specificity, reverse=True)
        self._exact = {e.pattern: e.price for e in ranked if "*" not in e.pattern}
        self._wild = tuple(e for e in ranked if "*" in e.pattern)
        if len(self._exact) + len({e.pattern for e in self._wild}) != len(ranked):
            raise ValueError("two prices have the same model and channel")

    def find(self, name: str) -> Price | None:
        """Give the price of the most specific entry that matches."""
        exact = self._exact.get(name)
        if exact is not None:
            return exact
        for entry in self._wild:
            if matches(entry.pattern, name):
                return entry.price
        return None


class PriceBook:
    """All prices of one configuration; immutable, so a call sees one version.

    The selling price follows the name that the customer asked for, never the
    channel that answered. Supplier cost follows the channel.
    """

    def __init__(
        self, catalog: Mapping[str, ProviderRow], specs: Iterable[PriceSpec] = ()
    ) -> None:
        """Read the catalogue and the operator's entries; raises ValueError."""
        self._catalog = catalog
        selling: list[_Entry] = []
        costs: dict[str, list[_Entry]] = {}
        for spec in specs:
            entry = _Entry(spec.model, price_of_spec(spec))
            shelf = (
                selling if spec.channel is None else costs.setdefault(spec.channel, [])
            )
            shelf.append(entry)
        self._selling = _Shelf(selling)
        self._costs = {channel: _Shelf(entries) for channel, entries in costs.items()}
        self._versions = _versions(
            catalog, [*selling, *chain.from_iterable(costs.values())]
        )
        self._found: dict[tuple[str, ...], Price | None] = {}

    def selling(
        self, public_model: str, provider: str, upstream_model: str
    ) -> Price | None:
        """Give what the customer pays for a model; None is unpriced.

        `provider` and `upstream_model` are those of the public name's route
        of the highest priority: where no operator entry matches the public
        name, their list price is the selling price.
        """
        key = ("selling", public_model, provider, upstream_model)
        if key in self._found:
            return self._found[key]
        price = self._selling.find(public_model)
        return self._keep(key, price or self.list_price(provider, upstream_model))

    def list_price(self, provider: str, upstream_model: str) -> Price | None:
        """Give what the provider's own price list says; None is unpriced."""
        row = self._catalog.get(provider)
        if row is None:
            return None
        model = row.models.get(upstream_model)
        if model is not None and model.price is not None:
            return model.price
        return FREE if row.free else None

    def cost(self, channel: str, provider: str, upstream_model: str) -> Price | None:
        """Give what a channel's supplier charges us; None is not known.

        Operator entries with this channel are matched by the upstream name.
        """
        shelf = self._costs.get(channel)
        if shelf is None:
            return self.list_price(provider, upstream_model)
        key = ("cost", channel, provider, upstream_model)
        if key in self._found:
            return self._found[key]
        price = shelf.find(upstream_model)
        return self._keep(key, price or self.list_price(provider, upstream_model))

    def model(self, provider: str, upstream_model: str) -> ModelRow | None:
        """Give the catalogue's facts about a model; None is not known."""
        row = self._catalog.get(provider)
        return None if row is None else row.models.get(upstream_model)

    def versions(self) -> Mapping[str, bytes]:
        """Give every version with its content, for `price_versions`."""
        return self._versions

    def _keep(self, key: tuple[str, ...], price: Price | None) -> Price | None:
        if len(self._found) >= MEMORY_LIMIT:
            self._found.clear()
        self._found[key] = price
        return price


def _versions(
    catalog: Mapping[str, ProviderRow], entries: Iterable[_Entry]
) -> dict[str, bytes]:
    prices = [FREE, *(entry.price for entry in entries)]
    for row in catalog.values():
        prices.extend(m.price for m in row.models.values() if m.price is not None)
    return {price.version: price_content(price) for price in prices}


# --- charging -------------------------------------------------------------------


def rates_for(
    price: Price, input_tokens: int, service_tier: str | None = None
) -> dict[str, int]:
    """Choose the rates that apply to a whole call.

    Args:
        price: what the model costs.
        input_tokens: the whole prompt, cached and media tokens included.
        service_tier: the tier that the provider says it used. A tier that the
            price does not name has the default rates.
    """
    tier = price.service_tiers.get(service_tier) if service_tier else None
    rates = price.rates if tier is None else tier.rates
    steps = price.long_context if tier is None else tier.long_context
    for above, step_rates in steps:
        if input_tokens <= above:
            break
        rates = step_rates
    return rates


def input_tokens(quantities: Mapping[str, int]) -> int:
    """Count the prompt's tokens over all its buckets."""
    return sum([n for unit, n in quantities.items() if unit in INPUT_UNITS])


def unpriced_units(price: Price, usage: Usage) -> tuple[str, ...]:
    """Name the units of `usage` that `price` has no rate for.

    Whoever admits calls refuses what could end here, and whoever settles
    flags what did all the same.
    """
    if price.free:
        return ()
    return tuple(unit for unit in usage.quantities if unit not in price.rates)


def charge(price: Price, usage: Usage, service_tier: str | None = None) -> int:
    """Price a usage in nano-dollars: one rounding, upwards, from 0 to 2⁶³-1.

    Never raises, for a settlement must not fail: tokens of a unit without a
    rate are charged at the dearest token rate of the price, other units
    without one are left out and named by `unpriced_units`. A rate for
    `request` is charged once.
    """
    if price.free:
        return 0
    counts = usage.quantities
    rates = price.rates
    if price.long_context or price.service_tiers:
        rates = rates_for(price, input_tokens(counts), service_tier)
    total, odd = 0, True
    for unit, count in counts.items():
        rate = rates.get(unit)
        if rate is None or count < 0:
            break
        total += count * rate
    else:
        odd = _REQUEST in rates
    if odd:
        counts, rates = _reconciled(counts, rates)
        total = sum([count * rates[unit] for unit, count in counts.items()])
    return min(-(-total // PER_MILLION), MAX_AMOUNT)


def _reconciled(
    quantities: Mapping[str, int], rates: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, int]]:
    """Give quantities that can be priced, and a rate for each.

    What is below zero counts for nothing, unpriced tokens have the dearest
    token rate, other units without a rate are left out.
    """
    counts = {unit: count for unit, count in quantities.items() if count > 0}
    if _REQUEST in rates:
        counts[_REQUEST] = 1
    dearest = max((rates[unit] for unit in rates if unit in TOKEN_UNITS), default=None)
    whole = dict(rates)
    if _CACHED in whole:
        # Not among the fallbacks: what a price is must not depend on the release.
        whole.setdefault(_CACHED_AUDIO, whole[_CACHED])
    if dearest is not None:
        whole = dict.fromkeys(counts.keys() & TOKEN_UNITS, dearest) | whole
    return {unit: count for unit, count in counts.items() if unit in whole}, whole
