"""What an operator's channels do to calls: order, keys, names, edits, limits."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import openai
from tests.fakes.steps import Behave, Behaviour, Request, Send, Wait, reply
from tests.fakes.upstream import FakeUpstream
from tests.fakes.upstream import running as serving
from tests.faults.asked import FORMS, ask, failing
from tests.faults.channels import channel
from tests.faults.judge import amount
from tests.faults.station import KEYS, Leaks, play, running
from tests.faults.wire import Fields

# --- attempts -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behave", "tries"),
    [
        (failing(500), 3),
        (lambda _: Behaviour("html", (Send(reply(200, b"<p>")),)), 2),
    ],
    ids=["overloaded", "unreadable"],
)
def test_a_call_is_tried_a_few_times_and_no_more(
    tmp_path: Path, behave: Behave, tries: int
) -> None:
    """Three attempts, and two where a reply could not be understood."""

    async def test() -> None:
        providers = [FakeUpstream(behave) for _ in range(5)]
        async with serving(*providers):
            text = KEYS + "".join(
                channel(f"c{n}", provider.origin, priority=9 - n)
                for n, provider in enumerate(providers)
            )
            async with running(tmp_path, text) as station:
                for stream in (False, True):
                    seen = await ask(station, stream=stream)
                    record, _ = await station.books(seen.call_id)
                    tried = [attempt.channel for attempt in record.attempts]
                    assert tried == [f"c{n}" for n in range(tries)]
                asked = [len(provider.served) for provider in providers]
                assert asked == [2] * tries + [0] * (5 - tries)

    play(test)


# --- keys ---------------------------------------------------------------------------


class ByKey:
    """A provider that refuses some keys."""

    def __init__(self, **refusals: Behave) -> None:
        self._refusals = refusals
        self.keys: list[str] = []

    def __call__(self, request: Request) -> Behaviour:
        """Refuse or answer, and remember the key."""
        key = (request.header(b"authorization") or b"").decode().rpartition(" ")[2]
        self.keys.append(key)
        return self._refusals.get(key.rpartition("-")[2], openai.answer)(request)


@pytest.mark.parametrize(
    ("refuse", "status"),
    [
        (failing(401), 401),
        (failing(402), 402),
        (failing(403), 403),
        (failing(429), 429),
    ],
    ids=["401", "402", "403", "429"],
)
def test_the_channels_other_key_comes_before_another_channel(
    tmp_path: Path, refuse: Behave, status: int
) -> None:
    """One key's trouble is no other key's; it rests, and the channel goes on."""

    async def test() -> None:
        two = ByKey(one=refuse)
        async with FakeUpstream(two) as first, FakeUpstream(openai.answer) as second:
            keys = ["sk-provider-one", "sk-provider-two"]
            text = KEYS + channel("a", first.origin, api_key=keys, priority=2)
            text += channel("b", second.origin, priority=1)
            async with running(tmp_path, text) as station:
                for number in range(20):
                    session = [("x-session-id", str(number))]
                    seen = await ask(station, headers=session)
                    assert seen.status == 200
                assert Counter(two.keys) == {keys[0]: 1, keys[1]: 20}
                assert not second.served
                health = station.health("a")
                assert (health.consecutive, health.ejections) == (0, 0)
                assert list(health.resting) == [0]
                records = await station.ended(20)
                (failed,) = (r for r in records if len(r.attempts) == 2)
                assert failed.attempts[0].upstream_status == status
                assert failed.attempts[0].cost == 0
                assert [a.credential for a in failed.attempts] == [0, 1]

    play(test)


def test_when_every_key_is_refused_nobody_sees_our_401(tmp_path: Path) -> None:
    """503 while the keys are refused and after, the provider asked once for each."""

    async def test() -> None:
        two = ByKey(one=failing(401), two=failing(402))
        async with FakeUpstream(two) as provider:
            keys = ["sk-provider-one", "sk-provider-two"]
            text = KEYS + channel("a", provider.origin, api_key=keys)
            async with running(tmp_path, text) as station:
                leaks = Leaks()
                for stream in (False, True, False):
                    seen = await ask(station, stream=stream)
                    assert seen.status == 503
                    assert seen.error["code"] == "upstream_unavailable"
                    assert b"provider says" not in seen.raw
                assert sorted(two.keys) == keys
                records = await station.ended(3)
                assert [len(record.attempts) for record in records] == [2, 0, 0]
                await station.application._refusals.close()
                alerts = [
                    (entry["credential"], entry["status"])
                    for entry in station.logs
                    if entry["log_level"] == "error"
                ]
                assert sorted(alerts) == [(0, 401), (1, 402)]
                station.hang_up()
                await leaks.assert_none()

    play(test)


def test_several_keys_share_the_work(tmp_path: Path) -> None:
    """Conversations are spread over a channel's keys, and each keeps its own."""

    async def test() -> None:
        provider = ByKey()
        async with FakeUpstream(provider) as server:
            keys = ["sk-provider-one", "sk-provider-two", "sk-provider-three"]
            text = KEYS + channel("a", server.origin, api_key=keys)
            async with running(tmp_path, text) as station:
                for number in range(60):
                    headers = [("x-session-id", f"conversation {number % 30}")]
                    await ask(station, headers=headers)
                assert provider.keys[:30] == provider.keys[30:]
                assert set(provider.keys) == set(keys)
                assert min(Counter(provider.keys[:30]).values()) >= 3

    play(test)


