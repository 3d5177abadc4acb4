"""Which channels and credentials can be used now: breakers and cool-downs.

A channel's breaker opens after a number of failures in a row or at an error
rate, for some seconds times the number of ejections in a row; then one live
call is its trial. A credential rests as long as the provider asked, or until somebody
has a look at it. Tables belong to one process. Times are monotonic seconds.

    closed ──failures──▶ open ──time──▶ half-open ──success──▶ closed
                          ▲                 └──failure──▶ open (longer)
"""

from dataclasses import dataclass, field
from enum import Enum

ERROR_RATE = 0.5
RATE_SAMPLE = 20
"""Calls in a window before its error rate says anything."""
RATE_WINDOW = 30.0
LONGEST_EJECTION = 600.0
RATE_LIMIT_REST = 5.0
"""Where the provider did not say how long."""
REFUSED_REST = 600.0
"""After a provider refused a credential; then one call tries it again."""
OVERLOAD_RETRY_AFTER = 5.0


class Verdict(Enum):
    """What an attempt showed about its channel and credential."""

    SUCCESS = "success"
    FAILURE = "failure"
    """Counts against the channel."""
    RATE_LIMITED = "rate_limited"
    REFUSED = "refused"
    """The provider does not accept the credential, or it is out of credit."""
    NEUTRAL = "neutral"
    """Says nothing: the request was at fault, or the client went away."""


class BreakerState(Enum):
    """A channel's breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(slots=True)
class CredentialHealth:
    """One credential of a channel."""

    rests_until: float = 0.0
    reason: Verdict | None = None


@dataclass(slots=True)
class ChannelHealth:
    """One channel."""

    in_flight: int = 0
    consecutive: int = 0
    ejections: int = 0
    open_until: float = 0.0
    trial_in_flight: bool = False
    window_started: float = 0.0
    window_calls: int = 0
    window_failures: int = 0
    credentials: dict[int, CredentialHealth] = field(default_factory=dict)

    def state(self, now: float) -> BreakerState:
        """The breaker's state at `now`."""
        if not self.ejections:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.open_until else BreakerState.HALF_OPEN


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why a target cannot be used now, and for how many seconds."""

    reason: Verdict
    seconds: float


class HealthTable:
    """The health of every channel, by name; outlives configuration changes."""

    def __init__(self, failures: int = 5, seconds: float = 30.0) -> None:
        """Start with everything healthy.

        Args:
            failures: in a row, that take a channel out.
            seconds: for which it is out the first time.
        """
        self._failures = failures
        self._seconds = seconds
        self._channels: dict[str, ChannelHealth] = {}

    def channel(self, name: str) -> ChannelHealth:
        """The entry of a channel, made on first use."""
        entry = self._channels.get(name)
        if entry is None:
            entry = self._channels[name] = ChannelHealth()
        return entry

    def keep_only(self, names: set[str]) -> None:
        """Forget channels that no longer exist."""
        for name in self._channels.keys() - names:
            del self._channels[name]

    def blocked(self, channel: str, credential: int, now: float) -> Blocked | None:
        """Why this target cannot be used now; None if it can."""
        entry = self._channels.get(channel)
        if entry is None:
            return None
        if entry.ejections:
            if now < entry.open_until:
                return Blocked(Verdict.FAILURE, entry.open_until - now)
            if entry.trial_in_flight:
                return Blocked(Verdict.FAILURE, OVERLOAD_RETRY_AFTER)
        rest = entry.credentials.get(credential)
        if rest is not None and now < rest.rests_until:
            reason = rest.reason or Verdict.RATE_LIMITED
            return Blocked(reason, rest.rests_until - now)
        return None

    def begin(self, channel: str) -> bool:
        """An attempt starts; tell whether it is a half-open breaker's trial."""
        entry = self.channel(channel)
        entry.in_flight += 1
        if entry.ejections:
            entry.trial_in_flight = True
            return True
        return False

    def end(
        self,
        channel: str,
        credential: int,
        verdict: Verdict,
        now: float,
        *,
        trial: bool = False,
        rest: float | None = None,
    ) -> None:
        """An attempt has ended.

        Args:
            channel: its name.
            credential: the credential's index.
            verdict: what it showed.
            now: monotonic seconds.
            trial: what `begin` told.
            rest: seconds that the provider asked us to wait, if it did.
        """
        entry = self.channel(channel)
        entry.in_flight -= 1
        if verdict is Verdict.SUCCESS:
            self._succeed(entry, credential, now)
        elif verdict is Verdict.FAILURE:
            self._fail(entry, now, trial=trial)
            if rest:
                entry.credentials[credential] = CredentialHealth(now + rest, verdict)
        elif verdict is not Verdict.NEUTRAL:
            pause = RATE_LIMIT_REST if verdict is Verdict.RATE_LIMITED else REFUSED_REST
            entry.credentials[credential] = CredentialHealth(
                now + (pause if rest is None else rest), verdict
            )
        if trial:
            entry.trial_in_flight = False

    def _succeed(self, entry: ChannelHealth, credential: int, now: float) -> None:
        entry.consecutive = 0
        entry.ejections = 0
        if entry.credentials:
            entry.credentials.pop(credential, None)
        _count(entry, now)

    def _fail(self, entry: ChannelHealth, now: float, *, trial: bool) -> None:
        entry.consecutive += 1
        _count(entry, now)
        entry.window_failures += 1
        failing_often = (
            entry.window_calls >= RATE_SAMPLE
            and entry.window_failures >= ERROR_RATE * entry.window_calls
        )
        if entry.ejections:
            # Late failures of calls that began before it opened add nothing.
            if not trial:
                return
        elif entry.consecutive < self._failures and not failing_often:
            return
        entry.ejections += 1
        pause = min(self._seconds * entry.ejections, LONGEST_EJECTION)
        entry.open_until = now + pause
        entry.window_calls = entry.window_failures = 0


def _count(entry: ChannelHealth, now: float) -> None:
    """Count a call in the error-rate window."""
    if now - entry.window_started > RATE_WINDOW:
        entry.window_started = now
        entry.window_calls = entry.window_failures = 0
    entry.window_calls += 1
