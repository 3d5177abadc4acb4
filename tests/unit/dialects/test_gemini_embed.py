"""Gemini's embeddings, passing; the list of models."""

from typing import Any

import msgspec
import pytest
from tests.support.cases import each

from posthouse.dialects.base import make_edits
from posthouse.dialects.gemini_embed import DIALECT
from posthouse.dialects.gemini_embed.request import parse_request_for
from posthouse.dialects.gemini_generate.models import (
    ListedModel,
    render_model,
    render_models,
)
from posthouse.errors import (
    InvalidRequest,
    UpstreamBadResponse,
    UpstreamFault,
    UpstreamRateLimited,
)
from posthouse.model.call import Operation
from posthouse.model.catalog import Quirks
from posthouse.model.usage import ReportedUsage

ONE = {"content": {"parts": [{"text": "hé"}]}, "taskType": "RETRIEVAL_QUERY"}
BATCH = {
    "requests": [
        {"model": "models/e", "content": {"parts": {"text": "a"}}},
        {"content": {"parts": [{"text": "b"}, {"text": "c"}]}},
    ]
}


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


def sent(body: Any) -> Any:
    request = parse_request_for(encoded(body), "e")
    edits = make_edits("other", Quirks(), {"outputDimensionality": 8})
    return msgspec.json.decode(DIALECT.render_request(request, edits))


def test_a_request() -> None:
    """Its text is measured, and its model is the path's."""
    request = parse_request_for(encoded(ONE), "e")
    assert (request.operation, request.model) == (Operation.EMBEDDING, "e")
    assert (request.prompt.text_bytes, request.output_limit) == (3, 0)
    assert DIALECT.prompt_text(request) == "hé"
    assert DIALECT.tap_stream(request, None) is None
    batch = DIALECT.parse_request(encoded({**BATCH, "model": "models/e"}))
    assert (batch.model, batch.affinity) == ("e", ("a",))
    assert DIALECT.prompt_text(batch) == "a\nb\nc"


def test_providers_are_asked_for_a_batch() -> None:
    """Each of its entries names their model, and has what the channel sets."""
    assert sent(ONE) == {
        "requests": [{"model": "models/other", **ONE, "outputDimensionality": 8}]
    }
    assert [entry["model"] for entry in sent(BATCH)["requests"]] == [
        "models/other",
        "models/other",
    ]


@each(
    "body",
    [
        {},
        {"content": {"parts": [{"text": 5}]}},
        {"requests": []},
        {"requests": [{}] * 2049},
        {"requests": [{"model": "models/dear", "content": {}}]},
        {"model": "models/dear", "content": {}},
        {"requests": {"a": 1}},
        {"Requests": []},
    ],
)
def test_what_cannot_be_is_refused(body: Any) -> None:
    """Other models than the path's, too: they have another price."""
    with pytest.raises(InvalidRequest):
        parse_request_for(encoded(body), "e")


def test_a_reply() -> None:
    """A batch's passes; who asked for one gets one."""
    body = b'{"embeddings":[{"values":[0.10]}],"usageMetadata":{"promptTokenCount":3}}'
    batch = parse_request_for(encoded(BATCH), "e")
    reply = DIALECT.parse_reply(batch, body, None)
    assert (reply.body, reply.usage) == (body, ReportedUsage(input=3))
    one = DIALECT.parse_reply(parse_request_for(encoded(ONE), "e"), body, None)
    assert one.body == (
        b'{"embedding":{"values":[0.10]},"usageMetadata":{"promptTokenCount":3}}'
    )
    plain = DIALECT.parse_reply(batch, b'{"embeddings":[{}]}', None)
    assert (plain.usage, plain.output_text()) == (None, "")


@each(
    ("body", "fault"),
    [
        (b"", UpstreamBadResponse),
        (b"{}", UpstreamBadResponse),
        (b'{"embeddings":[]}', UpstreamBadResponse),
        (b'{"embeddings":{}}', UpstreamBadResponse),
        (b'{"embeddings":[{}],"x":"\xff"}', UpstreamBadResponse),
        (b'{"error":{"code":429}}', UpstreamRateLimited),
    ],
)
def test_a_reply_that_is_none(body: bytes, fault: type[UpstreamFault]) -> None:
    """Or that tells of an error."""
    with pytest.raises(UpstreamFault) as caught:
        DIALECT.parse_reply(parse_request_for(encoded(ONE), "e"), body, None)
    assert type(caught.value) is fault


# --- the list of models -------------------------------------------------------------


def test_a_model() -> None:
    """What it is asked by tells what it can do."""
    model = msgspec.json.decode(
        render_model(ListedModel("a/b", tuple(Operation), 1000, 100))
    )
    assert model["name"] == "models/a/b"
    assert model["supportedGenerationMethods"] == [
        "generateContent",
        "streamGenerateContent",
        "countTokens",
        "embedContent",
        "batchEmbedContents",
    ]
    assert (model["inputTokenLimit"], model["outputTokenLimit"]) == (1000, 100)
    assert "inputTokenLimit" not in msgspec.json.decode(render_model(ListedModel("a")))


def test_pages_of_models() -> None:
    """Each leads to the next, and none is missing."""
    models = [ListedModel(f"m{index}") for index in range(7)]
    names: list[str] = []
    token = ""
    while True:
        page = msgspec.json.decode(render_models(models, size=3, token=token))
        names += [model["baseModelId"] for model in page["models"]]
        token = page.get("nextPageToken", "")
        if not token:
            break
    assert names == [model.name for model in models]
    assert len(msgspec.json.decode(render_models(models, size=0))["models"]) == 7
    for bad in ("x", "!", "LTE="):
        with pytest.raises(InvalidRequest):
            render_models(models, token=bad)
