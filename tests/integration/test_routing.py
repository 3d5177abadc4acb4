"""Policies and rules of routing, from the file to the provider that is asked."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from msgspec import json
from tests.fakes import openai
from tests.fakes.steps import Behaviour, Request
from tests.fakes.upstream import FakeUpstream
from tests.faults.asked import ask, failing
from tests.faults.channels import channel
from tests.faults.station import KEY, KEYS, Station, play, running
from tests.integration.configuration_support import Installation

from posthouse.settings.failure import ConfigurationError
from posthouse.settings.file import RoutingSpec
from posthouse.storage import changes
from posthouse.storage.routing import Kind, list_rules, replace_file
from posthouse.storage.schema import routing

Test = Callable[[Station, "Providers"], Coroutine[Any, Any, None]]


class Providers:
    """Fake providers by the name of their channel."""

    def __init__(self, **slow: float) -> None:
        """Name them, with the seconds between their words."""
        self.fakes = {name: FakeUpstream(_paced(pause)) for name, pause in slow.items()}

    def asked(self) -> Counter[str]:
        """How often each was asked."""
        counted = {name: len(fake.served) for name, fake in self.fakes.items()}
        return Counter({name: count for name, count in counted.items() if count})


def _paced(interval: float) -> Callable[[Request], Behaviour]:
    return lambda request: openai.chat(request, interval=interval)


def serve(folder: Path, more: str, test: Test, **slow: float) -> None:
    """Run a test on channels a and b of the model m, and long of the model l."""

    async def work() -> None:
        providers = Providers(**(slow or {"a": 0.0, "b": 0.0, "long": 0.0}))
        text = KEYS
        for name, fake in providers.fakes.items():
            await fake.__aenter__()
            model = "l" if name == "long" else "m"
            text += channel(name, fake.origin, models=[model])
        try:
            async with running(folder, text + more) as station:
                await test(station, providers)
        finally:
            for fake in providers.fakes.values():
                await fake.__aexit__(None, None, None)

    play(work)


async def calls(station: Station, count: int, **more: Any) -> None:
    """Make calls of as many sessions, one after the other."""
    for number in range(count):
        headers = [("X-Session-Id", str(number)), *more.pop("headers", ())]
        reply = await ask(station, headers=headers, **more)
        assert reply.status == 200, reply.body


# --- policies -------------------------------------------------------------------------

CHEAPER_B = '[[prices]]\nmodel = "m"\nchannel = "b"\ninput = "0.5"\noutput = "2"\n'


def test_the_cheapest_supplier_is_asked_and_the_price_stays(tmp_path: Path) -> None:
    """What the customer pays does not follow the channel."""

    async def test(station: Station, providers: Providers) -> None:
        await calls(station, 8)
        assert providers.asked() == {"b": 8}
        records = await station.ended(8)
        assert {record.channel for record in records} == {"b"}
        assert len({record.price for record in records}) == 1
        assert records[0].price > (records[0].cost or 0) > 0

    policy = '[[routing]]\nmodel = "m"\npolicy = "lowest_cost"\n'
    serve(tmp_path, CHEAPER_B + policy, test)


def test_the_soonest_is_asked_once_both_are_known(tmp_path: Path) -> None:
    """Streams are measured to their first word, not to their last."""

    async def test(station: Station, providers: Providers) -> None:
        await calls(station, 10, stream=True)
        assert providers.asked()["b"] >= 9
        providers.fakes["b"].served.clear()
        figures = station.application._latencies
        now = asyncio.get_running_loop().time()
        assert set(figures.by_channel(now)["b"]) == {"m (stream)"}

    serve(
        tmp_path,
        '[[routing]]\nmodel = "*"\npolicy = "lowest_latency"\n',
        test,
        a=0.05,
        b=0.0,
    )


def test_a_failing_channel_is_not_taken_for_a_quick_one(tmp_path: Path) -> None:
    """It answers at once, with an error; the other one is asked from then on."""

    async def test(station: Station, providers: Providers) -> None:
        providers.fakes["b"]._behave = failing(500)
        await calls(station, 8)
        assert providers.asked()["b"] == 1

    serve(tmp_path, '[[routing]]\nmodel = "*"\npolicy = "lowest_latency"\n', test)


def test_the_least_busy_is_asked(tmp_path: Path) -> None:
    """Calls of one session, all at once, are spread by what is under way."""

    async def test(station: Station, providers: Providers) -> None:
        await asyncio.gather(
            *(ask(station, headers=[("X-Session-Id", "one")]) for _ in range(12))
        )
        assert providers.asked() == {"a": 6, "b": 6}

    serve(
        tmp_path,
        '[[routing]]\nmodel = "m"\npolicy = "least_busy"\n',
        test,
        a=0.01,
        b=0.01,
    )


# --- rules ----------------------------------------------------------------------------

PRO = '[[rules]]\nname = "pro"\nwhen = { metadata = { plan = ["pro", "team-*"] } }\n'
METADATA = "x-posthouse-metadata"


@pytest.mark.parametrize(
    ("header", "body", "expected"),
    [
        ('{"plan":"pro"}', None, "b"),
        (None, {"plan": "team-7"}, "b"),
        ('{"plan":"pro"}', {"plan": "free"}, "b"),
        ('{"plan":"free"}', {"plan": "pro"}, "a"),
        (None, None, "a"),
        (None, {"plan": ["pro"]}, "a"),
    ],
)
def test_metadata_of_header_or_body_decides(
    tmp_path: Path, header: str | None, body: Any, expected: str
) -> None:
    """The header wins; the provider sees the body's as it was."""

    async def test(station: Station, providers: Providers) -> None:
        headers = [] if header is None else [(METADATA, header)]
        more = {} if body is None else {"metadata": body}
        reply = await ask(station, headers=headers, **more)
        assert reply.status == 200
        assert providers.asked() == {expected: 1}
        [served] = providers.fakes[expected].served
        assert served.request.json.get("metadata") == body
        assert METADATA.encode() not in served.headers

    rest = '[[rules]]\nname = "rest"\nuse = { channels = ["a"] }\n'
    serve(tmp_path, PRO + 'use = { channels = ["b"] }\n' + rest, test)


