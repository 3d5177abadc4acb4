"""Rerankings: what providers do differently, and what none of it may become."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.dialects import cohere_rerank, jina_rerank, voyage_rerank
from posthouse.dialects.base import make_edits
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.plain import PlainTranslation
from posthouse.errors import InvalidRequest, UpstreamBadResponse, UpstreamFault
from posthouse.model.catalog import Quirks

EDITS = make_edits("m", Quirks())
DIALECTS = [jina_rerank.DIALECT, cohere_rerank.DIALECT]


def request(**members: Any) -> bytes:
    return json.dumps(
        {"model": "m", "query": "q", "documents": ["a", "b", "c"]} | members
    ).encode()


def result(index: int, score: float, **members: Any) -> dict[str, Any]:
    return {"index": index, "relevance_score": score} | members


def reply(*results: dict[str, Any], **members: Any) -> bytes:
    return json.dumps({"results": list(results)} | members).encode()


@each("dialect", DIALECTS)
@each(("told", "sent"), [(2, 2), (3, 3), (4, 3), (10**9, 3), (0, None), (None, None)])
def test_a_limit_is_within_the_documents(
    dialect: Any, told: int | None, sent: int | None
) -> None:
    """Some providers refuse one beyond, and zero would give nothing."""
    parsed = dialect.parse_request(request(top_n=told))
    written = json.loads(dialect.render_request(parsed, EDITS))
    assert written.get("top_n") == sent


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_reply_in_order_passes_untouched(dialect: Any) -> None:
    """To the byte, numbers and unknown members included."""
    shown = dialect is jina_rerank.DIALECT
    documents = [{"document": {"text": text}} if shown else {} for text in "abc"]
    body = reply(
        result(2, 0.91, **documents[2]),
        result(0, 1e-7, **documents[0]),
        odd=[1.10, 2],
    )
    parsed = dialect.parse_request(request())
    assert dialect.parse_reply(parsed, body, None).body == body


def test_documents_are_given_by_jina_unless_refused() -> None:
    """Whatever the provider's default is; texts alone become objects."""
    dialect = jina_rerank.DIALECT
    body = reply(result(1, 0.9, document="b"), result(0, 0.1, document=None))
    found = dialect.parse_reply(dialect.parse_request(request()), body, None)
    shown = [entry["document"] for entry in json.loads(found.body)["results"]]
    assert shown == [{"text": "b"}, {"text": "a"}]
    refused = dialect.parse_request(request(return_documents=False))
    assert dialect.parse_reply(refused, reply(result(0, 0.1)), None).body == (
        reply(result(0, 0.1))
    )


def test_what_else_results_hold_stays() -> None:
    """Also where something had to be put right."""
    parsed = jina_rerank.DIALECT.parse_request(request(return_embeddings=True))
    body = reply(result(0, 0.1, embedding=[0.5]), result(1, 0.9, embedding=[1.0]))
    found = json.loads(jina_rerank.DIALECT.parse_reply(parsed, body, None).body)
    assert [entry["embedding"] for entry in found["results"]] == [[1.0], [0.5]]


def test_what_coheres_second_version_lacks_is_told() -> None:
    """Whoever ranks, and once."""
    parsed = cohere_rerank.DIALECT.parse_request(request(max_chunks_per_doc=3))
    assert parsed.dropped == ("-max_chunks_per_doc",)
    assert cohere_rerank.PLAIN_CODEC.read_request(parsed).extras == ()


