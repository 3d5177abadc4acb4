"""Heads cut out as bytes are read as the parser reads them, field for field."""

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.upstream.head import cut_head, split_head

TOKENS = st.text(alphabet="aZ9-_!", min_size=1, max_size=8).map(str.encode)
TEXTS = st.binary(max_size=12).map(
    lambda data: bytes(b for b in data if b >= 32 and b != 127)
)
BLANKS = st.sampled_from([b"", b"\r\n", b"\r\n\r\n", b"\n"])
SPACES = st.sampled_from([b"", b" ", b"\t", b"  "])
LINES = st.tuples(TOKENS, SPACES, TEXTS).map(lambda line: b"%b:%b%b\r\n" % line)
HEADS = st.tuples(BLANKS, st.sampled_from([b"200 OK", b"404"]), st.lists(LINES)).map(
    lambda head: b"%bHTTP/1.1 %b\r\n%b\r\n" % (head[0], head[1], b"".join(head[2]))
)
INTERIMS = st.lists(
    st.tuples(BLANKS, st.sampled_from([b"", b"Link: a\r\n"])).map(
        lambda head: b"%bHTTP/1.1 103 Early\r\n%b\r\n" % head
    ),
    max_size=3,
)


class Fields:
    """Collects what the parser says of the last head."""

    def __init__(self) -> None:
        self.pairs: list[tuple[bytes, bytes]] = []
        self.heads = 0

    def on_message_begin(self) -> None:
        self.pairs = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.pairs.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.heads += 1

    def on_message_complete(self) -> None: ...


@given(INTERIMS, HEADS, st.sampled_from([b"", b"HTTP/1.1 x\r\n\r\n", b"\r\n\r\n"]))
def test_a_head_is_what_the_parser_takes_for_it(interims, head, rest) -> None:
    """Whatever stands before it and behind it."""
    fields = Fields()
    data = b"".join(interims) + head
    httptools.HttpResponseParser(fields).feed_data(data)
    assert fields.heads == len(interims) + 1
    assert split_head(cut_head(data + rest, len(interims))) == fields.pairs


@each(
    "line",
    [b"a : b\r\n", b"a: b\r\n c\r\n", b"a: b\n", b"a: b\rc\r\n", b": b\r\n", b"\r\r\n"],
)
def test_the_parser_refuses_what_could_be_read_in_two_ways(line) -> None:
    """A head is cut at its CRLFs only because of this."""
    with pytest.raises(httptools.HttpParserError):
        httptools.HttpResponseParser(Fields()).feed_data(
            b"HTTP/1.1 200 OK\r\n" + line + b"Content-Length: 0\r\n\r\n"
        )
