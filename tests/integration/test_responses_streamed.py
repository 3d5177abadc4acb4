"""A response that its provider keeps is asked for as events."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.conftest import StartPosthouse
from tests.fakes.openai import stream_head
from tests.fakes.steps import LAST_CHUNK, Behaviour, Request, Send, chunk, json_reply
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

KEY = "sk-streamed-0123456789abcdefghijklmnopqrstuvwxyzAB"
CONFIGURATION = """
[[channels]]
name = "openai"
provider = "openai"
base_url = "{origin}"
api_key = "sk-openai"
models = ["kept"]

[[prices]]
model = "kept"
input = "1"
output = "2"

[[keys]]
name = "app"
key = "{key}"
balance_usd = "5"
"""
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "kept",
    "output": [],
    "usage": {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12},
}
EVENTS = b'event: response.completed\ndata: {"type":"response.completed"}\n\n'


def keep(request: Request) -> Behaviour:
    """Make a response, and tell it as it is asked for."""
    if request.method == "POST" or "stream=true" not in request.target:
        return Behaviour("whole", (Send(json_reply(200, RESPONSE)),))
    return Behaviour("events", (Send(stream_head()), Send(chunk(EVENTS) + LAST_CHUNK)))


@pytest.fixture(scope="module")
def fake() -> Iterator[ThreadedFake]:
    with ThreadedFake(keep) as fake:
        yield fake


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse, fake: ThreadedFake) -> Posthouse:
    return start_posthouse(CONFIGURATION.format(origin=fake.origin, key=KEY))


def ask(posthouse: Posthouse, method: str, path: str, body: Any = None) -> Any:
    """Ask; gives the reply's type and what it says."""
    connection = http.client.HTTPConnection(posthouse.url.removeprefix("http://"))
    try:
        data = None if body is None else json.dumps(body)
        headers = {"authorization": f"Bearer {KEY}"}
        connection.request(method, path, data, headers)
        found = connection.getresponse()
        assert found.status == 200
        return found.getheader("content-type"), found.read()
    finally:
        connection.close()


def test_events_are_told_as_events(posthouse: Posthouse, fake: ThreadedFake) -> None:
    """By the channel that has it, which is asked for them."""
    ask(posthouse, "POST", "/v1/responses", {"model": "kept", "input": "Hello"})
    path = "/v1/responses/resp_1"
    kind, body = ask(posthouse, "GET", f"{path}?stream=true&starting_after=3")
    assert kind.startswith("text/event-stream")
    assert body == EVENTS
    assert fake.everything[-1].request.target.endswith("?stream=true&starting_after=3")
    kind, body = ask(posthouse, "GET", path)
    assert kind == "application/json"
    assert json.loads(body) == RESPONSE
