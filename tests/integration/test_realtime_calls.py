"""Realtime sessions over a provider: what they cost."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.conftest import StartPosthouse
from tests.fakes.realtime import ThreadedRealtime, Visit, answer, usage
from tests.integration.realtime_support import (
    configuration,
    price_of,
    request_id,
    say,
    session,
    until,
)
from tests.support.posthouse import Posthouse
from websockets.exceptions import InvalidStatus


@pytest.fixture(scope="module")
def providers() -> Iterator[tuple[ThreadedRealtime, ThreadedRealtime]]:
    """Two providers."""
    with ThreadedRealtime() as first, ThreadedRealtime() as second:
        yield first, second


@pytest.fixture(scope="module")
def posthouse(
    start_posthouse: StartPosthouse,
    providers: tuple[ThreadedRealtime, ThreadedRealtime],
) -> Posthouse:
    """A Posthouse over both."""
    first, second = providers
    # One failure opens no breaker here: the tests are not about that.
    return start_posthouse(
        configuration(first.origin, second.origin),
        {"POSTHOUSE_BREAKER_FAILURES": "50"},
    )


@pytest.fixture
def provider(
    providers: tuple[ThreadedRealtime, ThreadedRealtime],
) -> ThreadedRealtime:
    """The first of them, as good as new."""
    for one in providers:
        one.reset()
    return providers[0]


async def test_every_answer_is_a_call(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Each has its own price, of text, sound and what was cached of both."""
    took = usage(
        text=100,
        sound=200,
        made_text=7,
        made_sound=90,
        cached_tokens=150,
        cached_tokens_details={"text_tokens": 40, "audio_tokens": 110},
    )

    async def behave(visit: Visit) -> None:
        await visit.until("response.create")
        await answer(visit, "resp_1", **took)
        await visit.until("response.create")
        await answer(visit, "resp_2")
        await visit.hear()

    provider.behave = behave
    async with session(posthouse) as connection:
        for _ in range(2):
            await say(connection, "response.create")
            await until(connection, "response.done")
        name = request_id(connection)
    first, second = posthouse.call(f"{name}-1"), posthouse.call(f"{name}-2")
    expected = {
        "input": 60,
        "audio_input": 90,
        "cached_input": 40,
        "cached_audio_input": 110,
        "output": 7,
        "audio_output": 90,
    }
    assert first["usage"] == expected
    assert first["price"] == price_of(expected)
    assert second["usage"] == {
        "input": 10,
        "audio_input": 20,
        "output": 5,
        "audio_output": 30,
    }
    own = posthouse.call(name)
    assert (own["outcome"], own["status"], own["price"]) == ("served", 101, 0)
    assert [a["channel"] for a in own["attempts"]] == ["first"]


