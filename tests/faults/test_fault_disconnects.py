"""G-L7: a caller that leaves pays for its prompt and what it was given, exactly.

The provider here counts like OpenAI's: a token per streamed frame, and for the
prompt its text and what frames it. `cancel` ends its work at once and charges
what was delivered, by our own count; `drain` lets it finish and charges its.
"""

import asyncio
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from msgspec import Struct, json
from tests.fakes import openai
from tests.fakes.journal import Served
from tests.fakes.steps import (
    LAST_CHUNK,
    Behaviour,
    Hang,
    Request,
    Send,
    Step,
    Wait,
    chunk,
)
from tests.fakes.upstream import FakeUpstream
from tests.faults import scripts
from tests.faults.asked import PATHS, body_of
from tests.faults.channels import channel
from tests.faults.judge import COSTS, PRICES, amount
from tests.faults.station import (
    KEYS,
    Leaks,
    Station,
    coarse_timers_made_fine,
    eventually,
    play,
    running,
)
from tests.faults.wire import Peer, parse

from posthouse.billing import tokenizer
from posthouse.model.call import CallRecord

POSITIONS = 50
MOST_UNDERCHARGED = 0.02
PROMPT_MESSAGES = [
    {"role": "system", "content": "You are the keeper of a posting house."},
    {
        "role": "user",
        "content": "Tell a traveller, in plain words, why the horses are changed "
        "at every station and how long it takes when the road is wet.",
    },
]
ANSWER = (
    "A horse that has run hard for fifteen miles needs rest, water and a dry "
    "stall before it can run again, so no rider keeps the same one for long. At "
    "each station a fresh team stands ready in harness, the tired one is led "
    "away, and the coach is back on the road within a few minutes. When it has "
    "rained the wheels sink, the teams tire sooner, and the change may take a "
    "quarter of an hour, because the straps are stiff and the hooves must be "
    "cleaned before anybody is allowed to leave the yard."
)
ENCODING = tokenizer._encoding(tokenizer.DEFAULT_ENCODING)
PIECES = [ENCODING.decode([token]) for token in ENCODING.encode(ANSWER)]
PROMPT_TOKENS = 3 + sum(
    3 + len(ENCODING.encode(message["role"])) + len(ENCODING.encode(message["content"]))
    for message in PROMPT_MESSAGES
)
"""As OpenAI counts: three for each message, its role and text, three for the reply."""


class Plan(Struct, frozen=True):
    """One call: where its provider pauses, and what it does then."""

    name: str
    position: int
    """Bytes of the stream that are sent before the pause."""
    drain: bool


def _frames(request: Request) -> list[bytes]:
    """The whole stream: role, a frame per token, finish, usage, [DONE]."""
    frames = [openai.chat_event(request, {"role": "assistant", "content": ""})]
    frames += [openai.chat_event(request, {"content": piece}) for piece in PIECES]
    frames.append(openai.chat_event(request, {}, finish_reason="stop"))
    usage = {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": len(PIECES),
        "total_tokens": PROMPT_TOKENS + len(PIECES),
    }
    frames.append(openai.chat_event(request, None, usage=usage))
    return [*frames, openai.DONE]


def _request_for(model: str) -> Request:
    """A request as the provider will see it, but for its number."""
    return Request(1, 1, "POST", PATHS["chat"], [], json.encode({"model": model}))


def _stream(request: Request) -> bytes:
    # The number stands in every frame's id; it must not change their lengths.
    fixed = Request(1, 1, "POST", request.target, [], request.body)
    return b"".join(_frames(fixed))


class Pausing:
    """A provider that sends a part of its stream, pauses, and may go on."""

    def __init__(self, plans: list[Plan], pause: float = 0.3) -> None:
        self._plans = {plan.name: plan for plan in plans}
        self._pause = pause

    def __call__(self, request: Request) -> Behaviour:
        """Play the plan that the model names."""
        plan = self._plans[request.json["model"]]
        data = _stream(request)
        steps: list[Step] = [Send(openai.stream_head())]
        if plan.position:
            steps.append(Send(chunk(data[: plan.position])))
        if plan.drain:
            rest = chunk(data[plan.position :]) if plan.position < len(data) else b""
            steps += [Wait(self._pause), Send(rest + LAST_CHUNK)]
        else:
            steps.append(Hang())
        return Behaviour(plan.name, tuple(steps))


