"""What realtime sessions name: voices and prompts of others are not there."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from tests.conftest import StartPosthouse
from tests.fakes.realtime import ThreadedRealtime, Visit
from tests.integration.realtime_support import KEYS, configuration, session, until
from tests.support.fake import ThreadedFake
from tests.support.kept import Kept
from tests.support.posthouse import Posthouse

THINGS = """
[[channels]]
name = "things"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = "provider-of-things-0123456789"
models = ["m-one"]
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[ThreadedRealtime]:
    """A provider of sessions."""
    with ThreadedRealtime() as provider:
        yield provider


@pytest.fixture(scope="module")
def posthouse(
    start_posthouse: StartPosthouse, provider: ThreadedRealtime
) -> Iterator[Posthouse]:
    """A Posthouse over it, and over one that keeps things."""
    with ThreadedFake(Kept()) as things:
        text = THINGS.format(origin=things.origin)
        text += configuration(provider.origin, provider.origin)
        yield start_posthouse(text, {"POSTHOUSE_UNPRICED_ROUTES": "allow"})


def make(posthouse: Posthouse, key: str, path: str) -> str:
    """Make something at the provider that keeps things."""
    made = httpx2.post(
        f"{posthouse.url}/v1{path}",
        headers={
            "authorization": f"Bearer {KEYS[key]}",
            "x-posthouse-channel": "things",
        },
        json={},
    )
    assert made.status_code == 200, made.text
    return str(made.json()["id"])


def settings(voice: str, prompt: str) -> list[dict[str, Any]]:
    """Events that name either, each in another place."""
    audio = {"output": {"voice": voice}}
    return [
        {"type": "session.update", "session": {"audio": audio}},
        {"type": "session.update", "session": {"voice": voice}},
        {
            "type": "session.update",
            "session": {"audio": {"output": {"voice": {"id": voice}}}},
        },
        {"type": "response.create", "response": {"audio": audio}},
        {"type": "response.create", "response": {"Voice": {"ID": voice}}},
        {"type": "session.update", "session": {"prompt": {"id": prompt}}},
        {"type": "response.create", "response": {"prompt": {"id": prompt}}},
        {
            "type": "session.update",
            "session": {"prompt": {"id": "x", "variables": {"a": prompt}}},
        },
    ]


async def test_things_of_others_are_not_there(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """The event is refused, and the session goes on."""
    theirs = make(posthouse, "second", "/audio/voices")
    prompt = make(posthouse, "second", "/conversations")
    refused = [*settings(theirs, prompt), *settings("voice_nobodys", "pmpt_nobodys")]
    passing = [
        {
            "type": "session.update",
            "session": {"audio": {"output": {"voice": "coral"}}},
        },
        {"type": "session.update", "session": {"voice": "alloy", "prompt": None}},
        {"type": "session.update", "session": {"instructions": f'a "{theirs}" "_id"'}},
        {"type": "conversation.item.create", "item": {"id": "item_0001"}},
        {
            "type": "session.update",
            "session": {
                "voice": "ash",
                "input": [{"type": "item_reference", "id": "item_0001"}],
                "conversation": "auto",
            },
        },
        {"type": "end"},
    ]

    async def behave(visit: Visit) -> None:
        await visit.until("end")
        await visit.say("over")
        await visit.hear()

    provider.behave = behave
    async with session(posthouse) as connection:
        for number, event in enumerate([*refused, *passing]):
            await connection.send(json.dumps({"event_id": f"e{number}", **event}))
        events = await until(connection, "over")
    told = [event["error"] for event in events if event["type"] == "error"]
    assert [one["event_id"] for one in told] == [f"e{n}" for n in range(len(refused))]
    assert {one["code"] for one in told} == {"not_found"}
    [visit] = provider.visits
    heard = [json.loads(one) for one in visit.received]
    assert [{k: v for k, v in e.items() if k != "event_id"} for e in heard] == passing
