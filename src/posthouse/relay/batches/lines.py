"""Calls of batches' lines that a provider's own batch answers.

Before: where a line may go is found as for any call, and its request written as that
channel must have it; nothing is held or sent. After: the answer is judged, kept,
charged and recorded like one that a provider has just given. What is asked at once
never comes here.
"""

import time
from collections.abc import Callable, Iterator
from math import inf

from msgspec import structs
from typing_extensions import override

from posthouse.billing.estimate import estimate_prompt, hold_amount
from posthouse.errors import (
    ModelNotFound,
    NoChannel,
    UnsupportedOperation,
    UpstreamFault,
)
from posthouse.model.call import Outcome
from posthouse.model.catalog import BatchRow, Price
from posthouse.model.exchange import UpstreamRequest
from posthouse.relay.call import Call, Incoming
from posthouse.relay.charging import BATCH
from posthouse.relay.faults import AttemptFailed, status_failed
from posthouse.relay.ports import Client
from posthouse.relay.prepare import Prepared
from posthouse.relay.secrecy import body_without_secrets, conceal
from posthouse.relay.served import Served
from posthouse.relay.service import Relay
from posthouse.relay.snapshot import Snapshot
from posthouse.relay.sought import Sought
from posthouse.relay.unary import whole_reply
from posthouse.routing.plan import Target
from posthouse.routing.ring import hash_point
from posthouse.routing.table import Channel, Member, ModelRoutes, Tier
from posthouse.tasks.records import Bought, Place
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

UPSTREAM = "upstream"


def batches_of(channel: Channel) -> BatchRow | None:
    """Give the provider's batches, where the channel may use them."""
    if channel.spec.batches != UPSTREAM or channel.sandbox:
        return None
    return channel.provider.batches


