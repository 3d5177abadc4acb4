"""Which channels and credentials can be used now: breakers and cool-downs.

A channel's breaker opens after a number of failures in a row or at an error
rate, for some seconds times the number of ejections in a row; then one live
call is its trial, and nothing else moves it: attempts that began before it
opened tell nothing of it when they end. A credential rests as long as the
provider asked, or until it is known to be good again; the channel's others go
on. After a refusal one call at a time tries a credential again, every ten
minutes, until the provider accepts it. Tables belong to one process. Times are
monotonic seconds.

    closed ──failures──▶ open ──time──▶ half-open ──success──▶ closed
                          ▲                 └──failure──▶ open (longer)
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum
from math import inf

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


_SUCCESS = Verdict.SUCCESS
"""Members of an enumeration are slow to look up for each call."""


class BreakerState(Enum):
    """A channel's breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Rest:
    """Why a credential is not used, and until when."""

    until: float
    reason: Verdict
    trying: bool = False
    """A call has begun to find out whether the refusal still holds."""


@dataclass(frozen=True, slots=True)
class LastError:
    """The last failure of a channel that was not its caller's fault."""

    code: str
    """Our error's."""
    status: int
    """The provider's, 0 when none arrived."""
    at: float


@dataclass(frozen=True, slots=True)
class LastProbe:
    """What came of the last look at a channel."""

    code: str
    """Our error's; empty when all was well."""
    seconds: float
    """That it took."""
    at: float


