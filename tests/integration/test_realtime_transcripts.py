"""Sessions that only write down what is said: each piece is a call, held for before."""

import base64
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx2
import pytest
from tests.conftest import StartPosthouse
from tests.fakes.realtime import ThreadedRealtime, Visit
from tests.integration.realtime_support import request_id, say, until
from tests.support.posthouse import Posthouse
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

KEYS = {
    name: f"sk-hearing-{name}-0123456789abcdefghijklmnopqrstu"
    for name in ("app", "poor", "trial")
}
CONFIGURATION = """
[[channels]]
name = "openai"
provider = "openai"
base_url = "{origin}/v1"
api_key = "openai-secret"
models = [
  "gpt-live-transcribe",
  "gpt-4o-transcribe",
  {{ public = "ears", upstream = "gpt-realtime-whisper" }},
]

[[channels]]
name = "sandbox"
provider = "sandbox"

[[keys]]
name = "app"
key = "{app}"
balance_usd = "5"

[[keys]]
name = "poor"
key = "{poor}"
balance_usd = "0.04"

[[keys]]
name = "trial"
key = "{trial}"
sandbox = true
"""
SECOND = base64.b64encode(bytes(48_000)).decode()
HEARD = "conversation.item.input_audio_transcription"
RATE = 283_333_333_333
"""Nano-dollars of a million seconds."""


@pytest.fixture(scope="module")
def realtime() -> Iterator[ThreadedRealtime]:
    with ThreadedRealtime() as provider:
        yield provider


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse, realtime: ThreadedRealtime) -> Posthouse:
    text = CONFIGURATION.format(origin=realtime.origin, **KEYS)
    return start_posthouse(text, {"POSTHOUSE_BREAKER_FAILURES": "50"})


@pytest.fixture
def provider(realtime: ThreadedRealtime) -> ThreadedRealtime:
    realtime.reset()
    return realtime


def session(
    posthouse: Posthouse, query: str = "intent=transcription", key: str = KEYS["app"]
) -> connect:
    url = posthouse.url.replace("http", "ws") + f"/v1/realtime?{query}"
    headers = {"Authorization": f"Bearer {key}"}
    return connect(url, additional_headers=headers, max_size=None)


async def listen(connection: ClientConnection, model: str) -> None:
    """Say who shall write down."""
    heard = {"transcription": {"model": model}, "turn_detection": None}
    settings = {"type": "transcription", "audio": {"input": heard}}
    await say(connection, "session.update", session=settings)


async def speak(connection: ClientConnection, seconds: int) -> None:
    for _ in range(seconds):
        await say(connection, "input_audio_buffer.append", audio=SECOND)


async def test_a_transcript_is_a_call(posthouse: Posthouse) -> None:
    """The sandbox has such sessions, too; nothing is ever answered."""
    key = KEYS["trial"]
    async with session(posthouse, key=key) as connection:
        created = (await until(connection, "session.created"))[-1]
        assert created["session"]["type"] == "transcription"
        await listen(connection, "sandbox-transcription-tokens")
        await until(connection, "session.updated")
        await say(connection, "response.create", event_id="wish")
        refused = (await until(connection, "error"))[-1]["error"]
        assert refused["event_id"] == "wish"
        for number in (1, 2):
            await speak(connection, 2)
            await say(connection, "input_audio_buffer.commit")
            told = (await until(connection, f"{HEARD}.completed"))[-1]["usage"]
            record = posthouse.call(f"{request_id(connection)}-{number}")
            assert record["operation"] == "transcription"
            assert record["requested_model"] == "sandbox-transcription-tokens"
            assert record["usage"]["audio_input"] == told["input_tokens"] == 20
    assert posthouse.call(request_id(connection))["status"] == 101