def test_a_header_that_is_no_object_is_refused_where_a_rule_reads_it(
    tmp_path: Path,
) -> None:
    """Nothing is guessed from it."""

    async def test(station: Station, providers: Providers) -> None:
        reply = await ask(station, headers=[(METADATA, "plan=pro")])
        assert (reply.status, reply.error["code"]) == (400, "invalid_metadata")
        assert not providers.asked()

    serve(tmp_path, PRO + 'use = { channels = ["b"] }\n', test)


def test_a_long_prompt_goes_to_another_model_at_its_price(tmp_path: Path) -> None:
    """The record says what was asked for and what served."""

    async def test(station: Station, providers: Providers) -> None:
        await calls(station, 2)
        assert "long" not in providers.asked()
        message = {"role": "user", "content": "many words " * 1000}
        reply = await ask(station, messages=[message])
        assert reply.status == 200
        assert providers.asked()["long"] == 1
        record = (await station.ended(3))[-1]
        assert (record.requested_model, record.upstream_model) == ("m", "l")
        usage = record.usage
        tokens = usage["input"] * 1_000 + usage["output"] * 9_000
        assert record.price == tokens + usage.get("cached_input", 0) * 1_000

    price = '[[prices]]\nmodel = "l"\ninput = "1"\noutput = "9"\n'
    rule = (
        '[[rules]]\nname = "long"\nuse = { model = "l" }\n'
        'when = { model = "m", prompt_tokens = { above = 1000 } }\n'
    )
    serve(tmp_path, price + rule, test)


