"""Server-sent events, against a parser that is slow and obviously right."""

import random
import time
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.wire.sse import (
    FRAME_LIMIT,
    Frame,
    FrameTooLarge,
    SSEDecoder,
    comment,
    data_frame,
    event_name,
    with_data,
)

BOM = b"\xef\xbb\xbf"


def reference(stream: bytes) -> list[bytes]:
    """Every event's data, byte for byte as the standard's grammar says.

    One rule is ours: what the stream's end leaves open is an event too.
    """
    position = len(BOM) if stream.startswith(BOM) else 0
    events: list[bytes] = []
    data: list[bytes] = []
    line = bytearray()

    def end_line() -> None:
        if not line:
            events.append(b"\n".join(data))
            data.clear()
        name, _, value = bytes(line).partition(b":")
        if name == b"data":
            data.append(value[1:] if value[:1] == b" " else value)
        line.clear()

    while position < len(stream):
        byte = stream[position : position + 1]
        if byte == b"\n":
            end_line()
        elif byte == b"\r":
            end_line()
            if stream[position + 1 : position + 2] == b"\n":
                position += 1
        else:
            line += byte
        position += 1
    if line:
        end_line()
    end_line()
    return [event for event in events if event]


def decode(pieces: Iterable[bytes]) -> list[Frame]:
    """Feed the pieces to one decoder, then close it."""
    decoder = SSEDecoder()
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    return frames + decoder.close()


def payloads(frames: list[Frame]) -> list[bytes]:
    return [data for _, data in frames if data]


def lines_of(stream: bytes) -> list[bytes]:
    return stream.splitlines(keepends=True)


def bytes_of(stream: bytes) -> list[bytes]:
    return [stream[i : i + 1] for i in range(len(stream))]


def cut_at_random(stream: bytes, seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    while stream:
        size = chance.choice((0, 1, 2, 3, 7, 50, 1000))
        yield stream[:size]
        stream = stream[size:]


SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e".encode()
LINES = [
    b'data: {"choices":[]}',
    b"data:no space",
    b"data:  two spaces",
    b"data",
    b"data:",
    b"data : no field of ours",
    b"DATA: nor this",
    b": a comment",
    b":",
    b"event: message",
    b"id: 1\x00",
    b"retry: 10",
    b"data: [DONE]",
    b'data: {"text":"' + SEPARATORS + b'"}',
    b'data: {"text":"\xe4\xb8\xad\xff\xfe"}',
    b"data: \x00",
    BOM + b"data: a BOM elsewhere is text",
    b"",
    b"",
    b"",
]
ENDS = [b"\n", b"\r\n", b"\r"]
streams = st.builds(
    lambda bom, parts, tail: bom + b"".join(a + b for a, b in parts) + tail,
    st.sampled_from([b"", BOM, BOM[:2]]),
    st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(ENDS)), max_size=25),
    st.sampled_from([b"", b"data: cut off", b"da", b"data: x\r"]),
)
noise = st.lists(st.sampled_from([bytes([b]) for b in b"\r\n:dat \xefx"])).map(b"".join)


@given(streams | noise, st.integers(0, 2**32))
@example(b"data: a\r\r\ndata: b\n\r\n", 0)
@example(b"\n\n\r\n\r\ndata: a\r\n\r", 0)
@example(b"data: a\n\n\r\n", 0)
@example(b"\ndata: x\n\ndata: y\r\n\r\n", 0)
def test_frames_are_the_references_whatever_the_cuts(stream: bytes, seed: int) -> None:
    """Whole, per line, per byte or cut anywhere: the same frames, byte for byte."""
    whole = decode([stream])
    assert payloads(whole) == reference(stream)
    assert decode(lines_of(stream)) == whole
    assert decode(bytes_of(stream)) == whole
    assert decode(cut_at_random(stream, seed)) == whole


@given(streams | noise)
def test_no_byte_is_lost_or_changed(stream: bytes) -> None:
    """The frames' bytes are the stream's; only the last may gain its empty line."""
    raws = [raw for raw, _ in decode([stream])]
    text = stream.removeprefix(BOM)
    joined = b"".join(raws)
    assert joined.startswith(text.rstrip(b"\r\n"))
    assert joined.rstrip(b"\r\n") == text.rstrip(b"\r\n")
    for raw in raws:
        assert payloads(decode([raw])) == payloads(decode([raw + b"\n\n"]))


def test_a_frame_is_given_as_soon_as_it_is_whole() -> None:
    """A frame does not wait for the next one, unless a CR may be half a CRLF."""
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\n\n") == [(b"data: a\n\n", b"a")]
    assert decoder.feed(b"data: b\r\n\r\n") == [(b"data: b\r\n\r\n", b"b")]
    assert decoder.feed(b"data: c\r\n\r") == []
    assert decoder.feed(b"\n") == [(b"data: c\r\n\r\n", b"c")]
    assert decoder.feed(b"data: d\r\r") == []
    assert decoder.feed(b"d") == [(b"data: d\r\r", b"d")]


def test_separators_of_other_alphabets_end_no_line() -> None:
    """U+2028 and its kin, and ASCII's own separators, are text inside JSON."""
    stream = b'data: {"text":"' + SEPARATORS + b'"}\n\n'
    assert payloads(decode(bytes_of(stream))) == [stream[6:-2]]


