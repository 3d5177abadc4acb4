"""An answer that does not match its schema is asked for once more, then refused."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from tests.conftest import StartPosthouse
from tests.fakes.steps import Behave, Behaviour, Request, Send, json_reply
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

KEY = "sk-holding-0123456789abcdefghijklmnopqrstuvwxyzABC"
CONFIGURATION = """
[[channels]]
name = "deepseek"
provider = "deepseek"
base_url = "{origin}"
api_key = "sk-deepseek"
models = ["asked"]

[[prices]]
model = "asked"
input = "1"
output = "2"

[[keys]]
name = "app"
key = "{key}"
balance_usd = "5"
"""
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
ASKED: Any = {
    "model": "asked",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Where?"}],
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
}
GOOD = '{"city": "Paris"}'


def answering(*texts: str) -> Behave:
    """Give one answer after the other, and then the last one for ever."""
    following = itertools.chain(texts, itertools.repeat(texts[-1]))

    def choose(_: Request) -> Behaviour:
        message = {"role": "assistant", "content": next(following)}
        value = {
            "id": "1",
            "object": "chat.completion",
            "model": "asked",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
        }
        return Behaviour("answer", (Send(json_reply(200, value)),))

    return choose


@pytest.fixture(scope="module")
def fake() -> Iterator[ThreadedFake]:
    with ThreadedFake() as fake:
        yield fake


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse, fake: ThreadedFake) -> Posthouse:
    return start_posthouse(CONFIGURATION.format(origin=fake.origin, key=KEY))


@pytest.fixture
def sdk(posthouse: Posthouse) -> Iterator[anthropic.Anthropic]:
    url = posthouse.url
    with anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0) as sdk:
        yield sdk


def test_the_second_answer_may_be_the_right_one(
    posthouse: Posthouse, fake: ThreadedFake, sdk: anthropic.Anthropic
) -> None:
    """The model is asked again on the same channel; one answer is charged."""
    fake.on("asked", answering('{"town": 1}', GOOD))
    made = sdk.messages.with_raw_response.create(**ASKED)
    assert json.loads(made.parse().content[0].text) == {"city": "Paris"}
    record = posthouse.call(made.headers["x-request-id"])
    assert [one["error_code"] for one in record["attempts"]] == ["schema_mismatch", ""]
    assert record["usage"] == {"input": 9, "output": 3}


def test_who_is_wrong_twice_is_told_so(
    posthouse: Posthouse, fake: ThreadedFake, sdk: anthropic.Anthropic
) -> None:
    """Nothing is charged, and the channel stays as good as it was."""
    for _ in range(6):
        fake.on("asked", answering("Paris"))
        before = len(fake.served("asked"))
        with pytest.raises(anthropic.InternalServerError) as caught:
            sdk.messages.create(**ASKED)
        assert caught.value.status_code == 502
        assert "does not match the JSON schema" in caught.value.message
        assert len(fake.served("asked")) == before + 2
    record = posthouse.call(caught.value.response.headers["x-request-id"])
    assert record["price"] == 0
    fake.on("asked", answering(f"```json\n{GOOD}\n```"))
    assert sdk.messages.create(**ASKED).content[0].text == GOOD  # type: ignore[union-attr]  # a text
