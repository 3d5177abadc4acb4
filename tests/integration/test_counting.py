"""Prompts are counted by who would answer them, for nothing; else by ourselves."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.conftest import StartPosthouse
from tests.fakes.steps import Behaviour, Close, Send, json_reply
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

KEY = "sk-counting-0123456789abcdefghijklmnopqrstuvwxyzAB"
LIMITED = "sk-limited-0123456789abcdefghijklmnopqrstuvwxyzABC"
CONFIGURATION = """
[[channels]]
name = "claude"
provider = "anthropic"
base_url = "{origin}"
api_key = "sk-claude"
models = [{{ public = "claude", upstream = "claude-upstream" }}]

[[channels]]
name = "gemini"
provider = "google"
base_url = "{origin}"
api_key = "sk-gemini"
models = [{{ public = "gemini", upstream = "gemini-upstream" }}]

[[channels]]
name = "openai"
provider = "openai"
base_url = "{origin}"
api_key = "sk-openai"
models = ["text-embedding-3-small"]

[[prices]]
model = "claude"
input = "1"
output = "2"

[[prices]]
model = "gemini"
input = "1"
output = "2"

[[keys]]
name = "app"
key = "{key}"
balance_usd = "5"

[[keys]]
name = "limited"
key = "{limited}"
balance_usd = "5"
rpm = 1
"""
ASKED = {
    "model": "claude",
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Hello there"}],
    "max_tokens": 9,
}
CONTENTS: Any = {"contents": [{"parts": [{"text": "Hello there"}]}]}
CLAUDE = "/v1/messages/count_tokens"
GEMINI = "/v1beta/models/gemini:countTokens"


@pytest.fixture(scope="module")
def fake() -> Iterator[ThreadedFake]:
    with ThreadedFake() as fake:
        yield fake


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse, fake: ThreadedFake) -> Posthouse:
    return start_posthouse(
        CONFIGURATION.format(origin=fake.origin, key=KEY, limited=LIMITED)
    )


def ask(
    posthouse: Posthouse, path: str, body: Any, *, key: str = KEY, **headers: str
) -> tuple[int, dict[str, str], Any]:
    """Ask; gives status, headers and body."""
    connection = http.client.HTTPConnection(posthouse.url.removeprefix("http://"))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request("POST", path, json.dumps(body), {"x-api-key": key, **named})
        found = connection.getresponse()
        told = {name.lower(): value for name, value in found.getheaders()}
        return found.status, told, json.loads(found.read())
    finally:
        connection.close()


def answers(fake: ThreadedFake, status: int, body: Any) -> None:
    fake.otherwise = lambda _: Behaviour("counted", (Send(json_reply(status, body)),))


def test_anthropic_counts_for_its_own_callers(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    """It is asked under its own name for the model; nothing is billed."""
    answers(fake, 200, {"input_tokens": 4711, "novel": {"a": 1}})
    beta = "token-counting-2024-11-01"
    status, _, body = ask(posthouse, CLAUDE, ASKED, anthropic_beta=beta)
    assert (status, body) == (200, {"input_tokens": 4711, "novel": {"a": 1}})
    request = fake.everything[-1].request
    assert request.target == CLAUDE
    assert request.json == {
        "model": "claude-upstream",
        "system": "Be brief.",
        "messages": ASKED["messages"],
    }
    assert request.header(b"x-api-key") == b"sk-claude"
    assert request.header(b"anthropic-beta") == beta.encode()
    assert posthouse.ask("calls") == []


def test_google_counts_a_whole_request(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    answers(fake, 200, {"totalTokens": 42, "promptTokensDetails": []})
    asked = {"generateContentRequest": CONTENTS | {"systemInstruction": {"parts": []}}}
    status, _, body = ask(posthouse, GEMINI, asked)
    assert (status, body) == (200, {"totalTokens": 42, "promptTokensDetails": []})
    request = fake.everything[-1].request
    assert request.target == "/v1beta/models/gemini-upstream:countTokens"
    assert request.json == {
        "generateContentRequest": {
            "model": "models/gemini-upstream",
            **asked["generateContentRequest"],
        }
    }


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour("refused", (Send(json_reply(404, {"error": {}})),)),
        Behaviour("busy", (Send(json_reply(529, {"type": "error"})),)),
        Behaviour("other", (Send(json_reply(200, {"tokens": 1})),)),
        Behaviour("broken", (Close(),)),
    ],
    ids=lambda behaviour: behaviour.name,
)
def test_who_cannot_count_is_counted_for(
    posthouse: Posthouse, fake: ThreadedFake, behaviour: Behaviour
) -> None:
    """And its channel stays in use."""
    fake.otherwise = lambda _: behaviour
    _, _, claude = ask(posthouse, CLAUDE, ASKED)
    _, _, gemini = ask(posthouse, GEMINI, CONTENTS)
    assert 0 < gemini["totalTokens"] < claude["input_tokens"] < 40
    answers(fake, 200, {"input_tokens": 4711})
    assert ask(posthouse, CLAUDE, ASKED)[2] == {"input_tokens": 4711}


def test_callers_of_another_dialect_get_our_own_count(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    before = len(fake.everything)
    status, _, body = ask(posthouse, CLAUDE, ASKED | {"model": "gemini"})
    assert status == 200
    assert body["input_tokens"] > 0
    assert len(fake.everything) == before


def test_a_model_that_is_not_chatted_with_has_no_prompts(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    before = len(fake.everything)
    status, _, body = ask(
        posthouse, CLAUDE, ASKED | {"model": "text-embedding-3-small"}
    )
    assert (status, len(fake.everything)) == (400, before)
    assert body["error"]["details"]["error_code"] == "unsupported_operation"


def test_counting_is_a_request_to_the_limits_of_a_key(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    answers(fake, 200, {"input_tokens": 4711})
    status, told, _ = ask(posthouse, CLAUDE, ASKED, key=LIMITED)
    assert status == 200
    assert told["x-ratelimit-remaining-requests"] == "0"
    status, told, body = ask(posthouse, CLAUDE, ASKED, key=LIMITED)
    assert status == 429
    assert body["error"]["type"] == "rate_limit_error"
    assert told["x-ratelimit-remaining-requests"] == "0"
