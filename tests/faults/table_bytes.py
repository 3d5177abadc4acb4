"""U10 to U13, U18 and U23: replies whose bytes are not what HTTP has them be."""

import random
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from tests.fakes import openai
from tests.fakes.steps import (
    LAST_CHUNK,
    Request,
    Send,
    Step,
    Wait,
    chunk,
    head,
    reply,
)
from tests.faults import scripts
from tests.faults.scripts import CLOSE, END, HANG, PAUSE, RESET, Script
from tests.faults.variation import (
    ANSWERING,
    BAD,
    Expected,
    Variation,
    broken,
    truth,
)

from posthouse.routing.health import Verdict

GOOD = Expected(served=True, usage=truth, answer="good")
LAST_OF_IT = Expected(served=True, usage=truth, answer="good", discarded=True)
MALFORMED = Expected(502, "upstream_bad_response", alert=True)


def data_of(request: Request) -> bytes:
    """The good answer's body: a whole reply's, or a stream's frames."""
    if request.json.get("stream"):
        return b"".join(scripts.frames(request))
    return scripts.whole(request)


def good(request: Request, *headers: tuple[str, str]) -> tuple[Step, ...]:
    """The good answer, with its length and more headers."""
    kind = openai.EVENT_STREAM if request.json.get("stream") else "application/json"
    data = data_of(request)
    return (Send(reply(200, data, content_type=kind, headers=headers)),)


# --- U10 --------------------------------------------------------------------------


def _then(*more: Step) -> Script:
    return lambda request: (*good(request), *more)


def _joined(surplus: bytes) -> Script:
    def script(request: Request) -> tuple[Step, ...]:
        (answer,) = good(request)
        assert isinstance(answer, Send)
        return (Send(answer.data + surplus),)

    return script


def _chunked_then(surplus: bytes) -> Script:
    def script(request: Request) -> tuple[Step, ...]:
        start = openai.stream_head() if request.json.get("stream") else _CHUNKED
        return (Send(start + chunk(data_of(request)) + LAST_CHUNK + surplus),)

    return script


_CHUNKED = head(200, chunked=True)


