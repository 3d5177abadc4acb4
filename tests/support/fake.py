"""The scriptable fake provider, on a thread of its own beside a test."""

import asyncio
import threading
from typing import Self

import msgspec
from tests.fakes import openai
from tests.fakes.journal import Served
from tests.fakes.steps import Behave, Behaviour, Request
from tests.fakes.upstream import FakeUpstream


class ThreadedFake:
    """A fake provider whose behaviour a test sets by the model's name."""

    def __init__(self, otherwise: Behave = openai.answer) -> None:
        """Answer every model as a provider would, until told otherwise."""
        self._behaviours: dict[str, Behave] = {}
        self.otherwise = otherwise
        self._fake = FakeUpstream(self._behave)
        self._started = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Self:
        """Start, and wait until it listens."""
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and wait until it has."""
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def origin(self) -> str:
        """Where it listens."""
        return self._fake.origin

    def on(self, model: str, behaviour: Behaviour | Behave) -> None:
        """Answer a model this way from now on."""
        if isinstance(behaviour, Behaviour):
            fixed = behaviour
            self._behaviours[model] = lambda _: fixed
        else:
            self._behaviours[model] = behaviour

    @property
    def everything(self) -> list[Served]:
        """What was served at all, in the order of arrival."""
        return self._fake.served

    def served(self, model: str) -> list[Served]:
        """What was served for a model, in the order of arrival."""
        return [
            served for served in self._fake.served if model_of(served.request) == model
        ]

    def _behave(self, request: Request) -> Behaviour:
        behave = self._behaviours.get(model_of(request), self.otherwise)
        return behave(request)

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        async with self._fake:
            self._started.set()
            await self._stop.wait()


def model_of(request: Request) -> str:
    """Read the model's name, whatever else the body holds."""
    try:
        members = msgspec.json.decode(request.body, type=dict[str, msgspec.Raw])
        return msgspec.json.decode(members["model"], type=str)
    except (msgspec.DecodeError, KeyError):
        return ""
