"""What a failed exchange means: which error, what it says of the channel.

Source of the rules: a request that was never sent may go anywhere; one that
may have been accepted is tried again, unless what it asks for is made only once
(`AttemptLog.once`); one whose content has begun to flow never is.
"""

import email.utils
import time
from collections.abc import Callable

from posthouse.errors import (
    PosthouseError,
    Retry,
    UpstreamBadResponse,
    UpstreamCredential,
    UpstreamFault,
    UpstreamInterrupted,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRedirected,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
    UpstreamUnlikeSchema,
)
from posthouse.model.exchange import Certainty, ExchangeFailure, FailureKind
from posthouse.observe.logs import logger
from posthouse.routing.health import Verdict

log = logger("posthouse")

LONGEST_REST = 3600.0
"""Seconds; a provider that asks for more is tried again after that."""
SHOWN_RETRY_AFTER = (1.0, 60.0)
"""What a client is told stays within these seconds."""
DEFAULT_RETRY_AFTER = 5.0
BAD_RESPONSE_ATTEMPTS = 2
"""A reply that cannot be understood is worth one more channel, not more."""


class AttemptFailed(Exception):
    """One attempt did not serve the call."""

    def __init__(
        self,
        error: PosthouseError,
        *,
        status: int = 0,
        delivered: bool = False,
        sent: bool = True,
        rest: float | None = None,
    ) -> None:
        """Keep what the loop decides by.

        Args:
            error: what the client sees if nothing better comes.
            status: the provider's HTTP status, 0 when none arrived; of an error
                that its row declares for status 200, the one that it stands for.
            delivered: content had reached the client; no other attempt may.
            sent: the provider may have received the request.
            rest: seconds that the provider asked us to wait.
        """
        self.error = error
        self.status = status
        self.delivered = delivered
        self.sent = sent
        self.rest = rest
        self.beside = False
        """Other requests of the attempt may have been served."""
        self.unjudged = False
        """It says nothing of the channel, whatever it is."""
        super().__init__(error.code)

    @property
    def code(self) -> str:
        """What is recorded of the attempt."""
        return self.error.code

    @property
    def free(self) -> bool:
        """The provider asks nothing: it never got the request, or refused it."""
        return (not self.sent or self.status >= 300) and not self.beside

    @property
    def retry(self) -> Retry:
        """Where another attempt may go."""
        return Retry.NEVER if self.delivered else self.error.retry


_EXCHANGE_ERRORS: dict[FailureKind, type[PosthouseError]] = {
    FailureKind.CONNECT: UpstreamUnavailable,
    FailureKind.RESET: UpstreamUnavailable,
    FailureKind.PROTOCOL: UpstreamBadResponse,
    FailureKind.FIRST_BYTE_TIMEOUT: UpstreamTimeout,
    FailureKind.IDLE_TIMEOUT: UpstreamTimeout,
    FailureKind.TOTAL_TIMEOUT: UpstreamTimeout,
    FailureKind.TOO_LARGE: UpstreamBadResponse,
    FailureKind.ABORTED: UpstreamInterrupted,
    FailureKind.REFUSED_TARGET: UpstreamUnavailable,
}


def exchange_failed(
    failure: ExchangeFailure, channel: str, *, status: int = 0, delivered: bool = False
) -> AttemptFailed:
    """Judge a failure below the level of HTTP status; broken framing is logged."""
    kind = _EXCHANGE_ERRORS[failure.kind]
    started = failure.certainty is Certainty.RESPONSE_STARTED
    if failure.kind is FailureKind.RESET and started:
        kind = UpstreamInterrupted if delivered else UpstreamBadResponse
    if failure.kind is FailureKind.PROTOCOL and started:
        # Who breaks the framing may be smuggling, or stands between us and them.
        log.warning(
            "a provider's reply is not proper HTTP",
            channel=channel,
            status=status,
            found=failure.detail,
        )
    return AttemptFailed(
        kind(),
        status=status,
        delivered=delivered,
        sent=failure.certainty is not Certainty.NOT_SENT,
    )


def status_failed(
    error: PosthouseError,
    status: int,
    headers: list[tuple[bytes, bytes]],
    *,
    delivered: bool = False,
) -> AttemptFailed:
    """Judge an error reply."""
    rest = retry_after(headers, time.time)
    if isinstance(error, UpstreamRateLimited | UpstreamOverloaded):
        low, high = SHOWN_RETRY_AFTER
        error.retry_after = min(max(rest or DEFAULT_RETRY_AFTER, low), high)
    return AttemptFailed(error, status=status, delivered=delivered, rest=rest)


def told_failed(
    fault: UpstreamFault, headers: list[tuple[bytes, bytes]], *, delivered: bool = False
) -> AttemptFailed:
    """Judge an error inside a reply with status 200.

    One that the provider's row declares is what its status would have been.
    """
    if fault.stands_for:
        return status_failed(fault, fault.stands_for, headers, delivered=delivered)
    return AttemptFailed(fault, status=200, delivered=delivered)


def retry_after(
    headers: list[tuple[bytes, bytes]], clock: Callable[[], float]
) -> float | None:
    """Seconds that a reply asks to wait, at most LONGEST_REST; None: it does not.

    Reads `retry-after-ms`, and `retry-after` in both of its forms (RFC 9110
    §10.2.3). What cannot be read counts as absent.
    """
    for name, value in headers:
        if name not in (b"retry-after", b"retry-after-ms"):
            continue
        seconds = _seconds(value.decode("latin-1").strip(), clock)
        if seconds is None:
            continue
        if name == b"retry-after-ms":
            seconds /= 1000
        return min(max(seconds, 0.0), LONGEST_REST)
    return None


def _seconds(text: str, clock: Callable[[], float]) -> float | None:
    if text.replace(".", "", 1).isascii() and text.replace(".", "", 1).isdigit():
        return float(text)
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() - clock()
    except (ValueError, OverflowError):
        return None


def verdict_of(failed: AttemptFailed) -> Verdict:
    """What a failed attempt says about its channel and credential."""
    error = failed.error
    if failed.unjudged:
        return Verdict.NEUTRAL
    if isinstance(error, UpstreamRejected | UpstreamRedirected | UpstreamUnlikeSchema):
        return Verdict.NEUTRAL
    if isinstance(error, UpstreamRateLimited):
        return Verdict.RATE_LIMITED
    if isinstance(error, UpstreamCredential):
        return Verdict.REFUSED
    return Verdict.FAILURE
