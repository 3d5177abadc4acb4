"""What several requests made side by side for one call come to.

Each has a usage and a price of its own, as the provider bills them; the call's are
their sums. What is not known of one is counted here: the prompt once for each
request, and of what was produced even shares of what no other one has told.
"""

from collections.abc import Sequence

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
    found = _normalise(call, served, [estimate] * len(served.each))
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
    told = [max(usage.output or 0, 0) if usage else 0 for usage in served.each]
    rest = max(estimate.output - sum(told), 0)
    silent = told.count(0)
    estimates = []
    for output in told:
        share = 0 if output else -(-rest // silent)
        rest, silent = rest - share, silent - (not output)
        estimates.append(TokenEstimate(estimate.input, share))
    return _normalise(call, served, estimates)


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
    estimates: Sequence[TokenEstimate],
) -> NormalisedUsage:
    model = call.offer(served.target).model
    found = [
        normalise(usage, estimate=estimate, context=model.context if model else 0)
        for usage, estimate in zip(served.each, estimates, strict=True)
    ]
    usages = tuple(one.usage for one in found)
    suspicious = dict.fromkeys(fault for one in found for fault in one.suspicious)
    return NormalisedUsage(summed(usages), tuple(suspicious), usages)


def _is_whole(usage: ReportedUsage | None) -> bool:
    """Whether it tells both totals."""
    return usage is not None and usage.input is not None and usage.output is not None
