"""Runs the table's cells, each against a whole Posthouse, and judges them.

    python -m tests.faults.matrix [TEXT …]

runs the cells whose names contain one of the texts, or all of them, and prints
`cells = passed`. Every cell has a channel, a model and providers of its own, so
that none sees another's connections or health.
"""

import asyncio
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from unittest.mock import patch

from msgspec import Struct, json, structs
from tests.fakes import openai
from tests.fakes.faults import NO_SUCH_HOST
from tests.fakes.steps import Behaviour, Request, Send
from tests.fakes.upstream import FakeUpstream, refusing_origin, silent_origin
from tests.faults import judge
from tests.faults.asked import PATHS, body_of
from tests.faults.probe import Probe
from tests.faults.scripts import PAUSE
from tests.faults.station import (
    KEY,
    KEYS,
    Leaks,
    Station,
    coarse_timers_made_fine,
    eventually,
    play,
    running,
)
from tests.faults.table import CELLS, Cell

SHORT = "{ connect = 0.2, first_byte = 0.2, idle = 0.2, total = 3 }"
"""For channels whose fault is that nothing comes."""
PACE = {"reply_seconds": 0.3}
USUAL = "{ connect = 20, first_byte = 20, idle = 20, total = 50 }"
"""Which nothing reaches, however busy the machine is."""


class Site(Struct):
    """A cell's two providers."""

    cell: Cell
    faulty: FakeUpstream
    backup: FakeUpstream
    origin: str
    """Of the faulty one, which may not be a server at all."""

    @property
    def hosts(self) -> tuple[str, str]:
        """What must not reach a client."""
        return (self.origin.rpartition("/")[2], self.backup.origin.rpartition("/")[2])


class Result(Struct):
    """What became of a cell."""

    cell: Cell
    failure: str = ""


def _behave(cell: Cell, location: Callable[[], str]) -> Callable[[Request], Behaviour]:
    """The faulty provider's behaviour."""
    script = cell.variation.script

    def behave(request: Request) -> Behaviour:
        assert script is not None
        steps = tuple(
            Send(step.data.replace(b"{other}", location().encode()))
            if isinstance(step, Send) and cell.variation.row == "U7"
            else step
            for step in script(request)
        )
        return Behaviour(cell.id, steps, openai.answer(request).usage)

    return behave


class _AtAccept:
    """Plays a script to every connection before it asks for anything."""

    def __init__(self, behave: Callable[[Request], Behaviour]) -> None:
        self._behave = behave

    def __call__(self, request: Request) -> Behaviour:
        return self._behave(request)

    def at_accept(self, number: int) -> Behaviour:
        """Give the behaviour."""
        found = self._behave(Request(0, number, "POST", "/", [], b""))
        return Behaviour(found.name, found.steps, None, before_reading=True)


class _AtHead:
    """Plays a script to every request before its body is there."""

    def __init__(self, cell: Cell, behave: Callable[[Request], Behaviour]) -> None:
        self._cell = cell
        self._behave = behave

    def __call__(self, request: Request) -> Behaviour:
        raise AssertionError(f"the whole of {request.target} has come")

    def at_head(self, request: Request) -> tuple[Request, Behaviour]:
        """Give the request as it will have been, and the behaviour."""
        cell = self._cell
        value = body_of(cell.operation, cell.id, stream=cell.streamed)
        # We ask for usage ourselves.
        value["stream_options"] = {"include_usage": True}
        whole = structs.replace(request, body=json.encode(value))
        return whole, self._behave(whole)


class _Primed:
    """Answers the first request well, the second with a fault, the others well."""

    def __init__(self, cell: Cell, behave: Callable[[Request], Behaviour]) -> None:
        self._primer = cell.variation.primer
        self._behave = behave

    def __call__(self, request: Request) -> Behaviour:
        if request.number == 1 and self._primer is not None:
            return Behaviour("primer", tuple(self._primer(request)))
        return openai.answer(request) if request.number > 2 else self._behave(request)


def _request_body(cell: Cell) -> bytes:
    """Write a cell's request."""
    value = body_of(cell.operation, cell.id, stream=cell.streamed)
    value |= cell.variation.asked
    return json.encode({k: v for k, v in value.items() if v is not None})


def _behaviour(
    cell: Cell, behave: Callable[[Request], Behaviour]
) -> Callable[[Request], Behaviour]:
    """What the faulty provider does, and when."""
    if cell.variation.at_accept:
        return _AtAccept(behave)
    if cell.variation.at_head:
        return _AtHead(cell, behave)
    return _Primed(cell, behave) if cell.variation.primer else behave


@asynccontextmanager
async def _site(cell: Cell) -> AsyncIterator[Site]:
    """Start a cell's providers."""
    async with AsyncExitStack() as stack:
        backup = await stack.enter_async_context(FakeUpstream(openai.answer))
        behave = _behave(cell, lambda: f"{backup.origin}/v1/elsewhere")
        small = 65_536 if cell.variation.at_head else None
        faulty = FakeUpstream(_behaviour(cell, behave), receive_buffer=small)
        await stack.enter_async_context(faulty)
        target = cell.variation.target
        origin = faulty.origin
        if target == "refused":
            origin = stack.enter_context(refusing_origin())
        elif target == "silent":
            origin = stack.enter_context(silent_origin())
        elif target == "dns":
            origin = NO_SUCH_HOST
        elif target == "tls":
            origin = origin.replace("http:", "https:")
        yield Site(cell, faulty, backup, origin)


