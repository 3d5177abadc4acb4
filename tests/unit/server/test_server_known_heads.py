"""Known heads: what they read is what the parser would, and nothing of a key stays."""

import re
from typing import Any

import httptools
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.support.cases import each
from tests.unit.server.harness import chunked, get

from posthouse.server.context import ServerContext
from posthouse.server.credentials import presented_key
from posthouse.server.exchange import Exchange
from posthouse.server.heads import NOWHERE, RequestHead, add_repeated, read_head
from posthouse.server.known_heads import KnownHead, KnownHeads
from posthouse.server.limits import ServerLimits

HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n"
    b"Authorization: Bearer %b\r\nX: 1%%s%%\r\nContent-Length: %d\r\n\r\n"
)
SWAPPED = (
    b"POST /v1/x HTTP/1.1\r\ncontent-length: %d\r\nHost: a\r\nX-API-Key: %b\r\n\r\n"
)


def request(key: bytes = b"k", body: bytes = b"body") -> bytes:
    return HEAD % (key, len(body)) + body


def swapped(key: bytes = b"k", body: bytes = b"body") -> bytes:
    return SWAPPED % (len(body), key) + body


class Reader:
    """What the connection does with whole requests, by the parser alone."""

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}
        self.url = b""
        self.body = b""
        self.seen: list[tuple[RequestHead, bytes]] = []
        self.head: RequestHead | None = None
        self.begun = False
        self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self.fields, self.url, self.body, self.begun = {}, b"", b"", True

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in self.fields:
            add_repeated(self.fields, name, value)
        else:
            self.fields[name] = value

    def on_headers_complete(self) -> None:
        method, version = self.parser.get_method(), self.parser.get_http_version()
        self.head = read_head(method, self.url, version, self.fields)
        self.fields = NOWHERE

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        assert self.head is not None
        self.seen.append((self.head, self.body))
        self.begun = False

    @classmethod
    def read(cls, data: bytes) -> tuple[RequestHead, bytes] | None:
        """Give the one request that the bytes are, and nothing beside."""
        reader = cls()
        try:
            reader.parser.feed_data(data)
        except httptools.HttpParserError:
            return None
        whole = len(reader.seen) == 1 and not reader.begun
        if not whole:
            return None
        ((head, body),) = reader.seen
        key = presented_key(head.fields, head.query)
        return structs.replace(head, key=key), body


class Line:
    """The connection of an exchange, as far as one is looked at here."""

    def __init__(self, limits: ServerLimits) -> None:
        self.context = ServerContext(lambda _: (500, (), b""), limits)


def learn(
    data: bytes, *, head_bytes: int = 64 * 1024, keep_alive: bool = True
) -> KnownHead | None:
    """Have a request's head learnt, as the connection does."""
    found = Reader.read(data)
    assert found is not None
    link: Any = Line(ServerLimits(head_bytes=head_bytes))
    exchange = Exchange(link, found[0], keep_alive=keep_alive, body=found[1])
    return KnownHeads().learn(data, exchange)


def known(data: bytes) -> KnownHead:
    found = learn(data)
    assert found is not None
    return found


VISIBLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


@given(VISIBLE, st.binary(max_size=2000), st.sampled_from([request, swapped]))
def test_another_key_and_another_body_are_read_as_the_parser_reads_them(
    key, body, write
) -> None:
    """The fields in their order, too."""
    data = write(key.encode(), body)
    found = known(write()).read(data)
    parsed = Reader.read(data)
    assert found == parsed
    assert found is not None
    assert parsed is not None
    assert list(found[0].fields) == list(parsed[0].fields)


PIECES = [
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b"\0", b"\x80", b":", b"4"),
    *(b"a", b"k", b"Bearer ", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 4"),
    *(b"\r\nContent-Length: 4", b"Connection: close\r\n", b"Host: b\r\n", b"X: y\r\n"),
    *(b"Authorization: l\r\n", b"0", b"0\r\n\r\n", b"+", b"_", b", ", request()),
]


