"""Bodies that are too large, broken off, too deep or no JSON, against a real server.

Each gets a clear 4xx in OpenAI's shape within two seconds, costs nothing,
reaches no provider, and keeps nobody else waiting.
"""

import gzip
import random
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.cases import each
from tests.support.guard import BODIES, CASE_SECONDS, MEBIBYTE, Guarded, error_of

LIMIT = 32 * MEBIBYTE
"""`max_body_bytes` as it is by default."""
PEAK = 192 * MEBIBYTE
"""Memory that reading and judging one body of that size may take."""
CHAT = "/v1/chat/completions"
GZIP = b"Content-Encoding: gzip"
CHUNKED = b"Transfer-Encoding: chunked"
PROMPT = b'{"model":"chat","messages":[{"role":"user","content":"%b"}]}'
MESSAGES = b'{"model":"chat","messages":['
TARGETS = list(BODIES)


def chunked(body: bytes, size: int = MEBIBYTE, end: bytes = b"0\r\n\r\n") -> bytes:
    """Frame a body in chunks."""
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


# --- sizes ----------------------------------------------------------------------


@each("target", TARGETS)
def test_a_declared_size_beyond_the_limit_is_413(guarded: Guarded, target: str) -> None:
    """Refused by its head: not a byte of the body need be sent."""
    guarded.untouched(
        lambda: [
            guarded.refused(413, guarded.head("POST", target, length=length))
            for length in (LIMIT + 1, 2**31, 2**63 - 1)
        ]
    )


