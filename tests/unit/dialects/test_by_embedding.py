"""Reranking by vectors: the cosine, and what is no vector."""

import json
from math import sqrt
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.dialects import gemini_embed, jina_rerank, openai_embeddings
from posthouse.dialects.base import make_edits
from posthouse.dialects.openai.by_embedding import DOCUMENT_LIMIT, ByEmbedding
from posthouse.errors import InvalidRequest, UpstreamBadResponse
from posthouse.model.catalog import Quirks

EDITS = make_edits("m", Quirks())


def dialect(upstream: Any = openai_embeddings) -> ByEmbedding:
    return ByEmbedding(
        (jina_rerank.DIALECT, jina_rerank.PLAIN_CODEC),
        (upstream.DIALECT, upstream.PLAIN_CODEC),
        "m",
    )


def ranked(vectors: list[Any]) -> list[dict[str, Any]]:
    """Rank as many documents as there are vectors beside the query's."""
    asked = {"model": "m", "query": "q", "documents": ["d"] * (len(vectors) - 1)}
    by_embedding = dialect()
    request = by_embedding.parse_request(json.dumps(asked).encode())
    by_embedding.render_request(request, EDITS)
    data = [{"index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    body = json.dumps({"data": data, "usage": {"prompt_tokens": 3}}).encode()
    reply = by_embedding.parse_reply(request, body, None)
    assert reply.usage is not None
    assert reply.usage.input == 3
    results: list[dict[str, Any]] = json.loads(reply.body)["results"]
    return results


def test_what_is_sent() -> None:
    """Query and documents in one request; Google is told which is which."""
    asked = b'{"model":"m","query":"q","documents":["a",{"text":"b"}],"top_n":1}'
    by_embedding = dialect()
    request = by_embedding.parse_request(asked)
    sent = json.loads(by_embedding.render_request(request, EDITS))
    assert sent == {"model": "m", "input": ["q", "a", "b"], "encoding_format": "float"}
    assert request.reading.losses["openai_embeddings"] == ("~relevance_score",)
    googles = dialect(gemini_embed)
    sent = json.loads(googles.render_request(googles.parse_request(asked), EDITS))
    tasks = [entry["taskType"] for entry in sent["requests"]]
    assert tasks == ["RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT", "RETRIEVAL_DOCUMENT"]


def test_known_angles() -> None:
    results = ranked([[1, 0], [0, 5], [3, 3], [-2, 0], [0.5, 0]])
    found = {one["index"]: one["relevance_score"] for one in results}
    assert found == {0: 0, 1: 0.7071068, 2: -1, 3: 1}
    assert [one["index"] for one in results] == [3, 1, 0, 2]


NUMBERS = st.floats(-1e3, 1e3, allow_nan=False, width=32)
PAIRS = st.integers(1, 8).flatmap(
    lambda size: st.tuples(
        st.lists(NUMBERS, min_size=size, max_size=size),
        st.lists(NUMBERS, min_size=size, max_size=size),
    )
)


@given(PAIRS)
def test_the_cosine_is_that_of_the_textbook(
    pair: tuple[list[float], list[float]],
) -> None:
    one, other = pair
    lengths = [sqrt(sum(number * number for number in vector)) for vector in pair]
    assume(min(lengths) > 1e-3)
    wanted = (
        sum(a * b for a, b in zip(one, other, strict=True)) / lengths[0] / lengths[1]
    )
    (result,) = ranked([one, other])
    assert result["relevance_score"] == pytest.approx(wanted, abs=2e-6)


@each(
    "vectors",
    [
        [[0, 0], [1, 0]],
        [[1, 0], [0, 0]],
        [[1, 0], [1, 0, 0]],
        [[1, 0], []],
        [[1, 0], ["a"]],
        [[1e308, 1e308], [1e308, 1e308]],
        [[1, 0], "AAAA"],
    ],
)
def test_what_is_no_vector_is_refused(vectors: list[Any]) -> None:
    with pytest.raises(UpstreamBadResponse):
        ranked(vectors)


def test_a_vector_too_few_is_refused() -> None:
    by_embedding = dialect()
    request = by_embedding.parse_request(b'{"model":"m","query":"q","documents":["a"]}')
    by_embedding.render_request(request, EDITS)
    body = b'{"data":[{"index":0,"embedding":[1,0]}]}'
    with pytest.raises(UpstreamBadResponse):
        by_embedding.parse_reply(request, body, None)


@pytest.mark.parametrize(
    "documents", [["a"] * (DOCUMENT_LIMIT + 1), [{"image": "https://e.example/a.png"}]]
)
def test_what_cannot_be_embedded_is_refused(documents: list[Any]) -> None:
    body = json.dumps({"model": "m", "query": "q", "documents": documents}).encode()
    by_embedding = dialect()
    with pytest.raises(InvalidRequest):
        by_embedding.render_request(by_embedding.parse_request(body), EDITS)
