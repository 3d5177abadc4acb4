"""One HTTP exchange with a provider, as values: what goes out, what can fail.

Adapters render an `UpstreamRequest` (pure); `upstream` sends it.
"""

from enum import Enum

from msgspec import Struct
from typing_extensions import override


class Timeouts(Struct, frozen=True):
    """Limits of one exchange, in seconds."""

    connect: float = 5.0
    first_byte: float = 120.0
    """From the request's last byte to the reply's first."""
    idle: float = 60.0
    """Between two reads of the reply's body."""
    total: float = 600.0


class UpstreamRequest(Struct, frozen=True, gc=False):
    """A request ready to be sent.

    `origin` is `scheme://host[:port]` without a path and `target` the path
    and query. `headers` are complete but for Host, Content-Length and
    Connection, which the sender owns. `proxy` is a URL or None.
    """

    method: str
    origin: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    timeouts: Timeouts
    proxy: str | None = None

    @override
    def __repr__(self) -> str:
        """Say where it goes; the rest may hold credentials."""
        return f"UpstreamRequest({self.method!r}, {self.origin!r})"


class Certainty(Enum):
    """How far a request had come when it failed (promises §4.2 b)."""

    NOT_SENT = "not_sent"
    """No byte of it reached the provider."""
    POSSIBLY_ACCEPTED = "possibly_accepted"
    """Some or all of it was sent, no reply began."""
    RESPONSE_STARTED = "response_started"
    """A reply's status line had arrived."""


class FailureKind(Enum):
    """Why an exchange failed."""

    CONNECT = "connect"
    """Refused, unreachable, DNS or TLS failure, or the connect limit."""
    RESET = "reset"
    """The connection broke, or ended before the reply was whole."""
    PROTOCOL = "protocol"
    """What arrived was not HTTP/1.1, or broke its limits."""
    FIRST_BYTE_TIMEOUT = "first_byte_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    TOO_LARGE = "too_large"
    ABORTED = "aborted"
    """We closed it ourselves."""
    REFUSED_TARGET = "refused_target"
    """The address is one that no channel may point at."""


class ExchangeFailure(Exception):
    """An exchange with a provider failed below the level of HTTP status."""

    def __init__(
        self, kind: FailureKind, certainty: Certainty, detail: str = ""
    ) -> None:
        """Keep the cause; `detail` is for logs and never shown to a client."""
        self.kind = kind
        self.certainty = certainty
        self.detail = detail
        super().__init__(f"{kind.value}: {detail}" if detail else kind.value)


class ScriptEnd(Enum):
    """What an in-process provider does after its last byte."""

    KEEP = "keep"
    """Keep the connection alive."""
    CLOSE = "close"
    RESET = "reset"


class ScriptStep(Struct, frozen=True):
    """After `delay` seconds, these bytes arrive."""

    delay: float
    data: bytes


class Script(Struct, frozen=True):
    """The raw bytes, head included, that an in-process provider answers with."""

    steps: tuple[ScriptStep, ...]
    end: ScriptEnd = ScriptEnd.KEEP
