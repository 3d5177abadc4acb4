"""The official SDK's realtime sessions, with the sandbox and with a provider."""

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from tests.conftest import StartPosthouse
from tests.support.posthouse import Posthouse

KEY = "sk-realtime-app-0123456789abcdefghijklmnopqrstu"
CONFIGURATION = f"""
[[channels]]
name = "sandbox"
provider = "sandbox"

[[keys]]
name = "app"
key = "{KEY}"
balance_usd = "5"
"""
TIMEOUT = 20.0
SECOND = bytes(48_000)


@pytest.fixture(scope="module")
def posthouse(start_lasting_posthouse: StartPosthouse) -> Posthouse:
    """A Posthouse over the sandbox."""
    return start_lasting_posthouse(CONFIGURATION, {})


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
        events.append(event)
        if event.type == kind:
            return events
    raise AssertionError(f"no {kind}")


async def test_an_answer_in_text(
    client: openai.AsyncOpenAI, posthouse: Posthouse
) -> None:
    """What is written is answered in text, and billed by the answer's own usage."""
    async with client.realtime.connect(model="sandbox-realtime") as connection:
        await connection.session.update(
            session={"type": "realtime", "output_modalities": ["text"]}
        )
        await connection.conversation.item.create(
            item={
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "Hello there"}],
            }
        )
        await connection.response.create()
        events = await until(connection, "response.done")
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == "This is the sandbox. You said: Hello there"
    usage = events[-1].response.usage
    name = connection._connection.response.headers["x-request-id"]
    record = posthouse.call(f"{name}-1")
    assert record["operation"] == "realtime"
    assert record["usage"] == {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
    }
    session = posthouse.call(name)
    assert session["price"] in (0, "0")
