"""What calls are served by: routes, prices and prepared requests, swapped whole.

A call takes the snapshot once, at its start, and keeps it to its end, so no
call ever sees two configurations.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from msgspec import Struct

from posthouse import __version__
from posthouse.billing.estimate import PlainRates, plain_rates
from posthouse.billing.prices import PriceBook
from posthouse.catalog.price import FREE
from posthouse.errors import NoChannel, PriceMissing, UnsupportedOperation
from posthouse.model.call import Operation
from posthouse.model.catalog import (
    ModelRow,
    Price,
)
from posthouse.relay.prepare import Prepared, prepare
from posthouse.relay.stand_ins import STAND_INS, seems_to
from posthouse.routing.rules import RuleBook
from posthouse.routing.table import (
    REMEMBERED_NAMES,
    Member,
    ModelRoutes,
    RoutingTable,
)
from posthouse.settings.file import RuleSpec

K = TypeVar("K")
V = TypeVar("V")
Headers = tuple[tuple[bytes, bytes], ...]

USER_AGENT = f"posthouse/{__version__}".encode()


class Offer(Struct, frozen=True):
    """What serving one public model means for money."""

    price: Price
    listed: Price | None
    """The list price, as the first target's provider has it; None: not known."""
    model: ModelRow | None
    """The catalogue's facts; None where it knows nothing."""
    plain: PlainRates | None
    """For holds of ordinary calls; None where the price has steps or tiers."""


class Way(Struct, frozen=True):
    """How a target serves one operation of a public model to callers of a dialect."""

    prepared: Prepared
    offer: Offer
    public_model: str | None
    """The name that a reply must carry; None leaves it as it comes."""


Place = tuple[str, str, int, str, str]
"""Public model, channel, credential, the model's name there; the caller's dialect."""


class Menu(Struct, frozen=True):
    """Who may serve one operation of a public model, and at what prices."""

    routes: tuple[ModelRoutes, ...]
    """Of the model, then of those that stand in for it."""
    first: Offer
    """The model's own."""
    offers: dict[str, Offer]
    """By public model, the model's own among them."""
    plain: PlainRates | None
    """For holds of ordinary calls; None where several models may serve one."""
    weighed: bool = False
    """Whether more than weights decides among channels."""
    hedge: float | None = None
    """Seconds without content after which another channel is asked as well."""
    instead: dict[str, Operation] = {}
    """By public model, what those are asked that have no route for the operation."""
    ways: dict[Place, Way] = {}
    """How some of them do, as the snapshot remembers it."""


NO_MENU = Menu((), Offer(FREE, FREE, None, None), {}, None)
"""No model is chosen from."""


