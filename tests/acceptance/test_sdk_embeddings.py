"""Embeddings through the vendors' SDKs at providers of each other's dialect."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from google import genai
from google.genai import errors, types
from tests.conftest import StartPosthouse
from tests.fakes.steps import Behaviour, Request, Send, json_reply
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

KEY = "sk-embeddings-0123456789abcdefghijklmnopqrstuvwxyzA"
CONFIGURATION = """
[[channels]]
name = "google"
provider = "google"
base_url = "{origin}"
api_key = "AIza-secret"
models = [{{ public = "at-google", upstream = "gemini-embedding-001" }}]

[[channels]]
name = "sandbox"
provider = "sandbox"
models = ["sandbox", "sandbox-embedding"]

[[prices]]
model = "at-google"
input = "1"

[[keys]]
name = "app"
key = "{key}"
balance_usd = "5"
"""
ASKED = "/v1beta/models/gemini-embedding-001:batchEmbedContents"


def google(request: Request) -> Behaviour:
    """Answer as Google's newer models do, who tell what they have read."""
    assert request.target == ASKED
    rows = [
        {"values": [float(len(entry["content"]["parts"][0]["text"])), 0.5]}
        for entry in request.json["requests"]
    ]
    value = {"embeddings": rows, "usageMetadata": {"promptTokenCount": 7}}
    return Behaviour("embeddings", (Send(json_reply(200, value)),))


@pytest.fixture(scope="module")
def fake() -> Iterator[ThreadedFake]:
    with ThreadedFake(google) as fake:
        yield fake


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse, fake: ThreadedFake) -> Posthouse:
    return start_posthouse(CONFIGURATION.format(origin=fake.origin, key=KEY))


@pytest.fixture(scope="module")
def client(posthouse: Posthouse) -> genai.Client:
    options = types.HttpOptions(base_url=posthouse.url, timeout=20_000)
    return genai.Client(api_key=KEY, http_options=options)


@pytest.mark.parametrize("encoding", [openai.omit, "float"], ids=["base64", "float"])
def test_openais_sdk_at_google(
    posthouse: Posthouse, fake: ThreadedFake, encoding: Any
) -> None:
    """It is charged what Google says that it has read."""
    url = posthouse.url + "/v1"
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as sdk:
        reply = sdk.embeddings.with_raw_response.create(
            model="at-google",
            input=["a", "bcd"],
            dimensions=2,
            encoding_format=encoding,
        )
    told = "gemini_embed"
    assert reply.headers["x-posthouse-translation"] == told
    rows = reply.parse()
    assert rows.model == "at-google"
    assert rows.usage.prompt_tokens == 7
    assert [row.embedding for row in rows.data] == [[1.0, 0.5], [3.0, 0.5]]
    entries = fake.everything[-1].request.json["requests"]
    assert [entry["outputDimensionality"] for entry in entries] == [2, 2]
    record = posthouse.call(reply.headers["x-request-id"])
    assert (record["usage"], record["translation"]) == ({"input": 7}, told)
    assert record["price_usd"] == "0.000007"


def test_googles_sdk_at_a_provider_of_openais(client: genai.Client) -> None:
    """With what only Google knows left out."""
    reply = client.models.embed_content(
        model="sandbox-embedding",
        contents=["a river", "a stream"],
        config=types.EmbedContentConfig(
            output_dimensionality=64, task_type="RETRIEVAL_QUERY"
        ),
    )
    assert reply.embeddings is not None
    assert [len(row.values or ()) for row in reply.embeddings] == [64, 64]


def test_googles_sdk_at_google(client: genai.Client) -> None:
    reply = client.models.embed_content(model="at-google", contents="ab")
    assert reply.embeddings is not None
    assert reply.embeddings[0].values == [2.0, 0.5]


def test_googles_sdk_is_told_of_models_that_do_not_embed(client: genai.Client) -> None:
    with pytest.raises(errors.ClientError) as caught:
        client.models.embed_content(model="sandbox", contents="a")
    assert caught.value.code == 400
    with pytest.raises(errors.ClientError) as caught:
        client.models.embed_content(model="no-such-model", contents="a")
    assert caught.value.code == 404


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        ("embedContent", {"content": {"parts": [{"text": "a"}]}}, 200),
        ("batchEmbedContents", {"content": {"parts": [{"text": "a"}]}}, 400),
        (
            "embedContent",
            {"requests": [{"content": {"parts": [{"text": "a"}]}}]},
            400,
        ),
        ("embedText", {}, 404),
    ],
)
def test_the_path_says_whether_it_is_a_batch(
    posthouse: Posthouse, method: str, body: Any, status: int
) -> None:
    connection = http.client.HTTPConnection(posthouse.url.removeprefix("http://"))
    path = f"/v1beta/models/at-google:{method}"
    connection.request("POST", path, json.dumps(body), {"x-goog-api-key": KEY})
    reply = connection.getresponse()
    value = json.loads(reply.read())
    connection.close()
    assert reply.status == status
    assert status != 200 or value["embedding"] == {"values": [1.0, 0.5]}
