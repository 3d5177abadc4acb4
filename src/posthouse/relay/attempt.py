"""The one attempt loop: every operation's retries and failovers happen here.

Rules: a few attempts per call and never after content has reached the
client; no waiting while another target is ready; retries are at most a fifth
of the calls in flight for a model (but always a few), so that a storm of
failures does not become a storm of retries; all attempts together keep the
first channel's total limit; every attempt is recorded, whatever came of it.
"""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from posthouse.errors import (
    NoChannel,
    PosthouseError,
    Retry,
    UpstreamBadResponse,
    UpstreamCredential,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRejected,
)
from posthouse.model.call import AttemptRecord, Outcome
from posthouse.relay.faults import (
    BAD_RESPONSE_ATTEMPTS,
    DEFAULT_RETRY_AFTER,
    SHOWN_RETRY_AFTER,
    AttemptFailed,
    verdict_of,
)
from posthouse.relay.watch import ClientGone
from posthouse.routing.health import Blocked, HealthTable, Verdict
from posthouse.routing.plan import Plan, Target

RETRY_SHARE = 0.2
LEAST_RETRIES = 3
"""Retries in flight that are always allowed."""

T = TypeVar("T")
Perform = Callable[[Target, float], Awaitable[T]]
"""Make one attempt on a target within so many seconds.

Raises AttemptFailed or ClientGone; anything else is our own fault.
"""
AdmitChannel = Callable[[Target], Callable[[], None] | None]
"""Take a place under a channel's own limits: its release, or None if full."""


class RetryBudget:
    """How many calls and retries are in flight, by the routes they use."""

    def __init__(self) -> None:
        """Start idle."""
        self._calls: dict[str, int] = {}
        self._retries: dict[str, int] = {}

    def begin(self, group: str) -> None:
        """A call starts."""
        self._calls[group] = self._calls.get(group, 0) + 1

    def end(self, group: str, retries: int) -> None:
        """A call that held so many retries is over."""
        self._calls[group] -= 1
        if not self._calls[group]:
            del self._calls[group]
        if retries:
            self._retries[group] -= retries
            if not self._retries[group]:
                del self._retries[group]

    def take(self, group: str) -> bool:
        """Take one retry, if the budget has one."""
        taken = self._retries.get(group, 0)
        if taken >= max(LEAST_RETRIES, RETRY_SHARE * self._calls.get(group, 0)):
            return False
        self._retries[group] = taken + 1
        return True


class AttemptLog:
    """The attempts of one call."""

    __slots__ = ("_clock", "_started", "records", "target")

    def __init__(self, clock: Callable[[], float], started: float) -> None:
        """Log attempts by `clock`, relative to `started`, in seconds."""
        self._clock = clock
        self._started = started
        self.records: list[AttemptRecord] = []
        self.target: Target | None = None
        """The last one tried."""

    def add(
        self,
        target: Target,
        began: float,
        outcome: Outcome,
        failed: AttemptFailed | None = None,
    ) -> None:
        """Record an attempt that is over."""
        self.target = target
        member = target.member
        self.records.append(
            AttemptRecord(
                member.channel.name,
                member.credential,
                member.upstream_model,
                int((began - self._started) * 1000),
                int((self._clock() - began) * 1000),
                outcome,
                failed.error.code if failed else "",
                failed.status if failed else 200,
                0 if failed is not None and failed.free else None,
            )
        )


class AttemptLoop:
    """Tries the targets of a plan until one serves the call."""

    def __init__(
        self,
        health: HealthTable,
        admit_channel: AdmitChannel,
        *,
        most_attempts: int = 3,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Share one loop among all calls of a process."""
        self._health = health
        self._admit = admit_channel
        self._most_attempts = most_attempts
        self._budget = RetryBudget()
        self._clock = clock

    async def run(self, plan: Plan, log: AttemptLog, perform: Perform[T]) -> T:
        """Serve a call; raises PosthouseError or ClientGone.

        Args:
            plan: where to.
            log: takes a record of every attempt.
            perform: makes one attempt.
        """
        group = plan.group
        self._budget.begin(group)
        retries = 0
        failed: AttemptFailed | None = None
        deadline = 0.0
        try:
            while True:
                target, release = self._next(plan, failed)
                if failed is None:
                    deadline = self._clock() + plan.seconds(target)
                try:
                    return await self._attempt(
                        target, log, perform, deadline - self._clock()
                    )
                except AttemptFailed as error:
                    failed = error
                finally:
                    release()
                self._exclude(plan, target, failed)
                if not self._may_retry(log, failed, deadline):
                    raise failed.error
                if not self._budget.take(group):
                    raise failed.error
                retries += 1
        finally:
            self._budget.end(group, retries)

    def _next(
        self, plan: Plan, failed: AttemptFailed | None
    ) -> tuple[Target, Callable[[], None]]:
        """Choose a target and take a place on it; raises PosthouseError."""
        full = False
        while True:
            target = plan.next(self._clock())
            if target is None:
                if failed is not None:
                    raise failed.error
                raise _unavailable(plan.blocked, full=full)
            release = self._admit(target)
            if release is not None:
                return target, release
            full = True
            plan.exclude_channel(target.member.channel.name)

    async def _attempt(
        self, target: Target, log: AttemptLog, perform: Perform[T], seconds: float
    ) -> T:
        """Make one attempt and tell health, load and log what came of it."""
        channel = target.member.channel.name
        trial = self._health.begin(channel)
        target.begin()
        began = self._clock()
        verdict = Verdict.NEUTRAL
        rest = None
        try:
            result = await perform(target, seconds)
        except AttemptFailed as failed:
            verdict, rest = verdict_of(failed), failed.rest
            log.add(target, began, _outcome(failed), failed)
            raise
        except ClientGone:
            log.add(target, began, Outcome.ABANDONED)
            raise
        else:
            verdict = Verdict.SUCCESS
            log.add(target, began, Outcome.SERVED)
            return result
        finally:
            target.end()
            if target.member.channel.sandbox:
                # Its faults are asked for; they say nothing to other callers.
                verdict = Verdict.NEUTRAL
            self._health.end(
                channel,
                target.member.credential,
                verdict,
                self._clock(),
                trial=trial,
                rest=rest,
            )

    def _exclude(self, plan: Plan, target: Target, failed: AttemptFailed) -> None:
        """Try what failed no more in this call."""
        member = target.member
        if failed.retry is Retry.CREDENTIAL:
            plan.exclude_credential(member.channel.name, member.credential)
        else:
            plan.exclude_channel(member.channel.name)

    def _may_retry(
        self, log: AttemptLog, failed: AttemptFailed, deadline: float
    ) -> bool:
        """Whether another attempt is allowed after this failure."""
        if failed.retry is Retry.NEVER or self._clock() >= deadline:
            return False
        most = self._most_attempts
        if isinstance(failed.error, UpstreamBadResponse):
            most = min(most, BAD_RESPONSE_ATTEMPTS)
        return len(log.records) < most


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
