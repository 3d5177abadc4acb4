"""Nobody's words in anybody else's reply, whoever leaves or is cut off when.

Fifty tenants talk at once over few connections to one provider, which repeats what
it was asked, slowly. At random instants callers hang up, which cancels what waits
for the provider, wherever it stands; and connections to the provider break. What a
tenant receives holds its own words and no others; afterwards nothing is left over
and the books are in order.
"""

import asyncio
import json
import random
from collections import Counter
from pathlib import Path

import pytest
from tests.fakes import openai
from tests.fakes.steps import Behaviour, Request, Send, Wait, chunk, json_reply
from tests.fakes.upstream import FakeUpstream
from tests.faults.channels import channel
from tests.faults.station import Station, eventually, play, running

TENANTS = 50
CALLS = 800
TOGETHER = 40
KEY = '[[keys]]\nname = "tenant-{0}"\nkey = "sk-tenant-{0}-0123456789abcdefghij"\n'
PRICE = '[[prices]]\nmodel = "*"\ninput = "1"\noutput = "1"\n'
CHAT = "/v1/chat/completions"


def echo(request: Request) -> Behaviour:
    """Repeat the prompt, in pieces with pauses."""
    pause = Wait(0.001 * (request.number % 4))
    words = request.json["messages"][0]["content"]
    if not request.json.get("stream"):
        value = openai.chat_value(request)
        value["choices"][0]["message"]["content"] = words
        data = json_reply(200, value)
        middle = len(data) // 2
        return Behaviour(
            "echo", (pause, Send(data[:middle]), pause, Send(data[middle:]))
        )
    head, *_, done = openai.stream_steps(iter(()), 0.0)
    pieces = [
        step
        for _ in range(4)
        for step in (pause, Send(chunk(openai.chat_event(request, {"content": words}))))
    ]
    end = openai.chat_event(request, {}, finish_reason="stop")
    return Behaviour("echo", (head, *pieces, Send(chunk(end)), done))


class Crowd:
    """Callers of many tenants, of whom some do not stay."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._random = random.Random(33)
        self._numbers = iter(range(CALLS))
        self.whole = 0
        self.cut = 0

    async def talk(self) -> None:
        """Make calls, one after the other."""
        for number in self._numbers:
            await self._call(number)

    async def _call(self, number: int) -> None:
        """Make one call, and look at what came of it."""
        tenant = number % TENANTS
        words = f"<tenant {tenant} call {number}>"
        body = {
            "model": "m",
            "messages": [{"role": "user", "content": words}],
            "stream": bool(self._random.getrandbits(1)),
        }
        key = f"sk-tenant-{tenant}-0123456789abcdefghij"
        close = [("Connection", "close")]
        peer = await self._station.begin(CHAT, json.dumps(body).encode(), close, key)
        received = b""
        leave_after = self._random.choice((None, None, 0.0, 0.001, 0.003, 0.008))
        try:
            async with asyncio.timeout(leave_after):
                while piece := await peer._reader.read(65_536):
                    received += piece
        except TimeoutError:
            peer.writer.transport.abort()
        finally:
            await peer.close()
        others = received.count(b"<tenant") - received.count(words.encode())
        assert others == 0, received
        if leave_after is None and b"HTTP/1.1 200" in received:
            # Where a connection broke the reply may be cut off, but not mixed up.
            self.whole += received.count(words.encode()) in (1, 4)

    async def strike(self) -> None:
        """Break a connection to the provider, again and again."""
        while True:
            await asyncio.sleep(0.02)
            connections = list(self._station.upstream._sweep._connections)
            if connections:
                self._random.choice(connections).abort()
                self.cut += 1


@pytest.mark.parametrize("strikes", [False, True])
def test_nobody_hears_another_tenant(tmp_path: Path, *, strikes: bool) -> None:
    """With callers that leave; and with connections that break as well."""

    async def test() -> None:
        async with FakeUpstream(echo) as provider:
            keys = "".join(KEY.format(tenant) for tenant in range(TENANTS))
            text = keys + PRICE
            # Several, since one whose connections break so often rests.
            text += "".join(channel(f"c{n}", provider.origin) for n in range(8))
            async with running(tmp_path, text, breaker_failures=CALLS) as station:
                crowd = Crowd(station)
                striking = asyncio.ensure_future(
                    crowd.strike() if strikes else nothing()
                )
                await asyncio.gather(*(crowd.talk() for _ in range(TOGETHER)))
                striking.cancel()
                await asyncio.gather(striking, return_exceptions=True)
                holds = station.application.holds
                await eventually(lambda: not holds.open_holds, "a hold is left open")
                await station.settled()
                assert crowd.whole > CALLS // 15
                assert not strikes or crowd.cut > 10
                # Connections were shared, or nothing was tried.
                shared = Counter(one.request.connection for one in provider.served)
                assert max(shared.values()) > 2

    play(test)


async def nothing() -> None:
    """Strike nobody."""
