"""Tokens become the texts that were cut into them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.billing.detokenizer import texts_of_tokens
from posthouse.billing.tokenizer import OLDER_ENCODING, read_ranks
from posthouse.errors import InvalidRequest

_, TOKENS = read_ranks(OLDER_ENCODING)
RANKS = {token: rank for rank, token in enumerate(TOKENS)}


@given(st.lists(st.text(max_size=20), max_size=4))
def test_texts_cut_into_bytes_come_back(texts: list[str]) -> None:
    cut = [[RANKS[bytes([byte])] for byte in text.encode()] for text in texts]
    assert texts_of_tokens(cut) == tuple(texts)


def test_known_tokens() -> None:
    """As OpenAI's own encoding of its embedding models numbers them."""
    assert texts_of_tokens([[9906, 11, 1917, 0]]) == ("Hello, world!",)


def test_a_character_cut_apart_is_replaced() -> None:
    assert texts_of_tokens([[RANKS["é".encode()[:1]]]]) == ("\ufffd",)


@each("token", [-1, len(TOKENS), 10**9])
def test_what_is_no_token_is_refused(token: int) -> None:
    with pytest.raises(InvalidRequest):
        texts_of_tokens([[token]])
