"""U16 and rule (f): what a caller hears of a silent provider.

The head after some seconds of silence, then a comment whenever nothing else
was said for a while; all of it scaled down to tenths of a second.
"""

import time
from pathlib import Path

import pytest
from msgspec import json
from tests.fakes import openai
from tests.fakes.steps import Behaviour, Hang, Request, Send, Step, Wait, chunk, head
from tests.fakes.upstream import FakeUpstream
from tests.fakes.upstream import running as serving
from tests.faults import scripts
from tests.faults.asked import PATHS, body_of, counted_prompt
from tests.faults.channels import channel
from tests.faults.scripts import Script
from tests.faults.station import (
    KEYS,
    Leaks,
    Station,
    coarse_timers_made_fine,
    play,
    running,
)
from tests.faults.wire import DONE, Peer, Reply

TIMES = {"commit_seconds": 0.25, "heartbeat_seconds": 0.2}
LIMIT = 0.9
"""Seconds of silence after which a provider is given up."""
OPERATIONS = ("chat", "completion")


def _behave(script: Script) -> FakeUpstream:
    return FakeUpstream(lambda request: Behaviour("silent", tuple(script(request))))


async def _hear(station: Station, operation: str) -> tuple[Reply, dict[str, float]]:
    """Make a streamed call; give when its head and its first comment came."""
    body = json.encode(body_of(operation, "m", stream=True))
    began = time.monotonic()
    peer: Peer = await station.begin(PATHS[operation], body)
    heard: dict[str, float] = {}
    while b": keep-alive" not in peer.received and await peer.more():
        heard.setdefault("head", time.monotonic() - began)
    heard["comment"] = time.monotonic() - began
    seen = await peer.reply()
    heard["end"] = time.monotonic() - began
    await peer.close()
    return seen, heard


def _limits(seconds: float = LIMIT) -> dict[str, float]:
    return {"connect": 2, "first_byte": seconds, "idle": seconds, "total": 10}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_head_then_comments_then_the_error_inside(
    tmp_path: Path, operation: str
) -> None:
    """A provider that never says anything is told of in the stream it began."""

    async def test() -> None:
        async with _behave(lambda _: (Hang(),)) as provider:
            text = KEYS + channel("a", provider.origin, timeouts=_limits())
            async with running(tmp_path, text, **TIMES) as station:
                leaks = Leaks()
                seen, heard = await _hear(station, operation)
                assert 0.2 < heard["head"] < 0.5
                assert 0.4 < heard["comment"] < 0.75
                assert LIMIT - 0.05 < heard["end"] < LIMIT + 0.5
                assert (seen.status, seen.ended, seen.closed) == (200, False, True)
                assert b"[DONE]" not in seen.raw
                # Head at 0.25 s, comments every 0.2 s, the end at 0.9 s.
                assert 2 <= seen.comments <= heard["end"] / 0.2
                (last,) = seen.frames
                assert json.decode(last[6:])["error"]["code"] == "upstream_timeout"
                record, line = await station.books(seen.call_id)
                assert (record.outcome, record.error_code) == (
                    "failed",
                    "upstream_timeout",
                )
                assert (line.kind, line.amount) == ("void", 0)
                assert station.health("a").consecutive == 1
                await station.settled()
                await leaks.assert_none()

    with coarse_timers_made_fine():
        play(test)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_comments_do_not_stand_in_the_way_of_another_channel(
    tmp_path: Path, operation: str
) -> None:
    """After the head and comments the call still fails over, to a whole answer."""

    async def test() -> None:
        silent, well = _behave(lambda _: (Hang(),)), FakeUpstream(openai.answer)
        async with serving(silent, well):
            text = KEYS
            text += channel("a", silent.origin, timeouts=_limits(), priority=2)
            text += channel("b", well.origin, priority=1)
            async with running(tmp_path, text, **TIMES) as station:
                seen, _ = await _hear(station, operation)
                assert (seen.status, seen.ended) == (200, True)
                assert seen.comments >= 2
                (served,) = well.served
                assert seen.frames == scripts.shown_frames(served.request)
                record, _ = await station.books(seen.call_id)
                outcomes = [attempt.outcome for attempt in record.attempts]
                assert outcomes == ["failed", "served"]
                assert (record.outcome, record.usage_source) == ("served", "provider")

    with coarse_timers_made_fine():
        play(test)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_comments_between_words_then_the_error(tmp_path: Path, operation: str) -> None:
    """A stall after content: comments until the limit, an error, no terminator."""

    async def test() -> None:
        script = scripts.part_of_stream(scripts.words(3), scripts.HANG)
        async with _behave(script) as provider:
            text = KEYS + channel("a", provider.origin, timeouts=_limits())
            async with running(tmp_path, text, **TIMES) as station:
                seen, heard = await _hear(station, operation)
                assert heard["head"] < 0.2
                assert LIMIT - 0.05 < heard["end"] < LIMIT + 0.5
                assert 2 <= seen.comments <= heard["end"] / 0.2
                assert (seen.ended, seen.closed) == (False, True)
                *words, last = seen.frames
                assert words == scripts.first_frames(provider.served[0].request, 3)
                assert json.decode(last[6:])["error"]["code"] == "upstream_timeout"
                record, line = await station.books(seen.call_id)
                assert (record.outcome, record.usage_source) == (
                    "interrupted",
                    "estimated",
                )
                assert line.amount == -record.price < 0

    with coarse_timers_made_fine():
        play(test)


