"""From what was produced to what is charged, and the record of the call.

Rules: a whole answer, and one that the client left or the provider broke off
after content, is charged for the prompt and what was produced; an answer
without content that failed at the provider costs the customer nothing; a
client that leaves before the first byte owes the prompt, if it was sent.
Tokens are the provider's own count; where there is none they are counted here,
in a thread, and the record says `estimated`.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from msgspec import Struct

from posthouse.billing.prices import charge
from posthouse.billing.tokenizer import count_tokens, framing_tokens
from posthouse.billing.usage import (
    NormalisedUsage,
    TokenEstimate,
    normalise,
    with_counted,
)
from posthouse.catalog.price import TOKEN_UNITS
from posthouse.model.call import AttemptRecord, CallRecord, Operation, Outcome
from posthouse.model.catalog import Price
from posthouse.model.usage import NO_USAGE, Unit, Usage
from posthouse.relay.call import Call
from posthouse.relay.charging_each import (
    charge_each,
    counted_for_each,
    summed,
    told_by_each,
)
from posthouse.relay.served import Completion, Served
from posthouse.relay.snapshot import Way
from posthouse.routing.plan import Target

CLIENT_CLOSED = 499
BATCH = "batch"
"""The tier of a price that holds for what could take its time."""

OUTCOMES = {
    Completion.WHOLE: Outcome.SERVED,
    Completion.CUT_OFF: Outcome.SERVED,
    Completion.INTERRUPTED: Outcome.INTERRUPTED,
    Completion.ABANDONED: Outcome.ABANDONED,
}
"""How a call ended that produced something."""
_UNSERVED = frozenset({Outcome.FAILED, Outcome.REJECTED})
_WITHOUT_OUTPUT = frozenset(
    {Operation.EMBEDDING, Operation.MODERATION, Operation.RERANK}
)
"""Operations whose answers are not counted in tokens."""
_OF_TEXTS = frozenset({Operation.RERANK, Operation.TRANSLATION})
"""Operations that some providers bill by the piece and others by tokens."""
_OF_SOUND = frozenset(
    {Operation.SPEECH, Operation.TRANSCRIPTION, Operation.AUDIO_TRANSLATION}
)
"""Likewise, whose dialects work out tokens that nobody tells."""
_TOKENS = (Unit.INPUT.value, Unit.OUTPUT.value)
"""What every price by tokens has one of."""


class Ending(Struct, frozen=True, gc=False):
    """How a call ended for its client."""

    status: int
    outcome: Outcome
    error_code: str = ""
    first_token_ms: int | None = 0
    """Milliseconds after the call began; None: with the whole reply, at its end."""


class Charged(Struct, frozen=True, gc=False):
    """A usage and what it costs each side, in nano-dollars."""

    usage: Usage
    price: int
    list_price: int
    cost: int | None
    price_version: str
    suspicious: tuple[str, ...] = ()


WITH_THE_REPLY = {
    completion: Ending(
        CLIENT_CLOSED if completion is Completion.ABANDONED else 200,
        outcome,
        first_token_ms=None,
    )
    for completion, outcome in OUTCOMES.items()
}
"""How a call ended whose reply came in one piece."""
NOTHING_CHARGED = Charged(NO_USAGE, 0, 0, 0, "")


def told_usage(call: Call, served: Served, way: Way) -> NormalisedUsage | None:
    """The usage as the provider told it; None where it must be counted.

    `way` is how the target has served.
    """
    if served.each:
        return told_by_each(call, served)
    usage = served.usage
    request = call.incoming.request
    if not request.plain and request.counted and _asked_apiece(call, served):
        return _told_apiece(call, served)
    if usage is None:
        return None
    if usage.counted:
        return _told_apiece(call, served)
    if usage.input is None or (
        usage.output is None and request.operation not in _WITHOUT_OUTPUT
    ):
        return None
    model = way.offer.model
    found = normalise(
        usage,
        estimate=TokenEstimate(call.prompt_tokens, 0),
        context=model.context if model else 0,
        choices=request.choices,
    )
    return None if found.suspicious else found


def _told_apiece(call: Call, served: Served) -> NormalisedUsage | None:
    if _is_billed_by_unread_tokens(call, served):
        return None
    return _counted_apiece(call, served)


def _asked_apiece(call: Call, served: Served) -> Mapping[str, int]:
    """What is billed apiece of what was asked of who has served.

    A model that stands in for others is billed for what it does itself.
    """
    request, instead = call.incoming.request, call.menu.instead
    if instead and instead[served.target.routes.model] is not request.operation:
        return {}
    return request.counted


def _is_billed_by_unread_tokens(call: Call, served: Served) -> bool:
    """Whether tokens are charged that nobody has counted, though other units were."""
    operation = call.incoming.request.operation
    if operation in _OF_SOUND:
        return _lacks_tokens(call, served)
    if operation not in _OF_TEXTS:
        return False
    told = served.usage is not None and served.usage.input is not None
    return not told and Unit.INPUT.value in call.offer(served.target).price.rates


def _lacks_tokens(call: Call, served: Served) -> bool:
    """Whether a price of the call's is by tokens alone, and nobody has told them."""
    told = served.usage
    if told is not None and not told.estimated:
        return False
    counted = {*call.incoming.request.counted, *(told.counted if told else ())}
    offer = call.offer(served.target)
    prices = (offer.price, offer.listed, call.prepared(served.target).cost)
    return any(
        not price.rates.keys() & counted and not price.rates.keys().isdisjoint(_TOKENS)
        for price in prices
        if price is not None
    )


