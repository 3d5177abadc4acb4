"""Moderations by OpenAI's SDK, where nobody but a chat model can judge."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from tests.conftest import StartPosthouse
from tests.fakes.steps import Behaviour, Request, Send, json_reply
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

from posthouse.model.moderation import CATEGORIES

KEY = "sk-judging-0123456789abcdefghijklmnopqrstuvwxyzABCDE"
BOUND = "sk-bound-0123456789abcdefghijklmnopqrstuvwxyzABCDEF"
CONFIGURATION = """
[[channels]]
name = "chats"
provider = "anthropic"
base_url = "{origin}"
api_key = "ant-secret"
models = ["claude-haiku-4-5"{alias}]

[[channels]]
name = "sandbox"
provider = "sandbox"
models = ["sandbox-moderation", "sandbox"]

[[prices]]
model = "claude-haiku-4-5"
input = "1"
output = "5"

[[keys]]
name = "app"
key = "{key}"
balance_usd = "5"

[[keys]]
name = "bound"
key = "{bound}"
balance_usd = "5"
models = ["claude-haiku-4-5"]
"""
ALIAS = ', {{ public = "omni-moderation-latest", upstream = "claude-haiku-4-5" }}'

PRICE = """
[[prices]]
model = "omni-moderation-latest"
input = "1"
output = "5"
"""


def answer(request: Request) -> Behaviour:
    """Judge as a model does that was told how: by the word `kill`."""
    parts = request.json["messages"][0]["content"]
    if isinstance(parts, str):
        parts = [{"type": "text", "text": parts}]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    results = []
    for text in texts:
        given = json.loads(text)
        found = 0.9 if "kill" in given["text"] else 0.01
        scores = dict.fromkeys(CATEGORIES, 0.0) | {"violence": found}
        results.append({"index": given["index"], "scores": scores})
    if "leave one out" in texts[0]:
        del results[0]
    said = f"```json\n{json.dumps({'results': results})}\n```"
    value = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": request.json["model"],
        "content": [{"type": "text", "text": said}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 500, "output_tokens": 100},
    }
    return Behaviour("judged", (Send(json_reply(200, value)),))


@pytest.fixture(scope="module")
def fake() -> Iterator[ThreadedFake]:
    with ThreadedFake(answer) as fake:
        yield fake


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse, fake: ThreadedFake) -> Posthouse:
    text = CONFIGURATION.format(origin=fake.origin, key=KEY, bound=BOUND, alias="")
    return start_posthouse(text)


@pytest.fixture(scope="module")
def sdk(posthouse: Posthouse) -> Iterator[openai.OpenAI]:
    url = posthouse.url + "/v1"
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as sdk:
        yield sdk


def test_a_chat_judges(sdk: openai.OpenAI, posthouse: Posthouse) -> None:
    """With every category, a verdict of each input, at the chat's own price."""
    reply = sdk.moderations.with_raw_response.create(
        model="claude-haiku-4-5", input=["I will kill you", "Hello"]
    )
    told = reply.headers["x-posthouse-translation"]
    assert told.startswith("anthropic_messages ~category_scores")
    judged = reply.parse()
    assert [one.flagged for one in judged.results] == [True, False]
    assert judged.results[0].categories.violence
    assert judged.results[0].category_scores.violence == 0.9
    assert not judged.results[1].categories.violence
    wire = json.loads(reply.text)
    assert wire["results"][0]["categories"].keys() == CATEGORIES.keys()
    assert wire["id"].startswith("modr-")
    assert wire["model"] == "claude-haiku-4-5"
    record = posthouse.call(reply.headers["x-request-id"])
    assert record["operation"] == "moderation"
    assert record["usage"] == {"input": 500, "output": 100}
    assert record["price_usd"] == "0.001"


def test_pictures_are_judged(sdk: openai.OpenAI, fake: ThreadedFake) -> None:
    """Parts together are one input; the categories say what was looked at."""
    parts: Any = [
        {"type": "text", "text": "Look at this"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aWNvbg=="}},
    ]
    reply = sdk.moderations.create(model="claude-haiku-4-5", input=parts)
    (judged,) = reply.results
    assert judged.category_applied_input_types.violence == ["text", "image"]
    assert judged.category_applied_input_types.hate == ["text"]
    sent = fake.everything[-1].request.json["messages"][0]["content"]
    assert [part["type"] for part in sent] == ["text", "image"]


def test_every_input_must_be_judged(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        sdk.moderations.create(
            model="claude-haiku-4-5", input=["leave one out", "Hello"]
        )
    assert caught.value.status_code == 502


def test_the_sandbox_judges_as_chat_models_do(
    sdk: openai.OpenAI, posthouse: Posthouse
) -> None:
    """Every input, whatever it is; its tokens are charged."""
    reply = sdk.moderations.with_raw_response.create(
        model="sandbox", input=["one", "two", "three"]
    )
    assert len(reply.parse().results) == 3
    assert posthouse.call(reply.headers["x-request-id"])["operation"] == "moderation"


def test_who_names_no_model_is_judged_by_one_made_for_it(sdk: openai.OpenAI) -> None:
    reply = sdk.moderations.create(input="I will kill you")
    assert (reply.model, reply.results[0].flagged) == ("sandbox-moderation", True)


def test_a_key_that_may_use_none_must_name_one(posthouse: Posthouse) -> None:
    url = posthouse.url + "/v1"
    with openai.OpenAI(base_url=url, api_key=BOUND, max_retries=0) as sdk:
        with pytest.raises(openai.BadRequestError) as caught:
            sdk.moderations.create(input="Hello")
        assert caught.value.code == "missing_model"
        reply = sdk.moderations.create(model="claude-haiku-4-5", input="Hello")
        assert not reply.results[0].flagged


def test_an_operator_chooses_by_the_usual_name(
    start_posthouse: StartPosthouse, fake: ThreadedFake
) -> None:
    """A chat model that is called so judges whoever names none."""
    alias = ALIAS.format()
    text = CONFIGURATION.format(origin=fake.origin, key=KEY, bound=BOUND, alias=alias)
    text += (
        '\n[[prices]]\nmodel = "omni-moderation-latest"\ninput = "1"\noutput = "5"\n'
    )
    posthouse = start_posthouse(text)
    url = posthouse.url + "/v1"
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as sdk:
        reply = sdk.moderations.create(input="I will kill you")
    assert reply.model == "omni-moderation-latest"
    assert reply.results[0].flagged
