"""When a session ends by itself, and what both sides are told."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from posthouse.access.principal import Principal
from posthouse.errors import AuthenticationFailed, PosthouseError, StorageUnavailable
from posthouse.relay.realtime import session as realtime_session
from posthouse.relay.realtime.session import IDLE, LONGEST, Session, Sides
from posthouse.relay.served import Completion
from posthouse.wire.websocket import TEXT
from posthouse.wire.websocket_end import LOST, Closing


class Socket:
    """One side; what it says is put into it."""

    def __init__(self) -> None:
        self.closing: Closing | None = None
        self.sent: list[Any] = []
        self.says: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.looked = 0

    async def receive(self) -> tuple[int, bytes] | None:
        payload = await self.says.get()
        return None if payload is None else (TEXT, payload)

    async def send(self, kind: int, payload: bytes) -> None:
        if self.closing is None:
            self.sent.append(json.loads(payload))

    def close(self, closing: Closing) -> None:
        self.closing = self.closing or closing
        self.says.put_nowait(None)

    def leave(self, closing: Closing) -> None:
        """Close from the other side."""
        self.close(closing)

    async def farewell(self) -> None:
        return

    def look(self) -> None:
        self.looked += 1


async def nothing() -> None: ...


class Books:
    """Books in which nothing is under way."""

    under_way = awaited = exhausted = False
    transcripts = SimpleNamespace(sent=nothing, exhausted=False)

    def __init__(self) -> None:
        self.closed: list[Completion] = []
        self.meter = SimpleNamespace(sent=lambda _: None, seen=lambda _: None)

    async def close(self, completion: Completion) -> None:
        self.closed.append(completion)


class World:
    """A session with a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(realtime_session, "LOOK_SECONDS", 0.01)
        self.now = 0.0
        self.principal = Principal("k", "n", "a")
        self.error: PosthouseError | None = None
        self.client, self.upstream, self.books = Socket(), Socket(), Books()
        self.cut: list[Any] = []
        call: Any = SimpleNamespace(
            clock=lambda: self.now,
            incoming=SimpleNamespace(request=SimpleNamespace(model="m"), id="r"),
        )
        member = SimpleNamespace(upstream_model="m", channel=None)
        target: Any = SimpleNamespace(member=member)
        door: Any = SimpleNamespace(
            opening=None,
            authorize=self.authorize,
            on_cut=self.cut.append,
            on_gone=lambda _: None,
        )
        sides: Any = Sides(self.client, self.upstream)  # type: ignore[arg-type]
        books: Any = self.books
        self.session = Session(call, target, sides, books=books, door=door)

    async def authorize(self) -> Principal:
        if self.error is not None:
            raise self.error
        return self.principal

    async def ended(self) -> bool:
        async with asyncio.timeout(5):
            return await self.session.run()

    @property
    def told(self) -> str:
        """The code of the error that the client was told."""
        code: str = self.client.sent[-1]["error"]["code"]
        return code


async def test_a_session_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no more, however much is said."""
    world = World(monkeypatch)
    task = asyncio.create_task(world.ended())
    await asyncio.sleep(0.02)
    for _ in range(4):
        world.now += LONGEST / 4
        world.client.says.put_nowait(b'{"type":"x"}')
        await asyncio.sleep(0.05)
        assert not task.done()
    world.now += 1
    assert await task
    assert world.told == "session_expired"
    assert world.client.closing == Closing(1001, "session_expired")
    assert world.upstream.closing == Closing(1000)
    assert world.books.closed == [Completion.CUT_OFF]
    assert world.upstream.looked


async def test_a_client_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is let go, however much it is told."""
    world = World(monkeypatch)
    task = asyncio.create_task(world.ended())
    world.upstream.says.put_nowait(b'{"type":"y"}')
    world.now = IDLE
    await asyncio.sleep(0.05)
    assert not task.done()
    world.now = IDLE + 1
    assert await task
    assert world.told == "session_expired"


async def test_a_key_that_is_no_longer_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or may not use the model any more; who cannot tell is asked again."""
    world = World(monkeypatch)
    task = asyncio.create_task(world.ended())
    world.error = StorageUnavailable()
    await asyncio.sleep(0.05)
    assert not task.done()
    world.error = AuthenticationFailed()
    assert await task
    assert (world.told, world.client.closing) == (
        "invalid_api_key",
        Closing(1008, "invalid_api_key"),
    )
    world = World(monkeypatch)
    world.principal = Principal("k", "n", "a", models=("other",))
    assert await world.ended()
    assert world.told == "model_not_found"


async def test_a_server_that_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tells no error, only that it goes away."""
    world = World(monkeypatch)
    task = asyncio.create_task(world.ended())
    await asyncio.sleep(0.02)
    world.cut[0]()
    assert await task
    assert world.client.sent == []
    assert world.client.closing is not None
    assert world.client.closing.code == 1001


async def test_a_provider_that_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a word it has kept its side; without one it has not."""
    for closing, passed in (
        (Closing(4005, "x"), Closing(4005, "x")),
        (Closing(LOST), Closing(1011, "upstream_interrupted")),
    ):
        world = World(monkeypatch)
        world.upstream.leave(closing)
        assert await world.ended() is (closing.code != LOST)
        assert world.client.closing == passed
        assert world.books.closed == [Completion.INTERRUPTED]


async def test_a_client_that_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words are passed on."""
    world = World(monkeypatch)
    world.client.leave(Closing(3003, "bye"))
    assert await world.ended()
    assert world.upstream.closing == Closing(3003, "bye")
    assert world.books.closed == [Completion.ABANDONED]