def test_a_group_is_kept_to_its_channels_even_when_they_fail(tmp_path: Path) -> None:
    """What a rule leaves out is no failover."""

    async def test(station: Station, providers: Providers) -> None:
        providers.fakes["b"]._behave = failing(500)
        reply = await ask(station)
        assert reply.status == 503
        assert providers.asked() == {"b": 1}
        other = await station.ask(
            "/v1/chat/completions",
            json.encode({"model": "m", "messages": [{"role": "user", "content": "a"}]}),
            key=other_key,
        )
        assert other.status == 200
        assert (await ask(station, model="l")).error["code"] == "no_channel_available"

    keys = KEYS.replace('balance_usd = "1000"', 'balance_usd = "1000"\ngroup = "eu"')
    assert keys != KEYS
    other_key = KEY.replace("application", "another")
    more = f'[[keys]]\nname = "other"\nkey = "{other_key}"\n'
    more += (
        '[[rules]]\nname = "eu"\nwhen = { group = "eu" }\nuse = { channels = ["b"] }\n'
    )

    async def work() -> None:
        providers = Providers(a=0.0, b=0.0, long=0.0)
        text = keys
        async with (
            providers.fakes["a"] as a,
            providers.fakes["b"] as b,
            providers.fakes["long"] as long,
        ):
            text += channel("a", a.origin, models=["m"], priority=1)
            text += channel("b", b.origin, models=["m"])
            text += channel("long", long.origin, models=["l"])
            async with running(tmp_path, text + more) as station:
                await test(station, providers)

    play(work)


# --- what the file owns ---------------------------------------------------------------

CHANNEL = '[[channels]]\nname = "main"\nprovider = "openai"\n'
FIRST = '[[rules]]\nname = "first"\nuse = { channels = ["main"] }\n'
SECOND = '[[rules]]\nname = "second"\nuse = { policy = "least_busy" }\n'
POLICY = '[[routing]]\nmodel = "m"\npolicy = "lowest_cost"\n'


@pytest.fixture
async def here(tmp_path: Path) -> Any:
    installation = Installation(tmp_path)
    yield installation
    await installation.close()


async def _revision(here: Installation) -> int:
    async with here.database.read() as connection:
        return await changes.latest(connection)


async def test_the_order_of_rules_is_a_part_of_them(here: Installation) -> None:
    """Moving one is a change; applying the same again is none."""
    report = await here.apply(CHANNEL + FIRST + SECOND + POLICY)
    assert {"rule first", "rule second", "policy m"} <= set(report.created)
    revision = await _revision(here)
    report = await here.apply(CHANNEL + FIRST + SECOND + POLICY)
    assert report.unchanged == 4
    assert await _revision(here) == revision
    report = await here.apply(CHANNEL + SECOND + FIRST + POLICY)
    assert report.updated == ("the order of rules",)
    assert await _revision(here) > revision
    stored = await here.stored()
    assert [rule.name for rule in stored.rules] == ["second", "first"]
    assert stored.policies == (RoutingSpec("m", "lowest_cost"),)
    report = await here.apply(CHANNEL)
    assert {"rule first", "rule second", "policy m"} <= set(report.disabled)
    assert (await here.stored()).rules == ()


async def test_a_rule_names_channels_that_there_are(here: Installation) -> None:
    """A name that is wrong is refused with its line, and nothing has changed."""
    with pytest.raises(ConfigurationError) as refused:
        await here.apply(CHANNEL + FIRST.replace('"main"', '"mian"'))
    assert "there is no channel 'mian'" in str(refused.value)
    assert refused.value.line == 6
    assert await here.rows(routing) == []


async def test_what_the_database_has_of_its_own_is_not_the_files(
    here: Installation,
) -> None:
    """One name in both is refused."""
    await here.apply(CHANNEL + FIRST + POLICY)
    async with here.database.write() as connection:
        await connection.execute(routing.update().values(owner="database"))
    for text, reason in ((FIRST, "has a rule"), (POLICY, "has a policy")):
        with pytest.raises(ConfigurationError, match=reason):
            await here.apply(CHANNEL + text)
    async with here.database.write() as connection:
        await replace_file(connection, Kind.RULE, [])
        assert [rule.name for rule in await list_rules(connection)] == ["first"]
