"""What several requests made side by side for one call come to.

Each has a usage and a price of its own, as the provider bills them; the call's are
their sums. What is not known of one is counted of all: the prompt once for each
request, what was produced in even shares.
"""

from collections.abc import Sequence

from msgspec import structs

from posthouse.billing.prices import charge
from posthouse.billing.usage import NormalisedUsage, TokenEstimate, normalise
from posthouse.model.catalog import Price
from posthouse.model.money import MAX_AMOUNT
from posthouse.model.usage import ReportedUsage, Usage, UsageSource
from posthouse.relay.call import Call
from posthouse.relay.served import Served


def told_by_each(call: Call, served: Served) -> NormalisedUsage | None:
    """The usage as the provider told it; None where it must be counted."""
    if not all(map(_is_whole, served.each)):
        return None
    estimate = TokenEstimate(call.prompt_tokens, 0)
    found = _normalise(call, served, served.each, [estimate] * len(served.each))
    return None if found.suspicious else found


def counted_for_each(
    call: Call, served: Served, estimate: TokenEstimate
) -> NormalisedUsage:
    """The usage with what is missing or impossible in the reports counted here.

    Args:
        call: the call.
        served: what it brought.
        estimate: of the prompt once, and of all answers together.
    """
    each = served.each
    told = [usage.output or 0 for usage in each if usage is not None]
    produced = max(estimate.output, sum(told))
    share, rest = divmod(produced, len(each))
    estimates = [
        TokenEstimate(estimate.input, share + (number < rest))
        for number in range(len(each))
    ]
    if not all(map(_is_whole, each)):
        each = tuple(_without_output(usage) for usage in each)
    return _normalise(call, served, each, estimates)


def charge_each(
    each: Sequence[Usage], price: Price, _: Usage, service_tier: str | None
) -> int:
    """Price several requests, each on its own, in nano-dollars."""
    return min(sum(charge(price, one, service_tier) for one in each), MAX_AMOUNT)


def summed(each: Sequence[Usage]) -> Usage:
    """Add up usages; estimated as soon as one of them is."""
    quantities: dict[str, int] = {}
    for usage in each:
        for unit, count in usage.quantities.items():
            quantities[unit] = quantities.get(unit, 0) + count
    sources = {usage.source for usage in each}
    source = sources.pop() if len(sources) == 1 else UsageSource.ESTIMATED
    return Usage(quantities, source)


def _normalise(
    call: Call,
    served: Served,
    each: Sequence[ReportedUsage | None],
    estimates: Sequence[TokenEstimate],
) -> NormalisedUsage:
    model = call.offer(served.target).model
    found = [
        normalise(usage, estimate=estimate, context=model.context if model else 0)
        for usage, estimate in zip(each, estimates, strict=True)
    ]
    usages = tuple(one.usage for one in found)
    suspicious = dict.fromkeys(fault for one in found for fault in one.suspicious)
    return NormalisedUsage(summed(usages), tuple(suspicious), usages)


def _is_whole(usage: ReportedUsage | None) -> bool:
    """Whether it tells both totals."""
    return usage is not None and usage.input is not None and usage.output is not None


def _without_output(usage: ReportedUsage | None) -> ReportedUsage | None:
    """What is told of the prompt, which stays true."""
    if usage is None:
        return None
    return structs.replace(
        usage, output=None, reasoning=None, audio_output=None, image_output=None
    )
