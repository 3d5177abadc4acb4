"""The configuration file's shape: what an operator may write, and nothing else.

`posthouse.example.toml` shows every key. Unknown keys are refused with their
line. Amounts are decimal strings; durations are seconds.

Values that hold a secret never show it: their repr names them and no more.
"""

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct, field
from typing_extensions import override


class Guarded(Struct, frozen=True):
    """A value some of whose fields are secret; it never shows those."""

    __secret__ = frozenset[str]()

    @override
    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Give the fields as they may be seen, also to terminals."""
        fields = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return [
            (name, "…" if value and name in self.__secret__ else value)
            for name, value in fields
        ]

    @override
    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"


class ModelEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """A model that a channel offers under a public name of its own."""

    public: str
    upstream: str
    links: bool = False
    """Whether links to files in a user's words are followed and given to it."""


class ChannelLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """What a channel takes at most; None is no limit."""

    concurrency: int | None = None
    rpm: int | None = None


class ChannelTimeouts(Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds; None takes the default."""

    connect: float | None = None
    first_byte: float | None = None
    idle: float | None = None
    total: float | None = None


class ProbeSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Looks at a channel while no call does."""

    every: float
    """Seconds."""
    model: str | None = None
    """The public name of a model that is asked for one token of a chat; None: the
    provider is asked for its list of models."""


class BodyEdits(Struct, frozen=True, forbid_unknown_fields=True):
    """Edits of every JSON body that goes to a channel."""

    set: dict[str, Any] = {}
    drop: tuple[str, ...] = ()


class ChannelSpec(Guarded, frozen=True, forbid_unknown_fields=True):
    """One account at a provider."""

    __secret__ = frozenset({"api_key", "headers", "proxy"})

    name: str
    provider: str
    base_url: str | None = None
    api_key: str | tuple[str, ...] = ()
    """Literal, env:NAME or file:PATH, or a list of them."""
    models: tuple[str | ModelEntry, ...] | None = None
    priority: int = 0
    weight: int = 1
    limits: ChannelLimits = ChannelLimits()
    timeouts: ChannelTimeouts = ChannelTimeouts()
    proxy: str | None = None
    headers: dict[str, str] = {}
    body: BodyEdits = BodyEdits()
    on_disconnect: Literal["cancel", "drain"] = "cancel"
    resources: Literal["owned", "shared", "off"] = "owned"
    """Whose the things are that it keeps: each caller's own, everybody's, or they are
    not reached at all."""
    batches: Literal["upstream", "here"] = "upstream"
    """Whether batches go to the provider as batches, where it takes them, or their
    lines one by one."""
    probe: ProbeSpec | None = None
    enabled: bool = True


class KeySpec(Guarded, frozen=True, forbid_unknown_fields=True):
    """One key of an application."""

    __secret__ = frozenset({"key"})

    name: str
    key: str | None = None
    """Literal, env:NAME or file:PATH; None or the example's `sk-…`: one is made."""
    balance_usd: str | None = None
    models: tuple[str, ...] | None = None
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    ips: tuple[str, ...] = ()
    expires: datetime | None = None
    sandbox: bool = False
    group: str | None = None
    """What rules of routing may ask for."""


class PriceSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """A price that overrides the catalog's, or a channel's supplier cost.

    Token units are USD per 1,000,000; the others USD per one unit.
    """

    model: str
    channel: str | None = None
    free: bool = False
    input: str | None = None
    cached_input: str | None = None
    cached_audio_input: str | None = None
    cache_write_5m: str | None = None
    cache_write_1h: str | None = None
    audio_input: str | None = None
    image_input: str | None = None
    output: str | None = None
    reasoning: str | None = None
    audio_output: str | None = None
    image_output: str | None = None
    image: str | None = None
    second: str | None = None
    character: str | None = None
    page: str | None = None
    search: str | None = None
    task: str | None = None
    request: str | None = None


class FallbackSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Other models to serve when every channel of the first has failed."""

    model: str
    to: tuple[str, ...]


PolicyName = Literal["weighted", "lowest_cost", "lowest_latency", "least_busy"]
Words = str | tuple[str, ...]
"""One pattern or several, of which one must match; `*` is any run of characters."""


class HedgeSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """A second attempt beside the first one when that is slow."""

    after: float
    """Seconds without content."""


class RoutingSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """How the channels of a model are chosen among, within a priority."""

    model: str
    """A name or a wildcard; the most specific entry wins."""
    policy: PolicyName = "weighted"
    hedge: HedgeSpec | None = None


class TokenRange(Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds of an estimated number of tokens; neither belongs to the range."""

    above: int | None = None
    below: int | None = None


class RuleWhen(Struct, frozen=True, forbid_unknown_fields=True):
    """What a rule asks of a call; all that is given must hold."""

    key: Words | None = None
    group: Words | None = None
    model: Words | None = None
    metadata: dict[str, Words] = {}
    prompt_tokens: TokenRange | None = None


class RuleUse(Struct, frozen=True, forbid_unknown_fields=True):
    """What a rule makes of the calls that it is for."""

    model: str | None = None
    """Another model that serves them, at its own price."""
    channels: tuple[str, ...] | None = None
    """The only ones that may."""
    policy: PolicyName | None = None


class RuleSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Where calls of a certain kind go; the first rule that holds decides."""

    name: str
    use: RuleUse
    when: RuleWhen = RuleWhen()


class ServerSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the server; POSTHOUSE_* variables win over them."""

    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    durability: Literal["process", "power"] = "process"


class TelemetrySpec(Struct, frozen=True, forbid_unknown_fields=True):
    """What is sent to an OpenTelemetry collector; variables win over it."""

    endpoint: str | None = None
    signals: tuple[str, ...] = ("traces", "metrics", "logs")
    sample: float = 1.0
    propagate: Literal["off", "on"] = "off"


class ConfigurationFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    channels: tuple[ChannelSpec, ...] = ()
    keys: tuple[KeySpec, ...] = ()
    prices: tuple[PriceSpec, ...] = ()
    fallbacks: tuple[FallbackSpec, ...] = ()
    routing: tuple[RoutingSpec, ...] = ()
    rules: tuple[RuleSpec, ...] = ()
    server: ServerSpec = field(default_factory=ServerSpec)
    telemetry: TelemetrySpec = field(default_factory=TelemetrySpec)
