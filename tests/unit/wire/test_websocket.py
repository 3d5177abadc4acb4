"""WebSocket's frames, written and read by RFC 6455."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.wire.lines import LineDecoder
from posthouse.wire.sse import FrameTooLarge
from posthouse.wire.websocket import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    BrokenFrame,
    MessageDecoder,
    accept_of,
    client_frame,
)


def server_frame(kind: int, payload: bytes, *, final: bool = True) -> bytes:
    first = (0x80 if final else 0) | kind
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


def test_the_handshake_of_the_rfc() -> None:
    """Its example, in section 1.3."""
    key = b"dGhlIHNhbXBsZSBub25jZQ=="
    assert accept_of(key) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_the_frames_of_the_rfc() -> None:
    """Its examples, in section 5.7."""
    mask = bytes.fromhex("37fa213d")
    masked = bytes.fromhex("818537fa213d7f9f4d5158")
    assert client_frame(TEXT, b"Hello", mask) == masked
    pieces = bytes.fromhex("010348656c") + bytes.fromhex("80026c6f")
    assert MessageDecoder().feed(pieces) == [(TEXT, b"Hello")]
    assert MessageDecoder().feed(bytes.fromhex("890548656c6c6f")) == [(PING, b"Hello")]


@each("size", [0, 125, 126, 65_535, 65_536])
def test_a_client_masks_whatever_the_length(size: int) -> None:
    payload = bytes(index % 251 for index in range(size))
    frame = client_frame(BINARY, payload, b"\x01\x02\x03\x04")
    head = 2 + (0 if size < 126 else 2 if size < 65_536 else 8)
    assert frame[head : head + 4] == b"\x01\x02\x03\x04"
    unmasked = bytes(b ^ (i % 4 + 1) for i, b in enumerate(frame[head + 4 :]))
    assert unmasked == payload


@given(
    st.lists(st.tuples(st.sampled_from([TEXT, BINARY, PING]), st.binary(max_size=120))),
    st.integers(1, 50),
)
def test_it_does_not_matter_how_the_bytes_are_cut(
    wanted: list[tuple[int, bytes]], size: int
) -> None:
    wire = b"".join(server_frame(kind, payload) for kind, payload in wanted)
    decoder = MessageDecoder()
    found = [
        one
        for start in range(0, len(wire), size)
        for one in decoder.feed(wire[start : start + size])
    ]
    assert found == wanted


@each("size", [126, 65_535, 65_536])
def test_long_messages_are_read(size: int) -> None:
    assert MessageDecoder().feed(server_frame(TEXT, b"x" * size)) == [
        (TEXT, b"x" * size)
    ]


@each(
    "wire",
    [
        bytes.fromhex("818537fa213d7f9f4d5158"),  # masked
        bytes.fromhex("c100"),  # an extension's bit
        bytes.fromhex("8300"),  # of no known kind
        bytes.fromhex("8000"),  # goes on with nothing
        server_frame(TEXT, b"a", final=False) + server_frame(TEXT, b"b"),
        server_frame(CLOSE, b"", final=False),
        server_frame(PING, b"x" * 126),
        bytes((0x81, 127)) + (1 << 40).to_bytes(8, "big"),
    ],
)
def test_what_breaks_the_protocol_is_refused(wire: bytes) -> None:
    with pytest.raises(BrokenFrame):
        MessageDecoder().feed(wire)


@given(
    st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line)),
    st.integers(1, 20),
)
def test_lines_do_not_depend_on_cuts(lines: list[bytes], size: int) -> None:
    wire = b"".join(line + b"\n" for line in lines)
    decoder = LineDecoder()
    found = [
        data
        for start in range(0, len(wire), size)
        for _, data in decoder.feed(wire[start : start + size])
    ]
    assert found == [line.strip() for line in lines]
    assert decoder.close() == []


def test_a_line_without_an_end_counts_when_the_stream_is_over() -> None:
    decoder = LineDecoder()
    assert decoder.feed(b'{"a"') == []
    assert decoder.feed(b":1}") == []
    assert decoder.close() == [(b'{"a":1}', b'{"a":1}')]


def test_a_line_without_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthouse.wire.lines.FRAME_LIMIT", 10)
    decoder = LineDecoder()
    decoder.feed(b"x" * 10)
    with pytest.raises(FrameTooLarge):
        decoder.feed(b"x")
