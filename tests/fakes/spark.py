"""Spark on a thread of its own: a WebSocket server that looks at its address."""

import asyncio
import threading
from http import HTTPStatus
from typing import Any, Self

import msgspec
from tests.fakes.signed import SPARK, spark_refusal
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response


def piece(status: int, text: str, **payload: Any) -> str:
    """Write one of the messages that a reply comes in."""
    texts = [{"content": text, "role": "assistant", "index": 0}]
    value = {
        "header": {"code": 0, "message": "Success", "sid": "cht-1", "status": status},
        "payload": {"choices": {"status": status, "text": texts}, **payload},
    }
    return msgspec.json.encode(value).decode()


async def answer(connection: ServerConnection) -> None:
    """Say hello to whoever is known."""
    asked = msgspec.json.decode(await connection.recv())
    path = connection.request.path if connection.request else ""
    good = (
        asked["header"]["app_id"] == SPARK[0]
        and asked["parameter"]["chat"]["domain"] == "generalv3.5"
        and path.startswith("/v3.5/chat?")
    )
    if not good:
        told = {"header": {"code": 10015, "message": "no", "sid": "c", "status": 2}}
        await connection.send(msgspec.json.encode(told).decode())
        return
    usage = {"text": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}}
    await connection.send(piece(0, "Hel"))
    await connection.send(piece(1, "lo!"))
    await connection.send(piece(2, "", usage=usage))


class ThreadedSpark:
    """The server; use it as a context manager."""

    def __init__(self) -> None:
        self.port = 0
        self.refusals: list[str] = []
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

    def _look(self, connection: ServerConnection, asked: Request) -> Response | None:
        why = spark_refusal(asked.path, f"127.0.0.1:{self.port}")
        if not why:
            return None
        self.refusals.append(why)
        return connection.respond(HTTPStatus.UNAUTHORIZED, f'{{"message":"{why}"}}')

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with serve(answer, "127.0.0.1", 0, process_request=self._look) as running:
            self.port = next(iter(running.sockets)).getsockname()[1]
            self._started.set()
            await self._stop.wait()