def test_documents_are_given_by_cohere_if_asked_for() -> None:
    """Its second version never does: they come from the request."""
    dialect = cohere_rerank.DIALECT
    body = reply(result(1, 0.9), result(0, 0.1))
    plain = dialect.parse_reply(dialect.parse_request(request()), body, None)
    assert plain.body == body
    asked = dialect.parse_request(request(return_documents=True))
    found = json.loads(dialect.parse_reply(asked, body, None).body)["results"]
    assert [entry["document"] for entry in found] == [{"text": "b"}, {"text": "a"}]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_out_of_order_is_sorted_and_cut(dialect: Any) -> None:
    """Some providers keep the documents' order, or ignore the limit."""
    parsed = dialect.parse_request(request(top_n=2, return_documents=False))
    body = reply(result(0, 0.1), result(1, -3.5), result(2, 7.25))
    found = json.loads(dialect.parse_reply(parsed, body, None).body)["results"]
    assert found == [result(2, 7.25), result(0, 0.1)]


@each("dialect", DIALECTS)
@each(
    "body",
    [
        reply(result(3, 0.1)),
        reply(result(-1, 0.1)),
        reply(result(0, 0.1), result(0, 0.2)),
        b'{"results":[{"index":0,"relevance_score":"high"}]}',
        b'{"results":[{"index":"0","relevance_score":1}]}',
        b'{"results":{}}',
        b'{"data":[]}',
        b"[]",
        b"<html>",
        b"",
    ],
)
def test_what_is_no_ranking_of_these_documents_is_refused(
    dialect: Any, body: bytes
) -> None:
    parsed = dialect.parse_request(request())
    with pytest.raises(UpstreamBadResponse):
        dialect.parse_reply(parsed, body, None)


def test_an_error_with_status_200_is_one() -> None:
    parsed = jina_rerank.DIALECT.parse_request(request())
    body = b'{"error":{"message":"no","code":"rate_limit_exceeded"}}'
    with pytest.raises(UpstreamFault):
        jina_rerank.DIALECT.parse_reply(parsed, body, None)


@each(
    ("told", "input_tokens", "counted"),
    [
        ({"usage": {"total_tokens": 15}}, 15, {}),
        ({"usage": {"prompt_tokens": 14, "total_tokens": 15}}, 14, {}),
        ({"meta": {"tokens": {"input_tokens": 21, "output_tokens": 0}}}, 21, {}),
        ({"meta": {"billed_units": {"search_units": 2}}}, None, {"search": 2}),
        ({"meta": {"billed_units": {"search_units": 2.0}}}, None, {"search": 2}),
    ],
)
def test_usage_is_found_wherever_it_stands(
    told: dict[str, Any], input_tokens: int | None, counted: dict[str, int]
) -> None:
    parsed = jina_rerank.DIALECT.parse_request(request())
    usage = jina_rerank.DIALECT.parse_reply(parsed, reply(**told), None).usage
    assert usage is not None
    assert (usage.input, usage.counted) == (input_tokens, counted)


@each("told", [{}, {"meta": None}, {"usage": {"total_tokens": "15"}}, {"usage": []}])
def test_usage_that_is_not_told_is_none(told: dict[str, Any]) -> None:
    """It is counted then: no call is free for that."""
    parsed = jina_rerank.DIALECT.parse_request(request())
    reply_ = jina_rerank.DIALECT.parse_reply(parsed, reply(**told), None)
    assert reply_.usage is None
    assert jina_rerank.DIALECT.prompt_text(parsed).count("q") == 3


def test_what_is_held_for() -> None:
    """The query with every document, and Cohere's units."""
    body = request(query="xx", documents=["a" * 10] * 101)
    parsed = cohere_rerank.DIALECT.parse_request(body)
    assert parsed.prompt.text_bytes == 101 * (2 + 10)
    assert parsed.counted == {"search": 2}


def test_a_query_that_would_be_read_too_often_is_refused() -> None:
    body = request(query="q" * 4_000_000, documents=["a"] * 9)
    with pytest.raises(InvalidRequest):
        jina_rerank.DIALECT.parse_request(body)


