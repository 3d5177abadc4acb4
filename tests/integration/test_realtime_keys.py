"""Realtime sessions: who may have them, and browsers' keys."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.conftest import StartPosthouse
from tests.fakes.realtime import ThreadedRealtime, Visit, answer, usage
from tests.integration.realtime_support import (
    KEYS,
    configuration,
    request_id,
    say,
    session,
    until,
)
from tests.support.posthouse import Posthouse
from tests.support.raw import send
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


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"headers": {}}, 401),
        ({"headers": {"Authorization": "Bearer sk-wrong"}}, 401),
        ({"headers": {}, "subprotocols": ["openai-insecure-api-key.x"]}, 401),
        ({"key": "narrow"}, 404),
        ({"model": "no-such-model"}, 404),
        ({"model": "voice&model=voice"}, 400),
        ({"model": ""}, 400),
    ],
)
async def test_who_is_refused(
    posthouse: Posthouse, provider: ThreadedRealtime, options: dict, status: int
) -> None:
    """Before anything is open, in HTTP."""
    with pytest.raises(InvalidStatus) as refused:
        await session(posthouse, **options)
    assert refused.value.response.status_code == status
    assert not provider.visits


def issued(posthouse: Posthouse, asked: Any, key: str = KEYS["app"]) -> Any:
    """Ask for a browser's key; give status and reply."""
    bearer = ("Authorization", f"Bearer {key}")
    body = json.dumps(asked).encode()
    path = "/v1/realtime/client_secrets"
    reply = send(posthouse.url, path, body, headers=(bearer,))
    return reply.status, json.loads(reply.body)


async def test_a_browsers_key(posthouse: Posthouse, provider: ThreadedRealtime) -> None:
    """Opens sessions of its model, as they were set up, in its tenant's name."""
    settings = {"type": "realtime", "model": "voice", "instructions": "Be brief"}
    status, told = issued(posthouse, {"session": settings})
    assert status == 200
    assert told["session"]["instructions"] == "Be brief"
    assert 590 < told["expires_at"] - time.time() <= 600
    offered = ["realtime", f"openai-insecure-api-key.{told['value']}"]
    async with session(posthouse, headers={}, subprotocols=offered) as connection:
        await say(connection, "response.create")
        await until(connection, "response.done")
        name = request_id(connection)
    opening = json.loads(provider.last().received[0])
    assert opening["type"] == "session.update"
    assert opening["session"] == {**settings, "model": "m-upstream"}
    assert posthouse.call(f"{name}-1")["key"] == "app"
    bearer = {"Authorization": f"Bearer {told['value']}"}
    async with session(posthouse, headers=bearer) as connection:
        await until(connection, "session.created")
    with pytest.raises(InvalidStatus) as refused:
        await session(posthouse, model="plain", headers=bearer)
    assert refused.value.response.status_code == 404


async def test_a_browsers_key_opens_nothing_else(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Neither other routes nor further keys, and it cannot be altered."""
    _, told = issued(posthouse, {"session": {"model": "voice"}})
    value = told["value"]
    assert issued(posthouse, {"session": {"model": "voice"}}, value)[0] == 401
    for header in ("Authorization", "api-key"):
        text = f"Bearer {value}" if header == "Authorization" else value
        fields = ((header, text),)
        assert (
            send(posthouse.url, "/v1/models", method="GET", headers=fields).status
            == 401
        )
    middle = len(value) // 2
    other = "A" if value[middle] != "A" else "B"
    for forged in (
        value[:middle] + other + value[middle + 1 :],
        value[:-9],
        "ek_",
        "ek_x",
    ):
        with pytest.raises(InvalidStatus) as refused:
            await session(posthouse, headers={"Authorization": f"Bearer {forged}"})
        assert refused.value.response.status_code == 401
    assert not provider.visits


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ([], 400),
        ({}, 400),
        ({"session": {"type": "realtime"}}, 400),
        ({"session": {"type": "transcription", "model": "voice"}}, 400),
        ({"session": {"model": "voice"}, "expires_after": {"seconds": 9}}, 400),
        ({"session": {"model": "voice"}, "expires_after": {"seconds": 7201}}, 400),
        ({"session": {"model": "voice"}, "expires_after": {"seconds": True}}, 400),
        ({"session": {"model": "voice", "instructions": "x" * 5000}}, 400),
        ({"session": {"model": "voice", "x": {"model": "y"}}}, 400),
        ({"session": {"model": "no-such"}}, 404),
        ({"session": {"model": "gpt-4o"}}, 404),
    ],
)
def test_browsers_keys_that_are_refused(
    posthouse: Posthouse, asked: Any, status: int
) -> None:
    """What cannot be promised is not."""
    assert issued(posthouse, asked)[0] == status


async def test_limits_hold_for_a_sessions_life(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """One at a time, and each counts as one call of a minute."""
    async with session(posthouse, key="single") as connection:
        await until(connection, "session.created")
        with pytest.raises(InvalidStatus) as refused:
            await session(posthouse, key="single")
        assert refused.value.response.status_code == 429
        for _ in range(4):
            await say(connection, "response.create")
            await until(connection, "response.done")
    provider.last()
    await asyncio.sleep(0.3)
    async with session(posthouse, key="single") as connection:
        await until(connection, "session.created")


async def test_tokens_of_answers_are_limited(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """A wish beyond the limit is refused, what nobody has asked for is called off."""

    async def behave(visit: Visit) -> None:
        await visit.until("response.create")
        await answer(visit, "resp_1")
        await visit.until("input_audio_buffer.append")
        await visit.say("response.created", response={"id": "resp_2"})
        await visit.until("response.cancel")
        response = {"id": "resp_2", "status": "cancelled", "usage": usage(1, 0, 0, 0)}
        await visit.say("response.done", response=response)
        await visit.hear()

    provider.behave = behave
    async with session(posthouse, key="counted") as connection:
        await say(connection, "response.create")
        await until(connection, "response.done")
        await say(connection, "response.create", event_id="again")
        told = (await until(connection, "error"))[-1]["error"]
        assert (told["code"], told["event_id"]) == ("rate_limit_exceeded", "again")
        await say(connection, "input_audio_buffer.append", audio="AAAA")
        told = (await until(connection, "error"))[-1]["error"]
        assert told["code"] == "rate_limit_exceeded"
        await until(connection, "response.done")
    assert provider.last().types.count("response.create") == 1
    async with session(posthouse, key="counted") as connection:
        pass


async def test_tenants_pay_for_themselves(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Two sessions at once, two ledgers."""
    async with (
        session(posthouse, key="app") as one,
        session(posthouse, key="second") as other,
    ):
        await say(one, "response.create")
        await until(one, "response.done")
        await say(other, "response.create")
        await until(other, "response.done")
        names = request_id(one), request_id(other)
    records = [posthouse.call(f"{name}-1") for name in names]
    assert records[0]["key"] != records[1]["key"]


async def test_a_revoked_key_ends_its_session(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Within a minute, with an answer under way or not."""
    made = await asyncio.to_thread(posthouse.ask, "key", "create", "doomed")
    headers = {"api-key": made["key"]}
    async with session(posthouse, headers=headers) as connection:
        await until(connection, "session.created")
        await asyncio.to_thread(posthouse.run, "key", "revoke", "doomed")
        async with asyncio.timeout(60):
            events = await until(connection, "error")
            await connection.wait_closed()
    assert events[-1]["error"]["code"] == "invalid_api_key"
    assert connection.close_code == 1008
