"""Facts about providers and models, as `catalog/*.toml` states them."""

from enum import StrEnum
from typing import Any

from msgspec import Raw, Struct, field

FAMILIES = ("openai", "anthropic")
"""The APIs whose stored things are reached, whoever keeps them."""


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
    DEEPL_AUTH_KEY = "deepl-auth-key"
    """In `Authorization`, by that word."""
    X_API_KEY = "x-api-key"
    """Header of that name (Anthropic)."""
    X_GOOG_API_KEY = "x-goog-api-key"
    """Header of that name (Google)."""
    NONE = "none"
    SIGNED = "signed"
    """As the row's `signing` says."""


class Signing(Struct, frozen=True):
    """How requests are signed, where a header that never changes will not do."""

    scheme: str
    """A module in `providers/auth/`."""
    options: tuple[tuple[str, str], ...] = ()
    """What the scheme must know of the provider, by name."""


class Quirks(Struct, frozen=True, forbid_unknown_fields=True):
    """Edits over pass-through; never a list of what is allowed."""

    rename: dict[str, str] = {}
    drop: tuple[str, ...] = ()
    default: dict[str, Raw] = {}
    """JSON values set when the request lacks the field."""
    clamp: dict[str, tuple[float, float]] = {}
    """Inclusive bounds for numeric fields."""
    stream_usage: StreamUsage = StreamUsage.REQUEST


class ErrorKind(StrEnum):
    """What a provider's error code means for a call, whatever status it came with."""

    BAD_REQUEST = "bad_request"
    CONTENT_FILTER = "content_filter"
    CONTEXT_LENGTH = "context_length"
    NOT_FOUND = "not_found"
    CREDENTIAL = "credential"
    """Our key is refused."""
    BALANCE = "balance"
    """Our account is in arrears or out of quota."""
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    TIMEOUT = "timeout"


class ErrorCodes(Struct, frozen=True):
    """How a provider tells of errors, beside OpenAI's `error` object and status."""

    code: str = ""
    """Where replies carry a code, also those with status 200: members joined by
    dots; "" is nowhere."""
    message: str = ""
    """Where they carry what it means."""
    success: tuple[str, ...] = ("0",)
    """Codes there that are no errors."""
    kinds: dict[str, ErrorKind] = {}
    """By code or type, in lower case; a last `*` stands for whatever follows."""


FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter", "function_call")
"""What the SDKs of OpenAI's language know."""
FAILED = "error"
"""Stands for a finish reason that is none: the provider broke off."""


class Replies(Struct, frozen=True, forbid_unknown_fields=True):
    """What is mended in replies; what is not named passes untouched."""

    finish_reasons: dict[str, str] = {}
    """A provider's own reason to one of FINISH_REASONS, or to FAILED."""
    fill: bool = False
    """`id`, `object`, `created` and `model` are given where they are absent."""
    id_member: str = ""
    """The member that holds the identifier where `id` is absent."""
    tool_calls_object: bool = False
    """A single tool call may come without the list around it."""
    whole_last_chunk: bool = False
    """A stream's last chunk repeats the whole message, which is left out."""
    formats: tuple[str, ...] = ()
    """Of transcripts: the forms of reply that it knows; the others are written here.
    Empty: all."""
    reasoning_beside: bool = False
    """`completion_tokens` lack the reasoning, which only `total_tokens` tell."""


class OperationRow(Struct, frozen=True, forbid_unknown_fields=True):
    """How a provider takes one operation."""

    path: str
    """Appended to the base URL; `{model}` in it is the model's name there."""
    dialect: str
    """A package in `dialects/`."""
    verified: str
    """`sdk`, `docs:<url> <date>` or `unverified`."""
    quirks: Quirks = Quirks()
    replies: Replies | None = None
    """None: they pass as they come."""
    query: dict[str, str] = {}
    """What follows the path."""
    stream_path: str = ""
    """Where streams are asked for; empty: at the same path."""
    stream_query: dict[str, str] = {}
    """What follows the path then, in place of `query`, if there is a `stream_path`."""
    stream_headers: dict[str, str] = {}
    """Of requests for streams alone."""
    count_path: str = ""
    """Where the tokens of a prompt are counted, for nothing; empty: nowhere."""
    traits: dict[str, Any] = {}
    """What translation must know of its models, by the names of `Traits`."""
    also: "dict[str, OperationRow]" = {}
    """The same operation in other dialects, for clients who speak them."""


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
    traits: dict[str, Any] = {}
    """Where they differ from its operation's."""
    dialect: str = ""
    """The only one of its operations' dialects that it takes; empty: it takes all."""


class Currency(Struct, frozen=True, forbid_unknown_fields=True):
    """The currency that a provider quotes in, and its dated rate."""

    code: str
    rate: str
    """Units of it for one US dollar, a decimal string."""
    source: str
    date: str


class BatchRow(Struct, frozen=True):
    """The batches that a provider works on itself."""

    dialect: str
    """A module of `dialects/batches`."""
    path: str
    """Appended to the base URL."""
    endpoints: dict[str, str]
    """What can be asked in them: by an operation's path, what they call it."""
    files: str = ""
    """Where files of requests are kept; empty: requests go with the batch."""
    verified: str = "unverified"
    """As an operation's."""


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
    errors: ErrorCodes | None = None
    """None: errors have a status, and OpenAI's shape or one that is common."""
    telemetry_name: str = ""
    """What OpenTelemetry's conventions call it; empty: as we do."""
    headers: dict[str, str] = {}
    """Of every request, beside the usual ones."""
    signing: Signing | None = None
    """None: nothing is signed."""
    models_path: str = "/models"
    """Appended to the base URL: lists its models, which shows that it answers."""
    resources: dict[str, str] = {}
    """By API family (`openai`, `anthropic`), what stands between the base URL and the
    paths of what it keeps: files, batches, threads …; empty: it keeps nothing."""
    batches: BatchRow | None = None
    """None: what can take its time costs as much as what cannot."""