# --- which channel --------------------------------------------------------------------


def test_weights_share_the_calls_of_a_tier(tmp_path: Path) -> None:
    """Three to one, within what chance allows; a lower tier gets nothing."""

    async def test() -> None:
        heavy, light, spare = (FakeUpstream(openai.answer) for _ in range(3))
        async with serving(heavy, light, spare):
            text = KEYS + channel("heavy", heavy.origin, weight=3, priority=5)
            text += channel("light", light.origin, weight=1, priority=5)
            text += channel("spare", spare.origin, weight=9, priority=1)
            async with running(tmp_path, text) as station:
                for number in range(300):
                    await ask(station, headers=[("x-session-id", f"s-{number}")])
                assert not spare.served
                assert 0.64 < len(heavy.served) / 300 < 0.86

    play(test)


@pytest.mark.parametrize("kind", ["session", "cache-key", "beginning"])
def test_a_conversation_stays_with_its_channel(tmp_path: Path, kind: str) -> None:
    """The same session, cache key or first words lead to the same channel."""

    def asking(number: int, turn: int) -> tuple[Fields, dict[str, Any]]:
        if kind == "session":
            return [("x-session-id", f"session {number}")], {"seed": turn}
        if kind == "cache-key":
            return (), {"prompt_cache_key": f"key {number}", "seed": turn}
        first = {"role": "user", "content": f"Question {number}?"}
        later = [{"role": "assistant", "content": f"{turn}"}] * turn
        return (), {"messages": [first, *later]}

    async def test() -> None:
        providers = [FakeUpstream(openai.answer) for _ in range(4)]
        async with serving(*providers):
            text = KEYS + "".join(
                channel(f"c{n}", provider.origin)
                for n, provider in enumerate(providers)
            )
            async with running(tmp_path, text) as station:
                used: dict[int, set[str]] = {}
                for turn in range(3):
                    for number in range(24):
                        headers, more = asking(number, turn)
                        seen = await ask(station, headers=headers, **more)
                        record, _ = await station.books(seen.call_id)
                        used.setdefault(number, set()).add(record.channel)
                assert all(len(channels) == 1 for channels in used.values())
                spread = {name for channels in used.values() for name in channels}
                assert len(spread) >= 3

    play(test)


def _slow(request: Request) -> Behaviour:
    good = openai.answer(request)
    return Behaviour("slow", (Wait(0.25), *good.steps), good.usage)


def test_a_channel_that_is_full_is_passed_over(tmp_path: Path) -> None:
    """Two at a time on the first, the others on the second."""

    async def test() -> None:
        small, large = FakeUpstream(_slow), FakeUpstream(_slow)
        async with serving(small, large):
            limits = {"concurrency": 2}
            text = KEYS + channel("small", small.origin, priority=2, limits=limits)
            text += channel("large", large.origin, priority=1)
            async with running(tmp_path, text) as station:
                for _ in range(2):
                    found = await asyncio.gather(*(ask(station) for _ in range(6)))
                    assert [seen.status for seen in found] == [200] * 6
                assert (len(small.served), len(large.served)) == (4, 8)
                records = await station.ended(12)
                assert all(len(record.attempts) == 1 for record in records)

    play(test)


@pytest.mark.parametrize("limits", [{"rpm": 3}, {"concurrency": 3}])
def test_when_every_channel_is_full_callers_are_told_to_wait(
    tmp_path: Path, limits: dict[str, int]
) -> None:
    """429 with a time, nothing asked, nothing charged."""

    async def test() -> None:
        async with FakeUpstream(_slow) as provider:
            text = KEYS + channel("a", provider.origin, limits=limits)
            async with running(tmp_path, text) as station:
                found = await asyncio.gather(*(ask(station) for _ in range(5)))
                assert sorted(seen.status for seen in found) == [200] * 3 + [429] * 2
                for seen in found:
                    if seen.status == 429:
                        assert seen.error["code"] == "rate_limit_exceeded"
                        assert 1 <= int(seen.headers["retry-after"]) <= 60
                assert len(provider.served) == 3
                records = await station.ended(5)
                assert sorted(record.price > 0 for record in records) == [
                    False, False, True, True, True,
                ]  # fmt: skip
                assert station.health("a").consecutive == 0

    play(test)


@pytest.mark.parametrize(("operation", "stream"), FORMS)
def test_another_model_stands_in(
    tmp_path: Path, operation: str, *, stream: bool
) -> None:
    """After the model's last channel its fallback serves, at its own price."""
    more = """
[[fallbacks]]
model = "m"
to = ["unserved", "n"]

[[prices]]
model = "n"
input = "3"
cached_input = "1"
output = "9"
"""

    async def test() -> None:
        first, second = FakeUpstream(failing(500)), FakeUpstream(openai.answer)
        async with serving(first, second):
            text = KEYS + more + channel("a", first.origin, models=["m"])
            text += channel("b", second.origin, models=["n"])
            async with running(tmp_path, text) as station:
                seen = await ask(station, operation, stream=stream)
                assert (seen.status, seen.ended) == (200, True)
                (served,) = second.served
                assert served.request.json["model"] == "n"
                record, _ = await station.books(seen.call_id)
                assert (record.requested_model, record.upstream_model) == ("m", "n")
                prices = {"input": 3000, "cached_input": 1000, "output": 9000}
                assert record.price == amount(record.usage, prices)
                assert [a.outcome for a in record.attempts] == ["failed", "served"]

    play(test)
