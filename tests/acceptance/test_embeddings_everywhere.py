"""Embeddings by OpenAI's SDK and as LangChain asks, at providers of all kinds."""

from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
import tiktoken
from tests.conftest import StartPosthouse
from tests.fakes.steps import Behaviour, Request, Send, json_reply
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

from posthouse.billing.tokenizer import OLDER_ENCODING, read_ranks

KEY = "sk-embedding-0123456789abcdefghijklmnopqrstuvwxyzABC"
TEXTS = ["Ein Fluß, 河流 und 🌊", "a stream"]
CONFIGURATION = """
[[channels]]
name = "openais"
provider = "openai"
base_url = "{origin}/v1"
api_key = "s"
models = ["text-embedding-3-small"]

[[channels]]
name = "cohere"
provider = "cohere"
base_url = "{origin}"
api_key = "s"
models = ["embed-v4.0"]

[[channels]]
name = "google"
provider = "google"
base_url = "{origin}"
api_key = "s"
models = ["gemini-embedding-001"]

[[channels]]
name = "minimax"
provider = "minimax"
base_url = "{origin}/v1"
api_key = "s"
models = ["embo-01"]

[[channels]]
name = "ark"
provider = "volcengine-ark"
base_url = "{origin}/api/v3"
api_key = "s"
models = ["doubao-embedding-vision-251215"]

[[channels]]
name = "voyage"
provider = "voyage"
base_url = "{origin}/v1"
api_key = "s"
models = ["voyage-3.5"]

[[prices]]
model = "gemini-embedding-001"
input = "1"

[[keys]]
name = "app"
key = "{key}"
balance_usd = "5"
"""


def answer(request: Request) -> Behaviour:
    """Answer in the form of whoever is asked at this path: how long its input is."""
    body = request.json
    path = request.target
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    if path.endswith(":batchEmbedContents"):
        texts = [one["content"]["parts"][0]["text"] for one in body["requests"]]
        rows = [{"values": vector(text)} for text in texts]
        value: Any = {"embeddings": rows, "usageMetadata": {"promptTokenCount": 7}}
    elif path.endswith("/multimodal"):
        row = {"embedding": vector(body["input"][0]["text"])}
        value = {"data": row, "usage": usage}
    elif "texts" in body:
        vectors = [vector(text) for text in body["texts"]]
        value = {"vectors": vectors, "total_tokens": 7, "base_resp": {"status_code": 0}}
    else:
        asked = [body["input"]] if isinstance(body["input"], str) else body["input"]
        data = [
            {"object": "embedding", "index": index, "embedding": vector(one)}
            for index, one in enumerate(asked)
        ]
        value = {"object": "list", "data": data, "model": body["model"], "usage": usage}
    return Behaviour("embedded", (Send(json_reply(200, value)),))


def vector(given: Any) -> list[float]:
    return [float(len(given)), 0.5]


@pytest.fixture(scope="module")
def fake() -> Iterator[ThreadedFake]:
    with ThreadedFake(answer) as fake:
        yield fake


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse, fake: ThreadedFake) -> Posthouse:
    return start_posthouse(CONFIGURATION.format(origin=fake.origin, key=KEY))


@pytest.fixture(scope="module")
def sdk(posthouse: Posthouse) -> Iterator[openai.OpenAI]:
    url = posthouse.url + "/v1"
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as sdk:
        yield sdk


@pytest.fixture(scope="module")
def encoding() -> tiktoken.Encoding:
    pattern, tokens = read_ranks(OLDER_ENCODING)
    ranks = {token: rank for rank, token in enumerate(tokens)}
    return tiktoken.Encoding(
        "cut", pat_str=pattern, mergeable_ranks=ranks, special_tokens={}
    )


MODELS = ["embed-v4.0", "gemini-embedding-001", "embo-01", "voyage-3.5"]
MODELS += ["doubao-embedding-vision-251215"]


@pytest.mark.parametrize("form", ["base64", "float"])
@pytest.mark.parametrize("model", MODELS)
def test_tokens_where_only_texts_are_taken(
    sdk: openai.OpenAI, encoding: tiktoken.Encoding, model: str, form: Any
) -> None:
    """What LangChain's clients cut is put together again, in either encoding."""
    texts = TEXTS[:1] if model.startswith("doubao") else TEXTS
    tokens = [encoding.encode_ordinary(text) for text in texts]
    reply = sdk.embeddings.with_raw_response.create(
        model=model,
        input=tokens,
        encoding_format=openai.omit if form == "base64" else form,
    )
    rows = reply.parse()
    assert [row.embedding for row in rows.data] == [vector(text) for text in texts]
    assert rows.usage.prompt_tokens == 7
    assert "~input" in reply.headers["x-posthouse-translation"]


def test_one_text_as_tokens(sdk: openai.OpenAI, encoding: tiktoken.Encoding) -> None:
    tokens = encoding.encode_ordinary(TEXTS[0])
    reply = sdk.embeddings.create(model="embed-v4.0", input=tokens)
    assert [row.embedding for row in reply.data] == [vector(TEXTS[0])]


def test_tokens_pass_where_they_are_taken(
    sdk: openai.OpenAI, fake: ThreadedFake
) -> None:
    reply = sdk.embeddings.with_raw_response.create(
        model="text-embedding-3-small", input=[[1, 2, 3]], dimensions=256
    )
    assert fake.everything[-1].request.json["input"] == [[1, 2, 3]]
    assert fake.everything[-1].request.json["dimensions"] == 256
    assert "x-posthouse-translation" not in reply.headers


def test_what_is_no_token_is_refused(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.embeddings.create(model="embed-v4.0", input=[[1, 999_999]])
    assert caught.value.param == "input"
    with pytest.raises(openai.BadRequestError):
        sdk.embeddings.create(model="embed-v4.0", input=[[-1]])


def test_a_length_that_is_no_choice_is_told(
    sdk: openai.OpenAI, fake: ThreadedFake, posthouse: Posthouse
) -> None:
    reply = sdk.embeddings.with_raw_response.create(
        model="embed-v4.0", input="a", dimensions=256
    )
    told = "openai_embeddings -dimensions"
    assert reply.headers["x-posthouse-translation"] == told
    assert "dimensions" not in fake.everything[-1].request.json
    record = posthouse.call(reply.headers["x-request-id"])
    assert record["translation"] == told


def test_googles_client_is_told_of_it_too(posthouse: Posthouse) -> None:
    """Between dialects what the provider's row leaves out is told as well."""
    reply = httpx2.post(
        f"{posthouse.url}/v1beta/models/embed-v4.0:embedContent",
        json={"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 64},
        headers={"x-goog-api-key": KEY},
        timeout=20,
    )
    assert reply.status_code == 200, reply.text
    told = "openai_embeddings -dimensions"
    assert reply.headers["x-posthouse-translation"] == told


def test_a_length_is_asked_for_by_the_providers_word(
    sdk: openai.OpenAI, fake: ThreadedFake
) -> None:
    sdk.embeddings.create(model="voyage-3.5", input="a", dimensions=256)
    asked = fake.everything[-1].request.json
    assert asked == {"model": "voyage-3.5", "input": "a", "output_dimension": 256}


def test_several_texts_where_one_is_taken(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.embeddings.create(model="doubao-embedding-vision-251215", input=TEXTS)
    assert caught.value.code == "unsupported_by_model"
