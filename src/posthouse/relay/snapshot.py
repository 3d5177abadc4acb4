"""What calls are served by: routes, prices and prepared requests, swapped whole.

A call takes the snapshot once, at its start, and keeps it to its end, so no
call ever sees two configurations.
"""

from functools import cache
from importlib import import_module

from msgspec import Struct, structs

from posthouse import __version__
from posthouse.billing.estimate import PlainRates, plain_rates
from posthouse.billing.prices import PriceBook
from posthouse.dialects.base import Dialect, Edits
from posthouse.model.catalog import AuthScheme, ModelRow, Price
from posthouse.model.exchange import Timeouts
from posthouse.routing.plan import Target
from posthouse.routing.table import (
    REMEMBERED_NAMES,
    Channel,
    Member,
    ModelRoutes,
    RoutingTable,
)

Headers = tuple[tuple[bytes, bytes], ...]

USER_AGENT = f"posthouse/{__version__}".encode()


@cache
def find_dialect(name: str) -> Dialect:
    """The dialect of a name; raises LookupError if there is none."""
    try:
        found: Dialect = import_module(f"posthouse.dialects.{name}").DIALECT
    except (ModuleNotFoundError, AttributeError):
        raise LookupError(f"there is no dialect {name!r}") from None
    return found


class Prepared(Struct, frozen=True):
    """What every request of one operation to one target has in common."""

    dialect: Dialect
    origin: str
    target: str
    headers: Headers
    timeouts: Timeouts
    stream_timeouts: Timeouts
    proxy: str | None
    edits: Edits
    cost: Price | None
    """The supplier's price; None is not known."""


class Offer(Struct, frozen=True):
    """What serving one public model means for money."""

    price: Price
    listed: Price | None
    """The list price, as the first target's provider has it; None: not known."""
    model: ModelRow | None
    """The catalogue's facts; None where it knows nothing."""
    plain: PlainRates | None
    """For holds of ordinary calls; None where the price has steps or tiers."""


class Snapshot:
    """One configuration, ready to serve."""

    def __init__(self, table: RoutingTable, prices: PriceBook) -> None:
        """Join the routes with the prices."""
        self.table = table
        self.prices = prices
        self._offers: dict[tuple[str, str, str], Offer | None] = {}
        self._prepared: dict[tuple[str, int, str, str], Prepared] = {}

    def offer(self, routes: ModelRoutes) -> Offer | None:
        """The selling price of a model, and its facts; None is unpriced.

        The first target of the highest tier stands for the model: what is
        charged does not depend on the channel that answers.
        """
        first = routes.first
        # The sandbox and a real provider may have a model of the same name.
        key = (routes.model, first.channel.provider.name, first.upstream_model)
        try:
            return self._offers[key]
        except KeyError:
            offer = self._make_offer(routes, first)
        if len(self._offers) >= REMEMBERED_NAMES:
            self._offers.clear()
        self._offers[key] = offer
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

    def unpriced(self) -> list[str]:
        """The models named outright that cannot be served for want of a price."""
        found = []
        for name, _ in self.table.listed(sandbox=False):
            routes = self.table.first_routes(name)
            if routes is not None and self.offer(routes) is None:
                found.append(name)
        return found

    def prepared(self, target: Target, operation: str) -> Prepared:
        """What is the same in every request of an operation to a target."""
        member = target.member
        channel = member.channel
        key = (channel.name, member.credential, operation, member.upstream_model)
        found = self._prepared.get(key)
        if found is None:
            found = _prepare(
                member,
                operation,
                self.prices.cost(
                    channel.name, channel.provider.name, member.upstream_model
                ),
            )
            if len(self._prepared) >= REMEMBERED_NAMES:
                self._prepared.clear()
            self._prepared[key] = found
        return found


def _prepare(member: Member, operation: str, cost: Price | None) -> Prepared:
    channel = member.channel
    row = channel.provider.operations[operation]
    headers = [
        (b"content-type", b"application/json"),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"identity"),
        (b"user-agent", USER_AGENT),
        *_credential_headers(channel, member.credential),
        *(
            (name.lower().encode(), value.encode())
            for name, value in channel.spec.headers.items()
        ),
    ]
    return Prepared(
        dialect=find_dialect(row.dialect),
        origin=channel.origin,
        target=channel.base_path + row.path,
        headers=tuple(headers),
        timeouts=channel.timeouts,
        stream_timeouts=structs.replace(channel.timeouts, total=channel.stream_total),
        proxy=channel.spec.proxy,
        edits=Edits(
            model=member.upstream_model,
            quirks=row.quirks,
            set=channel.spec.body.set,
            drop=channel.spec.body.drop,
        ),
        cost=cost,
    )


def _credential_headers(channel: Channel, credential: int) -> Headers:
    secret = channel.credentials[credential].encode()
    if not secret or channel.provider.auth is AuthScheme.NONE:
        return ()
    if channel.provider.auth is AuthScheme.API_KEY:
        return ((b"api-key", secret),)
    return ((b"authorization", b"Bearer " + secret),)