class Snapshot:
    """One configuration, ready to serve."""

    def __init__(
        self,
        table: RoutingTable,
        prices: PriceBook,
        rules: RuleBook | None = None,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Join the routes with the prices and the rules of routing."""
        self.table = table
        self.prices = prices
        self.rules = rules or None
        """None: there are none."""
        self._wall_clock = wall_clock
        self._offers: dict[tuple[str, str, str], Offer | None] = {}
        self._menus: dict[tuple[str, Operation, bool], Menu] = {}
        self._ruled: dict[tuple[str, str, Operation], Menu] = {}
        self._made_for: dict[tuple[Operation, bool], tuple[str, ...]] = {}
        self._prepared: dict[tuple[str, int, str, str, str], Prepared] = {}
        self._ways = 0
        """How many are remembered, on all menus together."""

    def menu(self, model: str, operation: Operation, *, sandbox: bool) -> Menu | None:
        """What may serve a model; None if nothing does.

        Raises PriceMissing, and UnsupportedOperation for an operation that the
        catalogue knows the model not to have.
        """
        key = (model, operation, sandbox)
        menu = self._menus.get(key)
        if menu is not None:
            return menu
        menu = self._make_menu(model, operation, sandbox=sandbox)
        if menu is not None:
            _keep(self._menus, key, menu)
        return menu

    def ruled_menu(self, rule: RuleSpec, model: str, operation: Operation) -> Menu:
        """What may serve a model by a rule that holds.

        Raises NoChannel where the rule leaves nothing, and what `menu` raises.
        """
        key = (rule.name, model, operation)
        menu = self._ruled.get(key)
        if menu is not None:
            return menu
        menu = self._make_menu(
            rule.use.model or model, operation, sandbox=False, rule=rule
        )
        if menu is None:
            raise NoChannel
        _keep(self._ruled, key, menu)
        return menu

    def _make_menu(
        self,
        model: str,
        operation: Operation,
        *,
        sandbox: bool,
        rule: RuleSpec | None = None,
    ) -> Menu | None:
        first, asked = self._taking(model, operation, sandbox=sandbox, rule=rule)
        if first is None:
            return None
        own = self.offer(first, free=sandbox)
        if own is None:
            raise PriceMissing
        _check_operation(own, asked)
        routes = [first]
        offers = {first.model: own}
        instead = {first.model: asked}
        for name in self.table.fallbacks.get(first.model, ()):
            # Those without route or price are left out.
            other, asked = self._taking(name, operation, sandbox=sandbox, rule=rule)
            offer = None if other is None else self.offer(other, free=sandbox)
            if other is not None and offer is not None:
                routes.append(other)
                offers[other.model] = offer
                instead[other.model] = asked
        plain = own.plain if len(offers) == 1 else None
        weighed = any(one.choice is not None for one in routes)
        hedge = None if first.choice is None else first.choice.hedge
        if all(one is operation for one in instead.values()):
            instead = {}
        return Menu(tuple(routes), own, offers, plain, weighed, hedge, instead)

    def _taking(
        self, model: str, operation: Operation, *, sandbox: bool, rule: RuleSpec | None
    ) -> tuple[ModelRoutes | None, Operation]:
        """The routes of a model for what is asked, or for what stands in for that."""
        first = None
        for asked in (operation, *STAND_INS.get(operation, ())):
            routes = self._resolve(model, asked, sandbox=sandbox, rule=rule)
            if routes is None:
                continue
            known = routes.first.channel.provider.models.get(
                routes.first.upstream_model
            )
            if known is None:
                taken = asked is operation or seems_to(asked, model)
            else:
                taken = asked in known.operations
            if taken:
                return routes, asked
            first = first or routes
        return first, operation

    def _resolve(
        self, model: str, operation: Operation, *, sandbox: bool, rule: RuleSpec | None
    ) -> ModelRoutes | None:
        """The routes of a model, as a rule leaves them if there is one."""
        routes = self.table.resolve(model, operation, sandbox=sandbox)
        if routes is None or rule is None or self.rules is None:
            return routes
        return self.rules.apply(rule, routes)

    def offer(self, routes: ModelRoutes, *, free: bool = False) -> Offer | None:
        """The selling price of a model, and its facts; None is unpriced.

        The first target of the highest tier stands for the model: what is
        charged does not depend on the channel that answers. `free` is what
        sandbox keys pay.
        """
        if free:
            offer = self.offer(routes)
            return Offer(FREE, FREE, offer.model if offer else None, plain_rates(FREE))
        first = routes.first
        # The sandbox and a real provider may have a model of the same name.
        key = (routes.model, first.channel.provider.name, first.upstream_model)
        try:
            return self._offers[key]
        except KeyError:
            offer = self._make_offer(routes, first)
        _keep(self._offers, key, offer)
        return offer

    def _make_offer(self, routes: ModelRoutes, first: Member) -> Offer | None:
        provider = first.channel.provider
        price = self.prices.selling(routes.model, provider.name, first.upstream_model)
        if price is None:
            return None
        return Offer(
            price,
            self.prices.list_price(provider.name, first.upstream_model),
            provider.models.get(first.upstream_model),
            plain_rates(price),
        )

    def way(self, menu: Menu, place: Place, member: Member, asked: Operation) -> Way:
        """Find how a member serves a model on a menu, and remember that there.

        Args:
            menu: has the model.
            place: by what it is remembered.
            member: the one of that place.
            asked: the operation.
        """
        if self._ways >= REMEMBERED_NAMES:
            for known in (*self._menus.values(), *self._ruled.values()):
                known.ways.clear()
            self._ways = 0
        model, dialect = place[0], place[-1]
        asked = menu.instead.get(model, asked)
        way = menu.ways[place] = Way(
            self.prepared(member, asked, dialect),
            menu.offers[model],
            None if member.upstream_model == model else model,
        )
        self._ways += 1
        return way

    def operations(self, model: str) -> frozenset[str]:
        """What can be asked of a model that is named outright."""
        routes = self.table.first_routes(model)
        if routes is None:
            return frozenset()
        provider = routes.first.channel.provider
        row = provider.models.get(routes.first.upstream_model)
        return frozenset(provider.operations if row is None else row.operations)

    def made_for(self, operation: Operation, *, sandbox: bool) -> tuple[str, ...]:
        """The models, by name, that are listed and known to be made for this."""
        key = (operation, sandbox)
        found = self._made_for.get(key)
        if found is None:
            found = self._made_for[key] = tuple(
                name
                for name, _ in self.table.listed(sandbox=sandbox)
                if self._does(name, operation, sandbox=sandbox)
            )
        return found

    def _does(self, model: str, operation: Operation, *, sandbox: bool) -> bool:
        routes = self.table.resolve(model, operation, sandbox=sandbox)
        if routes is None:
            return False
        first = routes.first
        row = first.channel.provider.models.get(first.upstream_model)
        return row is not None and operation in row.operations

    def facts(self, model: str) -> ModelRow | None:
        """What the catalogue knows of a model that is named outright."""
        routes = self.table.first_routes(model)
        if routes is None:
            return None
        first = routes.first
        return first.channel.provider.models.get(first.upstream_model)

    def unpriced(self) -> list[str]:
        """The models named outright that cannot be served for want of a price."""
        found = []
        for name, _ in self.table.listed(sandbox=False):
            routes = self.table.first_routes(name)
            if routes is not None and self.offer(routes) is None:
                found.append(name)
        return found

    def prepared(self, member: Member, operation: str, dialect: str = "") -> Prepared:
        """What is the same in every request of an operation to a member.

        `dialect` is the caller's; "" takes what the provider speaks first.
        """
        channel = member.channel
        model = member.upstream_model
        key = (channel.name, member.credential, operation, model, dialect)
        found = self._prepared.get(key)
        if found is None:
            cost = self.prices.cost(channel.name, channel.provider.name, model)
            found = prepare(
                member, operation, dialect, cost=cost, clock=self._wall_clock
            )
            _keep(self._prepared, key, found)
        return found


def _keep(found: dict[K, V], key: K, value: V) -> None:
    """Remember what was found, of as many names as we choose to."""
    if len(found) >= REMEMBERED_NAMES:
        found.clear()
    found[key] = value


def _check_operation(offer: Offer, operation: Operation) -> None:
    """Refuse what the catalogue knows that a model does not do."""
    if offer.model is not None and operation not in offer.model.operations:
        raise UnsupportedOperation(
            f"The model does not take {operation.value} requests"
        )
