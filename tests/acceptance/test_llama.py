"""llama.cpp, a server that is not ours: by itself, and behind Posthouse.

Its model is random, so answers are noise; what is asserted is what a caller
relies on: shapes, counts, limits, grammars and errors.
"""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel
from tests.acceptance.configuration import KEYS
from tests.support.posthouse import Posthouse
from tests.support.processes import ServerProcess

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello world"}]
ALWAYS_THE_SAME: dict[str, Any] = {"seed": 1, "temperature": 0}
"""By chance, noise would end before its limit now and then."""


class Verdict(BaseModel):
    """A structured answer that even noise can give under a grammar."""

    ok: bool


@pytest.fixture(params=["direct", "posthouse"])
def target(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Where llama.cpp is found, and what its model is called there."""
    server: ServerProcess = request.getfixturevalue("llama_server")
    if request.param == "direct":
        return server.url + "/v1", "tiny"
    posthouse: Posthouse = request.getfixturevalue("posthouse")
    return posthouse.url + "/v1", "local/tiny"


@pytest.fixture
def model(target: tuple[str, str]) -> str:
    """The model's name at this target."""
    return target[1]


@pytest.fixture
def client(target: tuple[str, str]) -> Iterator[openai.OpenAI]:
    """The official SDK at this target."""
    with openai.OpenAI(
        base_url=target[0], api_key=KEYS["app"], max_retries=0, timeout=120
    ) as client:
        yield client


def test_a_whole_answer(client: openai.OpenAI, model: str) -> None:
    reply = client.chat.completions.create(
        model=model, messages=HELLO, max_tokens=8, **ALWAYS_THE_SAME
    )
    assert reply.model == model
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 8
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + 8
    # A field that OpenAI does not have comes through.
    assert (reply.model_extra or {})["timings"]["predicted_n"] == 8


def test_a_streamed_answer_with_usage(client: openai.OpenAI, model: str) -> None:
    chunks = list(
        client.chat.completions.create(
            model=model,
            messages=HELLO,
            max_tokens=8,
            stream=True,
            stream_options={"include_usage": True},
            **ALWAYS_THE_SAME,
        )
    )
    assert {chunk.model for chunk in chunks} == {model}
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 8
    finishes = [
        choice.finish_reason
        for chunk in chunks
        for choice in chunk.choices
        if choice.finish_reason
    ]
    assert finishes == ["length"]


def test_a_stream_without_the_option_ends_as_it_should(
    client: openai.OpenAI, model: str
) -> None:
    chunks = list(
        client.chat.completions.create(
            model=model,
            messages=HELLO,
            max_tokens=4,
            stream=True,
            **ALWAYS_THE_SAME,
        )
    )
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "length"


def test_structured_output_under_a_grammar(client: openai.OpenAI, model: str) -> None:
    reply = client.chat.completions.parse(
        model=model, messages=HELLO, max_tokens=200, seed=3, response_format=Verdict
    )
    assert isinstance(reply.choices[0].message.parsed, Verdict)


def test_log_probabilities(client: openai.OpenAI, model: str) -> None:
    reply = client.chat.completions.create(
        model=model,
        messages=HELLO,
        max_tokens=3,
        logprobs=True,
        top_logprobs=2,
        **ALWAYS_THE_SAME,
    )
    written = reply.choices[0].logprobs
    assert written is not None
    assert [len(token.top_logprobs) for token in written.content or []] == [2, 2, 2]


def test_completions(client: openai.OpenAI, model: str) -> None:
    reply = client.completions.create(
        model=model, prompt="hello", max_tokens=4, **ALWAYS_THE_SAME
    )
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 4
    chunks = list(
        client.completions.create(
            model=model, prompt="hello", max_tokens=4, stream=True, **ALWAYS_THE_SAME
        )
    )
    assert chunks[-1].choices[0].finish_reason == "length"


def test_embeddings_in_both_encodings(client: openai.OpenAI, model: str) -> None:
    by_default = client.embeddings.create(model=model, input=["hello", "world"])
    floats = client.embeddings.create(
        model=model, input=["hello", "world"], encoding_format="float"
    )
    assert [len(item.embedding) for item in by_default.data] == [32, 32]
    for one, other in zip(by_default.data, floats.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-3)
    assert by_default.usage.prompt_tokens > 0


def test_a_prompt_that_is_too_long(client: openai.OpenAI, model: str) -> None:
    long: list[Any] = [{"role": "user", "content": "x" * 9_000}]
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=model, messages=long, max_tokens=4)


@pytest.mark.usefixtures("llama_server")
def test_a_local_model_is_free_and_recorded(
    relayed: openai.OpenAI, posthouse: Posthouse
) -> None:
    reply = relayed.chat.completions.with_raw_response.create(
        model="local/tiny", messages=HELLO, max_tokens=5
    )
    record = posthouse.call(reply.headers["x-request-id"])
    assert record["requested_model"] == "local/tiny"
    assert record["upstream_model"] == "tiny"
    assert record["channel"] == "llama"
    assert record["usage"]["output"] == 5
    assert record["price"] == 0
