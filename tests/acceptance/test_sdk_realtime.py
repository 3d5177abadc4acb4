"""The official SDK's realtime sessions, with the sandbox behind Posthouse."""

import base64
import wave
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import openai
import pytest
from tests.conftest import StartPosthouse
from tests.support.posthouse import Posthouse
from websockets.exceptions import ConnectionClosed, InvalidStatus

KEY = "sk-realtime-app-0123456789abcdefghijklmnopqrstu"
CONFIGURATION = f"""
[[channels]]
name = "sandbox"
provider = "sandbox"

[[channels]]
name = "slow"
provider = "sandbox"
models = [{{ public = "slow", upstream = "sandbox-realtime:pace-50ms:length-400" }}]

[[prices]]
model = "slow"
input = "1"
output = "2"

[[keys]]
name = "app"
key = "{KEY}"
balance_usd = "5"
"""
TIMEOUT = 20.0
MODEL = "sandbox-realtime"
SECOND = base64.b64encode(bytes(48_000)).decode()
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse) -> Posthouse:
    """A Posthouse over the sandbox."""
    return start_posthouse(CONFIGURATION)


@pytest.fixture
async def client(posthouse: Posthouse) -> AsyncIterator[openai.AsyncOpenAI]:
    """The SDK."""
    async with openai.AsyncOpenAI(
        base_url=posthouse.url + "/v1", api_key=KEY, max_retries=0, timeout=TIMEOUT
    ) as client:
        yield client


async def until(connection: Any, kind: str) -> list[Any]:
    """Read events up to one of a type."""
    events = []
    async for event in connection:
        assert event.type != "error", event
        events.append(event)
        if event.type == kind:
            return events
    raise AssertionError(f"no {kind}")


async def write(connection: Any, text: str) -> None:
    """Say something in writing."""
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    await connection.conversation.item.create(item=item)


def name_of(connection: Any) -> str:
    """The session's own call."""
    name: str = connection._connection.response.headers["x-request-id"]
    return name


async def test_an_answer_in_text(
    client: openai.AsyncOpenAI, posthouse: Posthouse
) -> None:
    """What is written is answered in text, and billed by the answer's own usage."""
    async with client.realtime.connect(model=MODEL) as connection:
        await connection.session.update(
            session={"type": "realtime", "output_modalities": ["text"]}
        )
        await write(connection, "Hello there")
        await connection.response.create()
        events = await until(connection, "response.done")
        name = name_of(connection)
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == "This is the sandbox. You said: Hello there"
    usage = events[-1].response.usage
    record = posthouse.call(f"{name}-1")
    assert record["operation"] == "realtime"
    assert record["usage"] == {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
    }
    assert posthouse.call(name)["price"] == 0