def _plans(mode: str) -> list[Plan]:
    """Pauses at positions that are spread over the whole stream."""
    found = []
    for number in range(POSITIONS):
        name = f"{mode}-{number:02}"
        size = len(_stream(_request_for(name)))
        position = size * number // (POSITIONS - 1)
        found.append(Plan(name, position, mode == "drain"))
    return found


def _sent_frames(plan: Plan) -> list[bytes]:
    """The whole frames before the pause."""
    data = _stream(_request_for(plan.name))[: plan.position]
    return [part + b"\n\n" for part in data.split(b"\n\n")[:-1]]


def _tokens_in(frames: list[bytes]) -> int:
    """How many tokens of the answer are among some frames."""
    return max(0, min(len(frames) - 1, len(PIECES)))


def _body(model: str, **more: Any) -> bytes:
    return json.encode(
        {"model": model, "messages": PROMPT_MESSAGES, "stream": True, **more}
    )


async def _leave_at_pause(
    station: Station, provider: FakeUpstream, plan: Plan
) -> tuple[str, Served]:
    """Read all that comes before the pause, then go away."""
    peer: Peer = await station.begin(PATHS["chat"], _body(plan.name))
    frames = _sent_frames(plan)
    has_content = len(frames) > 1
    shown = frames if has_content else []
    # Usage is not shown, and the end waits for the settlement.
    wanted = b"".join(shown[: len(PIECES) + 2])
    await eventually(
        lambda: any(s.script == plan.name for s in provider.served), "not asked"
    )
    (served,) = (s for s in provider.served if s.script == plan.name)
    while wanted:
        seen = parse(peer.received)
        if seen is not None and len(seen.body) >= len(wanted):
            assert seen.body.startswith(wanted)
            break
        assert await peer.more()
    await asyncio.sleep(0.05)
    if served.request.number % 2:
        await peer.close()
    else:
        peer.writer.close()
    return plan.name, served


async def _records(station: Station, count: int) -> dict[str, CallRecord]:
    found = await station.ended(count)
    return {record.requested_model: record for record in found}


def _assert_charged(record: CallRecord, usage: dict[str, int], source: str) -> None:
    assert (record.usage, record.usage_source) == (usage, source), record
    assert record.price == amount(usage, PRICES)
    assert record.attempts[-1].cost == amount(usage, COSTS)


def test_cancel_charges_what_was_delivered_at_fifty_positions(tmp_path: Path) -> None:
    """The provider is cut off at once; the charge is the prompt and the words."""
    plans = _plans("cancel")

    async def test() -> None:
        async with FakeUpstream(Pausing(plans)) as provider:
            text = KEYS + channel("a", provider.origin)
            async with running(tmp_path, text) as station:
                leaks = Leaks()
                await asyncio.gather(
                    *(_leave_at_pause(station, provider, plan) for plan in plans[:-1])
                )
                left = time.monotonic()
                records = await _records(station, len(plans) - 1)
                for plan in plans[:-1]:
                    _judge_cancelled(plan, records[plan.name])
                await eventually(lambda: not provider.open, "work goes on upstream")
                assert time.monotonic() - left < 1.5
                assert not any(served.completed for served in provider.served)
                assert len(provider.served) == len(plans) - 1
                assert station.health("a").consecutive == 0
                await station.settled()
                await leaks.assert_none()

    with (
        coarse_timers_made_fine(),
        patch("posthouse.relay.stream.USAGE_AFTER_LEAVING", 0.4),
    ):
        play(test)


def _judge_cancelled(plan: Plan, record: CallRecord) -> None:
    frames = _sent_frames(plan)
    tokens = _tokens_in(frames)
    truth = {"input": PROMPT_TOKENS, "output": tokens}
    assert (record.status, record.outcome) == (499, "abandoned")
    if len(frames) >= len(PIECES) + 3:
        # Its own usage had come, though it is not shown to the caller.
        _assert_charged(record, truth, "provider")
        return
    charged, true = record.price, amount(truth, PRICES)
    assert record.usage_source == "estimated"
    assert charged <= true, f"{plan}: {charged} for {true}"
    assert charged >= (1 - MOST_UNDERCHARGED) * true, f"{plan}: {charged} for {true}"
    assert record.usage["input"] == PROMPT_TOKENS
    text = "".join(PIECES[:tokens])
    assert record.usage.get("output", 0) == len(ENCODING.encode(text))


