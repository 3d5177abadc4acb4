"""Whatever a provider answers who ranks, translates or embeds: read, or its fault."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.dialects import (
    ark_embed,
    baidu_translate,
    cohere_rerank,
    dashscope_rerank,
    deepl_translate,
    jina_rerank,
    minimax_embed,
    openai_embeddings,
    voyage_rerank,
)
from posthouse.dialects.base import make_edits
from posthouse.dialects.neutral.by_chat import Said
from posthouse.dialects.neutral.plain import PlainTranslation
from posthouse.dialects.openai.chat_tasks import TASKS
from posthouse.dialects.openai_moderations import PLAIN_CODEC as MODERATIONS
from posthouse.dialects.openai_moderations.request import parse_request
from posthouse.errors import UpstreamFault
from posthouse.model import moderation, rerank, translation
from posthouse.model.catalog import Quirks

EDITS = make_edits("m", Quirks())
RANK = b'{"model":"m","query":"q","documents":["a","b"]}'
SAY = b'{"model":"m","text":["a"],"target_lang":"DE"}'
EMBED = b'{"model":"m","input":["a"]}'
NAMES = ["results", "data", "output", "index", "relevance_score", "document", "usage"]
NAMES += ["meta", "billed_units", "search_units", "tokens", "input_tokens", "vectors"]
NAMES += ["translations", "text", "detected_source_language", "trans_result", "src"]
NAMES += ["dst", "error_code", "error", "code", "message", "embedding", "total_tokens"]
NAMES += ["scores", "hate", "billed_characters", "from", "id", "model"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(["0", "54003", "a", "\ud800", "EN", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)
PAIRS = [
    (jina_rerank, jina_rerank, RANK),
    (jina_rerank, cohere_rerank, RANK),
    (cohere_rerank, voyage_rerank, RANK),
    (jina_rerank, dashscope_rerank, RANK),
    (deepl_translate, deepl_translate, SAY),
    (deepl_translate, baidu_translate, SAY),
    (openai_embeddings, minimax_embed, EMBED),
    (openai_embeddings, ark_embed, EMBED),
]


@pytest.mark.parametrize(
    ("client", "upstream", "body"),
    PAIRS,
    ids=lambda value: getattr(value, "__name__", ""),
)
@given(value=VALUES)
def test_any_reply(client: Any, upstream: Any, body: bytes, value: Any) -> None:
    dialect: Any = PlainTranslation(
        (client.DIALECT, client.PLAIN_CODEC),
        (upstream.DIALECT, upstream.PLAIN_CODEC),
        "m",
    )
    request = dialect.parse_request(body)
    dialect.render_request(request, EDITS)
    try:
        reply = dialect.parse_reply(request, json.dumps(value).encode(), None)
    except UpstreamFault:
        return
    assert isinstance(json.loads(reply.body), dict)


ASKED = {
    rerank.KIND: jina_rerank.PLAIN_CODEC.read_request(
        jina_rerank.DIALECT.parse_request(RANK)
    ),
    translation.KIND: deepl_translate.PLAIN_CODEC.read_request(
        deepl_translate.DIALECT.parse_request(SAY)
    ),
    moderation.KIND: MODERATIONS.read_request(parse_request(b'{"input":"a"}')),
}


@pytest.mark.parametrize("kind", sorted(TASKS))
@given(value=VALUES, around=st.sampled_from(["", "```json\n", "{", "</think>", "x"]))
def test_any_answer_of_a_chat(kind: str, value: Any, around: str) -> None:
    said = Said(around + json.dumps(value), None, "1")
    try:
        answered = TASKS[kind].answer(said, ASKED[kind])
    except UpstreamFault:
        return
    assert answered is not None
