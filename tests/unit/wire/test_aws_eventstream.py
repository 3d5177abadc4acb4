"""AWS's event streams are cut into messages, whatever way they arrive."""

import struct
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.wire.aws_eventstream import (
    CorruptMessage,
    EventStreamDecoder,
    headers_of,
    message,
    payload_of,
)

# The vector "payload_no_headers" of the specification's own test files.
PUBLISHED = bytes.fromhex("0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936")
# The vector "all_headers" is longer; "payload_one_str_header" holds one text.
ONE_HEADER = bytes.fromhex(
    "0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c6963617469"
    "6f6e2f6a736f6e7b27666f6f273a27626172277d8d9c08b1"
)


def test_published_messages_are_read() -> None:
    [first, second] = EventStreamDecoder().feed(PUBLISHED + ONE_HEADER)
    assert headers_of(first) == {}
    assert payload_of(first) == b"{'foo':'bar'}"
    assert headers_of(second) == {"content-type": "application/json"}
    assert payload_of(second) == b"{'foo':'bar'}"


def test_what_is_written_is_what_was_published() -> None:
    assert message({}, b"{'foo':'bar'}") == PUBLISHED
    written = message({"content-type": "application/json"}, b"{'foo':'bar'}")
    assert written == ONE_HEADER


texts = st.text(max_size=40)
messages = st.lists(
    st.tuples(
        st.dictionaries(st.text(min_size=1, max_size=20), texts, max_size=4),
        st.binary(max_size=200),
    ),
    max_size=6,
)


@given(messages, st.integers(1, 64))
def test_it_does_not_matter_how_the_bytes_are_cut(
    wanted: list[tuple[dict[str, str], bytes]], size: int
) -> None:
    wire = b"".join(message(headers, payload) for headers, payload in wanted)
    decoder = EventStreamDecoder()
    found = [
        one
        for start in range(0, len(wire), size)
        for one in decoder.feed(wire[start : start + size])
    ]
    assert [(headers_of(one), payload_of(one)) for one in found] == wanted


@given(st.integers(0, len(ONE_HEADER) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed(at: int, change: int) -> None:
    """Whichever it is, one of the two sums is wrong."""
    wire = bytearray(ONE_HEADER)
    wire[at] ^= change
    with pytest.raises(CorruptMessage):
        EventStreamDecoder().feed(bytes(wire))


def with_headers(block: bytes) -> bytes:
    """Write a message without a payload."""
    sizes = struct.pack(">II", 16 + len(block), len(block))
    whole = sizes + struct.pack(">I", crc32(sizes)) + block
    return whole + struct.pack(">I", crc32(whole))


def test_a_length_beyond_the_limit_is_refused_at_once() -> None:
    sizes = struct.pack(">II", 1 << 30, 0)
    with pytest.raises(CorruptMessage, match="length"):
        EventStreamDecoder().feed(sizes + struct.pack(">I", crc32(sizes)))


def test_headers_of_all_types_are_passed_over() -> None:
    """Only texts are of interest."""
    kinds = {0: b"", 1: b"", 2: b"1", 3: b"12", 4: b"1234", 5: b"8" * 8, 8: b"8" * 8}
    block = b"".join(b"\x01" + b"h" + bytes((k,)) + v for k, v in kinds.items())
    block += b"\x01b\x06\x00\x02xy" + b"\x01u\x09" + b"u" * 16 + b"\x01t\x07\x00\x02ok"
    [found] = EventStreamDecoder().feed(with_headers(block))
    assert headers_of(found) == {"t": "ok"}


@each("block", [b"\x05ab", b"\x01a\x63", b"\x01a\x07\x00\x09x", b"\x01\xff\x00"])
def test_headers_that_cannot_be_read_are_refused(block: bytes) -> None:
    [found] = EventStreamDecoder().feed(with_headers(block))
    with pytest.raises(CorruptMessage):
        headers_of(found)
