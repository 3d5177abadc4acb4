"""Rerankings through Cohere's SDKs and in Jina's form, at providers of all kinds."""

import json
from collections.abc import Iterator
from typing import Any

import cohere  # Its classes import most of it: annotations that name them are quoted.
import httpx
import httpx2
import pytest
from tests.conftest import StartPosthouse
from tests.fakes.steps import Behaviour, Request, Send, json_reply
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

KEY = "sk-reranking-0123456789abcdefghijklmnopqrstuvwxyzA"
DOCUMENTS = ["Berlin is large.", "Paris is the capital of France.", "Cats sleep."]
QUERY = "capital of France"
CONFIGURATION = """
[[channels]]
name = "sandbox"
provider = "sandbox"
models = ["sandbox-rerank", "sandbox-embedding"]

[[channels]]
name = "coheres"
provider = "cohere"
base_url = "{origin}"
api_key = "co-secret"
models = ["rerank-v3.5", "rank-down"]

[[channels]]
name = "jinas"
provider = "jina"
base_url = "{origin}/v1"
api_key = "jina-secret"
models = ["jina-reranker-v3"]

[[channels]]
name = "voyages"
provider = "voyage"
base_url = "{origin}/v1"
api_key = "pa-secret"
models = ["rerank-2.5"]

[[channels]]
name = "silent"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = "s"
models = ["silent-reranker"]

[[channels]]
name = "chats"
provider = "anthropic"
base_url = "{origin}"
api_key = "ant-secret"
models = ["claude-haiku-4-5", "chat-down"]

[[prices]]
model = "silent-reranker"
input = "1"

[[prices]]
model = "jina-reranker-v3"
input = "1"

[[prices]]
model = "claude-haiku-4-5"
input = "1"
output = "5"
search = "10"

[[prices]]
model = "rank-down"
search = "3"

[[prices]]
model = "chat-down"
input = "1"
output = "5"

[[fallbacks]]
model = "rank-down"
to = ["claude-haiku-4-5"]

[[fallbacks]]
model = "chat-down"
to = ["rerank-v3.5"]

[[keys]]
name = "app"
key = "{key}"
balance_usd = "5"
"""


def scores(request: Request) -> list[dict[str, Any]]:
    """Rank the second document first, worst first in the reply."""
    count = len(request.json["documents"])
    order = [index for index in range(count) if index != 1] + [1]
    wanted = request.json.get("top_n") or request.json.get("top_k") or count
    results: list[dict[str, Any]] = [
        {"index": index, "relevance_score": 0.9 if index == 1 else 0.1}
        for index in order
    ]
    return results[-wanted:] if wanted < count else results


def answer(request: Request) -> Behaviour:
    """Answer as the provider does that is asked at this path."""
    model = request.json["model"]
    if model.endswith("-down"):
        return Behaviour("down", (Send(json_reply(503, {"error": "down"})),))
    if request.target == "/v2/rerank":
        meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
        value: Any = {"id": "r1", "results": scores(request), "meta": meta}
    elif request.target == "/v1/messages":
        listed = [
            {"index": 1, "relevance_score": 0.9},
            {"index": 0, "relevance_score": 0},
        ]
        value = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [{"type": "text", "text": json.dumps({"results": listed})}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 100, "output_tokens": 20},
        }
    elif model.startswith("rerank-2"):
        value = {"data": scores(request), "usage": {"total_tokens": 26}}
    else:
        value = {"model": model, "results": scores(request)}
        if model.startswith("jina"):
            value["usage"] = {"total_tokens": 15}
    return Behaviour("ranked", (Send(json_reply(200, value)),))


@pytest.fixture(scope="module")
def fake() -> Iterator[ThreadedFake]:
    with ThreadedFake(answer) as fake:
        yield fake


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse, fake: ThreadedFake) -> Posthouse:
    return start_posthouse(CONFIGURATION.format(origin=fake.origin, key=KEY))


@pytest.fixture(scope="module")
def second(posthouse: Posthouse) -> "Iterator[cohere.ClientV2]":
    with httpx.Client(timeout=20) as client:
        yield cohere.ClientV2(api_key=KEY, base_url=posthouse.url, httpx_client=client)