@dataclass(slots=True)
class ChannelHealth:
    """One channel."""

    consecutive: int = 0
    """Failures in a row."""
    ejections: int = 0
    """In a row; above zero the breaker is not closed."""
    open_until: float = 0.0
    trial: int = 0
    """The number of the trial in flight; 0 is none."""
    trials: int = 0
    window_started: float = -inf
    window_calls: int = 0
    window_failures: int = 0
    resting: dict[int, Rest] = field(default_factory=dict)
    """By the credential's index."""
    last_error: LastError | None = None
    last_probe: LastProbe | None = None

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
        self.ailing: set[str] = set()
        """The channels of which something may be unusable: mostly there are none."""

    def keep_only(self, names: set[str]) -> None:
        """Forget channels that no longer exist."""
        for name in self._channels.keys() - names:
            del self._channels[name]
        self.ailing &= names

    def find(self, channel: str) -> ChannelHealth | None:
        """What is known of a channel; for looking only."""
        return self._channels.get(channel)

    def note(self, channel: str, error: LastError) -> None:
        """Remember a failure, to be shown."""
        entry = self._channels.get(channel)
        if entry is None:
            entry = self._channels[channel] = ChannelHealth()
        entry.last_error = error

    def probed(self, channel: str, probe: LastProbe) -> LastProbe | None:
        """Remember what came of a look, to be shown; give what was there before."""
        entry = self._channels.get(channel)
        if entry is None:
            entry = self._channels[channel] = ChannelHealth()
        before, entry.last_probe = entry.last_probe, probe
        return before

    def let_try(self, channel: str, now: float) -> None:
        """Half-open a breaker that is open: its provider can be reached."""
        entry = self._channels.get(channel)
        if entry is not None and entry.ejections:
            entry.open_until = min(entry.open_until, now)

    def blocked(self, channel: str, credential: int, now: float) -> Blocked | None:
        """Why this target cannot be used now; None if it can."""
        if channel not in self.ailing:
            return None
        entry = self._channels[channel]
        if entry.ejections:
            if entry.state(now) is BreakerState.OPEN:
                return Blocked(Verdict.FAILURE, entry.open_until - now)
            if entry.trial:
                return Blocked(Verdict.FAILURE, OVERLOAD_RETRY_AFTER)
        rest = entry.resting.get(credential)
        if rest is not None and now < rest.until:
            return Blocked(rest.reason, rest.until - now)
        return None

    def breaker(self, channel: str, now: float) -> BreakerState:
        """A channel's breaker at `now`, in monotonic seconds."""
        entry = self._channels.get(channel)
        return BreakerState.CLOSED if entry is None else entry.state(now)

    def resting(self, channel: str, now: float) -> int:
        """How many of a channel's credentials are not used at `now`."""
        entry = self._channels.get(channel)
        if entry is None:
            return 0
        return sum(
            now < rest.until or rest.reason is Verdict.REFUSED
            for rest in entry.resting.values()
        )

    def refused(self, channel: str, credentials: Collection[int], now: float) -> None:
        """Say which of a channel's credentials are known to be refused, and no other.

        They are by their index. One of which that is news rests from now on.
        """
        entry = self._channels.get(channel)
        if entry is None:
            if not credentials:
                return
            entry = self._channels[channel] = ChannelHealth()
        for index, rest in list(entry.resting.items()):
            if rest.reason is Verdict.REFUSED and index not in credentials:
                del entry.resting[index]
        for index in credentials:
            present = entry.resting.get(index)
            if present is None or present.reason is not Verdict.REFUSED:
                entry.resting[index] = Rest(now + REFUSED_REST, Verdict.REFUSED)
        self._judge(channel, entry)

    def begin(self, channel: str, credential: int = -1, now: float = 0.0) -> int:
        """An attempt starts; give its number if it is a trial, else 0.

        One that starts with a refused credential is its only one for a while.
        """
        if channel not in self.ailing:
            return 0
        entry = self._channels[channel]
        rest = entry.resting.get(credential)
        if rest is not None and rest.reason is Verdict.REFUSED:
            entry.resting[credential] = Rest(
                now + REFUSED_REST, Verdict.REFUSED, trying=True
            )
        if not entry.ejections:
            return 0
        entry.trials += 1
        entry.trial = entry.trials
        return entry.trial

    def answering(self, channel: str, trial: int) -> None:
        """An attempt's content has begun to flow, though its end may be far off.

        That is as much as a trial has to show, so the breaker closes. `trial` is
        what `begin` gave.
        """
        entry = self._channels.get(channel)
        if entry is not None and trial and trial == entry.trial:
            entry.consecutive = entry.ejections = entry.trial = 0
            self._judge(channel, entry)

    def end(
        self,
        channel: str,
        credential: int,
        verdict: Verdict,
        now: float,
        *,
        trial: int = 0,
        rest: float | None = None,
    ) -> None:
        """An attempt has ended.

        Args:
            channel: its name.
            credential: the credential's index.
            verdict: what it showed.
            now: monotonic seconds.
            trial: what `begin` gave.
            rest: seconds that the provider asked us to wait, if it did.
        """
        entry = self._channels.get(channel)
        if entry is None:
            entry = self._channels[channel] = ChannelHealth()
        if verdict is _SUCCESS and channel not in self.ailing:
            entry.consecutive = 0
            _count(entry, now)
            return
        # Attempts that began before the breaker opened say nothing new of it.
        telling = not entry.ejections
        if trial and trial == entry.trial:
            entry.trial = 0
            telling = True
        if verdict is Verdict.SUCCESS:
            _succeed(entry, credential, now, telling=telling)
        elif verdict is Verdict.FAILURE:
            if telling:
                self._fail(entry, now)
            if rest:
                _lay_to_rest(entry, credential, Rest(now + rest, verdict))
        elif verdict is Verdict.RATE_LIMITED:
            pause = RATE_LIMIT_REST if rest is None else rest
            _lay_to_rest(entry, credential, Rest(now + pause, verdict))
        elif verdict is Verdict.REFUSED:
            pause = max(REFUSED_REST, rest or 0.0)
            _lay_to_rest(entry, credential, Rest(now + pause, verdict))
        self._judge(channel, entry)

    def _judge(self, channel: str, entry: ChannelHealth) -> None:
        """Remember whether a channel has to be looked at before it is used."""
        if entry.ejections or entry.resting:
            self.ailing.add(channel)
        else:
            self.ailing.discard(channel)

    def _fail(self, entry: ChannelHealth, now: float) -> None:
        """Count a failure, and open the breaker if it is one too many."""
        entry.consecutive += 1
        _count(entry, now)
        entry.window_failures += 1
        failing_often = (
            entry.window_calls >= RATE_SAMPLE
            and entry.window_failures >= ERROR_RATE * entry.window_calls
        )
        # A half-open breaker needs no more than its trial's failure.
        few = entry.consecutive < self._failures and not entry.ejections
        if few and not failing_often:
            return
        entry.ejections += 1
        pause = min(self._seconds * entry.ejections, LONGEST_EJECTION)
        entry.open_until = now + pause
        entry.window_started = -inf


def _succeed(
    entry: ChannelHealth, credential: int, now: float, *, telling: bool
) -> None:
    """Close the breaker if the success tells of it; forget a rest that is over."""
    if telling:
        entry.consecutive = entry.ejections = entry.trial = 0
        _count(entry, now)
    # A success before a rest's end is of an older call, unless it was to find out.
    rest = entry.resting.get(credential)
    if rest is not None and (now >= rest.until or rest.trying):
        del entry.resting[credential]


def _lay_to_rest(entry: ChannelHealth, credential: int, rest: Rest) -> None:
    """Let a credential rest, unless it already does for longer.

    What was refused stays so, whatever else it meets.
    """
    present = entry.resting.get(credential)
    if present is not None and present.reason is Verdict.REFUSED is not rest.reason:
        rest = Rest(rest.until, Verdict.REFUSED)
    if present is None or present.until < rest.until or present.trying:
        entry.resting[credential] = rest


def _count(entry: ChannelHealth, now: float) -> None:
    """Count a call for the error rate."""
    if now - entry.window_started > RATE_WINDOW:
        entry.window_started = now
        entry.window_calls = entry.window_failures = 0
    entry.window_calls += 1