def _counted_apiece(call: Call, served: Served) -> NormalisedUsage:
    """The usage of what is billed otherwise than by tokens, or by them as well.

    Where it has a price in tokens alone and the provider tells none, or none that
    can be true, it is what the hold was taken for. What costs nothing has no tokens
    but those that were told.
    """
    request, told = call.incoming.request, served.usage
    asked = _asked_apiece(call, served)
    counted = {} if told is None else told.counted
    if told is not None and told.estimated:
        # No price asks for them.
        told = None
    estimate = TokenEstimate(0, 0)
    rates = call.offer(served.target).price.rates.keys()
    if not rates & {*asked, *counted} and not rates.isdisjoint(_TOKENS):
        most = (request.output_limit or 0) * max(request.choices, 1)
        estimate = TokenEstimate(call.prompt_tokens, most)
    found = normalise(told, estimate=estimate, context=0, choices=request.choices)
    return with_counted(found, counted, asked, roughly=request.counts_roughly)


async def counted_usage(call: Call, served: Served) -> NormalisedUsage:
    """The usage with what is missing or impossible in the report counted here."""
    model = call.offer(served.target).model
    estimate = await _count(call, served)
    if served.each:
        return counted_for_each(call, served, estimate)
    told, request = served.usage, call.incoming.request
    found = normalise(
        told,
        estimate=estimate,
        context=model.context if model else 0,
        choices=request.choices,
    )
    asked = _asked_apiece(call, served)
    if not asked:
        return found
    counted = {} if told is None else told.counted
    return with_counted(found, counted, asked, roughly=request.counts_roughly)


def charge_usage(
    call: Call, served: Served, found: NormalisedUsage, way: Way
) -> Charged:
    """Price what was produced; of several models named, the dearest counts.

    Args:
        call: the call.
        served: what it brought.
        found: its usage.
        way: how the target has served.
    """
    usage, tier = found.usage, served.service_tier
    incoming, offer = call.incoming, way.offer
    if not incoming.request.plain:
        found = _with_searches_allowed(incoming.request.searches, served, found)
        usage = found.usage
    price_of = pay = partial(charge_each, found.each) if found.each else charge
    if incoming.off_peak:
        price_of = partial(_off_peak, price_of)
        # Suppliers know that a call could wait only where they had it in a batch.
        pay = pay if incoming.bought is None else price_of
    price, listed, supplier = offer.price, offer.listed, way.prepared.cost
    amount = list_price = price_of(price, usage, tier)
    cost: int | None = amount
    if listed is not price:
        list_price = 0 if listed is None else price_of(listed, usage, tier)
    if supplier is not price or pay is not price_of:
        cost = None if supplier is None else pay(supplier, usage, tier)
    version = price.version
    for other in call.other_prices:
        dearer = price_of(other, usage, tier)
        if dearer > amount:
            amount, version = dearer, other.version
    return Charged(usage, amount, list_price, cost, version, found.suspicious)