def test_a_slow_answer_is_kept_alive_and_whole(tmp_path: Path) -> None:
    """Words that come slower than comments are due arrive with them, all of them."""

    def slow(request: Request) -> tuple[Step, ...]:
        parts: list[Step] = [Send(openai.stream_head())]
        for number, frame in enumerate(scripts.frames(request)):
            parts += [Wait(0.3)] if number in (0, 2, 4) else []
            parts.append(Send(chunk(frame)))
        return (*parts, scripts.END)

    async def test() -> None:
        async with _behave(slow) as provider:
            text = KEYS + channel("a", provider.origin, timeouts=_limits())
            async with running(tmp_path, text, **TIMES) as station:
                seen, _ = await _hear(station, "chat")
                assert seen.ended
                assert seen.comments >= 2
                assert seen.frames == scripts.shown_frames(provider.served[0].request)
                assert seen.frames[-1] == DONE
                record, _ = await station.books(seen.call_id)
                assert (record.outcome, record.usage_source) == ("served", "provider")

    with coarse_timers_made_fine():
        play(test)


def test_the_whole_of_a_call_has_a_limit(tmp_path: Path) -> None:
    """A provider that trickles is cut off when the time for all attempts is over."""

    def trickle(request: Request) -> tuple[Step, ...]:
        data = scripts.whole(request)
        pieces: list[Step] = [Send(head(200, length=len(data)))]
        for start in range(0, len(data), 8):
            pieces += [Send(data[start : start + 8]), Wait(0.1)]
        return tuple(pieces)

    async def test() -> None:
        slow, other = _behave(trickle), FakeUpstream(openai.answer)
        async with serving(slow, other):
            text = KEYS
            times = {**_limits(), "total": 0.6}
            text += channel("a", slow.origin, timeouts=times, priority=2)
            text += channel("b", other.origin, timeouts=times, priority=1)
            async with running(tmp_path, text) as station:
                began = time.monotonic()
                seen = await station.ask(
                    PATHS["chat"], json.encode(body_of("chat", "m"))
                )
                assert 0.55 < time.monotonic() - began < 1.2
                assert seen.status == 504
                assert seen.error["code"] == "upstream_timeout"
                assert not other.served, "no time was left for another attempt"

    with coarse_timers_made_fine():
        play(test)


def test_leaving_a_stream_that_was_kept_alive(tmp_path: Path) -> None:
    """Gone after a comment: the prompt is charged, and nothing goes on."""

    async def test() -> None:
        async with _behave(lambda _: (Hang(),)) as provider:
            text = KEYS + channel("a", provider.origin, timeouts=_limits(5))
            async with running(tmp_path, text, **TIMES) as station:
                leaks = Leaks()
                body = json.encode(body_of("chat", "m", stream=True))
                peer = await station.begin(PATHS["chat"], body)
                while b": keep-alive" not in peer.received:
                    assert await peer.more()
                await peer.close()
                (record,) = await station.ended(1)
                assert (record.outcome, record.usage_source) == (
                    "abandoned",
                    "estimated",
                )
                assert record.usage == {"input": counted_prompt("chat", "m")}
                assert record.attempts[0].upstream_status == 0
                await station.settled()
                await leaks.assert_none()

    with coarse_timers_made_fine():
        play(test)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_stream_that_lasts_too_long_is_cut_as_by_its_length(
    tmp_path: Path, operation: str
) -> None:
    """What came is a whole answer that was cut short, with the reason, charged."""

    def endless(request: Request) -> tuple[Step, ...]:
        parts: list[Step] = [Send(openai.stream_head())]
        frames = scripts.frames(request)
        for number in range(200):
            parts += [Send(chunk(frames[1 + number % 8])), Wait(0.02)]
        return tuple(parts)

    async def test() -> None:
        async with _behave(endless) as provider:
            times = {**_limits(), "total": 0.5}
            text = KEYS + channel("a", provider.origin, timeouts=times)
            async with running(tmp_path, text) as station:
                leaks = Leaks()
                body = json.encode(body_of(operation, "m", stream=True))
                seen = await station.ask(PATHS[operation], body)
                assert (seen.status, seen.ended) == (200, True)
                *words, last, done = seen.frames
                assert done == DONE
                assert len(words) >= 5
                cut = json.decode(last[6:])
                assert cut["choices"][0]["finish_reason"] == "length"
                assert cut["posthouse"]["code"] == "upstream_timeout"
                record, line = await station.books(seen.call_id)
                assert (record.outcome, record.usage_source) == (
                    "served",
                    "estimated",
                )
                assert line.amount == -record.price < 0
                await station.settled()
                await leaks.assert_none()

    with coarse_timers_made_fine():
        play(test)