async def test_a_conversation_by_voice(
    client: openai.AsyncOpenAI, posthouse: Posthouse
) -> None:
    """Sound in, sound out: answers begin by themselves, and what is known is cached."""
    async with client.realtime.connect(model=MODEL) as connection:
        turns = []
        for _ in range(2):
            for _ in range(2):
                half = SECOND[: len(SECOND) // 2]
                await connection.input_audio_buffer.append(audio=half)
            turns.append(await until(connection, "response.done"))
        name = name_of(connection)
    kinds = [event.type for event in turns[0]]
    assert "input_audio_buffer.speech_started" in kinds
    assert kinds.index("input_audio_buffer.committed") < kinds.index("response.created")
    sound = b"".join(
        base64.b64decode(event.delta)
        for event in turns[0]
        if event.type == "response.output_audio.delta"
    )
    held = BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(sound)
    held.seek(0)
    with wave.open(held) as file:
        assert file.getnframes() > 2_000
    assert set(sound) != {0}
    told = turns[1][-1].response.usage
    record = posthouse.call(f"{name}-2")
    assert record["usage"]["cached_audio_input"] == (
        told.input_token_details.cached_tokens_details.audio_tokens
    )
    assert sum(record["usage"].values()) == told.total_tokens


async def test_a_tool_and_its_result(client: openai.AsyncOpenAI) -> None:
    """A tool that is named is called; its result is answered in words."""
    async with client.realtime.connect(model=MODEL) as connection:
        await connection.session.update(
            session={
                "type": "realtime",
                "output_modalities": ["text"],
                "tools": [WEATHER],
            }
        )
        await write(connection, "Please get_weather for me")
        await connection.response.create()
        events = await until(connection, "response.done")
        [call] = events[-1].response.output
        assert (call.type, call.name) == ("function_call", "get_weather")
        assert "city" in call.arguments
        output = {
            "type": "function_call_output",
            "call_id": call.call_id,
            "output": "sunny",
        }
        await connection.conversation.item.create(item=output)
        await connection.response.create()
        events = await until(connection, "response.done")
    [part] = events[-1].response.output[0].content
    assert part.text == "The tool says: sunny"


async def test_an_answer_that_is_called_off(
    client: openai.AsyncOpenAI, posthouse: Posthouse
) -> None:
    """It is billed as far as it came."""
    async with client.realtime.connect(model="slow") as connection:
        await connection.response.create(response={"output_modalities": ["text"]})
        await until(connection, "response.output_text.delta")
        await connection.response.cancel()
        events = await until(connection, "response.done")
        name = name_of(connection)
    assert events[-1].response.status == "cancelled"
    made = events[-1].response.usage.output_tokens
    assert 0 < made < 100
    assert posthouse.call(f"{name}-1")["usage"]["output"] == made


async def test_an_answer_without_usage(
    client: openai.AsyncOpenAI, posthouse: Posthouse
) -> None:
    """What it took is estimated."""
    async with client.realtime.connect(model=f"{MODEL}:no-usage") as connection:
        await connection.response.create()
        await until(connection, "response.done")
        name = name_of(connection)
    record = posthouse.call(f"{name}-1")
    assert record["usage_source"] == "estimated"
    assert record["usage"]["audio_output"] > 0


async def test_a_session_that_breaks_off(client: openai.AsyncOpenAI) -> None:
    """The SDK sees the code."""
    async with client.realtime.connect(model=f"{MODEL}:reset-mid-stream") as connection:
        await connection.response.create()
        with pytest.raises(ConnectionClosed, match="1011"):
            await until(connection, "response.done")


async def test_a_provider_that_refuses(client: openai.AsyncOpenAI) -> None:
    """Before a session is open its errors are HTTP's."""
    with pytest.raises(InvalidStatus, match="503"):
        async with client.realtime.connect(model=f"{MODEL}:error-500"):
            pass


async def test_a_key_for_a_browser(
    client: openai.AsyncOpenAI, posthouse: Posthouse
) -> None:
    """As the SDK asks for it, and as it uses it."""
    secret = await client.realtime.client_secrets.create(
        expires_after={"anchor": "created_at", "seconds": 60},
        session={"type": "realtime", "model": MODEL, "instructions": "Be brief"},
    )
    assert secret.session.type == "realtime"
    async with openai.AsyncOpenAI(
        base_url=posthouse.url + "/v1", api_key=secret.value, max_retries=0
    ) as browser:
        async with browser.realtime.connect(model=MODEL) as connection:
            events = await until(connection, "session.updated")
            assert events[-1].session.instructions == "Be brief"
        with pytest.raises(openai.AuthenticationError):
            await browser.models.list()


# The SDK connects in a way that its WebSocket library will give up.
@pytest.mark.filterwarnings("ignore:connect.. must be used:DeprecationWarning")
def test_the_synchronous_half(posthouse: Posthouse) -> None:
    """It says the same."""
    with (
        openai.OpenAI(base_url=posthouse.url + "/v1", api_key=KEY) as client,
        client.realtime.connect(model=MODEL) as connection,
    ):
        connection.response.create(response={"output_modalities": ["text"]})
        for event in connection:
            if event.type == "response.done":
                break
    assert event.response.status == "completed"


async def test_azures_client(posthouse: Posthouse) -> None:
    """It names its deployment in the address, and its key in another header."""
    async with (
        openai.AsyncAzureOpenAI(
            azure_endpoint=posthouse.url,
            websocket_base_url=posthouse.url.replace("http", "ws") + "/openai",
            api_key=KEY,
            api_version="2025-08-28",
        ) as client,
        client.realtime.connect(model=MODEL) as connection,
    ):
        await connection.response.create(response={"output_modalities": ["text"]})
        events = await until(connection, "response.done")
    assert events[-1].response.status == "completed"
