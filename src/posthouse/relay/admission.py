"""Admission: what must hold before a call may cost anybody anything.

Every model that a body names must be served here, allowed to the key, and
priced; then the key's limits are asked, then its money. Nothing here waits
unless the process must draw money from the account, or calls of a limit that
other processes share.
"""

from collections.abc import Coroutine, Mapping
from typing import Any

from msgspec import structs

from posthouse.access.models import allows
from posthouse.access.ports import Limiter, Permit
from posthouse.billing.estimate import estimate_prompt, hold_amount, plain_hold
from posthouse.billing.holds import Hold, HoldManager
from posthouse.billing.prices import charge, unpriced_units
from posthouse.billing.records import Opening
from posthouse.dialects.base import ParsedRequest
from posthouse.errors import InvalidRequest, ModelNotFound, PriceMissing
from posthouse.model.call import PAID_BY_RESULT, Operation
from posthouse.model.catalog import Price
from posthouse.model.usage import Unit, Usage, UsageSource
from posthouse.relay.call import Call, Incoming
from posthouse.relay.choosing import facts_of
from posthouse.relay.snapshot import Menu
from posthouse.relay.stand_ins import told_what_to_do
from posthouse.relay.waiting import FairQueue
from posthouse.routing.rules import RuleBook
from posthouse.routing.table import Choice

Admitted = tuple[Permit, Hold]
"""What an admitted call has, until it is over."""

_ALWAYS = (Unit.INPUT.value, Unit.OUTPUT.value, Unit.REQUEST.value, Unit.TASK.value)
"""What whatever is billed apiece may be billed in as well."""


class Admission:
    """Admits calls for one process."""

    def __init__(
        self,
        limits: Limiter,
        holds: HoldManager,
        *,
        hold_max: int,
        queue: FairQueue,
    ) -> None:
        """Ask `limits` and `holds`; a hold is at most `hold_max` nano-dollars.

        In `queue` wait those that would rather do so than be refused.
        """
        self._queue = queue
        self._limits = limits
        self._holds = holds
        self.hold_max = hold_max
        """Nano-dollars that one call may hold."""

    async def admit(self, call: Call) -> Admitted:
        """Admit a call as `admit_now` does, and wait where it must."""
        admitted = self.admit_now(call)
        return admitted if isinstance(admitted, tuple) else await admitted

    def admit_now(self, call: Call) -> Admitted | Coroutine[Any, Any, Admitted]:
        """Admit a call; raises PosthouseError, and then nothing is held.

        Where that must wait, what to await for it. Who may serve the call is its
        menu from then on.
        """
        menu = call.menu = self._menu(call)
        if menu.instead and Operation.CHAT in menu.instead.values():
            call.incoming = structs.replace(
                call.incoming, request=told_what_to_do(call.incoming.request)
            )
        incoming = call.incoming
        request = incoming.request
        call.prompt_tokens = estimate_prompt(request, menu.first.model)
        if incoming.wait:
            return self._admit_later(call, None)
        permit = self._limits.admit_now(
            incoming.principal,
            call.prompt_tokens,
            output_tokens=request.output_limit or 0,
        )
        if permit is None:
            return self._admit_later(call, None)
        try:
            hold = self._holds.open_now(self._opening(call, menu))
        except BaseException:
            permit.release(0)
            raise
        return self._admit_later(call, permit) if hold is None else (permit, hold)

    async def _admit_later(self, call: Call, permit: Permit | None) -> Admitted:
        """Wait for what a call needs; `permit` is what it has been given already."""
        if permit is None:
            wait = self._wait if call.incoming.wait else self._permit
            permit = await wait(call)
        try:
            hold = await self._holds.open(self._opening(call, call.menu))
        except BaseException:
            permit.release(0)
            raise
        return permit, hold

    async def admit_bought(self, call: Call) -> Hold:
        """Admit a call whose answer is there, which nobody can refuse to pay.

        What was set aside for it is free again by now, so its hold is nothing; no
        minute has it, for nothing is asked of anybody. Raises PosthouseError.
        """
        menu = call.menu = self._menu(call)
        call.prompt_tokens = estimate_prompt(call.incoming.request, menu.first.model)
        opening = self._opening(call, menu)
        opening = structs.replace(opening, amount=0, prompt_charge=0)
        return await self._holds.open(opening)

    def judge(self, call: Call) -> None:
        """Refuse a call for the models that it names; raises PosthouseError."""
        call.menu = self._menu(call)

    async def admit_free(self, call: Call) -> Permit:
        """Admit a call that costs nothing; raises PosthouseError."""
        self.judge(call)
        return await self._limits.admit(call.incoming.principal, 0)

    def _permit(self, call: Call) -> Coroutine[Any, Any, Permit]:
        """Ask the limits of the call's key; raises RateLimited."""
        incoming = call.incoming
        return self._limits.admit(
            incoming.principal,
            call.prompt_tokens,
            output_tokens=incoming.request.output_limit or 0,
        )

    async def _wait(self, call: Call) -> Permit:
        """Ask them until they have room; raises RateLimited and ClientGone."""
        principal = call.incoming.principal
        if principal.tpm is not None and call.prompt_tokens > principal.tpm:
            # No minute has room for it.
            return await self._permit(call)
        waiter = call.waiter(("key", principal.key_id), self._queue.longest)
        return await self._queue.take(waiter, lambda: self._permit(call))

    def _menu(self, call: Call) -> Menu:
        """What may serve the call, once all that its body names is judged."""
        request = call.incoming.request
        principal = call.incoming.principal
        menu = None
        if principal.models is None or allows(principal, request.model):
            if call.snapshot.rules is not None:
                menu = _ruled_menu(call, call.snapshot.rules)
            if menu is None:
                menu = call.snapshot.menu(
                    request.model, request.operation, sandbox=principal.sandbox
                )
        if menu is None:
            raise _not_found(request.model)
        if call.incoming.channel is not None:
            menu = _at_channel(menu, call.incoming)
        if not request.plain:
            _judge_further(call, menu)
        return menu

    def _opening(self, call: Call, menu: Menu) -> Opening:
        """What the hold is taken for: the dearest of the models that may serve."""
        incoming = call.incoming
        request = incoming.request
        if menu.plain is not None and (
            request.plain
            or not (
                call.other_prices
                or request.searches
                or request.counted
                or request.prompt.has_media
            )
        ):
            amount, prompt_charge = plain_hold(
                menu.plain,
                request,
                prompt_tokens=call.prompt_tokens,
                model=menu.first.model,
                hold_max=self.hold_max,
            )
        else:
            amount, prompt_charge = self._dearest(call)
        principal = incoming.principal
        return Opening(
            incoming.id,
            principal.account_id,
            principal.key_id,
            request.operation,
            request.model,
            menu.first.price.version,
            call.created_ms,
            amount,
            prompt_charge,
            request.stream,
            incoming.dialect.name,
            request.operation in PAID_BY_RESULT,
        )

    def _dearest(self, call: Call) -> tuple[int, int]:
        """The highest hold and prompt charge of all models that may serve."""
        offered = [
            (price, offer.model, _as_billed(call, name))
            for name, offer in call.menu.offers.items()
            for price in (offer.price, *call.other_prices)
        ]
        amounts = [
            hold_amount(
                price,
                billed,
                prompt_tokens=call.prompt_tokens,
                model=model,
                hold_max=self.hold_max,
            )
            for price, model, billed in offered
        ]
        prompts = [
            charge(price, _prompt(call, billed), billed.service_tier)
            for price, _, billed in offered
        ]
        return max(amounts), max(prompts)


