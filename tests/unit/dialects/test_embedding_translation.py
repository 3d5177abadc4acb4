"""Embeddings of one dialect at providers of the other, both ways."""

import base64
import struct
from typing import Any

import msgspec
import pytest
from tests.support.cases import each

from posthouse.dialects import gemini_embed, openai_embeddings
from posthouse.dialects.base import ParsedRequest, make_edits
from posthouse.dialects.gemini_embed.request import parse_request_for
from posthouse.dialects.neutral.plain import PlainTranslation
from posthouse.errors import InvalidRequest, UpstreamBadResponse
from posthouse.model.catalog import Quirks
from posthouse.model.usage import ReportedUsage

OPENAI = (openai_embeddings.DIALECT, openai_embeddings.PLAIN_CODEC)
GOOGLE = (gemini_embed.DIALECT, gemini_embed.PLAIN_CODEC)
TO_GOOGLE = PlainTranslation(OPENAI, GOOGLE, "g")
TO_OPENAI = PlainTranslation(GOOGLE, OPENAI, "o")

ONE = {"content": {"parts": [{"text": "hé"}]}, "taskType": "RETRIEVAL_QUERY"}
TWO = {"content": {"parts": [{"text": "b"}, {"text": "c"}]}}
ROWS = b'{"embeddings":[{"values":[0.10,-0.25]},{"values":[1.0,2.0]}]}'


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


def of_openais(**members: Any) -> ParsedRequest:
    return TO_GOOGLE.parse_request(encoded({"model": "public", **members}))


def of_googles(**members: Any) -> ParsedRequest:
    return parse_request_for(encoded(members), "public")


def sent(
    translation: PlainTranslation, request: ParsedRequest, **edits: Any
) -> tuple[Any, tuple[str, ...]]:
    """What a provider gets, and what it was not told."""
    made = make_edits("g" if translation is TO_GOOGLE else "o", Quirks(), edits)
    body = translation.render_request(request, made)
    return msgspec.json.decode(body), request.reading.losses[translation.name]


# --- OpenAI's callers at Google ------------------------------------------------------


def test_texts_become_a_batch() -> None:
    request = of_openais(input=["a", "b"], dimensions=8, user="u", truncate="END")
    entry = {"model": "models/g", "outputDimensionality": 8}
    assert sent(TO_GOOGLE, request) == (
        {
            "requests": [
                entry | {"content": {"parts": [{"text": text}]}} for text in "ab"
            ]
        },
        ("-user", "-truncate"),
    )


def test_a_channels_edits_are_made_in_every_entry() -> None:
    body, _ = sent(TO_GOOGLE, of_openais(input="a"), taskType="CLUSTERING")
    assert body["requests"][0]["taskType"] == "CLUSTERING"


@pytest.mark.parametrize("tokens", [[1, 2], [[1, 2], [3]]])
def test_tokens_are_refused(tokens: Any) -> None:
    """Google has another tokenizer than who made them."""
    with pytest.raises(InvalidRequest) as caught:
        sent(TO_GOOGLE, of_openais(input=tokens))
    assert caught.value.param == "input"


@each("dimensions", [0, -1, 1.5])
def test_a_length_that_cannot_be_is_refused(dimensions: float) -> None:
    with pytest.raises(InvalidRequest):
        sent(TO_GOOGLE, of_openais(input="a", dimensions=dimensions))


def test_numbers_come_back_to_the_letter() -> None:
    request = of_openais(input=["a", "b"])
    sent(TO_GOOGLE, request)
    reply = TO_GOOGLE.parse_reply(request, ROWS, "public")
    assert reply.body == (
        b'{"object":"list","data":['
        b'{"object":"embedding","index":0,"embedding":[0.10,-0.25]},'
        b'{"object":"embedding","index":1,"embedding":[1.0,2.0]}],'
        b'"model":"public","usage":{"prompt_tokens":0,"total_tokens":0}}'
    )
    assert reply.usage is None


