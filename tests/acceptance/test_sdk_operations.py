"""Embeddings, moderations, completions and models through the official SDK."""

import math

import openai
import pytest


def test_embeddings_in_both_encodings(client: openai.OpenAI) -> None:
    """The SDK asks for base64 unless told otherwise, and decodes it."""
    by_default = client.embeddings.create(
        model="sandbox-embedding", input=["a river", "a stream"], dimensions=64
    )
    floats = client.embeddings.create(
        model="sandbox-embedding",
        input=["a river", "a stream"],
        dimensions=64,
        encoding_format="float",
    )
    assert [item.index for item in by_default.data] == [0, 1]
    for one, other in zip(by_default.data, floats.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding)
        assert len(one.embedding) == 64
        assert math.isclose(sum(v * v for v in one.embedding), 1, abs_tol=1e-5)
    assert by_default.usage.prompt_tokens == 2 + 2


def test_embeddings_of_token_ids(client: openai.OpenAI) -> None:
    reply = client.embeddings.create(model="sandbox-embedding", input=[[1, 2], [3]])
    assert len(reply.data) == 2
    assert reply.usage.prompt_tokens == 3


def test_moderations(client: openai.OpenAI) -> None:
    reply = client.moderations.create(
        model="sandbox-moderation", input=["I will kill you", "Good morning"]
    )
    assert [result.flagged for result in reply.results] == [True, False]
    assert reply.results[0].categories.violence


def test_completions_whole_and_streamed(client: openai.OpenAI) -> None:
    whole = client.completions.create(
        model="sandbox", prompt=["Once", "Twice"], n=2, max_tokens=40, echo=True
    )
    assert [choice.index for choice in whole.choices] == [0, 1, 2, 3]
    assert whole.choices[3].text.startswith("Twice")
    texts = dict.fromkeys(range(4), "")
    usage = None
    for chunk in client.completions.create(
        model="sandbox",
        prompt=["Once", "Twice"],
        n=2,
        max_tokens=40,
        echo=True,
        stream=True,
        stream_options={"include_usage": True},
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert list(texts.values()) == [choice.text for choice in whole.choices]
    assert usage == whole.usage


def test_models_are_listed_and_found(relayed: openai.OpenAI) -> None:
    names = [model.id for model in relayed.models.list()]
    assert {"sandbox", "sandbox-embedding", "fake-public"} <= set(names)
    assert "fake-secret-name" not in names
    assert relayed.models.retrieve("sandbox").id == "sandbox"
    with pytest.raises(openai.NotFoundError) as caught:
        relayed.models.retrieve("no-such-model")
    assert caught.value.code == "model_not_found"


async def test_the_asynchronous_client(async_client: openai.AsyncOpenAI) -> None:
    reply = await async_client.embeddings.create(
        model="sandbox-embedding", input="a river", dimensions=8
    )
    assert len(reply.data[0].embedding) == 8
    judged = await async_client.moderations.create(
        model="sandbox-moderation", input="Good morning"
    )
    assert not judged.results[0].flagged
