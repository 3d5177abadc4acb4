"""The queue of calls that wait: by tenant in turn, bounded, and left by who leaves."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from posthouse.errors import RateLimited, UpstreamRateLimited
from posthouse.relay.ports import Headers
from posthouse.relay.waiting import FULL, FairQueue, Resource, Waiter
from posthouse.relay.watch import ClientGone, ClientWatch

KEY: Resource = ("key", "k")


class Caller:
    """A client's connection, as far as a wait needs it."""

    def __init__(self) -> None:
        self.gone = False
        self.task: asyncio.Task[Any] | None = asyncio.current_task()
        self.extra = b""
        self._callbacks: list[Callable[[], None]] = []

    def on_gone(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def leave(self) -> None:
        self.gone = True
        for callback in self._callbacks:
            callback()

    async def start(self, status: int, headers: Headers) -> None: ...
    async def write(self, data: bytes) -> None: ...
    async def finish(self, data: bytes = b"") -> None: ...
    async def respond(self, status: int, headers: Headers, body: bytes) -> None: ...
    def abort(self) -> None: ...


def watching(caller: Caller) -> ClientWatch:
    """Make a watch that is told when the caller leaves."""
    watch = ClientWatch(caller)
    caller.on_gone(watch.left)
    return watch


class Places:
    """Something of which there is only so much."""

    def __init__(self, queue: FairQueue, free: int = 0) -> None:
        self.queue = queue
        self.free = free
        self.tries = 0
        self.given: list[str] = []
        self.callers: dict[str, Caller] = {}

    async def take(
        self, name: str, seconds: float = 5.0, resource: Resource = KEY
    ) -> str:
        """Wait for a place; a name is its tenant's and a number: `a1`."""

        async def attempt() -> str:
            self.tries += 1
            if not self.free:
                raise RateLimited("no place", retry_after=7)
            self.free -= 1
            self.given.append(name)
            return name

        caller = self.callers[name] = Caller()
        deadline = asyncio.get_running_loop().time() + seconds
        waiter = Waiter(name[0], resource, deadline, watching(caller))
        return await self.queue.take(waiter, attempt)

    async def give(self, count: int = 1) -> None:
        """Let so many places become free, and be taken if anybody wants them."""
        self.free += count
        self.queue.room()
        end = asyncio.get_running_loop().time() + 2
        while self.free and self.queue.waiting:
            assert asyncio.get_running_loop().time() < end, "nobody took a place"
            await asyncio.sleep(0.002)


async def begin(places: Places, *names: str, **more: Any) -> list[asyncio.Task[str]]:
    tasks = []
    for name in names:
        tasks.append(asyncio.create_task(places.take(name, **more)))
        await asyncio.sleep(0)
    return tasks


async def test_nobody_waits_where_there_is_room() -> None:
    """There is no task and no timer then."""
    queue = FairQueue(10, 60)
    places = Places(queue, free=1)
    before = asyncio.all_tasks()
    assert await places.take("a1") == "a1"
    assert asyncio.all_tasks() == before
    assert queue.waiting == 0


async def test_tenants_take_turns_however_many_calls_they_have() -> None:
    """A tenant of a hundred calls gets no more than one of five while both wait."""
    queue = FairQueue(1000, 60)
    places = Places(queue)
    greedy = [f"a{number}" for number in range(100)]
    tasks = await begin(places, *greedy, "b0", "b1", "b2", "b3", "b4", "c0", "c1")
    assert queue.waiting == 107
    for _ in range(107):
        await places.give()
    await asyncio.gather(*tasks)
    assert Counter(name[0] for name in places.given[:6]) == {"a": 2, "b": 2, "c": 2}
    assert Counter(name[0] for name in places.given[:12]) == {"a": 5, "b": 5, "c": 2}
    for tenant in "abc":
        own = [int(name[1:]) for name in places.given if name[0] == tenant]
        assert own == sorted(own), "a tenant's calls overtook each other"
    assert queue.waiting == 0


async def test_a_newcomer_does_not_overtake() -> None:
    """Not even one of another tenant, in the moment in which a place is free."""
    queue = FairQueue(10, 60)
    places = Places(queue)
    [first] = await begin(places, "a1")
    await asyncio.sleep(0.01)
    places.free = 1
    [second] = await begin(places, "b1")
    await first
    assert places.given == ["a1"]
    await places.give()
    await second


async def test_those_who_wait_for_something_else_are_not_held_up() -> None:
    """A tenant's key at its limit does not stop its other keys."""
    queue = FairQueue(10, 60)
    full, free = Places(queue), Places(queue)
    [stuck] = await begin(full, "a1", resource=("key", "one"))
    [other] = await begin(free, "a2", resource=("key", "two"))
    assert queue.waiting == 2
    await free.give()
    assert await other == "a2"
    assert not stuck.done()
    await full.give()
    await stuck


async def test_a_wait_ends_with_the_refusal_that_it_was_to_avoid() -> None:
    """With what that says of another try."""
    queue = FairQueue(10, 60)
    places = Places(queue)
    began = asyncio.get_running_loop().time()
    with pytest.raises(RateLimited, match="no place") as refused:
        await places.take("a1", seconds=0.2)
    assert 0.2 <= asyncio.get_running_loop().time() - began < 1
    assert refused.value.retry_after == 7
    assert places.tries > 2
    assert queue.waiting == 0


async def test_a_full_queue_refuses_at_once() -> None:
    """Whoever would be one too many."""
    queue = FairQueue(2, 60)
    places = Places(queue)
    tasks = await begin(places, "a1", "b1")
    with pytest.raises(RateLimited, match=FULL):
        await places.take("c1")
    await places.give(2)
    await asyncio.gather(*tasks)


async def test_a_client_that_leaves_leaves_the_queue() -> None:
    """Its place goes to the next one."""
    queue = FairQueue(10, 60)
    places = Places(queue)
    tasks = await begin(places, "a1", "a2")
    places.callers["a1"].leave()
    with pytest.raises(ClientGone):
        await tasks[0]
    assert queue.waiting == 1
    await places.give()
    assert await tasks[1] == "a2"


async def test_a_cancelled_wait_leaves_the_queue() -> None:
    """And the queue goes on; what is left of it ends with it."""
    queue = FairQueue(10, 60)
    places = Places(queue)
    tasks = await begin(places, "a1", "a2")
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    await places.give()
    assert await tasks[1] == "a2"
    await asyncio.sleep(0.1)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await queue.close()


async def test_another_error_ends_a_wait() -> None:
    """Only want of room is waited for."""
    queue = FairQueue(10, 60)
    errors = deque([UpstreamRateLimited(), ValueError("broken")])

    async def attempt() -> None:
        raise errors.popleft()

    deadline = asyncio.get_running_loop().time() + 5
    waiter = Waiter("a", KEY, deadline, watching(Caller()))
    with pytest.raises(ValueError, match="broken"):
        await queue.take(waiter, attempt)
    assert queue.waiting == 0


@settings(max_examples=30, deadline=None)
@given(
    calls=some.lists(some.sampled_from("aaabc"), min_size=1, max_size=40),
    gifts=some.lists(some.integers(1, 4), min_size=1, max_size=15),
)
def test_no_tenant_gets_more_than_twice_its_share(
    calls: list[str], gifts: list[int]
) -> None:
    """Of all places given while it was one of several that still waited."""

    async def run() -> None:
        queue = FairQueue(1000, 60)
        places = Places(queue)
        left = Counter(calls)
        names = [f"{tenant}{number}" for number, tenant in enumerate(calls)]
        tasks = await begin(places, *names)
        contended: Counter[str] = Counter()
        tenants = set(left)
        for gift in gifts:
            given = len(places.given)
            await places.give(gift)
            for name in places.given[given:]:
                if all(left[tenant] for tenant in tenants):
                    contended[name[0]] += 1
                left[name[0]] -= 1
        total = contended.total()
        for tenant in tenants:
            assert contended[tenant] <= 2 * -(-total // len(tenants))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await queue.close()

    asyncio.run(run())
