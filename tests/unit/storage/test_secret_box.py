"""Credentials at rest: sealed for one place, and for nobody else's eyes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.storage.secrets import SealBroken, SecretBox

KEY = b"k" * 32


@given(st.binary(max_size=200))
def test_what_is_sealed_opens_in_its_place(plaintext: bytes) -> None:
    """Any bytes come back as they were."""
    box = SecretBox(KEY)
    assert box.open(box.seal(plaintext, "channels/1"), "channels/1") == plaintext


def test_same_value_is_sealed_differently_each_time() -> None:
    """Nobody sees that two channels share a credential."""
    box = SecretBox(KEY)
    assert box.seal(b"canary", "a") != box.seal(b"canary", "a")


@given(st.data())
def test_no_altered_byte_opens(data: st.DataObject) -> None:
    """Every bit of what is stored is under the seal."""
    sealed = bytearray(SecretBox(KEY).seal(b"canary", "channels/1"))
    position = data.draw(st.integers(0, len(sealed) - 1))
    sealed[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SealBroken):
        SecretBox(KEY).open(bytes(sealed), "channels/1")


@pytest.mark.parametrize(
    ("key", "place"), [(KEY, "channels/2"), (b"x" * 32, "channels/1")]
)
def test_neither_another_row_nor_another_key_opens(key: bytes, place: str) -> None:
    """Contents cannot be moved between rows, and a changed secret is named."""
    sealed = SecretBox(KEY).seal(b"canary", "channels/1")
    with pytest.raises(SealBroken, match="POSTHOUSE_SECRET") as caught:
        SecretBox(key).open(sealed, place)
    assert "canary" not in str(caught.value)


@each("sealed", [b"", b"\x01", b"\x01" + b"0" * 12, b"\x02" * 60])
def test_what_is_no_seal_is_refused(sealed: bytes) -> None:
    """Truncated and foreign bytes are an error like any tampering."""
    with pytest.raises(SealBroken):
        SecretBox(KEY).open(sealed, "a")


def test_box_shows_nothing() -> None:
    """A box in a log or traceback does not show its key."""
    assert repr(SecretBox(KEY)) == "SecretBox(…)"