@pytest.fixture(scope="module")
def first(posthouse: Posthouse) -> "Iterator[cohere.Client]":
    with httpx.Client(timeout=20) as client:
        yield cohere.Client(api_key=KEY, base_url=posthouse.url, httpx_client=client)


def ask(posthouse: Posthouse, path: str = "/v1/rerank", **body: Any) -> httpx2.Response:
    return httpx2.post(
        posthouse.url + path,
        json={"query": QUERY, "documents": DOCUMENTS} | body,
        headers={"authorization": f"Bearer {KEY}"},
        timeout=20,
    )


MODELS = ["sandbox-rerank", "sandbox-embedding", "rerank-v3.5", "jina-reranker-v3"]
MODELS += ["rerank-2.5", "silent-reranker", "claude-haiku-4-5"]


@pytest.mark.parametrize("model", MODELS)
def test_coheres_second_version(second: "cohere.ClientV2", model: str) -> None:
    """Whoever ranks, its SDK reads the reply, which never has documents."""
    reply = second.rerank(model=model, query=QUERY, documents=DOCUMENTS, top_n=2)
    assert reply.results[0].index == 1
    assert len(reply.results) == 2
    top, other = reply.results
    assert top.relevance_score > other.relevance_score
    assert reply.meta is not None
    assert reply.meta.billed_units is not None
    assert reply.meta.billed_units.search_units == 1


@pytest.mark.parametrize("model", MODELS)
def test_coheres_first_version(first: "cohere.Client", model: str) -> None:
    """Objects are ranked by what they say, and given back as they were."""
    documents = [{"text": text, "page": str(n)} for n, text in enumerate(DOCUMENTS)]
    reply = first.rerank(
        model=model,
        query=QUERY,
        documents=documents,
        rank_fields=["text"],
        return_documents=True,
    )
    assert reply.results[0].index == 1
    document = reply.results[0].document
    assert document is not None
    assert document.text == DOCUMENTS[1]
    assert getattr(document, "page", None) == "1"


def test_coheres_first_version_gives_no_documents_unasked(
    first: "cohere.Client",
) -> None:
    reply = first.rerank(model="jina-reranker-v3", query=QUERY, documents=DOCUMENTS)
    assert [result.document for result in reply.results] == [None] * 3


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank"])
@pytest.mark.parametrize("model", MODELS)
def test_jinas_form(posthouse: Posthouse, path: str, model: str) -> None:
    """Documents come back unasked, and the reply tells its usage."""
    reply = ask(posthouse, path, model=model, top_n=1)
    assert reply.status_code == 200, reply.text
    value = reply.json()
    assert [result["index"] for result in value["results"]] == [1]
    assert value["results"][0]["document"] == {"text": DOCUMENTS[1]}
    if model != "silent-reranker":
        assert value["model"] == model
        assert value["usage"]["total_tokens"] >= 0


def test_what_is_not_sorted_is(posthouse: Posthouse) -> None:
    results = ask(posthouse, model="silent-reranker").json()["results"]
    assert [result["index"] for result in results] == [1, 0, 2]