def test_base64_is_given_to_who_wants_it() -> None:
    """OpenAI's own SDKs do, unless they are told otherwise."""
    request = of_openais(input=["a", "b"], encoding_format="base64")
    sent(TO_GOOGLE, request)
    body = ROWS[:-1] + b',"usageMetadata":{"promptTokenCount":3}}'
    reply = TO_GOOGLE.parse_reply(request, body, None)
    read = msgspec.json.decode(reply.body)
    rows = [base64.b64decode(row["embedding"]) for row in read["data"]]
    assert [struct.unpack("<2f", row) for row in rows] == [
        pytest.approx((0.1, -0.25)),
        (1.0, 2.0),
    ]
    assert (read["model"], read["usage"]["prompt_tokens"]) == ("g", 3)
    assert reply.usage == ReportedUsage(input=3)


@each(
    "body",
    [
        b"",
        b'{"embeddings":[{"values":[1.0]}]}',
        b'{"embeddings":[{"values":"AA"},{"values":[1.0]}]}',
        b'{"embeddings":[{"values":["a"]},{"values":[1.0]}]}',
        b'{"embeddings":[{"values":[1e300]},{"values":[1.0]}]}',
        b'{"embeddings":[{},{}]}',
    ],
)
def test_what_google_may_not_answer(body: bytes) -> None:
    """Anything but as many rows of numbers as there were texts."""
    request = of_openais(input=["a", "b"], encoding_format="base64")
    sent(TO_GOOGLE, request)
    with pytest.raises(UpstreamBadResponse):
        TO_GOOGLE.parse_reply(request, body, None)


# --- Google's callers at OpenAI's providers ------------------------------------------


def test_one_text() -> None:
    request = of_googles(**ONE, output_dimensionality=4, model="models/public")
    assert sent(TO_OPENAI, request) == (
        {
            "model": "o",
            "input": ["hé"],
            "encoding_format": "float",
            "dimensions": 4,
        },
        ("-taskType",),
    )
    body = b'{"data":[{"embedding":[1.10]}],"usage":{"prompt_tokens":3}}'
    reply = TO_OPENAI.parse_reply(request, body, "public")
    assert reply.body == (
        b'{"embedding":{"values":[1.10]},"usageMetadata":{"promptTokenCount":3}}'
    )


def test_a_batch() -> None:
    """Rows come in the order of their numbers, and base64 becomes numbers."""
    config = {"outputDimensionality": 2, "title": "t", "autoTruncate": True}
    entry = {**TWO, "embedContentConfig": config}
    request = of_googles(requests=[entry, entry])
    body, told = sent(TO_OPENAI, request)
    assert (body["input"], body["dimensions"]) == (["b\nc", "b\nc"], 2)
    assert told == ("-title", "-autoTruncate")
    reply = TO_OPENAI.parse_reply(
        request,
        b'{"data":[{"index":1,"embedding":"AAAAQA=="},{"index":0,"embedding":[1.10]}]}',
        None,
    )
    assert reply.body == b'{"embeddings":[{"values":[1.10]},{"values":[2.0]}]}'


@each(
    "members",
    [
        {"content": {"parts": [{"inlineData": {}}]}},
        {"content": {"parts": [{"text": "a"}, {"fileData": {"fileUri": "f"}}]}},
        {"content": {}},
        {"content": None},
        {
            "requests": [
                {**TWO, "outputDimensionality": 1},
                {**TWO, "outputDimensionality": 2},
            ]
        },
    ],
)
def test_what_openais_cannot_do_is_refused(members: Any) -> None:
    """Pictures, also beside words, and lengths that differ."""
    with pytest.raises(InvalidRequest):
        sent(TO_OPENAI, of_googles(**members))


@each("body", [b"", b"{}", b'{"data":[]}', b'{"data":[{"embedding":"A"}]}'])
def test_what_openais_may_not_answer(body: bytes) -> None:
    request = of_googles(**ONE)
    sent(TO_OPENAI, request)
    with pytest.raises(UpstreamBadResponse):
        TO_OPENAI.parse_reply(request, body, None)


def test_what_it_speaks_to_whom() -> None:
    """Errors are read in the provider's words and told in the caller's."""
    request = of_openais(input=["a", "b"])
    assert TO_GOOGLE.name == "gemini_embed"
    assert TO_GOOGLE.manners is openai_embeddings.DIALECT.manners
    assert TO_GOOGLE.prompt_text(request) == "a\nb"
    assert TO_GOOGLE.tap_stream(request, None) is None
    assert TO_GOOGLE.wanted_media(request) == ()
    assert TO_GOOGLE.parse_error(429, b"{}").code