async def test_answers_that_begin_by_themselves_are_billed(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """With voice detection nobody asks for them."""

    async def behave(visit: Visit) -> None:
        await visit.until("input_audio_buffer.append")
        await answer(visit, "resp_1")
        await visit.hear()

    provider.behave = behave
    async with session(posthouse) as connection:
        await say(connection, "input_audio_buffer.append", audio="AAAA")
        await until(connection, "response.done")
        name = request_id(connection)
    assert posthouse.call(f"{name}-1")["outcome"] == "served"


async def test_a_client_that_vanishes(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """The answer is called off, and billed as the provider then tells."""

    async def behave(visit: Visit) -> None:
        await visit.until("response.create")
        await visit.say("response.created", response={"id": "r"})
        await visit.say("response.output_text.delta", response_id="r", delta="Hel")
        await visit.until("response.cancel")
        response = {"id": "r", "status": "cancelled", "usage": usage(1, 2, 3, 4)}
        await visit.say("response.done", response=response)
        await visit.hear()

    provider.behave = behave
    async with session(posthouse) as connection:
        await say(connection, "response.create")
        await until(connection, "response.output_text.delta")
        name = request_id(connection)
        connection.transport.abort()
    record = posthouse.call(f"{name}-1")
    assert record["usage"] == {
        "input": 1,
        "audio_input": 2,
        "output": 3,
        "audio_output": 4,
    }
    assert record["usage_source"] == "provider"


async def test_a_client_that_vanishes_from_a_silent_provider(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """What was said is estimated after a moment."""

    async def behave(visit: Visit) -> None:
        await visit.until("response.create")
        await visit.say("response.created", response={"id": "r"})
        delta = "x" * 300
        await visit.say("response.output_text.delta", response_id="r", delta=delta)
        await asyncio.sleep(30)

    provider.behave = behave
    async with session(posthouse) as connection:
        await say(connection, "response.create")
        await until(connection, "response.output_text.delta")
        name = request_id(connection)
        connection.transport.abort()
    await asyncio.sleep(6)
    record = posthouse.call(f"{name}-1")
    assert record["usage_source"] == "estimated"
    assert record["usage"]["output"] == 100
    assert record["outcome"] == "abandoned"


async def test_a_provider_that_breaks_off(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """The client is told, and pays for what it had."""

    async def behave(visit: Visit) -> None:
        await visit.until("response.create")
        await visit.say("response.created", response={"id": "r"})
        delta = "x" * 300
        await visit.say("response.output_text.delta", response_id="r", delta=delta)
        visit.connection.transport.abort()

    provider.behave = behave
    async with session(posthouse) as connection:
        await say(connection, "response.create")
        events = await until(connection, "error")
        await connection.wait_closed()
        name = request_id(connection)
    assert events[-1]["error"]["code"] == "upstream_interrupted"
    assert connection.close_code == 1011
    record = posthouse.call(f"{name}-1")
    assert (record["outcome"], record["usage"]["output"]) == ("interrupted", 100)


async def test_an_answer_that_fails_costs_nothing(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Nor does one that the provider refuses to begin."""

    async def behave(visit: Visit) -> None:
        await visit.until("response.create")
        await visit.say("response.created", response={"id": "r"})
        response = {"id": "r", "status": "failed", "usage": None}
        await visit.say("response.done", response=response)
        event = await visit.until("response.create")
        await visit.say("error", error={"code": "x", "event_id": event["event_id"]})
        await visit.hear()

    provider.behave = behave
    async with session(posthouse) as connection:
        await say(connection, "response.create")
        await until(connection, "response.done")
        await say(connection, "response.create", event_id="mine")
        await until(connection, "error")
        name = request_id(connection)
    failed, refused = posthouse.call(f"{name}-1"), posthouse.call(f"{name}-2")
    assert (failed["outcome"], failed["price"]) == ("failed", 0)
    assert (refused["outcome"], refused["price"]) == ("rejected", 0)


async def test_an_account_that_runs_empty(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Its last answer is paid for by the reserve; then the session ends."""
    async with session(posthouse, key="poor") as connection:
        await say(connection, "response.create")
        events = await until(connection, "error")
        await connection.wait_closed()
    kinds = [event["type"] for event in events]
    assert kinds[-2:] == ["response.done", "error"]
    assert events[-1]["error"]["code"] == "insufficient_quota"
    assert (connection.close_code, connection.close_reason) == (
        1008,
        "insufficient_quota",
    )


async def test_an_account_without_money(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """There is no session, and the provider hears nothing."""
    with pytest.raises(InvalidStatus) as refused:
        await session(posthouse, key="poorer")
    assert refused.value.response.status_code == 429
    assert b"insufficient_quota" in (refused.value.response.body or b"")
    assert not provider.visits


async def test_a_transcript_is_billed(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """What the user said is written down by a model of its own, at its own price."""

    async with session(posthouse, model="sandbox-realtime") as connection:
        transcription = {"model": "sandbox-transcription-tokens"}
        sound = {"input": {"transcription": transcription, "turn_detection": None}}
        await say(connection, "session.update", session={"audio": sound})
        await until(connection, "session.updated")
        await say(connection, "input_audio_buffer.append", audio="AAAA" * 32_000)
        await say(connection, "input_audio_buffer.commit")
        kind = "conversation.item.input_audio_transcription.completed"
        told = (await until(connection, kind))[-1]["usage"]
        name = request_id(connection)
    record = posthouse.call(f"{name}-1")
    assert record["operation"] == "transcription"
    assert record["requested_model"] == "sandbox-transcription-tokens"
    assert record["usage"]["audio_input"] == told["input_tokens"] == 20


async def test_a_transcript_by_the_second_is_billed_by_what_was_heard(
    posthouse: Posthouse,
) -> None:
    """The provider tells tokens, for which the model has no price."""
    async with session(posthouse, model="sandbox-realtime") as connection:
        transcription = {"model": "sandbox-transcription"}
        sound = {"input": {"transcription": transcription, "turn_detection": None}}
        await say(connection, "session.update", session={"audio": sound})
        await until(connection, "session.updated")
        await say(connection, "input_audio_buffer.append", audio="AAAA" * 32_000)
        await say(connection, "input_audio_buffer.commit")
        await until(connection, "conversation.item.input_audio_transcription.completed")
        name = request_id(connection)
    record = posthouse.call(f"{name}-1")
    assert record["usage"] == {"second": 2}
    assert record["price"] == 200_000
