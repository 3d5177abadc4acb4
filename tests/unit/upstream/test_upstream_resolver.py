"""Names are resolved once a minute, once at a time, and remembered in need."""

import asyncio
import time

import pytest
from tests.fakes import openai
from tests.fakes.upstream import FakeUpstream, silent_origin
from tests.unit.upstream.support import chat_request, failure_of, fetch, fixed_resolver

from posthouse.model.exchange import Certainty, FailureKind, Timeouts
from posthouse.upstream import resolver as resolver_module
from posthouse.upstream.resolver import Resolver, look_up
from posthouse.upstream.sender import Upstream


class Directory:
    """A look-up that the test steers."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.calls = 0
        self.answer: tuple[str, ...] | Exception = ("10.0.0.1",)
        self.gate: asyncio.Event | None = None
        self.resolver = Resolver(self.lookup, lambda: self.now)

    async def lookup(self, _: str) -> tuple[str, ...]:
        """Answer as told."""
        self.calls += 1
        answer = self.answer
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_an_answer_is_fresh_for_a_minute() -> None:
    """Then it is asked for again."""
    directory = Directory()
    for after, calls in ((0, 1), (59, 1), (61, 2)):
        directory.now = 1000.0 + after
        assert await directory.resolver.addresses("a.example") == ("10.0.0.1",)
        assert directory.calls == calls


async def test_a_changed_answer_is_used_after_a_minute() -> None:
    """Providers move."""
    directory = Directory()
    await directory.resolver.addresses("a.example")
    directory.answer = ("10.0.0.2",)
    directory.now += 61
    assert await directory.resolver.addresses("a.example") == ("10.0.0.2",)


async def test_an_old_answer_serves_while_look_ups_fail() -> None:
    """For ten minutes; then the failure shows."""
    directory = Directory()
    await directory.resolver.addresses("a.example")
    directory.answer = OSError("no resolver")
    directory.now += 599
    assert await directory.resolver.addresses("a.example") == ("10.0.0.1",)
    directory.now += 2
    with pytest.raises(OSError, match="no resolver"):
        await directory.resolver.addresses("a.example")


async def test_an_old_answer_serves_while_the_resolver_is_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody waits long for what is known."""
    monkeypatch.setattr(resolver_module, "PATIENCE_SECONDS", 0.05)
    directory = Directory()
    await directory.resolver.addresses("a.example")
    directory.gate = asyncio.Event()
    directory.answer = ("10.0.0.2",)
    directory.now += 61
    assert await directory.resolver.addresses("a.example") == ("10.0.0.1",)
    directory.gate.set()
    await asyncio.sleep(0.01)
    assert await directory.resolver.addresses("a.example") == ("10.0.0.2",)
    assert directory.calls == 2


async def test_one_look_up_serves_all_who_wait() -> None:
    """Also when the first of them gives up."""
    directory = Directory()
    directory.gate = asyncio.Event()
    tasks = [
        asyncio.create_task(directory.resolver.addresses("a.example"))
        for _ in range(10)
    ]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.sleep(0)
    directory.gate.set()
    answers = await asyncio.gather(*tasks[1:])
    assert answers == [("10.0.0.1",)] * 9
    assert directory.calls == 1


async def test_a_failed_first_look_up_is_not_remembered() -> None:
    """The next request asks again."""
    directory = Directory()
    directory.answer = OSError("no")
    with pytest.raises(OSError, match="no"):
        await directory.resolver.addresses("a.example")
    directory.answer = ("10.0.0.3",)
    assert await directory.resolver.addresses("a.example") == ("10.0.0.3",)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_an_address_is_not_looked_up(address: str) -> None:
    """It is its own answer."""
    directory = Directory()
    assert await directory.resolver.addresses(address) == (address,)
    assert directory.calls == 0


async def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest name makes room."""
    monkeypatch.setattr(resolver_module, "REMEMBERED_NAMES", 3)
    directory = Directory()
    for number in range(10):
        await directory.resolver.addresses(f"host{number}.example")
    assert len(directory.resolver._answers) == 3


async def test_closing_ends_the_look_ups_under_way() -> None:
    """No task outlives the sender."""
    directory = Directory()
    directory.gate = asyncio.Event()
    task = asyncio.create_task(directory.resolver.addresses("a.example"))
    await asyncio.sleep(0)
    await directory.resolver.close()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_systems_resolver_is_asked() -> None:
    """It knows the local host, and refuses what cannot be a name."""
    assert set(await look_up("localhost")) <= {"127.0.0.1", "::1"}
    with pytest.raises(OSError, match="not a host name"):
        await look_up("a" * 64 + ".example")


async def test_every_address_gets_its_turn() -> None:
    """Dead and silent addresses are passed over within the connect limit."""
    async with FakeUpstream(openai.answer) as provider:
        addresses = ("127.0.0.99", "127.0.0.1")
        upstream = Upstream(resolver=fixed_resolver(two_example=addresses))
        request = chat_request(f"http://two.example:{provider.port}")
        assert (await fetch(upstream, request))[0] == 200
        await upstream.close()


async def test_no_address_that_answers_is_a_connect_failure() -> None:
    """Unknown names and dead ports alike; nothing was sent."""
    upstream = Upstream(resolver=fixed_resolver(dead_example=("127.0.0.1",)))
    for origin in ("http://unknown.example", "http://dead.example:1"):
        seen = await failure_of(upstream, chat_request(origin))
        assert seen == (FailureKind.CONNECT, Certainty.NOT_SENT)
    await upstream.close()


async def test_a_silent_address_leaves_time_for_the_next() -> None:
    """Each address has its share of the limit."""
    async with FakeUpstream(openai.answer) as provider:
        addresses = ("127.0.0.98", "127.0.0.1")
        upstream = Upstream(resolver=fixed_resolver(mixed_example=addresses))
        request = chat_request(
            f"http://mixed.example:{provider.port}", timeouts=Timeouts(connect=2.0)
        )
        begin = time.monotonic()
        with silent_origin("127.0.0.98", provider.port):
            assert (await fetch(upstream, request))[0] == 200
        assert 0.9 <= time.monotonic() - begin < 2.0
        await upstream.close()
