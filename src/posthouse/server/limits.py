"""What a client may cost the server before it is refused: sizes, rates, times."""

from msgspec import Struct

KIB = 1024
MIB = 1024 * KIB


class ServerLimits(Struct, frozen=True):
    """Limits of every connection; times in seconds, sizes in bytes."""

    connections: int = 20_000
    """Clients connected at one time; a further one is told so and let go."""
    header_timeout: float = 10.0
    """For a whole head, and for a new connection's first byte."""
    head_bytes: int = 64 * KIB
    head_fields: int = 128
    target_bytes: int = 16 * KIB
    """The request target, which is all of a request line that can grow."""
    body_window: float = 10.0
    body_window_bytes: int = KIB
    """A body brings at least this much in every window that we wait for it."""
    idle_timeout: float = 75.0
    """Between two requests; longer than the pools of common clients and proxies
    keep a connection, so that it is they who close it."""
    stall_timeout: float = 60.0
    """A client that takes nothing of a waiting reply for so long is cut."""
    linger: float = 2.0
    """How long an unread request body is thrown away after a refusal, so that
    the client sees the reply and not a reset."""
    buffered_bodies: int = 256 * MIB
    """Request bodies held by the process at one time, all together."""
    sweep_interval: float = 1.0
    """How often the times above are looked at: their resolution."""