def _ruled_menu(call: Call, rules: RuleBook) -> Menu | None:
    """What may serve the call by a rule of routing; None: no rule holds.

    Rules say nothing to sandbox keys, which reach nothing else.
    """
    incoming = call.incoming
    if incoming.principal.sandbox:
        return None
    rule = rules.find(facts_of(incoming, with_metadata=rules.reads_metadata))
    if rule is None:
        return None
    request = incoming.request
    return call.snapshot.ruled_menu(rule, request.model, request.operation)


def _judge_further(call: Call, menu: Menu) -> None:
    """Judge what a body names beside its model; raises PosthouseError."""
    request = call.incoming.request
    if request.counted:
        for offer in menu.offers.values():
            _check_payable(offer.price, request.counted)
    if request.searches and _is_unpriced(menu.first.price, request.searches):
        call.incoming = _without_searches(call.incoming)
    for name in request.other_models:
        call.other_prices += (_other_price(call, name),)


def _at_channel(menu: Menu, incoming: Incoming) -> Menu:
    """The menu with nothing on it but what one channel offers.

    Raises InvalidRequest if that is nothing.
    """
    name = incoming.channel or ""
    choice = Choice(None, frozenset({name}), credential=incoming.credential)
    routes = tuple(
        structs.replace(one, choice=choice)
        for one in menu.routes
        if any(m.channel.name == name for tier in one.tiers for m in tier.members)
    )
    if not routes:
        raise InvalidRequest(
            "What the request builds on is kept where this model is not",
            param="model",
            code="objects_on_several_channels",
        )
    return structs.replace(menu, routes=routes, hedge=None)


def _other_price(call: Call, model: str) -> Price:
    """Price a further model that the body names, whatever that is asked for."""
    incoming = call.incoming
    principal = incoming.principal
    sandbox = principal.sandbox
    routes = None
    if allows(principal, model):
        operation = incoming.request.operation
        routes = call.snapshot.table.resolve(model, operation, sandbox=sandbox)
    if routes is None:
        raise _not_found(model)
    offer = call.snapshot.offer(routes, free=sandbox)
    if offer is None:
        raise InvalidRequest(
            "A model that the request names has no price", param="models"
        )
    return offer.price


def _not_found(model: str) -> ModelNotFound:
    """A model that the key may not use does not exist for it."""
    return ModelNotFound(
        f"The model '{model}' does not exist or you do not have access to it.",
        param="model",
    )


def _prompt(call: Call, request: ParsedRequest) -> Usage:
    """What is used before there is an answer."""
    sent = {Unit.INPUT.value: call.prompt_tokens, **request.counted}
    return Usage(sent, UsageSource.ESTIMATED)


def _as_billed(call: Call, model: str) -> ParsedRequest:
    """The request as this model's price counts it: a stand-in for what it does."""
    request, instead = call.incoming.request, call.menu.instead
    if instead and instead[model] is not request.operation:
        return structs.replace(request, counted={})
    return request


def _check_payable(price: Price, counted: Mapping[str, int]) -> None:
    """Refuse what has no price in any unit that it can be billed in."""
    if not price.free and not price.rates.keys() & {*counted, *_ALWAYS}:
        raise PriceMissing


def _is_unpriced(price: Price, searches: int) -> bool:
    """Whether a model has no price for searches."""
    return bool(unpriced_units(price, Usage({Unit.SEARCH: searches}, UsageSource.NONE)))


def _without_searches(incoming: Incoming) -> Incoming:
    """Leave out searches that the caller can do without; raises InvalidRequest."""
    request = incoming.request.without_searches
    if request is None:
        raise InvalidRequest(
            "Web search is not offered with this model",
            param="tools",
            code="unsupported_value",
        )
    return structs.replace(incoming, request=request)
