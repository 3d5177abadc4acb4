"""The machine's clock jumps, forwards and back, while calls are under way (G-D5).

Only the time of day jumps: limits are measured by a clock that does not.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
from msgspec import json
from tests.fakes import openai
from tests.fakes.steps import Behaviour, Request
from tests.fakes.upstream import FakeUpstream
from tests.faults.asked import PATHS, body_of
from tests.faults.channels import channel
from tests.faults.station import KEYS, Leaks, eventually, play, running
from tests.faults.wire import DONE

HOUR = 3600.0
STREAMS = 40
_time, _time_ns = time.time, time.time_ns


def _shifted(shift: Callable[[], float]) -> tuple[object, object]:
    """The time of day, some seconds off."""
    return (
        patch("time.time", lambda: _time() + shift()),
        patch("time.time_ns", lambda: _time_ns() + int(shift() * 1e9)),
    )


@pytest.mark.parametrize(
    "jump",
    [HOUR, -HOUR, 24 * HOUR, -24 * HOUR, 1.0],
    ids=["hour", "hour-back", "day", "day-back", "leap-second"],
)
def test_a_jump_changes_nothing_of_what_is_under_way(
    tmp_path: Path, jump: float
) -> None:
    """Streams end whole, durations and charges are right, no hold expires."""
    shift = 0.0

    def slowly(request: Request) -> Behaviour:
        return openai.chat(request, interval=0.04)

    async def test() -> None:
        nonlocal shift
        async with FakeUpstream(slowly) as provider:
            text = KEYS + channel("a", provider.origin)
            async with running(tmp_path, text) as station:
                leaks = Leaks()
                body = json.encode(body_of("chat", "m", stream=True))
                began = time.monotonic()
                calls = [
                    asyncio.create_task(station.ask(PATHS["chat"], body))
                    for _ in range(STREAMS)
                ]
                await eventually(lambda: len(provider.served) == STREAMS, "not begun")
                shift = jump
                later = asyncio.create_task(station.ask(PATHS["chat"], body))
                await asyncio.sleep(0.2)
                shift = -jump
                replies = await asyncio.gather(*calls, later)
                took = (time.monotonic() - began) * 1000
                for reply in replies:
                    assert (reply.status, reply.ended) == (200, True)
                    assert reply.body.endswith(DONE)
                for record in await station.ended(STREAMS + 1):
                    assert 0 < record.total_ms <= took + 1000
                    assert 0 < record.first_token_ms <= record.total_ms
                    (attempt,) = record.attempts
                    assert 0 <= attempt.started_ms <= record.total_ms
                    assert 0 < attempt.duration_ms <= record.total_ms
                    assert (record.outcome, record.usage["output"]) == ("served", 16)
                shown, _ = station.application.metrics.exposition("")
                assert b"nan" not in shown.lower()
                await station.settled()
                station.hang_up()
                await leaks.assert_none()

    one, two = _shifted(lambda: shift)
    with one, two:  # type: ignore[attr-defined]
        play(test)
