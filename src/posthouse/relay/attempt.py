"""The one attempt loop: every operation's retries and failovers happen here.

Rules: a few attempts per call and never after content has reached the
client; no waiting while another target is ready; retries are at most a fifth
of the attempts in flight beside them (but always a few), so that a storm of
failures does not become a storm of retries; all attempts together keep the
first channel's total limit; every attempt is recorded, whatever came of it.
"""

import time
from collections.abc import Awaitable, Callable
from math import inf
from typing import TypeVar

from msgspec import Struct

from posthouse.billing.killpoints import reach
from posthouse.errors import (
    NoChannel,
    PosthouseError,
    Retry,
    UpstreamBadResponse,
    UpstreamCredential,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamUnavailable,
)
from posthouse.model.call import AttemptRecord, Outcome
from posthouse.relay.faults import (
    BAD_RESPONSE_ATTEMPTS,
    DEFAULT_RETRY_AFTER,
    SHOWN_RETRY_AFTER,
    AttemptFailed,
    verdict_of,
)
from posthouse.relay.secrecy import conceal
from posthouse.relay.watch import ClientGone
from posthouse.routing.health import Blocked, HealthTable, LastError, Verdict
from posthouse.routing.plan import Plan, Target
from posthouse.routing.table import Member

RETRY_SHARE = 0.2
LEAST_RETRIES = 3
"""Retries in flight that are always allowed."""

# Members of an enumeration are slow to look up for each call.
_NEUTRAL, _SUCCESS, _SERVED = Verdict.NEUTRAL, Verdict.SUCCESS, Outcome.SERVED
T = TypeVar("T")
Release = Callable[[], None]
Chosen = tuple[Target, Release | None]
"""A target with how to release the place on it; None where it has no limits."""
Perform = Callable[[Target, float], Awaitable[T]]
"""Make one attempt on a target within its own limits and so many seconds.

Raises AttemptFailed or ClientGone; anything else is our own fault.
"""
AdmitChannel = Callable[[Target], Release | None]
"""Take a place under a channel's own limits: its release, or None if full."""
AdmitShared = Callable[[Target], Awaitable[Release | None]]
"""Do so where other processes use the channel, too."""


class RetryBudget:
    """How many retries are in flight, by the routes they use."""

    def __init__(self) -> None:
        """Start idle."""
        self._retries: dict[str, int] = {}

    def take(self, group: str, in_flight: int) -> bool:
        """Take one retry, if the attempts in flight allow it."""
        taken = self._retries.get(group, 0)
        if taken >= max(LEAST_RETRIES, RETRY_SHARE * in_flight):
            return False
        self._retries[group] = taken + 1
        return True

    def give_back(self, group: str, retries: int) -> None:
        """A call that took so many retries is over."""
        left = self._retries[group] - retries
        if left:
            self._retries[group] = left
        else:
            del self._retries[group]


class AttemptLog(Struct):
    """The attempts of one call."""

    clock: Callable[[], float]
    """Monotonic seconds."""
    started: float
    """When the call began, by that clock."""
    records: list[AttemptRecord] = []
    target: Target | None = None
    """The last one tried."""
    trial: int = 0
    """The number of the present attempt among its channel's trials; 0: it is none."""
    spans: list[tuple[float, float]] = []
    """When each attempt of the loop's began and ended, by the clock; a request that
    was sent twice is one."""
    stream: bool = False
    """Whether the answer is to be streamed."""
    content_at: float = 0.0
    """When the first content came, by the clock; 0: not, or nobody asks."""
    once: bool = False
    """What may have been done by one provider is not asked of another."""
    _resent_at: float = 0.0

    @property
    def tries(self) -> int:
        """How often the loop has tried."""
        return len(self.spans)

    def resending(self) -> None:
        """Note that the present attempt's request is sent once more.

        The provider had closed the connection that was kept for it. Nobody
        knows whether it has read the request, and what it asks for that.
        """
        self._resent_at = self.clock()

    def add(
        self,
        target: Target,
        span: tuple[float, float],
        outcome: Outcome,
        ended: AttemptFailed | ClientGone | None = None,
    ) -> None:
        """Record an attempt that is over.

        Args:
            target: where it went.
            span: when it began and ended, by the clock.
            outcome: what came of it.
            ended: what ended it before its end.
        """
        self.target = target
        self.spans.append(span)
        began, now = span
        member = target.member
        if self._resent_at:
            self._add_lost(member, began)
            began, self._resent_at = self._resent_at, 0.0
        self.records.append(
            AttemptRecord(
                member.channel.name,
                member.credential,
                member.upstream_model,
                int((began - self.started) * 1000),
                int((now - began) * 1000),
                outcome,
                "" if ended is None else ended.code,
                200 if ended is None else ended.status,
                None if ended is None or not ended.free else 0,
            )
        )

    def join(self, other: "AttemptLog") -> None:
        """Add the attempts of a log that is another's part."""
        self.records += other.records
        self.spans += other.spans
        self.target = other.target or self.target

    def upstream_seconds(self) -> float:
        """For how long at least one attempt was under way."""
        if len(self.spans) == 1:
            began, ended = self.spans[0]
            return ended - began
        seconds = until = 0.0
        for began, ended in sorted(self.spans):
            seconds += max(0.0, ended - max(began, until))
            until = max(until, ended)
        return seconds

    def _add_lost(self, member: Member, began: float) -> None:
        """Record the request that was sent in vain, at a cost that is not known."""
        self.records.append(
            AttemptRecord(
                member.channel.name,
                member.credential,
                member.upstream_model,
                int((began - self.started) * 1000),
                int((self._resent_at - began) * 1000),
                Outcome.FAILED,
                UpstreamUnavailable.code,
                0,
                None,
            )
        )