class LineRelay(Relay):
    """Serves the calls of lines with all that serves callers."""

    def __init__(
        self, relay: Relay, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Serve beside `relay`, by the same configuration."""
        self._relay = relay
        self._clock = clock
        self.ports = relay.ports

    @property
    @override
    def snapshot(self) -> Snapshot:  # type: ignore[override]  # it is only read here
        """The configuration, which is the relay's."""
        return self._relay.snapshot

    @override
    async def serve(self, incoming: Incoming, client: Client) -> None:
        if incoming.sought is not None:
            incoming.sought.found = self._place(incoming, incoming.sought, client)
            await client.respond(200, (), b"{}")
        elif incoming.bought is not None:
            await self._charge(incoming, incoming.bought, client)
        else:
            await super().serve(incoming, client)

    # --- before -------------------------------------------------------------------

    def _place(
        self, incoming: Incoming, sought: Sought, client: Client
    ) -> Place | None:
        """Find where a line may go; raises PosthouseError."""
        call = Call.begin(incoming, client, self.snapshot)
        try:
            self.ports.admission.judge(call)
        except (ModelNotFound, UnsupportedOperation):
            # Nor is it made something else of: that is done here.
            return None
        request = incoming.request
        if (
            call.menu.instead
            or call.other_prices
            or request.stream
            or incoming.channel is not None
        ):
            return None
        target = self._target(call, sought)
        if target is None:
            return None
        prepared = call.prepared(target)
        url = _url_of(prepared, request_has_tokens=bool(request.token_input))
        if url is None:
            return None
        member = target.member
        rendered: UpstreamRequest = call.render(prepared, inf)
        try:
            body = json.compact(rendered.body)
        except MalformedJSON:
            return None
        return Place(
            member.channel.name,
            member.credential,
            member.upstream_model,
            url,
            body,
            self._reserve(call, target),
        )

    def _target(self, call: Call, sought: Sought) -> Target | None:
        """The first of those who would serve it at once that has batches.

        Only channels of the highest priority that can be used are looked at.
        """
        salt = call.incoming.principal.account_id.encode()
        point = hash_point(sought.affinity, salt)
        routes = call.menu.routes[0]
        for tier in routes.tiers:
            usable = [
                index
                for index in _walked(tier, point)
                if self._is_usable(routes, tier.members[index])
            ]
            for index in usable:
                channel = tier.members[index].channel
                if channel.name not in sought.without and batches_of(channel):
                    return Target(routes, tier, index, routes.member(tier, index))
            if usable:
                return None
        return None

    def _is_usable(self, routes: ModelRoutes, member: Member) -> bool:
        if routes.choice is not None and not routes.choice.allows(member):
            return False
        name = member.channel.name
        health = self.ports.health
        return health.blocked(name, member.credential, self._clock()) is None

    def _reserve(self, call: Call, target: Target) -> int:
        """What a line costs at most: its hold, at the rates for batches."""
        offer = call.offer(target)
        request = call.incoming.request
        return hold_amount(
            _off_peak(offer.price),
            request,
            prompt_tokens=estimate_prompt(request, offer.model),
            model=offer.model,
            hold_max=self.ports.admission.hold_max,
        )

    # --- after --------------------------------------------------------------------

    async def _charge(self, incoming: Incoming, bought: Bought, client: Client) -> None:
        """Charge an answer that is there; raises PosthouseError, and then nothing."""
        call = Call.begin(incoming, client, self.snapshot)
        hold = await self.ports.admission.admit_bought(call)
        try:
            served = self._served(call, bought)
            if incoming.keep_first is not None:
                await incoming.keep_first(served)
        except BaseException as error:
            await self._void(call, hold, error)
            raise
        record = await self._settle(call, hold, served, None)
        await self._respond(call, served, client, record.translation)

    def _served(self, call: Call, bought: Bought) -> Served:
        """Read an answer; raises PosthouseError."""
        target = _target_of(call, bought)
        began = call.clock()
        try:
            served = _read(call, target, bought)
        except AttemptFailed as failed:
            conceal(failed.error, target.member.channel)
            span = began, call.clock()
            call.attempts.add(target, span, Outcome.FAILED, failed)
            raise failed.error from None
        call.attempts.add(target, (began, call.clock()), Outcome.SERVED)
        return served


def _off_peak(price: Price) -> Price:
    """Give a price as batches have it."""
    tier = price.service_tiers.get(BATCH)
    if tier is None:
        return price
    return structs.replace(
        price, rates=tier.rates, long_context=tier.long_context, service_tiers={}
    )


def _read(call: Call, target: Target, bought: Bought) -> Served:
    """Read an answer like a provider's reply; raises AttemptFailed."""
    prepared = call.prepared(target)
    if bought.status == 200:
        way = call.way(target)
        return whole_reply(call, target, way, response=None, body=bought.body)
    body = body_without_secrets(bought.body, target.member.channel)
    error: UpstreamFault = prepared.dialect.parse_error(bought.status, body)
    raise status_failed(error, bought.status, [])


def _target_of(call: Call, bought: Bought) -> Target:
    """Find who has answered; raises NoChannel if that serves the model no more."""
    for routes in call.menu.routes[:1]:
        for tier in routes.tiers:
            for index in range(len(tier.members)):
                member = routes.member(tier, index)
                if (
                    member.channel.name == bought.channel
                    and member.credential == bought.credential
                    and member.upstream_model == bought.model
                ):
                    return Target(routes, tier, index, member)
    raise NoChannel


def _walked(tier: Tier, point: int) -> Iterator[int]:
    if len(tier.members) == 1:
        return iter((0,))
    return tier.ring.walk(point)


def _url_of(prepared: Prepared, *, request_has_tokens: bool) -> str | None:
    """Give what the provider's batches call a request; None: they do not take it.

    What is translated, signed, sent several times or no plain JSON is not theirs.
    """
    member = prepared.member
    row = batches_of(member.channel)
    if (
        row is None
        or prepared.translation is not None
        or prepared.several is not None
        or prepared.media is not None
        or prepared.authorizer is not None
        or (prepared.reads_text and request_has_tokens)
    ):
        return None
    return row.endpoints.get(prepared.whole.target.removeprefix(prepared.base_path))