def _channels(site: Site) -> str:
    """A cell's part of the configuration."""
    name = site.cell.id
    origins = [("first", site.origin, 10)]
    if site.cell.backed:
        origins.append(("second", site.backup.origin, 1))
    parts = []
    for place, origin, priority in origins:
        first = place == "first"
        silent = first and site.cell.variation.row in ("U1", "U16", "U18")
        limits = (first and site.cell.variation.limits) or (SHORT if silent else USUAL)
        parts.append(f"""
[[channels]]
name = "{name}-{place}"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = "{judge.credential(name, place)}"
models = ["{name}"]
priority = {priority}
timeouts = {limits}

[[prices]]
model = "*"
channel = "{name}-{place}"
input = "1"
cached_input = "0.25"
output = "4"
""")
    if site.cell.variation.balance:
        parts.append(f"""
[[keys]]
name = "{name}"
key = "{_key(site.cell)}"
balance_usd = "{site.cell.variation.balance}"
""")
    return "".join(parts)


def _key(cell: Cell) -> str:
    """The key that a cell's call is made with."""
    return f"sk-poor-{cell.id}-0123456789" if cell.variation.balance else KEY


async def _run_cell(station: Station, site: Site, leaks: Leaks) -> judge.Judge:
    """Make a cell's call and judge everything that came of it but the books."""
    cell = site.cell
    body = _request_body(cell)
    if cell.variation.primer is not None:
        await station.ask(PATHS[cell.operation], body)
        await station.settled()
        await asyncio.sleep(2 * PAUSE.seconds)
        site.faulty.served.clear()
        site.faulty.connections = 0
    logged = len(station.logs)
    probe = Probe()
    with ExitStack() as patches:
        for name, value in cell.variation.patches.items():
            patches.enter_context(patch(name, value))
        with probe:
            seen = await station.ask(PATHS[cell.operation], body, key=_key(cell))
    await station.settled()
    if cell.variation.at_head:
        # The provider reads nothing more, and so does not see the end.
        assert not station.idle_at(site.faulty.origin), "the connection is kept"
        for player in tuple(site.faulty.open):
            player.abort()
    if cell.variation.expected.discarded:
        await eventually(lambda: not site.faulty.open, "the connection is kept")
    verdict = judge.Judge(cell, site.faulty, site.backup, seen)
    verdict.reply(site.hosts)
    verdict.time(probe.served)
    verdict.cost(probe)
    verdict.served()
    verdict.health(station.health(f"{cell.id}-first"), time.monotonic())
    verdict.alert(station.logs[logged:])
    station.hang_up()
    await leaks.assert_none()
    return verdict


async def _judge_books(
    station: Station, verdicts: Sequence[tuple[Result, judge.Judge]]
) -> None:
    """Judge the records and the money of cells that were well until then."""
    books = await station.all_books()
    for result, verdict in verdicts:
        try:
            record, lines = books[verdict.seen.call_id]
            (line,) = lines
            verdict.record(record)
            verdict.ledger(record, line)
        except Exception:  # noqa: BLE001 - whatever it is, the next cell is judged
            result.failure = traceback.format_exc()


async def run_cells(cells: Sequence[Cell], directory: Path) -> list[Result]:
    """Run some cells, one after the other, in one Posthouse.

    The books are looked at when all have run: each look takes as long as a call.
    """
    results = []
    verdicts = []
    with coarse_timers_made_fine():
        async with AsyncExitStack() as stack:
            sites = [await stack.enter_async_context(_site(cell)) for cell in cells]
            configuration = KEYS + "".join(_channels(site) for site in sites)
            station = await stack.enter_async_context(
                running(directory, configuration, **PACE)
            )
            leaks = Leaks()
            for site in sites:
                result = Result(site.cell)
                try:
                    verdicts.append((result, await _run_cell(station, site, leaks)))
                except Exception:  # noqa: BLE001 - whatever it is, the next cell runs
                    result.failure = traceback.format_exc()
                results.append(result)
            await _judge_books(station, verdicts)
    return results


def report(results: Iterable[Result]) -> str:
    """Say how many cells there were and how many passed."""
    found = list(results)
    passed = sum(not result.failure for result in found)
    failed = [f"{r.cell.id}\n{r.failure}" for r in found if r.failure]
    return "\n".join([*failed, f"cells = {len(found)}, passed = {passed}"])


def main(texts: list[str]) -> int:
    """Run the cells that are asked for."""
    cells = [
        cell for cell in CELLS if not texts or any(text in cell.id for text in texts)
    ]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        results = play(lambda: run_cells(cells, Path(directory)))
    print(report(results))
    print(f"{time.monotonic() - began:.1f} s")
    return int(any(result.failure for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
