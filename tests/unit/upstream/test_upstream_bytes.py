"""Exact bytes of replies, fed whole, per byte and cut at random places."""

import itertools
import random
from typing import NamedTuple

import pytest
from tests.support.cases import each
from tests.unit.upstream.support import Wire

from posthouse.model.exchange import Certainty, FailureKind
from posthouse.upstream.connection import (
    BARREN_BYTES,
    HEAD_BYTES,
    HEAD_FIELDS,
    INTERIM_REPLIES,
)

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BEGUN = Certainty.RESPONSE_STARTED
PROTOCOL = FailureKind.PROTOCOL
RESET = FailureKind.RESET


class Case(NamedTuple):
    """Bytes, and what must come of them."""

    name: str
    data: bytes
    body: bytes = b""
    failure: FailureKind | None = None
    reusable: bool = False
    end: str = "open"
    status: int | None = 200
    body_less: bool = False


GOOD = [
    Case("content-length", OK + b"Content-Length: 3\r\n\r\nabc", b"abc", None, True),
    Case("empty body", OK + b"Content-Length: 0\r\n\r\n", b"", None, True),
    Case(
        "chunked", CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde", None, True
    ),
    Case(
        "chunk extensions", CHUNKED + b"3;a=b\r\nabc\r\n0;x\r\n\r\n", b"abc", None, True
    ),
    Case(
        "trailers", CHUNKED + b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n", b"abc", None, True
    ),
    Case("until eof", OK + b"\r\nabc", b"abc", end="eof"),
    Case("until eof, empty", OK + b"\r\n", b"", end="eof"),
    Case(
        "http/1.0 closes",
        b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"abc",
    ),
    Case(
        "http/1.0 kept alive",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
        b"abc",
        None,
        True,
    ),
    Case(
        "connection close",
        OK + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc",
        b"abc",
    ),
    Case(
        "100 first",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx",
        b"x",
        None,
        True,
    ),
    Case(
        "103 first",
        b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx",
        b"x",
        None,
        True,
    ),
    Case("204", b"HTTP/1.1 204 No\r\n\r\n", b"", None, True, status=204),
    Case(
        "304 with a length",
        b"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n",
        b"",
        None,
        True,
        status=304,
    ),
    Case(
        "head",
        OK + b"Content-Length: 9\r\n\r\n",
        b"",
        body_less=True,
    ),
    Case(
        "no reason phrase",
        b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
        b"",
        None,
        True,
    ),
    Case(
        "empty header value",
        OK + b"A:\r\nContent-Length: 1\r\n\r\nx",
        b"x",
        None,
        True,
    ),
    Case(
        "latin-1 header",
        OK + b"A: \xe9\r\nContent-Length: 1\r\n\r\nx",
        b"x",
        None,
        True,
    ),
    Case(
        "upgrade header without an upgrade",
        OK + b"Upgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 1\r\n\r\nx",
        b"x",
        None,
        True,
    ),
    Case(
        "as many headers as allowed",
        OK + b"A: b\r\n" * (HEAD_FIELDS - 1) + b"Content-Length: 0\r\n\r\n",
        b"",
        None,
        True,
    ),
]

# The body is cut where its length says; the connection is not used again.
SURPLUS = [
    Case("garbage behind the body", OK + b"Content-Length: 1\r\n\r\nxyz", b"x"),
    Case(
        "a second reply behind the first",
        OK + b"Content-Length: 1\r\n\r\nx" + OK + b"Content-Length: 6\r\n\r\nsecret",
        b"x",
    ),
    Case("a begun reply behind the first", OK + b"Content-Length: 1\r\n\r\nxH", b"x"),
    Case("behind a chunked body", CHUNKED + b"1\r\nx\r\n0\r\n\r\nHTTP", b"x"),
    Case("behind an empty body", OK + b"Content-Length: 0\r\n\r\nabc", b""),
    Case("a body for a 204", b"HTTP/1.1 204 No\r\n\r\nabc", b"", status=204),
    Case(
        "a body for a HEAD", OK + b"Content-Length: 3\r\n\r\nabc", b"", body_less=True
    ),
]

BAD = [
    Case(name, data, failure=PROTOCOL, status=None)
    for name, data in {
        "length and chunked": OK
        + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "chunked and length": OK
        + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "a list of lengths": OK + b"Content-Length: 3, 3\r\n\r\nabc",
        "a signed length": OK + b"Content-Length: +3\r\n\r\nabc",
        "a negative length": OK + b"Content-Length: -3\r\n\r\nabc",
        "an empty length": OK + b"Content-Length:\r\n\r\nabc",
        "a huge length": OK + b"Content-Length: 99999999999999999999\r\n\r\nabc",
        "unknown coding": OK + b"Transfer-Encoding: gzip\r\n\r\nabc",
        "coding before chunked": OK
        + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "identity coding": OK + b"Transfer-Encoding: identity\r\n\r\nabc",
        "look-alike coding": OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "chunked twice": OK
        + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "folded header": OK + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
        "NUL in a value": OK + b"A: b\0c\r\nContent-Length: 0\r\n\r\n",
        "NUL in a name": OK + b"A\0: b\r\nContent-Length: 0\r\n\r\n",
        "control byte in a value": OK + b"A: \x01\r\nContent-Length: 0\r\n\r\n",
        "blank before the colon": OK + b"A : b\r\nContent-Length: 0\r\n\r\n",
        "no colon": OK + b"AAAA\r\nContent-Length: 0\r\n\r\n",
        "bare CR": OK + b"A: b\rB: c\r\nContent-Length: 0\r\n\r\n",
        "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP/0.9": b"<html>hello</html>",
        "HTTP/2": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "an upgrade": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n"
        b"Connection: upgrade\r\n\r\nabc",
        "status 099": b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n",
        "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        "too many interim replies": b"HTTP/1.1 100 Continue\r\n\r\n"
        * (INTERIM_REPLIES + 1),
        "too many headers": OK + b"A: b\r\n" * (HEAD_FIELDS + 1) + b"\r\n",
        "too large a head": OK
        + b"A: " + b"b" * HEAD_BYTES + b"\r\nContent-Length: 0\r\n\r\n",
        "an endless head": OK + b"A: " + b"b" * (HEAD_BYTES + 1),
    }.items()
]  # fmt: skip

