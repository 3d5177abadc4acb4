"""A provider of realtime sessions on a thread of its own: scripted, and recording."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

Behave = Callable[["Visit"], Awaitable[None]]


@dataclass
class Visit:
    """One session, as the provider had it."""

    connection: ServerConnection
    path: str
    headers: dict[str, str]
    received: list[str | bytes] = field(default_factory=list)
    close_code: int | None = None
    close_reason: str | None = None
    over: threading.Event = field(default_factory=threading.Event)

    async def say(self, kind: str, **members: Any) -> None:
        """Send an event."""
        await self.connection.send(json.dumps({"type": kind, **members}))

    async def hear(self) -> Any:
        """Receive an event."""
        message = await self.connection.recv()
        self.received.append(message)
        return json.loads(message)

    async def until(self, kind: str) -> Any:
        """Receive events up to one of a type."""
        while True:
            event = await self.hear()
            if event["type"] == kind:
                return event

    @property
    def types(self) -> list[str]:
        """What kinds of events came."""
        return [json.loads(message)["type"] for message in self.received]


def usage(
    text: int = 10,
    sound: int = 20,
    made_text: int = 5,
    made_sound: int = 30,
    **more: Any,
) -> dict[str, Any]:
    """Write what a response took."""
    return {
        "total_tokens": text + sound + made_text + made_sound,
        "input_tokens": text + sound,
        "output_tokens": made_text + made_sound,
        "input_token_details": {"text_tokens": text, "audio_tokens": sound, **more},
        "output_token_details": {"text_tokens": made_text, "audio_tokens": made_sound},
    }


async def converse(visit: Visit) -> None:
    """Answer whatever is asked, until the client leaves."""
    await visit.say("session.created", session={"id": "sess_1", "model": "m-upstream"})
    number = 0
    while True:
        event = await visit.hear()
        if event["type"] == "response.create":
            number += 1
            await answer(visit, f"resp_{number}")


async def answer(visit: Visit, name: str, **took: Any) -> None:
    """Give one answer."""
    await visit.say("response.created", response={"id": name})
    await visit.say("response.output_text.delta", response_id=name, delta="Hello")
    response = {
        "id": name,
        "status": "completed",
        "conversation_id": "conv_1",
        "usage": took or usage(),
    }
    await visit.say("response.done", response=response)


class ThreadedRealtime:
    """The server; use it as a context manager."""

    def __init__(self) -> None:
        self.port = 0
        self.visits: list[Visit] = []
        self.behave: Behave = converse
        self.refusal: tuple[int, str] | None = None
        """A status and body to answer handshakes with."""
        self.refused: list[str] = []
        self._came = threading.Condition()
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def origin(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def reset(self) -> None:
        """Forget what was, and converse again."""
        self.visits.clear()
        self.refused.clear()
        self.behave, self.refusal = converse, None

    def last(self) -> Visit:
        """The latest session, once it is over."""
        with self._came:
            assert self._came.wait_for(lambda: self.visits, 10)
        visit = self.visits[-1]
        assert visit.over.wait(15)
        return visit

    def _look(self, connection: ServerConnection, asked: Request) -> Response | None:
        if self.refusal is None:
            return None
        self.refused.append(asked.path)
        status, body = self.refusal
        return connection.respond(HTTPStatus(status), body)

    async def _visit(self, connection: ServerConnection) -> None:
        asked = connection.request
        assert asked is not None
        headers = {name.lower(): value for name, value in asked.headers.raw_items()}
        visit = Visit(connection, asked.path, headers)
        with self._came:
            self.visits.append(visit)
            self._came.notify_all()
        try:
            await self.behave(visit)
        except ConnectionClosed:
            pass
        finally:
            await connection.close()
            visit.close_code = connection.close_code
            visit.close_reason = connection.close_reason
            visit.over.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with serve(
            self._visit,
            "127.0.0.1",
            0,
            process_request=self._look,
            max_size=32 * 1024 * 1024,
            ping_interval=None,
        ) as running:
            self.port = next(iter(running.sockets)).getsockname()[1]
            self._started.set()
            await self._stop.wait()