def test_drain_charges_all_of_it_at_fifty_positions(tmp_path: Path) -> None:
    """The provider finishes although nobody listens; its own count is charged."""
    plans = _plans("drain")

    async def test() -> None:
        async with FakeUpstream(Pausing(plans)) as provider:
            text = KEYS + channel("a", provider.origin, on_disconnect="drain")
            async with running(tmp_path, text) as station:
                leaks = Leaks()
                await asyncio.gather(
                    *(_leave_at_pause(station, provider, plan) for plan in plans[:-1])
                )
                records = await _records(station, len(plans) - 1)
                truth = {"input": PROMPT_TOKENS, "output": len(PIECES)}
                for plan in plans[:-1]:
                    _assert_charged(records[plan.name], truth, "provider")
                    assert records[plan.name].outcome == "abandoned"
                assert all(served.completed for served in provider.served)
                assert len(provider.served) == len(plans) - 1
                await station.settled()
                station.hang_up()
                await leaks.assert_none()

    with coarse_timers_made_fine():
        play(test)


@pytest.mark.parametrize("mode", ["cancel", "drain"])
def test_leaving_a_stream_that_flows_costs_at_least_what_was_read(
    tmp_path: Path, mode: str
) -> None:
    """Closed after any number of bytes: no less than was read, no more than sent."""

    def flowing(request: Request) -> Behaviour:
        steps: list[Step] = [Send(openai.stream_head())]
        for frame in _frames(request):
            steps += [Send(chunk(frame)), Wait(0.002)]
        return Behaviour(request.json["model"], (*steps, scripts.END))

    async def leave(station: Station, number: int, size: int) -> int:
        peer = await station.begin(PATHS["chat"], _body(f"m-{number:02}"))
        await peer.until(size)
        seen = parse(peer.received[:size])
        await peer.close()
        return _tokens_in(seen.frames) if seen is not None else 0

    async def test() -> None:
        async with FakeUpstream(flowing) as provider:
            text = KEYS + channel("a", provider.origin, on_disconnect=mode)
            async with running(tmp_path, text) as station:
                whole = await station.ask(PATHS["chat"], _body("m-whole"))
                sizes = [
                    max(1, (len(whole.raw) - 60) * number // POSITIONS)
                    for number in range(POSITIONS)
                ]
                read = await asyncio.gather(
                    *(leave(station, n, size) for n, size in enumerate(sizes))
                )
                records = await _records(station, POSITIONS + 1)
                full = amount({"input": PROMPT_TOKENS, "output": len(PIECES)}, PRICES)
                assert records["m-whole"].price == full
                for number, tokens in enumerate(read):
                    record = records[f"m-{number:02}"]
                    seen = {"input": PROMPT_TOKENS, "output": tokens}
                    least = amount(seen, PRICES) * (1 - MOST_UNDERCHARGED)
                    assert least <= record.price <= full, (tokens, record)
                    if mode == "drain":
                        assert record.price == full

    with coarse_timers_made_fine():
        play(test)


@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
@pytest.mark.parametrize("comes", [True, False], ids=["comes", "never-comes"])
def test_usage_on_its_way_is_waited_for(
    tmp_path: Path, *, torn: bool, comes: bool
) -> None:
    """Gone after the last word: usage that follows soon is still taken."""

    def last_word(request: Request) -> Behaviour:
        *said, usage, _ = _frames(request)
        half = usage[: len(usage) // 2] if torn else b""
        first = Send(chunk(b"".join(said) + half))
        rest = Send(chunk(usage[len(half) :] + openai.DONE) + LAST_CHUNK)
        after: tuple[Step, ...] = (Wait(0.25), rest) if comes else (Hang(),)
        return Behaviour("late", (Send(openai.stream_head()), first, *after))

    async def test() -> None:
        async with FakeUpstream(last_word) as provider:
            text = KEYS + channel("a", provider.origin)
            async with running(tmp_path, text) as station:
                leaks = Leaks()
                peer = await station.begin(PATHS["chat"], _body("late"))
                while b'"stop"' not in peer.received:
                    assert await peer.more()
                await asyncio.sleep(0.05)
                await peer.close()
                (record,) = await station.ended(1)
                usage = {"input": PROMPT_TOKENS, "output": len(PIECES)}
                source = "provider" if comes else "estimated"
                _assert_charged(record, usage, source)
                await eventually(
                    lambda: (
                        station.upstream.open_connections
                        == station.upstream.idle_connections
                    ),
                    "the provider is still waited for",
                )
                station.hang_up()
                await leaks.assert_none()

    with (
        coarse_timers_made_fine(),
        patch("posthouse.relay.stream.USAGE_AFTER_LEAVING", 0.8),
    ):
        play(test)


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
def test_leaving_before_anything_was_sent_costs_nothing(
    tmp_path: Path, *, stream: bool
) -> None:
    """While the provider is still being connected to, no prompt has been read."""

    async def test() -> None:
        from tests.fakes.upstream import silent_origin

        with silent_origin() as origin:
            text = KEYS + channel("a", origin, timeouts={"connect": 3})
            async with running(tmp_path, text) as station:
                leaks = Leaks()
                body = json.encode(body_of("chat", "m", stream=stream))
                peer = await station.begin(PATHS["chat"], body)
                await eventually(
                    lambda: station.application.holds.open_holds, "no hold was taken"
                )
                await asyncio.sleep(0.1)
                await peer.close()
                (record,) = await station.ended(1)
                assert (record.price, record.usage, record.cost) == (0, {}, 0)
                assert (record.status, record.outcome) == (499, "abandoned")
                _, line = await station.books(record.id)
                assert line.reason == "abandoned_before_dispatch"
                await station.settled()
                await leaks.assert_none()

    play(test)


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
def test_leaving_after_a_failed_attempt_does_not_pay_for_the_next(
    tmp_path: Path, *, stream: bool
) -> None:
    """What failed cost nothing, and the attempt after it never had the prompt."""

    def fails_late(request: Request) -> Behaviour:
        return Behaviour("late", (Wait(0.3), *scripts.status(500)(request)))

    async def test() -> None:
        from tests.fakes.upstream import silent_origin

        async with FakeUpstream(fails_late) as provider:
            with silent_origin() as origin:
                text = KEYS + channel("a", provider.origin, priority=2)
                text += channel("b", origin, priority=1, timeouts={"connect": 3})
                async with running(tmp_path, text) as station:
                    body = json.encode(body_of("chat", "m", stream=stream))
                    peer = await station.begin(PATHS["chat"], body)
                    await asyncio.sleep(0.5)
                    await peer.close()
                    (record,) = await station.ended(1)
                    assert (record.price, record.usage) == (0, {})
                    outcomes = [attempt.outcome for attempt in record.attempts]
                    assert outcomes == ["failed", "abandoned"]
                    assert [attempt.cost for attempt in record.attempts] == [0, 0]

    play(test)


@pytest.mark.parametrize("mode", ["cancel", "drain"])
@pytest.mark.parametrize("operation", ["chat", "completion", "embedding", "moderation"])
def test_leaving_before_a_whole_reply(
    tmp_path: Path, operation: str, mode: str
) -> None:
    """Cancelled, the prompt is charged; drained, all of it is."""

    def slow(request: Request) -> Behaviour:
        good = openai.answer(request)
        return Behaviour("slow", (Wait(0.3), *good.steps), good.usage)

    async def test() -> None:
        async with FakeUpstream(slow) as provider:
            text = KEYS + channel("a", provider.origin, on_disconnect=mode)
            async with running(tmp_path, text) as station:
                body = json.encode(body_of(operation, "m"))
                peer = await station.begin(PATHS[operation], body)
                await eventually(lambda: provider.served, "not asked")
                await peer.close()
                (record,) = await station.ended(1)
                assert (record.status, record.outcome) == (499, "abandoned")
                (served,) = provider.served
                if mode == "cancel":
                    assert record.usage_source == "estimated"
                    assert record.usage.keys() == {"input"}
                    assert not served.completed
                else:
                    await eventually(lambda: served.completed, "cut off")
                    writes = operation in ("chat", "completion")
                    assert record.usage.get("output", 0) == (16 if writes else 0)
                assert record.price == amount(record.usage, PRICES) > 0
                await station.settled()

    play(test)
