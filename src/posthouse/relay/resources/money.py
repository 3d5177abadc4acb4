"""What a request about kept things may cost, and what it has cost.

Only usage that an answer tells is charged, at the price of the model that the request
names, or else of the one that the answer does. Where a route has no price and is
allowed all the same, nothing but that is charged.
"""

from typing import Any

from msgspec import Struct

from posthouse.billing.estimate import hold_amount
from posthouse.billing.prices import charge
from posthouse.billing.records import Opening
from posthouse.billing.usage import TokenEstimate, normalise
from posthouse.dialects.anthropic_messages import usage as anthropic
from posthouse.dialects.openai.replies import reported_usage
from posthouse.dialects.openai_responses.usage import read_usage
from posthouse.dialects.resources.answers import Told
from posthouse.dialects.resources.routes import Cost
from posthouse.errors import PriceMissing
from posthouse.model.call import Operation
from posthouse.model.usage import ReportedUsage
from posthouse.relay.call import Call
from posthouse.relay.charging import NOTHING_CHARGED, Charged
from posthouse.relay.snapshot import Offer
from posthouse.routing.plan import Target
from posthouse.routing.table import Channel, offered_models

OPERATION = "resource"
"""What records call it."""


class Money(Struct, frozen=True):
    """What one call may cost."""

    cost: Cost
    offer: Offer | None
    """Of the model that the request names; None: it names none that has a price."""

    @property
    def paid(self) -> bool:
        """Whether usage in the answer is charged."""
        return self.cost is not Cost.FREE


def money_of(call: Call, cost: Cost) -> Money:
    """Find the price of a call; raises PriceMissing."""
    model = call.incoming.request.model
    offer = offer_of(call, model) if model and cost is not Cost.FREE else None
    if offer is None and cost is Cost.BY_USAGE:
        raise PriceMissing
    return Money(cost, offer)


def offer_of(call: Call, model: str) -> Offer | None:
    """The selling price of a model by its public name; None: it has none."""
    sandbox = call.incoming.principal.sandbox
    routes = call.snapshot.table.resolve(model, Operation.CHAT, sandbox=sandbox)
    return None if routes is None else call.snapshot.offer(routes, free=sandbox)


def opening_of(call: Call, money: Money, family: str, *, hold_max: int) -> Opening:
    """What the hold is taken for."""
    incoming = call.incoming
    amount = 0
    if money.offer is not None:
        amount = hold_amount(
            money.offer.price,
            incoming.request,
            prompt_tokens=call.prompt_tokens,
            model=money.offer.model,
            hold_max=hold_max,
        )
    return Opening(
        incoming.id,
        incoming.principal.account_id,
        incoming.principal.key_id,
        OPERATION,
        incoming.request.model,
        "" if money.offer is None else money.offer.price.version,
        call.created_ms,
        amount,
        0,
        streamed=False,
        dialect=family,
    )


def charge_told(call: Call, money: Money, target: Target, told: Told | None) -> Charged:
    """Price the usage that an answer tells, if that is paid for."""
    if told is None or told.usage is None or not money.paid:
        return NOTHING_CHARGED
    channel = target.member.channel
    offer = money.offer or _told_offer(call, channel, told.model)
    found = normalise(
        _read(told.usage),
        estimate=TokenEstimate(0, 0),
        context=offer.model.context if offer is not None and offer.model else 0,
    )
    usage = found.usage
    if offer is None:
        return Charged(usage, 0, 0, None, "", found.suspicious)
    tier = told.usage.get("service_tier")
    tier = tier if isinstance(tier, str) else None
    name = _upstream(channel, call.incoming.request.model) or told.model
    supplier = call.snapshot.prices.cost(channel.name, channel.provider.name, name)
    return Charged(
        usage,
        charge(offer.price, usage, tier),
        0 if offer.listed is None else charge(offer.listed, usage, tier),
        None if supplier is None else charge(supplier, usage, tier),
        offer.price.version,
        found.suspicious,
    )


def _told_offer(call: Call, channel: Channel, upstream: str) -> Offer | None:
    """The price of the model that an answer names as its provider calls it."""
    for public, name in offered_models(channel):
        if upstream and name in (upstream, "*"):
            return offer_of(call, upstream if public == "*" else public)
    return None


def _upstream(channel: Channel, model: str) -> str:
    for public, name in offered_models(channel):
        if public == model:
            return name
    return model


def _read(usage: dict[str, Any]) -> ReportedUsage | None:
    """Read a usage in whichever of the forms it is."""
    if "prompt_tokens" in usage or "completion_tokens" in usage:
        return reported_usage(usage)
    if "cache_read_input_tokens" in usage or "cache_creation_input_tokens" in usage:
        return anthropic.reported_usage(usage)
    return read_usage({"usage": usage})