def _off_peak(
    price_of: Callable[[Price, Usage, str | None], int],
    price: Price,
    usage: Usage,
    tier: str | None,
) -> int:
    """Price what could take its time: at the rates for batches, if there are any."""
    return price_of(price, usage, BATCH if BATCH in price.service_tiers else tier)


async def _count(call: Call, served: Served) -> TokenEstimate:
    """Count the tokens of an answer whose provider did not."""
    incoming = call.incoming
    model = served.target.member.upstream_model
    size = incoming.request.prompt
    media = call.prompt_tokens if size.has_media else 0
    framing = framing_tokens(size.messages)
    # What was sent, if that is not what was asked.
    dialect = call.prepared(served.target).dialect

    def count() -> TokenEstimate:
        prompt = dialect.prompt_text(incoming.request)
        counted = count_tokens(prompt, model) + framing
        text = served.text()
        output = count_tokens(text, model) if text else 0
        size = len(text.encode(errors="replace"))
        if served.size > size > 0:
            output = -(-output * served.size // size)
        return TokenEstimate(max(counted, media), output)

    return await asyncio.to_thread(count)


def tokens_of(usage: Mapping[str, int]) -> int:
    """Add up a usage's tokens, for limits that are by them."""
    return sum(map(usage.__getitem__, TOKEN_UNITS.intersection(usage)))


def _with_searches_allowed(
    searches: int, served: Served, found: NormalisedUsage
) -> NormalisedUsage:
    """Count the searches that a call might make where nobody tells how many it did."""
    told = served.usage
    if not searches or (told is not None and told.searches is not None):
        return found
    each = tuple(_with_searches(one, searches) for one in found.each)
    usage = summed(each) if each else _with_searches(found.usage, searches)
    return NormalisedUsage(usage, found.suspicious, each)


def _with_searches(usage: Usage, searches: int) -> Usage:
    quantities = dict(usage.quantities)
    quantities.setdefault(Unit.SEARCH.value, searches)
    return Usage(quantities, usage.source)


def record_call(
    call: Call, target: Target | None, charged: Charged, ending: Ending
) -> CallRecord:
    """Write the usage record of a call that is over."""
    incoming = call.incoming
    request = incoming.request
    attempts = call.attempts.records
    if attempts and ending.outcome not in _UNSERVED:
        # What was produced came of the last one.
        attempts[-1].cost = charged.cost
    total_ms = int((call.clock() - call.started) * 1000)
    first_token_ms = ending.first_token_ms
    return CallRecord(
        incoming.id,
        call.created_ms,
        incoming.principal.key_id,
        request.operation,
        incoming.dialect.name,
        request.stream,
        request.model,
        target.member.channel.name if target else "",
        target.member.upstream_model if target else "",
        charged.usage.quantities,
        charged.usage.source,
        attempts[0].cost if len(attempts) == 1 else _total_cost(attempts),
        charged.list_price,
        charged.price,
        charged.price_version,
        ending.status,
        ending.outcome,
        ending.error_code,
        total_ms if first_token_ms is None else first_token_ms,
        total_ms,
        attempts,
        call.translation(target) if target else "",
    )


def _total_cost(attempts: list[AttemptRecord]) -> int | None:
    """What all attempts cost us; None as soon as one is not known."""
    total = 0
    for attempt in attempts:
        if attempt.cost is None:
            return None
        total += attempt.cost
    return total
