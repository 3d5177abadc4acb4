"""A small internet for the egress: a public host, an internal one, and their names.

127.0.0.1 plays the public host (the policy of these tests allows it), 127.0.0.2 the
internal one, on the same port; it counts who connects, and nobody may. Names have
the addresses that a test gives them; nothing is remembered between look-ups.
"""

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from msgspec import structs
from tests.fakes.steps import Behave, Behaviour, Request, Send, reply
from tests.fakes.upstream import FakeUpstream

from posthouse.errors import PosthouseError, URLNotAllowed
from posthouse.upstream.dial import default_tls
from posthouse.upstream.egress import Egress, EgressLimits, Fetch, Fetched
from posthouse.upstream.egress_addresses import make_policy
from posthouse.upstream.resolver import Resolver

PUBLIC = "127.0.0.1"
INTERNAL = "127.0.0.2"
HERE = "http://public.com:{port}"
ANSWER = b"what the public host has"
SHORT = EgressLimits(total=3.0, connect=1.0, first_byte=0.5, idle=0.5)


def sending(*pieces: bytes) -> Behaviour:
    """Send bytes as they are."""
    return Behaviour("sent", tuple(map(Send, pieces)))


def answer(_: Request) -> Behaviour:
    """Answer with a text."""
    return sending(reply(200, ANSWER, content_type="Text/Plain; charset=utf-8"))


def redirect(location: str, status: int = 302, *more: tuple[str, str]) -> Behaviour:
    """Point elsewhere."""
    headers = [("Location", location), *more]
    return sending(reply(status, b"moved", headers=headers))


class Names:
    """What names resolve to: a list that is used in turn, for ever."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._answers: dict[str, Iterator[tuple[str, ...] | Exception]] = {}

    def give(self, name: str, *answers: tuple[str, ...] | Exception) -> None:
        """Let a name have these answers, one after the other, again and again."""
        self._answers[name] = itertools.cycle(answers)

    async def look_up(self, name: str) -> tuple[str, ...]:
        """Answer as the system's resolver would."""
        self.asked.append(name)
        found = next(self._answers.get(name.removesuffix("."), iter(())), None)
        if isinstance(found, Exception):
            raise found
        if found is None:
            raise OSError("no such name")
        return found


class World:
    """The hosts, the names and the egress."""

    def __init__(self, fake: FakeUpstream, names: Names, egress: Egress) -> None:
        self.fake = fake
        self.names = names
        self.egress = egress
        self.port = fake.port
        self.internal_connections = 0

    async def fetch(self, url: str, **more: Any) -> Fetched:
        """Fetch from this world: `{port}` in a URL is the hosts' port."""
        return await self.egress.fetch(Fetch(self.at(url), **more))

    async def error(self, url: str, **more: Any) -> PosthouseError:
        """Give the error that a fetch ends with."""
        try:
            found = await self.fetch(url, **more)
        except PosthouseError as error:
            return error
        raise AssertionError(f"it was fetched: {found}")

    async def refused(self, url: str, **more: Any) -> None:
        """Fetch what may not be; the error is the one that all have."""
        error = await self.error(url, **more)
        assert type(error) is URLNotAllowed, (url, error)
        assert error.message == URLNotAllowed.__doc__
        assert error.__cause__ is None

    def at(self, url: str) -> str:
        """Write the hosts' port into a URL."""
        return url.replace("{port}", str(self.port))


@asynccontextmanager
async def world(
    behave: Behave = answer,
    limits: EgressLimits = SHORT,
    *,
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
    is_own: Callable[[str], bool] = lambda _: False,
    **changes: Any,
) -> AsyncIterator[World]:
    """Make a world; `changes` are of the limits."""
    names = Names()
    names.give("public.com", (PUBLIC,))
    names.give("internal.com", (INTERNAL,))
    async with FakeUpstream(behave, tls=tls[0] if tls else None) as fake:
        egress = Egress(
            make_policy(allow=[PUBLIC], ports=[str(fake.port)]),
            structs.replace(limits, **changes),
            # Hours pass between two looks at the clock.
            resolver=Resolver(names.look_up, itertools.count(0, 3600).__next__),
            tls=(lambda: tls[1]) if tls else default_tls,
            is_own=is_own,
        )
        made = World(fake, names, egress)

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            made.internal_connections += 1
            writer.close()

        internal = await asyncio.start_server(connected, INTERNAL, fake.port)
        try:
            yield made
            assert made.internal_connections == 0
            assert egress.open_connections == 0
        finally:
            await egress.close()
            internal.close()
            await internal.wait_closed()