BAD_BODY = [
    Case("bad chunk size", CHUNKED + b"3\r\nabc\r\nxyz\r\n", b"abc", PROTOCOL),
    Case("negative chunk size", CHUNKED + b"-3\r\nabc\r\n", b"", PROTOCOL),
    Case("huge chunk size", CHUNKED + b"f" * 17 + b"\r\n", b"", PROTOCOL),
    Case("chunk longer than it says", CHUNKED + b"3\r\nabcd\r\n", b"abc", PROTOCOL),
    Case("bare LF in framing", CHUNKED + b"3\nabc\n0\n\n", b"", PROTOCOL),
    Case(
        "endless chunk extension",
        CHUNKED + b"3\r\nabc\r\n1;" + b"x" * (BARREN_BYTES + 300_000),
        b"abc",
        PROTOCOL,
    ),
    Case(
        "endless trailers",
        CHUNKED + b"3\r\nabc\r\n0\r\nA: " + b"x" * (BARREN_BYTES + 300_000),
        b"abc",
        PROTOCOL,
    ),
]

CUT_OFF = [
    Case(
        "inside the length",
        OK + b"Content-Length: 9\r\n\r\nabc",
        b"abc",
        RESET,
        end="eof",
    ),
    Case("inside a chunk", CHUNKED + b"9\r\nabc", b"abc", RESET, end="eof"),
    Case("without the last chunk", CHUNKED + b"3\r\nabc\r\n", b"abc", RESET, end="eof"),
    Case("reset in the body", CHUNKED + b"3\r\nabc\r\n", b"abc", RESET, end="reset"),
    Case("reset until eof", OK + b"\r\nabc", b"abc", RESET, end="reset"),
    Case("inside the head", OK + b"Content-Le", b"", RESET, end="eof", status=None),
]

CASES = [*GOOD, *SURPLUS, *BAD, *BAD_BODY, *CUT_OFF]


def cuts(data: bytes, seed: int) -> list[bytes]:
    """Cut bytes at up to seven random places."""
    chance = random.Random(seed)
    places = sorted(chance.randrange(len(data) + 1) for _ in range(7))
    edges = [0, *places, len(data)]
    return [
        data[start:stop] for start, stop in itertools.pairwise(edges) if stop > start
    ]


def ways(case: Case) -> list[list[bytes]]:
    """Every way in which a case's bytes may arrive."""
    data = case.data
    single = [data[index : index + 1] for index in range(len(data))]
    whole = [[data]] if len(data) <= 256 * 1024 else []
    return [*whole, single, *(cuts(data, seed) for seed in range(5))]


@each("case", CASES, ids=lambda case: case.name)
async def test_the_outcome_does_not_depend_on_how_bytes_arrive(case: Case) -> None:
    """Whole, per byte and cut at random: the same status, body and failure."""
    for pieces in ways(case):
        wire = Wire()

        status, _, body, failure, certainty, reusable = await wire.exchange(
            pieces, case.end, body_less=case.body_less
        )

        assert (status or None, body, failure) == (case.status, case.body, case.failure)
        assert certainty == (BEGUN if case.failure else None)
        # Bytes behind a complete reply find the connection idle: closed, too.
        assert reusable is case.reusable
        assert wire.keeper.lost_count == (0 if reusable else 1)


@pytest.mark.parametrize("end", ["eof", "reset"])
async def test_closing_before_any_byte_leaves_acceptance_open(end: str) -> None:
    """No reply began: the provider may or may not have taken the request."""
    seen = await Wire().exchange([], end)

    assert seen[3:5] == (RESET, Certainty.POSSIBLY_ACCEPTED)


async def test_headers_come_in_order_with_lower_case_names() -> None:
    """Repeated headers stay, trailers are not among them."""
    data = OK + b"B: 1\r\nA: 2\r\nb: 3\r\nTransfer-Encoding: chunked\r\n\r\n"

    seen = await Wire().exchange([data, b"0\r\nC: 4\r\n\r\n"])

    assert seen[1] == [
        (b"b", b"1"),
        (b"a", b"2"),
        (b"b", b"3"),
        (b"transfer-encoding", b"chunked"),
    ]


async def test_one_connection_serves_many_exchanges() -> None:
    """Each reply, however framed, leaves nothing behind for the next."""
    wire = Wire()
    replies = [case for case in GOOD if case.reusable]

    for case in [*replies, *reversed(replies)]:
        seen = await wire.exchange([case.data])

        assert (seen[0], seen[2], seen[3]) == (case.status, case.body, None)
    assert wire.keeper.released_count == 2 * len(replies)


async def test_a_million_tiny_chunks_take_linear_time() -> None:
    """Ten times the chunks cost about ten times the time, not a hundred."""
    import time

    async def took(count: int) -> float:
        pieces = [b"1\r\nx\r\n" * 1000] * (count // 1000)
        begin = time.process_time()
        seen = await Wire().exchange([CHUNKED, *pieces, b"0\r\n\r\n"])
        assert len(seen[2]) == count
        return time.process_time() - begin

    await took(1000)
    small, large = await took(20_000), await took(200_000)

    assert large < 25 * small + 0.05
