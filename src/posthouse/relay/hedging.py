"""Hedged calls: a second attempt beside the first one when that is slow.

The first attempt to bring content serves the call; the other one is cancelled
and recorded, at a cost that is not known unless nothing of it was sent. Of
both together there is one reply and one settlement. A hedge is a retry to the
budget of retries and to the number of attempts; to a breaker an attempt that
was cancelled says nothing. Where both fail the call goes on as any other.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from msgspec import Struct, structs

from posthouse.errors import PosthouseError
from posthouse.model.call import AttemptRecord, Outcome
from posthouse.model.exchange import Certainty
from posthouse.relay.attempt import AttemptLog, AttemptLoop, Chosen, Release
from posthouse.relay.faults import AttemptFailed
from posthouse.relay.watch import ClientGone
from posthouse.routing.plan import Plan, Target

T = TypeVar("T")

Claim = Callable[[], None]
"""Told by an attempt that is about to give content to the client: the others end."""


class Lane(Struct, Generic[T]):
    """One attempt of several under way, with what belongs to it alone."""

    log: AttemptLog
    perform: Callable[[Target, float], Awaitable[T]]
    enter: Callable[[], None]
    """Called in the task that makes the attempt, before it begins."""


MakeLane = Callable[[Claim], Lane[T]]


class _Running(Struct, Generic[T]):
    """An attempt under way."""

    lane: Lane[T]
    target: Target
    began: float
    task: "asyncio.Task[T]"


class Race(Generic[T]):
    """One call, served by whichever of its attempts is first."""

    def __init__(
        self, loop: AttemptLoop, plan: Plan, log: AttemptLog, make: MakeLane[T]
    ) -> None:
        """Prepare; `make` gives a lane for each attempt."""
        self._loop = loop
        self._plan = plan
        self._log = log
        self._make = make
        self._running: list[_Running[T]] = []
        self._claimed = False
        self._gone: tuple[_Running[T], ClientGone] | None = None
        self._retries = 0
        self._deadline = 0.0

    async def run(self, after: float, first: Chosen | None = None) -> T:
        """Serve the call; raises PosthouseError or ClientGone.

        Args:
            after: seconds without content until a second target is asked as well.
            first: what the loop has chosen for the first attempt, if it was asked.
        """
        if first is None:
            first = await self._loop.choose(self._plan, None)
        self._deadline = self._loop.clock() + self._plan.seconds(first[0])
        self._begin(*first)
        wait: float | None = after
        try:
            while True:
                done, _ = await asyncio.wait(
                    [one.task for one in self._running],
                    timeout=wait,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                wait = None
                if not done:
                    await self._hedge()
                    continue
                over = [one for one in self._running if one.task in done]
                winner = await self._judge(over)
                if winner is not None:
                    return winner.task.result()
        finally:
            await self._end()

    async def _judge(self, over: list[_Running[T]]) -> _Running[T] | None:
        """Look at attempts that have ended; give the one that serves the call.

        Where all have failed another one begins. Raises what ends the call.
        """
        failed: AttemptFailed | None = None
        for one in over:
            if one.task.cancelled():
                self._running.remove(one)
                self._lose(one)
                continue
            error = one.task.exception()
            if error is None:
                return one
            self._running.remove(one)
            if isinstance(error, ClientGone):
                self._gone = one, error
                raise error
            self._log.join(one.lane.log)
            if not isinstance(error, AttemptFailed):
                raise error
            failed = error
            self._loop.exclude(self._plan, one.target, failed)
            if failed.delivered:
                raise failed.error
        if not self._running:
            if failed is None:
                raise asyncio.CancelledError
            await self._next(failed)
        return None

    async def _next(self, failed: AttemptFailed) -> None:
        """Begin another attempt after a failure, or raise its error."""
        if not self._loop.may_retry(self._log, failed, self._deadline):
            raise failed.error
        chosen = await self._loop.choose(self._plan, failed)
        if not self._take_retry(chosen[1]):
            raise failed.error
        self._begin(*chosen)

    async def _hedge(self) -> None:
        """Begin a second attempt on another channel of the same model, if it may be."""
        present = self._running[0]
        if self._claimed or not self._loop.has_attempts(self._log.tries + 1):
            return
        self._plan.exclude_channel(present.target.member.channel.name)
        try:
            chosen = await self._loop.choose(self._plan, None)
        except PosthouseError:
            return
        other = chosen[0].routes.model != present.target.routes.model
        if other or present.task.done() or self._claimed:
            # Slowness is no reason for another model; or content came meanwhile.
            _release(chosen[1])
        elif self._take_retry(chosen[1]):
            self._begin(*chosen)

    def _take_retry(self, release: Release | None) -> bool:
        """Take a retry from the budget, or let go of the place for it."""
        if not self._loop.take_retry(self._plan):
            _release(release)
            return False
        self._retries += 1
        return True

    def _begin(self, target: Target, release: Release | None) -> None:
        lane = self._make(lambda: self._claim(lane))
        lane.log.stream = self._plan.stream
        work = self._attempt(lane, target, release)
        task = asyncio.create_task(work)
        self._running.append(_Running(lane, target, self._loop.clock(), task))

    async def _attempt(
        self, lane: Lane[T], target: Target, release: Release | None
    ) -> T:
        try:
            lane.enter()
            return await self._loop.attempt(
                target, lane.log, lane.perform, self._deadline
            )
        finally:
            _release(release)

    def _claim(self, lane: Lane[T]) -> None:
        """Let one attempt have the client; all others end."""
        self._claimed = True
        for one in self._running:
            if one.lane is not lane:
                one.task.cancel()

    async def _end(self) -> None:
        """Cancel what is under way, and put the records together.

        The one that stands for the call comes last.
        """
        last = None
        for one in self._running:
            one.task.cancel()
        for one in self._running:
            await asyncio.wait([one.task])
            if last is None and _has_served(one.task):
                last = one
            else:
                self._lose(one)
        if self._gone is not None:
            last, gone = self._gone
            gone.sent = gone.sent or any(
                record.cost is None for record in self._log.records
            )
        if last is not None:
            self._log.join(last.lane.log)
        if self._retries:
            self._loop.give_back(self._plan, self._retries)

    def _lose(self, one: _Running[T]) -> None:
        """Record an attempt that another one made needless, or the client's leaving."""
        self._record_lost(one)
        self._log.join(one.lane.log)

    def _record_lost(self, one: _Running[T]) -> None:
        log = one.lane.log
        now = self._loop.clock()
        if log.records:
            # It came to an end after all, which nobody saw.
            last = log.records[-1]
            log.records[-1] = structs.replace(last, outcome=Outcome.ABANDONED)
            return
        member = one.target.member
        log.target = one.target
        log.spans.append((one.began, now))
        log.records.append(
            AttemptRecord(
                member.channel.name,
                member.credential,
                member.upstream_model,
                int((one.began - log.started) * 1000),
                int((now - one.began) * 1000),
                Outcome.ABANDONED,
                "",
                0,
                0 if _was_unsent(one.task) else None,
            )
        )
        choice = one.target.routes.choice
        if choice is not None and choice.policy is not None:
            # It would have taken longer still.
            choice.policy.observe(
                member, now - one.began, now, stream=log.stream, failed=False
            )


def _release(release: Release | None) -> None:
    if release is not None:
        release()


def _has_served(task: "asyncio.Task[T]") -> bool:
    return not task.cancelled() and task.exception() is None


def _was_unsent(task: "asyncio.Task[T]") -> bool:
    """Whether a cancelled attempt had sent nothing."""
    try:
        task.result()
    except asyncio.CancelledError as cancelled:
        return Certainty.NOT_SENT in cancelled.args
    except Exception:  # noqa: BLE001 - whatever it met, it was not cancelled
        return False
    return False