@each(
    ("documents", "fields", "sent"),
    [
        ([{"text": "a"}, "b"], None, ["a", "b"]),
        ([{"t": "A", "n": 7}], None, ["t: A\nn: 7"]),
        ([{"t": "A", "n": 7}], ["n", "t", "x"], ["n: 7\nt: A"]),
        ([{"t": "two\nlines"}], None, ['t: "two\\nlines"']),
    ],
)
def test_objects_become_texts_at_cohere(
    documents: list[Any], fields: list[str] | None, sent: list[str]
) -> None:
    """Its second version takes no objects; lines of YAML are what it advises."""
    dialect = cohere_rerank.DIALECT
    members = {} if fields is None else {"rank_fields": fields}
    parsed = dialect.parse_request(request(documents=documents, **members))
    written = json.loads(dialect.render_request(parsed, EDITS))
    assert written["documents"] == sent
    assert "rank_fields" not in written


def test_pictures_are_refused_where_texts_alone_are_ranked() -> None:
    body = request(documents=[{"image": "https://example.com/a.png"}])
    parsed = jina_rerank.DIALECT.parse_request(body)
    asked = jina_rerank.PLAIN_CODEC.read_request(parsed)
    written = jina_rerank.PLAIN_CODEC.write_request(asked, "m", Losses())
    assert json.loads(json.dumps(written.members, default=lambda raw: raw.__str__()))
    for codec in (cohere_rerank.PLAIN_CODEC, voyage_rerank.PLAIN_CODEC):
        with pytest.raises(InvalidRequest):
            codec.write_request(asked, "m", Losses())
    with pytest.raises(InvalidRequest):
        cohere_rerank.DIALECT.render_request(parsed, EDITS)


@given(
    scores=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=8),
    top_n=st.none() | st.integers(0, 12),
    documents=st.booleans(),
)
def test_every_pair_of_dialects_ranks_alike(
    scores: list[float], top_n: int | None, documents: bool
) -> None:
    """Order, number and documents, whoever asks and whoever answers."""
    texts = [f"document {index}" for index in range(len(scores))]
    wanted = sorted(range(len(scores)), key=lambda index: -scores[index])
    wanted = wanted[: top_n or None]
    results = [result(index, score) for index, score in enumerate(scores)]
    for client in (jina_rerank, cohere_rerank):
        for upstream in (jina_rerank, cohere_rerank, voyage_rerank):
            dialect: Any = PlainTranslation(
                (client.DIALECT, client.PLAIN_CODEC),
                (upstream.DIALECT, upstream.PLAIN_CODEC),
                "m",
            )
            members = {"top_n": top_n, "return_documents": documents}
            parsed = dialect.parse_request(request(documents=texts, **members))
            dialect.render_request(parsed, EDITS)
            name = "data" if upstream is voyage_rerank else "results"
            body = json.dumps({name: results}).encode()
            found = json.loads(dialect.parse_reply(parsed, body, "public").body)
            assert [entry["index"] for entry in found["results"]] == wanted
            for entry in found["results"]:
                assert entry["relevance_score"] == scores[entry["index"]]
                shown = {"text": texts[entry["index"]]} if documents else None
                assert entry.get("document") == shown


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "image", "a"]), inner, max_size=2)
    ),
    max_leaves=6,
)
FIELDS = ["query", "documents", "top_n", "return_documents", "rank_fields", "model"]
FIELDS += ["truncation", "max_tokens_per_doc", "max_doc_length", "instruction", "x"]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
def test_whatever_is_asked_is_judged(members: dict[str, Any]) -> None:
    """Refused for a reason, or read, sized and written; never anything else."""
    for module in (jina_rerank, cohere_rerank):
        try:
            parsed = module.DIALECT.parse_request(request(**members))
            module.DIALECT.render_request(parsed, EDITS)
            asked = module.PLAIN_CODEC.read_request(parsed)
            voyage_rerank.PLAIN_CODEC.write_request(asked, "m", Losses())
        except InvalidRequest:
            continue
        assert parsed.prompt.text_bytes >= 0
        assert parsed.counted["search"] >= 1
        assert asked.top_n is None or 1 <= asked.top_n <= len(asked.documents)