class AttemptLoop:
    """Tries the targets of a plan until one serves the call."""

    def __init__(
        self,
        health: HealthTable,
        admit_channel: AdmitChannel,
        *,
        admit_shared: AdmitShared | None = None,
        most_attempts: int = 3,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Share one loop among all calls of a process.

        With `admit_shared` that is asked instead of `admit_channel`.
        """
        self._health = health
        self._admit = admit_channel
        self._admit_shared = admit_shared
        self._most_attempts = most_attempts
        self._budget = RetryBudget()
        self._clock = clock

    async def run(
        self,
        plan: Plan,
        log: AttemptLog,
        perform: Perform[T],
        first: Chosen | None = None,
    ) -> T:
        """Serve a call; raises PosthouseError or ClientGone.

        Args:
            plan: where to.
            log: takes a record of every attempt.
            perform: makes one attempt.
            first: what `choose` has given for the first one, if it was asked.
        """
        now = self._clock()
        target, release = first or self._next(plan, None, now)
        if self._admit_shared is not None and first is None:
            target, release = await self._claim(plan, (target, release), None)
            now = self._clock()
        log.stream = plan.stream
        began = self._begin(target, log)
        try:
            # It has the limits of its channel, which are no wider than all have.
            result = await perform(target, inf)
        except BaseException as error:
            self._failed(target, log, began, error)
            if not isinstance(error, AttemptFailed):
                raise
            failed = error
        else:
            self._served(target, log, began)
            return result
        finally:
            if release is not None:
                release()
        deadline = now + plan.seconds(target)
        last = target, failed
        return await self._try_on(plan, log, perform, last, deadline=deadline)

    async def _try_on(
        self,
        plan: Plan,
        log: AttemptLog,
        perform: Perform[T],
        last: tuple[Target, AttemptFailed],
        *,
        deadline: float,
    ) -> T:
        """Serve a call whose first attempt, the last one by now, has failed."""
        target, failed = last
        retries = 0
        try:
            while True:
                self.exclude(plan, target, failed)
                if not self.may_retry(log, failed, deadline):
                    raise failed.error
                reach("before_retry")
                target, release = await self.choose(plan, failed)
                if not self.take_retry(plan):
                    if release is not None:
                        release()
                    raise failed.error
                retries += 1
                try:
                    return await self.attempt(target, log, perform, deadline)
                except AttemptFailed as error:
                    failed = error
                finally:
                    if release is not None:
                        release()
        finally:
            if retries:
                self.give_back(plan, retries)

    # --- what a race is made of, too ----------------------------------------------

    def clock(self) -> float:
        """Monotonic seconds."""
        return self._clock()

    async def choose(self, plan: Plan, failed: AttemptFailed | None) -> Chosen:
        """Choose a target and take a place on it; raises PosthouseError.

        `failed` is what made it necessary, if it is not the first.
        """
        chosen = self._next(plan, failed, self._clock())
        return await self._claim(plan, chosen, failed)

    def take_retry(self, plan: Plan) -> bool:
        """Take one retry from the budget, if there is one."""
        return self._budget.take(plan.group, plan.in_flight())

    def give_back(self, plan: Plan, retries: int) -> None:
        """A call that took so many retries is over."""
        self._budget.give_back(plan.group, retries)

    def has_attempts(self, tries: int) -> bool:
        """Whether a call that has made so many attempts may make another."""
        return tries < self._most_attempts

    def _next(
        self,
        plan: Plan,
        failed: AttemptFailed | None,
        now: float,
        *,
        full: bool = False,
    ) -> Chosen:
        """Choose a target and take a place on it; raises PosthouseError.

        Gives how to release the place; None where the channel has no limits,
        and where they are shared: `_claim` follows then.
        """
        while True:
            target = plan.next(now)
            if target is None:
                if failed is not None:
                    raise failed.error
                raise _unavailable(plan.blocked, full=full)
            channel = target.member.channel
            if not channel.limited or self._admit_shared is not None:
                return target, None
            release = self._admit(target)
            if release is not None:
                return target, release
            full = True
            plan.exclude_channel(channel.name)

    async def _claim(
        self,
        plan: Plan,
        chosen: Chosen,
        failed: AttemptFailed | None,
    ) -> Chosen:
        """Take a place where limits are shared, if need be on another target.

        Elsewhere `_next` has taken it.
        """
        target, release = chosen
        admit = self._admit_shared
        while admit is not None and target.member.channel.limited:
            release = await admit(target)
            if release is not None:
                return target, release
            plan.exclude_channel(target.member.channel.name)
            target, release = self._next(plan, failed, self._clock(), full=True)
        return target, release

    async def attempt(
        self, target: Target, log: AttemptLog, perform: Perform[T], deadline: float
    ) -> T:
        """Make one attempt and tell health, load and log what came of it."""
        began = self._begin(target, log)
        try:
            result = await perform(target, deadline - began)
        except BaseException as error:
            self._failed(target, log, began, error)
            raise
        self._served(target, log, began)
        return result

    def _begin(self, target: Target, log: AttemptLog) -> float:
        """An attempt begins; `_served` or `_failed` is told its end. Give the time."""
        began = self._clock()
        trial = 0
        if self._health.ailing:
            member = target.member
            trial = self._health.begin(member.channel.name, member.credential, began)
        log.trial = trial
        target.begin()
        return began

    def _served(self, target: Target, log: AttemptLog, began: float) -> None:
        """An attempt has served the call."""
        now = self._clock()
        log.add(target, (began, now), _SERVED)
        self._over(target, log, _SUCCESS, now)

    def _failed(
        self, target: Target, log: AttemptLog, began: float, error: BaseException
    ) -> None:
        """An attempt was ended by an error."""
        now = self._clock()
        verdict, rest = _NEUTRAL, None
        if isinstance(error, AttemptFailed):
            channel = target.member.channel
            conceal(error.error, channel)
            verdict, rest = verdict_of(error), error.rest
            log.add(target, (began, now), _outcome(error), error)
            if verdict is not _NEUTRAL:
                last = LastError(error.code, error.status, now)
                self._health.note(channel.name, last)
        elif isinstance(error, ClientGone):
            log.add(target, (began, now), Outcome.ABANDONED, error)
        self._over(target, log, verdict, now, rest=rest)

    def _over(
        self,
        target: Target,
        log: AttemptLog,
        verdict: Verdict,
        now: float,
        *,
        rest: float | None = None,
    ) -> None:
        """Tell load, policy and health of an attempt's end."""
        target.end()
        if target.routes.choice is not None:
            _observe(target, log, verdict)
        member = target.member
        name = member.channel.name
        if member.channel.sandbox:
            # Its faults are asked for; they say nothing to other callers.
            verdict = _NEUTRAL
        trial = log.trial
        self._health.end(name, member.credential, verdict, now, trial=trial, rest=rest)

    def exclude(self, plan: Plan, target: Target, failed: AttemptFailed) -> None:
        """Try what failed no more in this call, unless it may do better."""
        member = target.member
        if failed.retry is Retry.AGAIN:
            return
        if failed.retry is Retry.CREDENTIAL:
            plan.exclude_credential(member.channel.name, member.credential)
        else:
            plan.exclude_channel(member.channel.name)

    def may_retry(
        self, log: AttemptLog, failed: AttemptFailed, deadline: float
    ) -> bool:
        """Whether another attempt is allowed after this failure."""
        if failed.retry is Retry.NEVER or self._clock() >= deadline:
            return False
        if log.once and failed.sent and not failed.status:
            return False
        most = self._most_attempts
        if isinstance(failed.error, UpstreamBadResponse):
            most = min(most, BAD_RESPONSE_ATTEMPTS)
        return log.tries < most


def _observe(target: Target, log: AttemptLog, verdict: Verdict) -> None:
    """Tell a policy how soon its choice has answered, or that it failed."""
    choice = target.routes.choice
    if choice is None or choice.policy is None:
        return
    if verdict is not Verdict.SUCCESS and verdict is not Verdict.FAILURE:
        return
    began, ended = log.spans[-1]
    choice.policy.observe(
        target.member,
        (log.content_at or ended) - began,
        ended,
        stream=log.stream,
        failed=verdict is Verdict.FAILURE and not log.content_at,
    )


def _outcome(failed: AttemptFailed) -> Outcome:
    if failed.delivered:
        return Outcome.INTERRUPTED
    if isinstance(failed.error, UpstreamRejected):
        return Outcome.REJECTED
    return Outcome.FAILED


def _unavailable(blocked: list[Blocked], *, full: bool) -> PosthouseError:
    """The error of a call for which nothing can be tried now."""
    if not blocked:
        if full:
            return UpstreamRateLimited(retry_after=DEFAULT_RETRY_AFTER)
        return NoChannel(retry_after=DEFAULT_RETRY_AFTER)
    soonest = min(blocked, key=lambda block: block.seconds)
    low, high = SHOWN_RETRY_AFTER
    wait = min(max(soonest.seconds, low), high)
    if soonest.reason is Verdict.RATE_LIMITED:
        return UpstreamRateLimited(retry_after=wait)
    if soonest.reason is Verdict.REFUSED:
        return UpstreamCredential(retry_after=wait)
    return UpstreamOverloaded(retry_after=wait)
