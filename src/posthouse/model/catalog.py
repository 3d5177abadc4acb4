"""Facts about providers and models, as `catalog/*.toml` states them."""

from enum import StrEnum

from msgspec import Raw, Struct, field


class StreamUsage(StrEnum):
    """How a provider reports usage in a stream."""

    REQUEST = "request"
    """When `stream_options.include_usage` asks for it."""
    AUTOMATIC = "automatic"
    """Always; it does not know the option."""
    NONE = "none"
    """Never."""


class AuthScheme(StrEnum):
    """How a credential is carried to a provider."""

    BEARER = "bearer"
    API_KEY = "api-key"
    """Header `api-key` (Azure)."""
    NONE = "none"


class Quirks(Struct, frozen=True, forbid_unknown_fields=True):
    """Edits over pass-through; never a list of what is allowed."""

    rename: dict[str, str] = {}
    drop: tuple[str, ...] = ()
    default: dict[str, Raw] = {}
    """JSON values set when the request lacks the field."""
    clamp: dict[str, tuple[float, float]] = {}
    """Inclusive bounds for numeric fields."""
    stream_usage: StreamUsage = StreamUsage.REQUEST


class OperationRow(Struct, frozen=True, forbid_unknown_fields=True):
    """How a provider takes one operation."""

    path: str
    """Appended to the base URL."""
    dialect: str
    """A package in `dialects/`."""
    verified: str
    """`sdk`, `docs:<url> <date>` or `unverified`."""
    quirks: Quirks = Quirks()


class TierRates(Struct, frozen=True):
    """The rates of one service tier."""

    rates: dict[str, int]
    long_context: tuple[tuple[int, dict[str, int]], ...] = ()


class Price(Struct, frozen=True):
    """An immutable price: nano-dollars per million units, by unit.

    A token price of 2.50 USD per million is 2_500_000_000; an image at
    0.04 USD is 40_000_000 * 1_000_000. `version` names this very content.
    """

    version: str
    rates: dict[str, int]
    free: bool = False
    long_context: tuple[tuple[int, dict[str, int]], ...] = ()
    """(above this many input tokens, the rates for the whole call), ascending."""
    service_tiers: dict[str, TierRates] = {}
    """Rates by the `service_tier` that the provider says it used."""


class ModelRow(Struct, frozen=True):
    """A model as its provider offers it."""

    id: str
    operations: tuple[str, ...]
    context: int
    """Tokens of prompt and answer together; 0 is not known."""
    usual_output: int
    """Tokens that a stream without a limit of the caller holds for."""
    max_output: int
    price: Price | None
    """The list price; None means the operator must set one."""
    reasoning: bool = False
    source: str = ""
    """Where the price was read: a URL, or `unverified`."""
    date: str = ""
    """When it was read, as YYYY-MM-DD."""
    alias_of: str = ""
    """The model that this is another name of, at the same price."""


class Currency(Struct, frozen=True, forbid_unknown_fields=True):
    """The currency that a provider quotes in, and its dated rate."""

    code: str
    rate: str
    """Units of it for one US dollar, a decimal string."""
    source: str
    date: str


class ProviderRow(Struct, frozen=True):
    """A company's API."""

    name: str
    title: str
    base_url: str
    """As the provider's own SDK takes it, version included; may be empty."""
    auth: AuthScheme
    operations: dict[str, OperationRow]
    models: dict[str, ModelRow] = field(default_factory=dict)
    """By name, aliases included."""
    documentation: str = ""
    free: bool = False
    """Models without a price cost nothing (software the operator runs)."""
    currency: Currency | None = None
    """None: US dollars."""