@given(
    st.sampled_from([request, swapped]),
    st.lists(
        st.tuples(
            st.integers(0, 400), st.integers(0, 3), st.sampled_from([b"", *PIECES])
        ),
        max_size=4,
    ),
)
def test_what_is_read_of_any_bytes_is_what_the_parser_reads(write, edits) -> None:
    """Never more than it, and never otherwise: what it refuses has no meaning here."""
    data = write(b"Bearer-of-a-key", b"some body")
    for somewhere, cut, piece in edits:
        place = somewhere % (len(data) + 1)
        data = data[:place] + piece + data[place + cut :]
    found = known(write()).read(data)
    assert found is None or found == Reader.read(data)


LENGTHS = [b"0", b"00", b"3", b"03", b" 3", b"3 ", b"+3", b"3\r\nX: 3", b"0x3", b"3_0"]


@given(
    st.binary(max_size=40) | st.sampled_from([b"a b", b"a ", b" a", b"a\r\nX: y", b""]),
    st.binary(max_size=12) | st.sampled_from(LENGTHS),
    st.binary(max_size=4),
)
def test_bytes_in_the_gaps_are_read_as_the_parser_reads_them(key, length, body) -> None:
    data = HEAD.replace(b"%d", b"%b") % (key, length) + body
    found = known(request()).read(data)
    assert found is None or found == Reader.read(data)


@given(st.data())
def test_only_whole_requests_are_read(data) -> None:
    """Neither the beginning of one, nor one with something behind it."""
    whole = request(b"other", b"0123456789")
    head = known(request())
    assert head.read(whole) is not None
    assert head.read(whole[: data.draw(st.integers(0, len(whole) - 1))]) is None
    assert head.read(whole + data.draw(st.binary(min_size=1))) is None


@each(
    "data",
    [
        request().replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nCookie: a\r\n"),
        request().replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nExpect: 100-continue\r\n"),
        request().replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nUpgrade: h2c\r\n"),
        request().replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nX-API-Key: k\r\n"),
        request().replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nAccept: a\r\n"),
        request().replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nauthorization: k\r\n"),
        request().replace(b"/completions ", b"/completions?key=k "),
        request().replace(b"Authorization: Bearer k\r\n", b""),
        request().replace(b"Authorization: ", b"Authorization:"),
        request().replace(b"Accept: */*", b"Accept: " + b"a" * 4096),
        b"\r\n\r\n" + request(),
        request() + b"\r\n",
        get("/v1/models", b"Authorization: Bearer k"),
        chunked("/v1/x", b"Authorization: Bearer k") + b"0\r\n\r\n",
    ],
)
def test_what_is_not_the_usual_is_not_learnt(data) -> None:
    """What holds other secrets, asks for more, or is not one request and no more."""
    assert learn(data) is None


def test_a_head_that_ends_its_connection_is_not_learnt() -> None:
    assert learn(request(), keep_alive=False) is None


def test_no_known_head_outgrows_the_limit() -> None:
    """However long the key in its gap is."""
    for write in (request, swapped):
        size = len(write(b"k" * 500, b""))
        assert learn(write(b"k" * 501), head_bytes=size) is None
        head = learn(write(), head_bytes=size)
        assert head is not None
        assert head.read(write(b"k" * 500, b"")) is not None
        assert head.read(write(b"k" * 501, b"")) is None
        assert head.read(write(b"k" * 500, b"0123456789")) is None


def test_a_body_for_which_reading_pauses_is_the_parsers() -> None:
    assert known(request()).read(request(b"k", b"x" * 65536)) is not None
    assert known(request()).read(request(b"k", b"x" * 65537)) is None


def test_nothing_of_a_key_is_kept() -> None:
    head = known(request(b"sk-secret"))
    texts = (head.before, head.after, *head.head.fields.values())
    assert not any(b"secret" in text for text in texts)
    assert head.head.key is None
    assert re.fullmatch(r"KnownHead\(.*completions HTTP/1\.1\)\)", repr(head))


def test_the_same_head_is_kept_once_and_few_are_kept() -> None:
    heads = KnownHeads()
    link: Any = Line(ServerLimits())

    def taught(number: int) -> KnownHead | None:
        data = request().replace(b"X: 1", b"X: %d" % number)
        found = Reader.read(data)
        assert found is not None
        exchange = Exchange(link, found[0], keep_alive=True, body=found[1])
        return heads.learn(data, exchange)

    assert taught(1) is taught(1)
    for number in range(2000):
        taught(number)
    assert len(heads) <= 512
