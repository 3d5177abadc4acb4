"""Embeddings in the encoding that the client asked for."""

import base64
import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each
from tests.unit.dialects.asked import EMBEDDINGS, parse

from posthouse.errors import UpstreamBadResponse

floats = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False))


def convert(embedding: Any, encoding: str | None) -> Any:
    """What a client that asked for `encoding` gets of one embedding."""
    row = {"object": "embedding", "index": 0, "embedding": embedding}
    body = json.dumps({"object": "list", "data": [row], "model": "up"}).encode()
    request = parse(EMBEDDINGS, encoding_format=encoding)
    reply = json.loads(EMBEDDINGS.parse_reply(request, body, None).body)
    assert reply["data"][0] == {**row, "embedding": reply["data"][0]["embedding"]}
    return reply["data"][0]["embedding"]


def packed(numbers: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


@given(floats)
def test_floats_become_base64_exactly(numbers: list[float]) -> None:
    """Little-endian float32, as the SDK unpacks it."""
    assert convert(numbers, "base64") == packed(numbers)


@given(floats)
def test_base64_becomes_floats_exactly(numbers: list[float]) -> None:
    """Every float32 has an exact decimal that reads back as itself."""
    assert convert(packed(numbers), "float") == numbers
    assert convert(packed(numbers), None) == numbers
    again = convert(convert(packed(numbers), "float"), "base64")
    assert again == packed(numbers)


@given(st.lists(st.floats(-1e30, 1e30)))
def test_more_digits_than_float32_has_are_rounded(numbers: list[float]) -> None:
    """To the nearest, as the SDK itself would store them."""
    assert convert(numbers, "base64") == packed(numbers)


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_the_right_encoding_passes_to_the_letter(encoding: str) -> None:
    """Digits included."""
    value = b"[0.10, 1e-2]" if encoding == "float" else b'"zczMPQ\\u003d="'
    body = b'{"data": [ {"embedding":' + value + b',"index":0} ], "n":1.10}'
    request = parse(EMBEDDINGS, encoding_format=encoding)
    assert EMBEDDINGS.parse_reply(request, body, None).body == body


def test_only_rows_in_the_other_encoding_are_written_anew() -> None:
    """All else of the reply stays as it stood."""
    body = (
        b'{"x":1.10,"data":[{"index":0,"embedding":"' + packed([1.0]).encode() + b'",'
        b'"y":1e400},{"index":1,"embedding":[2.50]}],"model":"up"}'
    )
    reply = EMBEDDINGS.parse_reply(parse(EMBEDDINGS), body, "public")
    assert reply.body == (
        b'{"x":1.10,"data":[{"index":0,"embedding":[1.0],"y":1e400},'
        b'{"index":1,"embedding":[2.50]}],"model":"public"}'
    )


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_other_shapes_of_the_right_kind_pass(encoding: str) -> None:
    """Lists of vectors are no base64 text, so who asked for floats gets them."""
    vectors = [[0.5], [1.5]]
    if encoding == "float":
        assert convert(vectors, encoding) == vectors
    else:
        with pytest.raises(UpstreamBadResponse):
            convert(vectors, encoding)


@each(
    ("embedding", "encoding"),
    [
        ("not base64!", "float"),
        ("QUI=", "float"),
        (packed([math.nan]), "float"),
        (packed([math.inf]), "float"),
        ([1e300], "base64"),
        (["x"], "base64"),
        ([None], "base64"),
        (None, "base64"),
        ({"a": 1}, "base64"),
    ],
)
def test_what_has_no_such_encoding_is_refused(embedding: Any, encoding: str) -> None:
    """A provider that sends this is tried no more than once."""
    with pytest.raises(UpstreamBadResponse):
        convert(embedding, encoding)


@each("data", [b"[1]", b"[{}]", b'[{"index":0}]', b"[null]"])
def test_rows_without_an_embedding_are_refused(data: bytes) -> None:
    """There is nothing in them for a client."""
    with pytest.raises(UpstreamBadResponse):
        EMBEDDINGS.parse_reply(parse(EMBEDDINGS), b'{"data":' + data + b"}", None)