def surplus() -> Iterator[Variation]:
    """U10: bytes behind the body's end."""
    second = reply(200, b'{"choices": [{"text": "of nobody"}]}')
    for name, script in (
        ("bytes", _joined(b"surplus")),
        ("second-reply", _joined(second)),
        ("later", _then(PAUSE, Send(second))),
        ("chunked", _chunked_then(b"surplus")),
    ):
        yield Variation("U10", name, LAST_OF_IT, script)

    def inside(request: Request) -> tuple[Step, ...]:
        data = scripts.whole(request)
        return (Send(head(200, length=len(data) // 2) + data),)

    yield Variation("U10", "length-inside", BAD, inside, ("unary",))

    def inside_stream(request: Request) -> tuple[Step, ...]:
        kept = b"".join(scripts.first_frames(request, 3))
        start = head(200, length=len(kept), content_type=openai.EVENT_STREAM)
        return (Send(start + data_of(request)),)

    yield Variation(
        "U10", "length-inside", broken(3), inside_stream, ("stream",), ANSWERING
    )


# --- U11 --------------------------------------------------------------------------


def _headed(*lines: bytes, status: bytes = b"HTTP/1.1 200 Reply") -> Script:
    """The good answer behind a head of these lines."""

    def script(request: Request) -> tuple[Step, ...]:
        data = scripts.whole(request)
        given = [line.replace(b"{length}", b"%d" % len(data)) for line in lines]
        kind = b"Content-Type: application/json"
        return (Send(b"\r\n".join([status, kind, *given, b"", data])),)

    return script


_LENGTH = b"Content-Length: {length}"
_CHUNKS = b"Transfer-Encoding: chunked"
_HEADS: tuple[tuple[str, Script], ...] = (
    ("length-and-chunked", _headed(_LENGTH, _CHUNKS)),
    ("two-lengths", _headed(_LENGTH, b"Content-Length: 5")),
    ("a-length-twice", _headed(_LENGTH, _LENGTH)),
    ("negative-length", _headed(b"Content-Length: -1")),
    ("unknown-coding", _headed(b"Transfer-Encoding: cow")),
    ("coding-twice", _headed(_CHUNKS, _CHUNKS)),
    ("gzip-coding", _headed(b"Transfer-Encoding: gzip, chunked")),
    ("folded", _headed(_LENGTH, b"X-Folded: a", b" b")),
    ("nul", _headed(_LENGTH, b"X-Nul: a\0b")),
    ("space-before-colon", _headed(_LENGTH, b"X-Space : a")),
    ("64-kib", _headed(_LENGTH, b"X-Long: " + b"a" * 66_000)),
    ("129-fields", _headed(_LENGTH, *(b"X-%d: a" % n for n in range(129)))),
    ("not-http", scripts.do(Send(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n"))),
    ("version", _headed(_LENGTH, status=b"HTTP/3.7 200 Reply")),
    ("status", _headed(_LENGTH, status=b"HTTP/1.1 2x0 Reply")),
)
_CHUNK_FAULTS: tuple[tuple[str, bytes], ...] = (
    ("bad-size", b"zz\r\n"),
    ("negative-size", b"-5\r\n"),
    ("huge-size", b"fffffffffffffffff\r\n"),
    ("unended-chunk", b"3\r\nabcdef\r\n"),
    ("bare-line-feed", b"3\nabc\r\n"),
)


def ill_formed() -> Iterator[Variation]:
    """U11: heads and chunks that could be read in two ways, or not at all."""
    for name, script in _HEADS:
        yield Variation("U11", name, MALFORMED, script)
    bad = Expected(502, "upstream_bad_response", provider_status=200, alert=True)
    later = broken(3, code="upstream_bad_response", alert=True)
    for name, data in _CHUNK_FAULTS:
        yield Variation("U11", name, bad, scripts.do(Send(_CHUNKED + data)))
        script = scripts.part_of_stream(scripts.words(3), Send(data))
        yield Variation("U11", f"{name}-later", later, script, ("stream",), ANSWERING)


# --- U12 --------------------------------------------------------------------------

_GZIP = 16 + zlib.MAX_WBITS


def _packed(pieces: Iterable[bytes], bits: int) -> bytes:
    packer = zlib.compressobj(level=1, wbits=bits)
    return b"".join(map(packer.compress, pieces)) + packer.flush()


@cache
def _blanks(bits: int) -> bytes:
    """4 MiB of nothing in some kilobytes."""
    opening = b'{"choices": ['
    return _packed((opening, *(b" " * (1 << 20) for _ in range(4))), bits)


@cache
def _noise() -> bytes:
    """3 MiB that are packed to half of it."""
    chance = random.Random(12)
    return _packed((chance.randbytes(1 << 19).hex().encode() for _ in range(3)), _GZIP)


def _coded(coding: str, data: Callable[[Request], bytes]) -> Script:
    """A reply whose body is said to be coded."""

    def script(request: Request) -> tuple[Step, ...]:
        stream = request.json.get("stream")
        kind = openai.EVENT_STREAM if stream else "application/json"
        headers = (("Content-Encoding", coding),)
        return (Send(reply(200, data(request), content_type=kind, headers=headers)),)

    return script


def _bomb_later(request: Request) -> tuple[Step, ...]:
    """Three words, packed well, and then a bomb in the same stream."""
    packer = zlib.compressobj(wbits=_GZIP)
    words = packer.compress(b"".join(scripts.first_frames(request, 3)))
    words += packer.flush(zlib.Z_SYNC_FLUSH)
    bomb = b"".join(packer.compress(b":" * (1 << 20)) for _ in range(4))
    headers = (("Content-Encoding", "gzip"),)
    start = openai.stream_head(headers=headers)
    return (Send(start + chunk(words)), PAUSE, Send(chunk(bomb + packer.flush())), END)


def compressed() -> Iterator[Variation]:
    """U12: codings that nobody asked for, bombs above all."""
    well = _coded("gzip", lambda request: _packed([data_of(request)], _GZIP))
    yield Variation("U12", "gzip-well", GOOD, well)
    for name, coding, data in (
        ("gzip-ratio", "gzip", lambda _: _blanks(_GZIP)),
        ("deflate-ratio", "deflate", lambda _: _blanks(zlib.MAX_WBITS)),
    ):
        yield Variation("U12", name, BAD, _coded(coding, data))
    size = {"posthouse.upstream.encoding.DECODED_LIMIT": 2 << 20}
    yield Variation(
        "U12", "size", BAD, _coded("gzip", lambda _: _noise()), patches=size
    )
    odd = Expected(502, "upstream_bad_response", provider_status=200, alert=True)
    damaged = _coded("gzip", lambda request: b"no gzip" + data_of(request))
    yield Variation("U12", "damaged", odd, damaged)
    torn = _coded("gzip", lambda request: _packed([scripts.whole(request)], _GZIP)[:-9])
    yield Variation("U12", "torn", odd, torn, ("unary",))
    for coding in ("br", "zstd", "gzip, br", "cow"):
        name = coding.replace(", ", "-")
        yield Variation("U12", name, MALFORMED, _coded(coding, data_of))
    later = broken(3, code="upstream_bad_response")
    yield Variation("U12", "later", later, _bomb_later, ("stream",), ANSWERING)


# --- U13 --------------------------------------------------------------------------

_PART = b"x" * 65_536
_PARTS = 1600


def _long(number: int, *, framing: str) -> Script:
    """An error reply of 100 MB."""
    if framing == "chunked":
        start, part = head(number, chunked=True), chunk(_PART)
    else:
        length = len(_PART) * _PARTS if framing == "length" else None
        start, part = head(number, length=length), _PART
    return lambda _: (Send(start), *(Send(part) for _ in range(_PARTS)), HANG)


def long_errors() -> Iterator[Variation]:
    """U13: errors of 100 MB."""
    for framing in ("length", "chunked", "eof"):
        expected = Expected(
            503,
            "upstream_overloaded",
            provider_status=500,
            cost_known=True,
            retry_after=5,
            discarded=True,
            most_sent=12 << 20,
        )
        yield Variation("U13", framing, expected, _long(500, framing=framing))


# --- U18 --------------------------------------------------------------------------


def _slowly(data: bytes) -> tuple[Step, ...]:
    """A byte now and then, for two seconds."""
    return tuple(
        step
        for place in range(100)
        for step in (Send(data[place : place + 1] or b"x"), Wait(0.02))
    )


def _unary_slowly(request: Request) -> tuple[Step, ...]:
    data = scripts.whole(request)
    return (Send(head(200, length=100_000)), *_slowly(data))


def _stream_slowly(words: int | None) -> Script:
    def script(request: Request) -> tuple[Step, ...]:
        start = head(200, length=100_000, content_type=openai.EVENT_STREAM)
        had = b"" if words is None else scripts.words(words)(request)
        rest = data_of(request)[len(had) :]
        first = (Send(start), Send(had), PAUSE) if had else (Send(start),)
        return (*first, *_slowly(rest))

    return script


def _waiting(sign: bytes) -> Script:
    """A provider that says now and then that the call's turn will come."""

    def script(request: Request) -> tuple[Step, ...]:
        stream = request.json.get("stream")
        start = openai.stream_head() if stream else _CHUNKED
        signs = (Send(chunk(sign)), Wait(0.1)) * 6
        return (Send(start), *signs, Send(chunk(data_of(request)) + LAST_CHUNK))

    return script


def trickling() -> Iterator[Variation]:
    """U18: never silent, and never getting anywhere."""
    late = Expected(504, "upstream_timeout", provider_status=200)
    yield Variation("U18", "body", late, _unary_slowly, ("unary",))
    first = _stream_slowly(None)
    yield Variation("U18", "first-frame", late, first, ("stream",), ANSWERING)
    later = broken(2, code="upstream_timeout")
    yield Variation(
        "U18", "later-frame", later, _stream_slowly(2), ("stream",), ANSWERING
    )
    patient = Expected(served=True, usage=truth)
    yield Variation("U18", "empty-lines", patient, _waiting(b"\n"), ("unary",))
    comments = _waiting(b": keep-alive\n\n")
    yield Variation("U18", "comments", patient, comments, ("stream",), ANSWERING)


# --- U23 --------------------------------------------------------------------------

_LARGE = {"metadata": {"padding": "x" * (5 << 20)}}
"""More of a request than sockets take that nobody reads."""


def _interim(count: int, line: bytes) -> Script:
    """The good answer behind replies that are none yet."""

    def script(request: Request) -> tuple[Step, ...]:
        interim = b"HTTP/1.1 %b\r\nLink: </x>\r\n\r\n" % line
        return (Send(interim * count), *good(request))

    return script


def _eof_1_0(request: Request) -> tuple[Step, ...]:
    kind = openai.EVENT_STREAM if request.json.get("stream") else "application/json"
    start = b"HTTP/1.0 200 OK\r\nContent-Type: %b\r\n\r\n" % kind.encode()
    return (Send(start + data_of(request)), CLOSE)


def _announced(*more: Step) -> Script:
    return lambda request: (*good(request, ("Connection", "close")), *more)


def races() -> Iterator[Variation]:
    """U23: what happens to a connection beside its replies."""
    for count, line in ((3, b"103 Early Hints"), (1, b"100 Continue")):
        name = line.decode().lower().replace(" ", "-")
        yield Variation("U23", name, GOOD, _interim(count, line))
    flood = _interim(20, b"102 Processing")
    yield Variation("U23", "interim-flood", MALFORMED, flood)
    switching = _interim(1, b"101 Switching Protocols")
    yield Variation("U23", "switching", MALFORMED, switching)
    for name, script in (
        ("announced-close", _announced(CLOSE)),
        ("announced-and-open", _announced()),
        ("announced-reset", _announced(PAUSE, RESET)),
        ("http-1.0", _eof_1_0),
    ):
        yield Variation("U23", name, LAST_OF_IT, script)
    resent = Expected(served=True, usage=truth, answer="good", resent=True)
    for name, step in (("closed-under-us", CLOSE), ("reset-under-us", RESET)):
        yield Variation("U23", name, resent, scripts.do(step), primer=_then())
    unasked = reply(408, b"{}")
    yield Variation(
        "U23", "unasked-reply", GOOD, _then(), primer=_then(PAUSE, Send(unasked), CLOSE)
    )
    early = Expected(
        400,
        "code_400",
        provider_status=400,
        cost_known=True,
        verdict=Verdict.NEUTRAL,
        failover=False,
        discarded=True,
    )
    refusing = scripts.status(400, "invalid_request_error")
    lost = Expected(502, "upstream_unavailable", discarded=True)
    for name, expected, script in (
        ("early-answer", LAST_OF_IT, _then()),
        ("early-error", early, refusing),
        ("early-reset", lost, scripts.do(PAUSE, RESET)),
    ):
        yield Variation(
            "U23", name, expected, script, at_head=True, asked=_LARGE,
            memory=96 << 20,
        )  # fmt: skip