def test_a_limit_beyond_the_documents_is_lowered(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    """And one that is none is not sent."""
    ask(posthouse, model="jina-reranker-v3", top_n=9)
    assert fake.everything[-1].request.json["top_n"] == 3
    ask(posthouse, model="jina-reranker-v3", top_n=0)
    assert "top_n" not in fake.everything[-1].request.json


def test_search_units_are_charged(posthouse: Posthouse) -> None:
    """Cohere's unit, not the tokens that nobody told."""
    reply = ask(posthouse, "/v2/rerank", model="rerank-v3.5")
    record = posthouse.call(reply.headers["x-request-id"])
    assert record["usage"] == {"search": 1}
    assert record["price_usd"] == "0.002"
    assert (record["operation"], record["translation"]) == ("rerank", "")


def test_tokens_are_charged(posthouse: Posthouse) -> None:
    reply = ask(posthouse, model="jina-reranker-v3")
    record = posthouse.call(reply.headers["x-request-id"])
    assert (record["usage"]["input"], record["price_usd"]) == (15, "0.000015")


def test_tokens_that_nobody_told_are_counted(posthouse: Posthouse) -> None:
    """The query is read with every document."""
    reply = ask(posthouse, model="silent-reranker")
    record = posthouse.call(reply.headers["x-request-id"])
    assert record["usage_source"] == "estimated"
    # Three words of a query with each document, and the documents.
    assert 20 <= record["usage"]["input"] <= 32
    assert record["price_usd"] == f"0.{record['usage']['input']:06}"


def test_a_chat_that_ranks_is_billed_as_a_chat(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    """By its tokens alone, whatever a search of it would cost; the caller is told."""
    reply = ask(posthouse, model="claude-haiku-4-5")
    told = reply.headers["x-posthouse-translation"]
    assert told.startswith("anthropic_messages ~relevance_score")
    record = posthouse.call(reply.headers["x-request-id"])
    assert record["usage"] == {"input": 100, "output": 20}
    assert record["price_usd"] == "0.0002"
    assert record["translation"] == told
    asked = fake.everything[-1].request.json
    assert "never an instruction" in json.dumps(asked["system"])
    # What the model did not speak of comes last.
    assert [result["index"] for result in reply.json()["results"]] == [1, 0, 2]
    assert reply.json()["results"][2]["relevance_score"] == 0


@pytest.mark.parametrize(
    ("model", "usage", "price"),
    [
        ("rank-down", {"input": 100, "output": 20}, "0.0002"),
        ("chat-down", {"search": 1}, "0.002"),
    ],
)
def test_who_stands_in_for_whom_is_billed_as_what_it_is(
    posthouse: Posthouse, model: str, usage: dict[str, int], price: str
) -> None:
    """A fallback may rank by chat where the first ranks by itself, and the reverse."""
    reply = ask(posthouse, model=model)
    assert reply.status_code == 200, reply.text
    record = posthouse.call(reply.headers["x-request-id"])
    assert (record["usage"], record["price_usd"]) == (usage, price)


def test_embeddings_that_rank_are_billed_as_embeddings(posthouse: Posthouse) -> None:
    reply = ask(posthouse, model="sandbox-embedding")
    told = reply.headers["x-posthouse-translation"]
    assert told == "openai_embeddings ~relevance_score"
    record = posthouse.call(reply.headers["x-request-id"])
    assert record["usage"].keys() == {"input"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "sandbox-rerank", "documents": []}, "documents"),
        ({"model": "sandbox-rerank", "documents": [7]}, "documents[0]"),
        ({"model": "sandbox-rerank", "documents": "a"}, "documents"),
        ({"model": "sandbox-rerank", "query": None}, "query"),
        ({"model": "sandbox-rerank", "top_n": -1}, "top_n"),
        ({"model": "sandbox-rerank", "top_n": "2"}, "top_n"),
        ({"model": "sandbox-rerank", "query": "q" * 40_000_000}, None),
        ({}, "model"),
    ],
)
def test_what_is_refused(posthouse: Posthouse, body: Any, param: str | None) -> None:
    """In Jina's words and OpenAI's."""
    reply = ask(posthouse, **body)
    assert reply.status_code in {400, 413}
    error = reply.json()["error"]
    assert error["message"] == reply.json()["detail"]
    if param is not None:
        assert error["param"] == param


def test_a_member_may_be_called_anything(posthouse: Posthouse) -> None:
    """What is told of it is a header's value and no other header."""
    reply = ask(posthouse, model="rerank-2.5", **{"a\r\nx-evil: 1": 1})
    assert reply.status_code == 200
    assert reply.headers["x-posthouse-translation"] == "voyage_rerank -a??x-evil:?1"
    assert "x-evil" not in reply.headers


def test_coheres_sdk_is_told_of_errors(second: "cohere.ClientV2") -> None:
    from cohere.core.api_error import ApiError

    with pytest.raises(ApiError) as caught:
        second.rerank(model="no-such-model", query="q", documents=["a"])
    assert caught.value.status_code == 404
    assert "no-such-model" in caught.value.body["message"]
