"""What providers' rows declare holds on the wire and in the books."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from tests.fakes import openai
from tests.fakes.steps import Behaviour, Send, json_reply, reply
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

KEY = "sk-rows-0123456789012345678901234567890123456789"
CONFIGURATION = """
[[channels]]
name = "azure"
provider = "azure-openai"
base_url = "{origin}/openai/v1"
api_key = "azure-key"
models = [{{ public = "deployed", upstream = "team-deployment" }}]

[[channels]]
name = "classic"
provider = "azure-openai-classic"
base_url = "{origin}/openai"
api_key = "azure-key"
models = [{{ public = "classic", upstream = "team/classic" }}]

[[channels]]
name = "xai"
provider = "xai"
base_url = "{origin}/v1"
api_key = "xai-key"
models = ["grok-4.3"]

[[channels]]
name = "router"
provider = "openrouter"
base_url = "{origin}/api/v1"
api_key = "router-key"
models = ["z-ai/glm-5.2"]

[[prices]]
model = "deployed"
input = "1"
output = "2"

[[prices]]
model = "classic"
input = "1"
output = "2"

[[keys]]
name = "app"
key = "{key}"
balance_usd = "10"
"""


@pytest.fixture(scope="module")
def fake() -> Iterator[ThreadedFake]:
    """Every provider of the configuration."""
    with ThreadedFake(openai.chat) as fake:
        yield fake


@pytest.fixture(scope="module")
def posthouse(
    fake: ThreadedFake, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Posthouse]:
    """A server with a channel for each row that is tried."""
    text = CONFIGURATION.format(origin=fake.origin, key=KEY)
    with Posthouse(tmp_path_factory.mktemp("rows"), text) as posthouse:
        yield posthouse


class Answer:
    """A reply's status, its body and the call's name."""

    def __init__(self, status: int, body: bytes, call: str) -> None:
        self.status, self.body, self.call = status, body, call

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(posthouse: Posthouse, model: str, **more: Any) -> Answer:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}
    request = urllib.request.Request(
        f"{posthouse.url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {KEY}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as found:
            return Answer(found.status, found.read(), found.headers["x-request-id"])
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read(), error.headers["x-request-id"])


def test_azure_has_the_deployment_in_the_body_and_a_header_of_its_own(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    assert ask(posthouse, "deployed").status == 200
    [served] = fake.served("team-deployment")
    assert served.request.target == "/openai/v1/chat/completions"
    assert served.headers[b"api-key"] == b"azure-key"
    assert b"authorization" not in served.headers


def test_classic_azure_has_it_in_the_path_as_one_segment(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    assert ask(posthouse, "classic").status == 200
    [served] = fake.served("team/classic")
    assert served.request.target == (
        "/openai/deployments/team%2Fclassic/chat/completions"
        "?api-version=2025-04-01-preview"
    )


def test_reasoning_beside_the_completion_is_paid_for(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    """200 x 1.25 USD + (10 + 290) x 2.50 USD per million tokens."""
    usage = {
        "prompt_tokens": 200,
        "completion_tokens": 10,
        "total_tokens": 500,
        "completion_tokens_details": {"reasoning_tokens": 290},
    }
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "hello"},
        "finish_reason": "stop",
    }
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "grok-4.3"}
    whole = json_reply(200, {**body, "choices": [choice], "usage": usage})
    fake.on("grok-4.3", Behaviour("reasoned", (Send(whole),)))
    answer = ask(posthouse, "grok-4.3", frequency_penalty=0)
    assert answer.json["usage"]["completion_tokens"] == 300
    assert "frequency_penalty" not in fake.served("grok-4.3")[-1].request.json
    record = posthouse.call(answer.call)
    assert record["usage"] == {"input": 200, "output": 10, "reasoning": 290}
    assert record["price_usd"] == "0.001"


def test_an_error_in_a_stream_of_comments_is_no_answer_and_costs_nothing(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    error = {"error": {"code": 403, "message": "Flagged"}, "choices": []}
    stream = b": OPENROUTER PROCESSING\n\n" * 3
    stream += b"data: " + json.dumps(error).encode() + b"\n\n"
    told = reply(200, stream, content_type="text/event-stream")
    fake.on("z-ai/glm-5.2", Behaviour("flagged", (Send(told),)))
    answer = ask(posthouse, "z-ai/glm-5.2", stream=True)
    assert answer.status == 400
    assert answer.json["error"]["code"] == "content_filter"
    assert posthouse.call(answer.call)["price_usd"] == "0.00"