async def test_the_provider_is_asked_as_it_wants_to_be(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """By an address without a model; its seconds are charged, what fails is not."""

    async def behave(visit: Visit) -> None:
        await visit.say("session.created", session={"type": "transcription"})
        for number, told in enumerate(("completed", "failed")):
            await visit.until("input_audio_buffer.commit")
            item = {"item_id": f"item_{number}"}
            await visit.say("input_audio_buffer.committed", **item)
            await visit.say(f"{HEARD}.delta", delta="Hel", **item)
            used = {"type": "duration", "seconds": 3.2}
            more = {"usage": used} if told == "completed" else {"error": {}}
            await visit.say(f"{HEARD}.{told}", **item, **more)
        await visit.hear()

    provider.behave = behave
    async with session(posthouse) as connection:
        await listen(connection, "gpt-live-transcribe")
        for told in ("completed", "failed"):
            await speak(connection, 3)
            await say(connection, "input_audio_buffer.commit")
            await until(connection, f"{HEARD}.{told}")
        name = request_id(connection)
    visit = provider.last()
    assert visit.path == "/v1/realtime?intent=transcription"
    assert visit.headers["authorization"] == "Bearer openai-secret"
    record = posthouse.call(f"{name}-1")
    assert record["usage"] == {"second": 4}
    assert record["price"] == -(-4 * RATE // 1_000_000)
    failed = posthouse.call(f"{name}-2")
    assert (failed["outcome"], failed["price"]) == ("failed", 0)


@pytest.mark.parametrize("committed", [True, False])
async def test_who_leaves_pays_for_what_was_begun(
    posthouse: Posthouse, provider: ThreadedRealtime, committed: bool
) -> None:
    """By its length: parts of the transcript have come already."""

    async def behave(visit: Visit) -> None:
        await visit.say("session.created", session={"type": "transcription"})
        await visit.until("input_audio_buffer.append")
        await visit.until("input_audio_buffer.append")
        if committed:
            await visit.until("input_audio_buffer.commit")
            await visit.say("input_audio_buffer.committed", item_id="item_1")
        await visit.say(f"{HEARD}.delta", item_id="item_1", delta="Hello")
        await visit.connection.wait_closed()

    provider.behave = behave
    async with session(posthouse) as connection:
        await listen(connection, "gpt-live-transcribe")
        await speak(connection, 2)
        if committed:
            await say(connection, "input_audio_buffer.commit")
        await until(connection, f"{HEARD}.delta")
        name = request_id(connection)
    record = posthouse.call(f"{name}-1")
    assert (record["operation"], record["usage"]) == ("transcription", {"second": 2})


async def test_sound_that_nobody_began_to_write_down_costs_nothing(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    async def behave(visit: Visit) -> None:
        await visit.say("session.created", session={"type": "transcription"})
        await visit.until("input_audio_buffer.append")
        await visit.say("heard")
        await visit.connection.wait_closed()

    provider.behave = behave
    async with session(posthouse) as connection:
        await listen(connection, "gpt-live-transcribe")
        await speak(connection, 1)
        await until(connection, "heard")
        name = request_id(connection)
    record = posthouse.call(f"{name}-1")
    assert (record["outcome"], record["price"]) == ("abandoned", 0)


async def test_nobody_is_heard_for_longer_than_he_can_pay_for(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Four cents are two minutes and some seconds, one of which the session holds."""

    async def behave(visit: Visit) -> None:
        await visit.say("session.created", session={"type": "transcription"})
        while True:
            await visit.hear()

    provider.behave = behave
    async with session(posthouse, key=KEYS["poor"]) as connection:
        await listen(connection, "gpt-live-transcribe")
        with suppress(ConnectionClosed):
            await speak(connection, 300)
        await connection.wait_closed()
    assert connection.close_code == 1008
    heard = provider.last().types.count("input_audio_buffer.append")
    assert 30 < heard < 150


async def test_a_model_has_the_name_that_the_client_knows(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """In what the session says of itself, and another one at the provider."""

    async def behave(visit: Visit) -> None:
        asked = await visit.until("session.update")
        await visit.say("session.updated", session=asked["session"])
        await visit.hear()

    provider.behave = behave
    async with session(posthouse, "intent=transcription&model=ears") as connection:
        await listen(connection, "ears")
        told = (await until(connection, "session.updated"))[-1]["session"]
    assert told["audio"]["input"]["transcription"]["model"] == "ears"
    (sent,) = (json.loads(one) for one in provider.last().received)
    heard = sent["session"]["audio"]["input"]["transcription"]
    assert heard["model"] == "gpt-realtime-whisper"


async def test_models_are_held_to_the_key(posthouse: Posthouse) -> None:
    """No model that is not there writes anything down."""
    with pytest.raises(InvalidStatus) as refused:
        await session(posthouse, "intent=transcription&model=no-such")
    assert refused.value.response.status_code == 404


def issued(posthouse: Posthouse, path: str, asked: Any) -> Any:
    return httpx2.post(
        f"{posthouse.url}/v1/realtime/{path}",
        json=asked,
        headers={"Authorization": f"Bearer {KEYS['app']}"},
    )


async def test_browsers_have_such_sessions(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """By a key that holds how the session begins, asked for as now or in the beta."""

    async def behave(visit: Visit) -> None:
        await visit.say("session.created", session={"type": "transcription"})
        await visit.until("session.update")
        await visit.say("session.updated", session={"type": "transcription"})
        await visit.hear()

    provider.behave = behave
    model = {"model": "gpt-4o-transcribe"}
    now = {"type": "transcription", "audio": {"input": {"transcription": model}}}
    older = {"input_audio_transcription": model, "input_audio_format": "g711_ulaw"}
    keys = [
        issued(posthouse, "client_secrets", {"session": now}).json()["value"],
        issued(posthouse, "transcription_sessions", older).json()["client_secret"][
            "value"
        ],
    ]
    for key in keys:
        async with session(posthouse, "", key) as connection:
            await until(connection, "session.updated")
        visit = provider.last()
        assert visit.path == "/v1/realtime?intent=transcription"
        (began,) = (json.loads(one) for one in visit.received)
        assert began["session"]["type"] == "transcription"
        assert began["session"]["audio"]["input"]["transcription"] == model
    assert began["session"]["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    for path, asked in (
        ("client_secrets", {"session": {"type": "transcription"}}),
        ("client_secrets", {"session": {**now, "model": "gpt-4o-transcribe"}}),
        ("client_secrets", {"session": {**now, "type": "translation"}}),
        ("transcription_sessions", {}),
        ("transcription_sessions", {**older, "input_audio_format": "mp3"}),
    ):
        assert issued(posthouse, path, asked).status_code == 400, asked
    asked = {"input_audio_transcription": {"model": "no-such"}}
    assert issued(posthouse, "transcription_sessions", asked).status_code == 404
