"""Calls for several answers at providers who give one at a time.

Within one attempt the call becomes as many requests to the same target, side by
side. All must succeed: the first that fails ends the others and the attempt, which
may then go elsewhere as any other. Of streams nothing is written before every one
of them has begun; then whichever has something is read.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from typing_extensions import override

from posthouse.dialects.base import StreamTap
from posthouse.dialects.neutral.images import SeveralImages
from posthouse.dialects.neutral.several import Lanes, SeveralTranslation
from posthouse.errors import UpstreamFault
from posthouse.model.exchange import ExchangeFailure
from posthouse.relay.call import Call
from posthouse.relay.faults import AttemptFailed, exchange_failed, told_failed
from posthouse.relay.prepare import Prepared
from posthouse.relay.sending import REPLY_LIMIT, bring, forget_refused, send
from posthouse.relay.served import Completion, Served
from posthouse.relay.watch import ClientGone
from posthouse.routing.plan import Target
from posthouse.upstream.ports import Sender, UpstreamResponse

T = TypeVar("T")


async def whole_replies(
    call: Call,
    sender: Sender,
    target: Target,
    prepared: Prepared,
    *,
    seconds: float,
) -> Served:
    """Make one attempt at all answers; raises AttemptFailed or ClientGone."""

    async def ask(part: Call) -> bytes:
        response = await send(part, sender, target, prepared, seconds=seconds)
        return await _read_all(part, target, response)

    translation = _of(prepared)
    bodies = await _side_by_side(call, prepared, ask)
    public_model = call.public_model(target)
    try:
        reply, each = translation.join(call.incoming.request, bodies, public_model)
    except UpstreamFault as error:
        forget_refused(prepared, error)
        raise told_failed(error, []) from None
    return Served(
        target,
        Completion.WHOLE,
        reply.usage,
        reply.service_tier,
        reply.output_text,
        body=reply.body,
        content_type=reply.content_type,
        each=tuple(each),
    )


async def begin_streams(
    call: Call,
    sender: Sender,
    target: Target,
    prepared: Prepared,
    *,
    seconds: float,
) -> "tuple[UpstreamResponse, Lanes, StreamTap]":
    """Begin all streams, to be read as one; raises AttemptFailed or ClientGone."""

    async def ask(part: Call) -> UpstreamResponse:
        return await send(part, sender, target, prepared, seconds=seconds)

    translation = _of(prepared)
    if not isinstance(translation, SeveralTranslation):
        raise TypeError("what comes in one piece has no streams")
    responses = await _side_by_side(
        call, prepared, ask, discard=lambda response: response.abort()
    )
    lanes, tap = translation.merge(call.incoming.request, call.public_model(target))
    return SeveralResponses(responses, lanes), lanes, tap


def _of(prepared: Prepared) -> SeveralTranslation | SeveralImages:
    if prepared.several is None:
        raise ValueError("the target gives several answers itself")
    return prepared.several


async def _read_all(call: Call, target: Target, response: UpstreamResponse) -> bytes:
    try:
        with call.watch:
            return await response.read_all(REPLY_LIMIT)
    except ExchangeFailure as failure:
        response.abort()
        name = target.member.channel.name
        raise exchange_failed(failure, name, status=200) from None
    except ClientGone as gone:
        response.abort()
        gone.status = 200
        raise
    except asyncio.CancelledError:
        response.abort()
        raise


# --- side by side -------------------------------------------------------------------


def _ignore(_: Any) -> None:
    pass


async def _side_by_side(
    call: Call,
    prepared: Prepared,
    ask: Callable[[Call], Awaitable[T]],
    *,
    discard: Callable[[T], None] = _ignore,
) -> list[T]:
    """Ask for every answer; raises what the first failure raised.

    `discard` lets go of what came of those that did not fail.
    """
    # Once, before anybody needs it.
    await bring(call, prepared)
    parts = [call.part(one) for one in _of(prepared).split(call.incoming.request)]
    tasks = [asyncio.create_task(_entered(call, part, ask)) for part in parts]
    whole = False
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        whole = all(_succeeded(task) for task in tasks)
    finally:
        if not whole:
            failed = next((task for task in tasks if _has_failed(task)), None)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                if _succeeded(task):
                    discard(task.result())
    if not whole:
        raise _failure(failed, tasks)
    return [task.result() for task in tasks]


async def _entered(call: Call, part: Call, ask: Callable[[Call], Awaitable[T]]) -> T:
    part.enter()
    part.watch.drain = call.watch.drain
    return await ask(part)


def _succeeded(task: "asyncio.Task[Any]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _has_failed(task: "asyncio.Task[Any]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None


def _failure(
    first: "asyncio.Task[T] | None", tasks: "list[asyncio.Task[T]]"
) -> BaseException:
    """What the attempt fails with; the others may have cost something."""
    errors = [
        asyncio.CancelledError() if task.cancelled() else task.exception()
        for task in tasks
    ]
    gone = next((error for error in errors if isinstance(error, ClientGone)), None)
    if gone is not None:
        gone.sent = any(getattr(error, "sent", True) for error in errors)
        return gone
    error = None if first is None else first.exception()
    if isinstance(error, AttemptFailed):
        error.beside = any(not getattr(other, "free", False) for other in errors)
    return error or asyncio.CancelledError()


# --- streams ------------------------------------------------------------------------


class SeveralResponses(UpstreamResponse):
    """Several replies as one: `read` gives whatever has come, and to whom it is."""

    status = 200

    def __init__(self, responses: list[UpstreamResponse], lanes: Lanes) -> None:
        """Read what has been begun; `lanes` is told whose turn it is."""
        self._lanes = lanes
        self._responses = dict(enumerate(responses))
        """Those that have not ended."""
        self._headers = responses[0].headers
        self._reads: dict[asyncio.Task[bytes], int] = {}
        """Under way, one for each that is read, the oldest first."""

    @property
    @override
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Those of the first."""
        return self._headers

    @override
    async def read(self) -> bytes:
        """Give the next bytes of any of them; raises ExchangeFailure."""
        self._read_on()
        if not self._reads:
            return b""
        await asyncio.wait(self._reads, return_when=asyncio.FIRST_COMPLETED)
        done = next(task for task in self._reads if task.done())
        lane = self._reads.pop(done)
        data = done.result()
        self._lanes.take_turn(lane, closing=not data)
        if data:
            return data
        del self._responses[lane]
        # Not empty: the others go on.
        return b"\n"

    def _read_on(self) -> None:
        """Read on where nobody does, and let go of those that are over."""
        reading = set(self._reads.values())
        for lane, response in list(self._responses.items()):
            if lane in self._lanes.over:
                del self._responses[lane]
                response.release()
            elif lane not in reading:
                task = asyncio.create_task(_read(response))
                task.add_done_callback(_look_at)
                self._reads[task] = lane

    @override
    async def read_all(self, limit: int) -> bytes:
        raise LookupError("several replies are not read in one piece")

    @override
    def release(self) -> None:
        """Let go of all; what is still being read is closed."""
        reading = set(self._reads.values())
        self._stop_reading()
        for lane, response in self._responses.items():
            if lane in reading:
                response.abort()
            else:
                response.release()
        self._responses.clear()

    @override
    def abort(self) -> None:
        """Close all."""
        self._stop_reading()
        for response in self._responses.values():
            response.abort()
        self._responses.clear()

    def _stop_reading(self) -> None:
        for task in self._reads:
            task.cancel()
        self._reads.clear()


async def _read(response: UpstreamResponse) -> bytes:
    return await response.read()


def _look_at(task: "asyncio.Task[bytes]") -> None:
    """Failures that nobody waits for any more are none."""
    if not task.cancelled():
        task.exception()