def test_a_byte_order_mark_is_dropped_once() -> None:
    """Only the stream's very first bytes are a BOM, in one piece or three."""
    stream = BOM + b"data: a\n\n" + BOM + b"data: b\n\n"
    for pieces in ([stream], bytes_of(stream)):
        assert payloads(decode(pieces)) == [b"a"]
    assert decode([BOM]) == decode([b""]) == []


def test_the_end_without_an_empty_line_is_an_event() -> None:
    """What a server forgot to end is still told, with the empty line added."""
    assert decode([b"data: [DONE]"]) == [(b"data: [DONE]\n\n", b"[DONE]")]
    assert decode([b"data: a\r\n\r"]) == [(b"data: a\r\n\r", b"a")]
    assert decode([b"data: a\r"]) == [(b"data: a\r\n\n", b"a")]
    assert decode([b"\r\n\r"])[1:] == []


class CountingBuffer(bytearray):
    """Counts the bytes that are looked at in it."""

    looked_at = 0

    def find(self, text: bytes, start: int = 0) -> int:
        self.looked_at += len(self) - start
        return super().find(text, start)


@each("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
@each("size", [1, 3, 16_384])
def test_an_event_in_pieces_is_looked_at_a_bounded_number_of_times(
    end: bytes, size: int
) -> None:
    """However many pieces an event comes in, no byte is looked at ten times."""
    decoder = SSEDecoder()
    buffer = decoder._rest = CountingBuffer()
    event = b"event: x" + end[: len(end) // 2] + b"data: " + b"x" * 200_000 + end + b":"
    frames = []
    for start in range(0, len(event), size):
        frames += decoder.feed(event[start : start + size])
    assert payloads(frames) == [b"x" * 200_000]
    assert buffer.looked_at < 10 * len(event)


def seconds_of(stream: bytes, size: int) -> float:
    pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
    best = float("inf")
    for _ in range(3):
        decoder = SSEDecoder()
        start = time.process_time()
        for piece in pieces:
            decoder.feed(piece)
        best = min(best, time.process_time() - start)
    return best


@pytest.mark.parametrize(
    ("frame", "size"),
    [
        (b'data: {"choices":[{"delta":{"content":"word"}}]}\n\n', 1),
        (b'data: {"choices":[{"delta":{"content":"word"}}]}\r\n\r\n', 1),
        (b'data: {"choices":[{"delta":{"content":"word"}}]}\n\n', 65_536),
        (b'data: {"choices":[{"delta":{"content":"word"}}]}\r\n\r\n', 65_536),
        (b"data: x\n" * 50 + b"\n", 4096),
    ],
)
def test_ten_times_the_bytes_take_about_ten_times_as_long(
    frame: bytes, size: int
) -> None:
    """Quadratic work would show as a hundredfold."""
    few = 20_000 // len(frame) * (1 if size == 1 else 20)
    # Others on the machine may disturb one look, and quadratic work shows in all.
    assert any(
        seconds_of(frame * few * 10, size) < 16 * seconds_of(frame * few, size)
        for _ in range(5)
    )


def test_a_million_pieces_of_one_byte() -> None:
    """A megabyte byte by byte, and one event of five megabytes, take seconds."""
    start = time.process_time()
    decoder = SSEDecoder()
    for piece in (b"x", b"\r", b"x"):
        decoder.feed(piece)
    for _ in range(1_000_000):
        decoder.feed(b"x")
    assert decoder.feed(b"\n\n")
    big = b"data: " + b"y" * 5_000_000 + b"\n\n"
    ((_, data),) = [
        frame
        for begin in range(0, len(big), 1024)
        for frame in decoder.feed(big[begin : begin + 1024])
    ]
    assert len(data) == 5_000_000
    assert time.process_time() - start < 10


@pytest.mark.parametrize("size", [FRAME_LIMIT + 1, 1024 * 1024])
def test_a_frame_without_end_is_refused(size: int) -> None:
    """Memory for one frame is bounded, in one piece or many."""
    pieces = [b"x" * size] * (FRAME_LIMIT // size + 2)
    with pytest.raises(FrameTooLarge):
        decode(pieces)


def test_frames_are_written_as_they_are_read() -> None:
    """What is written comes back as its data, also over several lines."""
    for payload in (b"{}", b"a\nb", b"", b" leading space"):
        assert payloads(decode([data_frame(payload)])) == ([payload] if payload else [])
    assert decode([comment(b"keep-alive")]) == [(b": keep-alive\n\n", b"")]


def test_replaced_data_leaves_other_lines() -> None:
    """Only the data lines of a frame are replaced."""
    raw = b"event: chunk\r\nid: 7\r\ndata: {\r\ndata: }\r\n: said\r\n\r\n"
    changed = with_data(raw, b'{"a":\n1}')
    assert changed == b'event: chunk\nid: 7\n: said\ndata: {"a":\ndata: 1}\n\n'
    assert with_data(b"data: old\n\n", b"new") == b"data: new\n\n"
    assert with_data(b"data\nevent: e\n\n", b"new") == b"event: e\ndata: new\n\n"


def test_the_event_field_is_found() -> None:
    """The last `event` line names a frame."""
    assert event_name(b"data: event: x\n\n") == b""
    assert event_name(b"event:error\r\ndata: x\r\n\r\n") == b"error"
    assert event_name(b"event: a\nevent: b\n\n") == b"b"
