"""Admission: what must hold before a call may cost anybody anything.

Every model that a body names must be served here, allowed to the key, and
priced; then the key's limits are asked, then its money. Nothing here waits
unless the process must draw money from the account.
"""

from msgspec import Struct

from posthouse.access.limits import Limits
from posthouse.access.models import allows
from posthouse.access.windows import Permit
from posthouse.billing.estimate import estimate_prompt, hold_amount, plain_hold
from posthouse.billing.holds import Hold, HoldManager
from posthouse.billing.prices import charge, unpriced_units
from posthouse.billing.records import Opening
from posthouse.catalog.price import FREE
from posthouse.errors import InvalidRequest, ModelNotFound, PriceMissing
from posthouse.model.call import Operation
from posthouse.model.catalog import Price
from posthouse.model.usage import Unit, Usage, UsageSource
from posthouse.relay.call import Call
from posthouse.relay.snapshot import Offer
from posthouse.routing.table import ModelRoutes


class Admitted(Struct):
    """What a call has been given."""

    routes: tuple[ModelRoutes, ...]
    permit: Permit
    hold: Hold


class Admission:
    """Admits calls for one process."""

    def __init__(self, limits: Limits, holds: HoldManager, *, hold_max: int) -> None:
        """Ask `limits` and `holds`; a hold is at most `hold_max` nano-dollars."""
        self._limits = limits
        self._holds = holds
        self._hold_max = hold_max

    async def admit(self, call: Call) -> Admitted:
        """Admit a call; raises PosthouseError, and then nothing is held."""
        routes = self._routes(call)
        incoming = call.incoming
        request = incoming.request
        model = call.offers[request.model].model
        call.prompt_tokens = estimate_prompt(request, model)
        permit = await self._limits.admit(
            incoming.principal,
            call.prompt_tokens,
            output_tokens=request.output_limit or 0,
        )
        try:
            hold = await self._holds.open(self._opening(call))
        except BaseException:
            permit.release(0)
            raise
        call.reply_headers += permit.headers
        return Admitted(routes, permit, hold)

    def _routes(self, call: Call) -> tuple[ModelRoutes, ...]:
        """The routes of the model asked for, then of those that stand in."""
        request = call.incoming.request
        first = self._resolve(call, request.model)
        offer = self._offer(call, first)
        if offer is None:
            raise PriceMissing
        call.offers[first.model] = offer
        _check_operation(offer, request.operation)
        _check_priced(offer.price, request.searches)
        for name in request.other_models:
            other = self._offer(call, self._resolve(call, name))
            if other is None:
                raise InvalidRequest(
                    "A model that the request names has no price", param="models"
                )
            call.other_prices.append(other.price)
        return (first, *self._stand_ins(call, first))

    def _stand_ins(self, call: Call, first: ModelRoutes) -> list[ModelRoutes]:
        """The operator's fallbacks; those without route or price are left out."""
        operation = call.incoming.request.operation
        sandbox = call.incoming.principal.sandbox
        found = []
        for name in call.snapshot.table.fallbacks.get(first.model, ()):
            routes = call.snapshot.table.resolve(name, operation, sandbox=sandbox)
            offer = None if routes is None else self._offer(call, routes)
            if routes is not None and offer is not None:
                call.offers[routes.model] = offer
                found.append(routes)
        return found

    def _resolve(self, call: Call, model: str) -> ModelRoutes:
        """Find a model; one that the key may not use does not exist for it."""
        incoming = call.incoming
        routes = None
        if allows(incoming.principal, model):
            routes = call.snapshot.table.resolve(
                model,
                incoming.request.operation,
                sandbox=incoming.principal.sandbox,
            )
        if routes is None:
            raise ModelNotFound(
                f"The model '{model}' does not exist or you do not have access to it.",
                param="model",
            )
        return routes

    def _offer(self, call: Call, routes: ModelRoutes) -> Offer | None:
        offer = call.snapshot.offer(routes)
        if call.incoming.principal.sandbox:
            return Offer(FREE, FREE, offer.model if offer else None, None)
        return offer

    def _opening(self, call: Call) -> Opening:
        """What the hold is taken for: the dearest of the models that may serve."""
        incoming = call.incoming
        request = incoming.request
        first = call.offers[request.model]
        if first.plain is not None and _is_plain(call):
            amount, prompt_charge = plain_hold(
                first.plain,
                request,
                prompt_tokens=call.prompt_tokens,
                model=first.model,
                hold_max=self._hold_max,
            )
        else:
            amount, prompt_charge = self._dearest(call)
        return Opening(
            call_id=incoming.id,
            account_id=incoming.principal.account_id,
            key_id=incoming.principal.key_id,
            operation=request.operation.value,
            model=request.model,
            price_version=first.price.version,
            created_ms=call.created_ms,
            amount=amount,
            prompt_charge=prompt_charge,
            streamed=request.stream,
            dialect=incoming.dialect.name,
        )

    def _dearest(self, call: Call) -> tuple[int, int]:
        """The highest hold and prompt charge of all models that may serve."""
        request = call.incoming.request
        prompt = Usage({Unit.INPUT: call.prompt_tokens}, UsageSource.ESTIMATED)
        offered = [
            (price, offer.model)
            for offer in call.offers.values()
            for price in (offer.price, *call.other_prices)
        ]
        amounts = [
            hold_amount(
                price,
                request,
                prompt_tokens=call.prompt_tokens,
                model=model,
                hold_max=self._hold_max,
            )
            for price, model in offered
        ]
        prompts = [charge(price, prompt, request.service_tier) for price, _ in offered]
        return max(amounts), max(prompts)


def _is_plain(call: Call) -> bool:
    """Whether one model may serve the call, and nothing but text tokens cost."""
    request = call.incoming.request
    return (
        len(call.offers) == 1
        and not call.other_prices
        and not request.searches
        and not request.prompt.has_media
    )


def _check_operation(offer: Offer, operation: Operation) -> None:
    """Refuse what the catalogue knows that a model does not do."""
    if offer.model is not None and operation not in offer.model.operations:
        raise InvalidRequest(
            f"The model does not take {operation.value} requests",
            param="model",
            code="unsupported_operation",
        )


def _check_priced(price: Price, searches: int) -> None:
    """Refuse a priced extra that this model has no price for."""
    if not searches:
        return
    if unpriced_units(price, Usage({Unit.SEARCH: searches}, UsageSource.NONE)):
        raise InvalidRequest(
            "Web search is not offered with this model",
            param="tools",
            code="unsupported_value",
        )