def test_chunks_beyond_the_limit_are_413(guarded: Guarded) -> None:
    """Whatever the head says, what arrives is counted."""
    data = chunked(PROMPT % (b"a" * LIMIT))
    head = guarded.head("POST", CHAT, CHUNKED)
    guarded.untouched(
        lambda: guarded.refused(413, head, data, code="payload_too_large")
    )


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_what_expands_beyond_the_limit_is_413(guarded: Guarded, coding: str) -> None:
    """Also where what was sent is a thousandth of it, and in little memory."""
    packer = zlib.compressobj(9, wbits=31 if coding == "gzip" else 15)
    bomb = packer.compress(PROMPT[:60]) + packer.flush(zlib.Z_FULL_FLUSH)
    # What is the same each time needs to be packed but once.
    block = packer.compress(bytes(MEBIBYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    bomb += block * 256 + packer.flush()
    before = guarded.memory()
    guarded.forget_peak()

    def ask() -> None:
        reply = guarded.post(CHAT, bomb, b"Content-Encoding: " + coding.encode())
        assert reply.status == 413
        assert error_of(reply)["code"] == "payload_too_large"

    guarded.untouched(ask)
    assert guarded.memory("VmHWM") - before < PEAK


def test_text_that_packs_too_well_is_413_also_below_the_limit(guarded: Guarded) -> None:
    """A ratio that no honest text has ends the reading."""
    bomb = gzip.compress(PROMPT % (b"a" * 8 * MEBIBYTE))
    guarded.untouched(
        lambda: guarded.refused(
            413, guarded.head("POST", CHAT, GZIP, length=len(bomb)), bomb
        )
    )


@each("coding", [b"br", b"zstd", b"compress", b"gzip, gzip", b"\xff"])
def test_another_coding_is_415(guarded: Guarded, coding: bytes) -> None:
    """Nothing is guessed."""
    guarded.untouched(
        lambda: guarded.refused(
            415,
            guarded.head("POST", CHAT, b"Content-Encoding: " + coding, length=5),
            b"hello",
        )
    )


def test_damaged_compression_is_400(guarded: Guarded) -> None:
    """A part of a text is not the text, nor is a text with more behind it."""
    packed = gzip.compress(BODIES[CHAT])
    damaged = [packed[:-4], packed + b"more", packed * 2, packed[:10], packed[:2]]

    def ask() -> None:
        for body in (*damaged, BODIES[CHAT]):
            reply = guarded.post(CHAT, body, GZIP)
            assert reply.status == 400
            error_of(reply)

    guarded.untouched(ask)


# --- broken off -----------------------------------------------------------------


@each("target", TARGETS)
def test_less_than_was_declared_is_400(guarded: Guarded, target: str) -> None:
    """The client stops sending and still reads why."""
    body = BODIES[target]
    head = guarded.head("POST", target, length=len(body) + 1)

    def ask() -> None:
        reply = guarded.half_closed(head + body)
        assert reply.status == 400
        error_of(reply)

    guarded.untouched(ask)


@each("end", [b"", b"0", b"0\r\n", b"5\r\nhel", b"5\r\nhello", b"5\r\nhello\r\n", b"5"])
def test_chunks_without_an_end_are_400(guarded: Guarded, end: bytes) -> None:
    """Wherever they break off, although the JSON is whole."""
    data = guarded.head("POST", CHAT, CHUNKED) + chunked(BODIES[CHAT], end=end)

    def ask() -> None:
        reply = guarded.half_closed(data)
        assert reply.status == 400
        error_of(reply)

    guarded.untouched(ask)


def test_what_stands_behind_the_declared_size_is_no_part_of_the_body(
    guarded: Guarded,
) -> None:
    """It is the next request, and a bad one."""
    body = BODIES[CHAT]
    head = guarded.head("POST", CHAT, length=len(body) - 1)
    head = head.replace(b"Connection: close\r\n", b"")
    replies = guarded.talk(head + body + b"NONSENSE\r\n\r\n")
    assert replies.count(b"HTTP/1.1 ") == replies.count(b"HTTP/1.1 400 ") == 2


@each("target", TARGETS)
def test_every_beginning_of_a_body_is_400(guarded: Guarded, target: str) -> None:
    """JSON cut anywhere, sent as if it were whole."""
    body = BODIES[target]

    def ask() -> None:
        for size in range(len(body)):
            reply = guarded.post(target, body[:size])
            assert reply.status == 400
            assert error_of(reply)["code"] == "invalid_json"

    guarded.untouched(ask)


# --- no JSON --------------------------------------------------------------------

NO_JSON = [
    b"",
    b" ",
    b"null",
    b"true",
    b"1",
    b'"text"',
    b"[]",
    b'[{"model":"chat"}]',
    b"{}{}",
    b"{} x",
    b"\xef\xbb\xbf{}",
    b"{'model':'chat'}",
    b'{"model":"chat",}',
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":-Infinity}',
    b'{"a":01}',
    b'{"a":1.}',
    b'{"a":.5}',
    b'{"a":+1}',
    b'{"a":0x10}',
    b'{"a":1_000}',
    b'{"a":"\\q"}',
    b'{"a":"\\u12"}',
    b'{"a":"\\ud800"}',
    b'{"a":"\\udc00\\ud800"}',
    b'{"a":"\n"}',
    b'{"a":"\0"}',
    b'{"a":/* 1 */1}',
    b"{a:1}",
    b'{"a":tru}',
    b'{"a"}',
    b"<html></html>",
    b"model=chat&messages=hi",
    b"--x\r\nContent-Disposition: form-data; name=model\r\n\r\nchat\r\n--x--\r\n",
    '{"model":"chat"}'.encode("utf-16"),
    '{"model":"chat"}'.encode("utf-32-le"),
    bytes(64),
]


@each("target", TARGETS)
def test_what_is_no_json_object_is_400(guarded: Guarded, target: str) -> None:
    """Every kind of it, at every operation."""

    def ask() -> None:
        for body in NO_JSON:
            reply = guarded.post(target, body)
            assert reply.status == 400, body
            assert error_of(reply)["code"] == "invalid_json"

    guarded.untouched(ask)


TYPES = [
    b"multipart/form-data; boundary=x",
    b"multipart/form-data",
    b"multipart/form-data; boundary=" + b"-" * 5000,
    b"application/x-www-form-urlencoded",
    b"text/plain",
    b"application/octet-stream",
    b"application/xml",
    b"nonsense",
    b"",
]


@each("kind", TYPES)
def test_forms_and_other_types_are_400(guarded: Guarded, kind: bytes) -> None:
    """A form is refused for what it is; no parser of forms ever sees it."""
    form = b"--x\r\nContent-Disposition: form-data; name=model\r\n\r\nchat\r\n"
    body = form * 2000 + b"--x--\r\n"
    guarded.untouched(
        lambda: guarded.refused(
            400,
            guarded.head("POST", CHAT, b"Content-Type: " + kind, length=len(body)),
            body,
            code="invalid_json",
        )
    )


BAD_TEXT = [
    b"\xff",
    b"\xc3",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\x80",
]
PLACES = [
    b'{"%b":1,"model":"chat","messages":[{"role":"user","content":"x"}]}',
    b'{"model":"%b","messages":[{"role":"user","content":"x"}]}',
    b'{"model":"chat","messages":[{"role":"user","content":"%b"}]}',
    b'{"model":"chat","messages":[{"role":"%b","content":"x"}]}',
    b'{"model":"chat","messages":[{"role":"user","content":"x","%b":1}]}',
    b'{"model":"chat","messages":[{"role":"user","content":[{"type":"text","text":"%b"}]}]}',
    b'{"model":"chat","messages":[{"role":"user","content":"x"}],"user":"%b"}',
    b'{"model":"chat","messages":[{"role":"user","content":"x"}],"metadata":{"%b":""}}',
    b'{"model":"chat","messages":[{"role":"user","content":"x"}],"y":{"z":["%b"]}}',
    b'{"model":"chat","messages":[{"role":"user","content":"x"}],"y":%b}',
    b'{"model":"chat","messages":[{"role":"user","content":"x"}]}%b',
]


@each("place", PLACES)
def test_bytes_that_are_not_utf8_are_400_wherever_they_stand(
    guarded: Guarded, place: bytes
) -> None:
    """In names, values, below what is judged, and outside of texts."""

    def ask() -> None:
        for text in BAD_TEXT:
            reply = guarded.post(CHAT, place.replace(b"%b", text))
            assert reply.status == 400, text
            assert error_of(reply)["code"] == "invalid_json"

    guarded.untouched(ask)


# --- depth ----------------------------------------------------------------------

DEEP = [
    PROMPT.replace(b'"%b"', b"%b"),
    PROMPT[:-1].replace(b"%b", b"x") + b',"tools":%b}',
    PROMPT[:-1].replace(b"%b", b"x") + b',"response_format":%b}',
    PROMPT[:-1].replace(b"%b", b"x") + b',"unknown":%b}',
    PROMPT[:-1].replace(b"%b", b"x") + b',"stream":true,"stream_options":{"x":%b}}',
    PROMPT.replace(b'"%b"', b'[{"type":"text","text":"x","y":%b}]'),
    b"%b",
]


@each("depth", [10**3, 10**4, 10**5, 10**6])
@each("place", DEEP)
def test_deep_nesting_is_400(guarded: Guarded, place: bytes, depth: int) -> None:
    """Lists, objects and both, closed and left open."""

    def ask() -> None:
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")):
            inner = opening * depth + b"1" + closing * depth
            for value in (inner, opening * depth):
                reply = guarded.post(CHAT, place.replace(b"%b", value))
                assert reply.status == 400
                error_of(reply)

    guarded.untouched(ask)


@each("place", DEEP[1:-1])
def test_no_depth_is_anything_but_served_or_refused(
    guarded: Guarded, place: bytes
) -> None:
    """Where a parser's limit is met half-way through a call, too: never a 5xx."""
    found = set()
    for depth in (*range(900, 1000, 4), *range(976, 1000)):
        reply = guarded.post(CHAT, place.replace(b"%b", b"[" * depth + b"]" * depth))
        assert reply.status in (200, 400), (depth, reply.body)
        found.add(reply.status)
    assert 400 in found
    assert guarded.state().holds == 0


# --- many -----------------------------------------------------------------------


def filled(start: bytes, piece: bytes, end: bytes, size: int) -> bytes:
    """Repeat a piece until a body has `size` bytes."""
    return start + piece * ((size - len(start) - len(end)) // len(piece)) + end


MANY: list[tuple[str, str, bytes, bytes, bytes]] = [
    ("messages", CHAT, MESSAGES, b'{"role":"user","content":"x"},', b"{}]}"),
    ("parts", CHAT, PROMPT[:-6] + b"[", b"{},", b"{}]}]}"),
    ("texts", CHAT, PROMPT[:-6] + b"[", b'{"type":"text","text":""},', b"{}]}]}"),
    ("tools", CHAT, b'{"model":"chat","messages":[],"tools":[', b"{},", b"{}]}"),
    ("models", CHAT, b'{"model":"chat","messages":[],"models":[', b'"",', b'""]}'),
    ("members", CHAT, b"{", b'"":0,', b'"":0}'),
    ("numbers", "/v1/embeddings", b'{"model":"embed","input":[', b"0,", b"0]}"),
    ("lists", "/v1/embeddings", b'{"model":"embed","input":[', b"[],", b"[]]}"),
    ("strings", "/v1/embeddings", b'{"model":"embed","input":[', b'"",', b'""]}'),
    ("prompts", "/v1/completions", b'{"model":"text","prompt":[', b"[0],", b"[0]]}"),
    ("inputs", "/v1/moderations", b'{"input":[', b'"",', b'""]}'),
    ("objects", "/v1/moderations", b'{"input":[', b'{"type":""},', b'""]}'),
]


@each("case", MANY, ids=[case[0] for case in MANY])
def test_a_body_full_of_tiny_values_is_400(
    guarded: Guarded, case: tuple[str, str, bytes, bytes, bytes]
) -> None:
    """Each value costs far more memory and time than the bytes it is written in."""
    _, target, start, piece, end = case
    before = guarded.memory()
    guarded.forget_peak()

    def ask() -> None:
        for size in (4 * MEBIBYTE, LIMIT):
            body = filled(start, piece, end, size)
            guarded.refused(400, guarded.head("POST", target, length=len(body)), body)

    guarded.untouched(ask)
    assert guarded.memory("VmHWM") - before < PEAK


def test_too_many_entries_are_named(guarded: Guarded) -> None:
    """One more than the most, where there is a most."""
    message = b'{"role":"user","content":"x"}'
    many = MESSAGES + b",".join([message] * 100_000) + b"]}"
    entries = b",".join([b'"x"'] * 2049)
    cases = [
        (CHAT, MESSAGES + b",".join([message] * 16_385) + b"]}", "messages"),
        ("/v1/embeddings", b'{"model":"embed","input":[%b]}' % entries, "input"),
        (
            "/v1/embeddings",
            b'{"model":"embed","input":[%b]}' % b",".join([b"[1]"] * 2049),
            "input",
        ),
    ]

    def ask() -> None:
        for target, body, param in cases:
            reply = guarded.post(target, body)
            assert reply.status == 400
            error = error_of(reply)
            assert error["param"] == param
            assert error["code"] == "array_above_max_length"
        assert guarded.post(CHAT, many).status == 400

    guarded.untouched(ask)


HUGE: list[tuple[str, Callable[[int], bytes]]] = [
    ("ascii", lambda size: b"a" * size),
    ("accents", lambda size: "é".encode() * (size // 2)),
    ("emoji", lambda size: "😀".encode() * (size // 4)),
    ("escapes", lambda size: b"\\n" * (size // 2)),
    ("quotes", lambda size: b'\\"' * (size // 2)),
    ("backslashes", lambda size: b"\\\\" * (size // 2)),
    ("commas", lambda size: b"," * size),
    ("brackets", lambda size: b"[{" * (size // 2)),
    ("escaped", lambda size: b"\\u4e2d" * (size // 6)),
]


@each(("text"), [text for _, text in HUGE], ids=[n for n, _ in HUGE])
def test_the_largest_texts_are_read_without_delay(
    guarded: Guarded, text: Callable[[int], bytes]
) -> None:
    """A text of any shape may be as large as a body; here its role is missing."""
    body = b'{"model":"chat","messages":[{"content":"%b"}]}' % text(LIMIT - 100)
    before = guarded.memory()
    guarded.forget_peak()
    guarded.untouched(
        lambda: guarded.refused(400, guarded.head("POST", CHAT, length=len(body)), body)
    )
    assert guarded.memory("VmHWM") - before < 2 * PEAK


def test_random_bytes_are_400(guarded: Guarded) -> None:
    """Of several sizes; the same ones each time."""
    source = random.Random(7)
    bodies = [source.randbytes(size) for size in (1, 10, 1000, 100_000, 5 * MEBIBYTE)]

    def ask() -> None:
        for body in bodies:
            for target in TARGETS:
                assert guarded.post(target, body).status == 400

    guarded.untouched(ask)


def test_many_bad_bodies_at_once_do_not_delay_a_good_one(guarded: Guarded) -> None:
    """Ten clients send bombs of every kind while another one is served."""
    bombs = [filled(*case[2:], 4 * MEBIBYTE) for case in MANY]
    with ThreadPoolExecutor(4) as attackers:
        sent = [
            attackers.submit(guarded.post, case[1], bomb)
            for case, bomb in zip(MANY, bombs, strict=True)
        ]
        slowest = 0.0
        while not all(one.done() for one in sent):
            began = time.monotonic()
            assert guarded.post(CHAT, BODIES[CHAT]).status == 200
            slowest = max(slowest, time.monotonic() - began)
        assert all(one.result().status == 400 for one in sent)
    assert slowest < CASE_SECONDS
