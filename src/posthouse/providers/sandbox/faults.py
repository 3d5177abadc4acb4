"""Every way in which a reply can be broken, by the name that asks for it.

A fault either takes the place of a reply or breaks an honest one. Both are
functions from a reply to a script; the table at the end names them all.
"""

import functools
import struct
import zlib
from collections.abc import Callable, Iterator

from posthouse.model.exchange import Script, ScriptEnd, ScriptStep
from posthouse.providers.sandbox.refusal import error_object
from posthouse.providers.sandbox.reply import (
    CHUNKED,
    JSON,
    LAST_CHUNK,
    Header,
    Pace,
    Reply,
    chunk,
    chunked_script,
    event,
    head,
    json_reply,
    length,
    render,
    sized_script,
)

NEVER = 86_400.0
"""Seconds; longer than any limit of a caller."""
MEBIBYTE = 1 << 20
HTML = b"<!doctype html><title>Bad gateway</title><h1>The sandbox's HTML page</h1>"

ERRORS: dict[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", "invalid_value"),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("rate_limit_exceeded", "rate_limit_exceeded"),
}
"""Status → an error's type and code; others go by their hundred."""

Fault = Callable[[Reply, Pace], Script]


def error_reply(status: int) -> Reply:
    """Answer with an HTTP error."""
    other = "server_error" if status >= 500 else "invalid_request_error"
    kind, code = ERRORS.get(status, (other, None))
    value = error_object(f"The sandbox was asked for an error {status}.", kind, code)
    headers: tuple[Header, ...] = ((b"retry-after", b"1"),) if status == 429 else ()
    return json_reply(value, status=status, headers=headers)


def insufficient_quota(_: Reply, pace: Pace) -> Script:
    """Say that the account is empty."""
    value = error_object(
        "The sandbox was asked to be out of credit.",
        "insufficient_quota",
        "insufficient_quota",
    )
    return render(json_reply(value, status=429), pace)


def large_error(_: Reply, pace: Pace) -> Script:
    """Answer 500 with a body of 100 MiB."""
    opening = head(500, (JSON, length(100 * MEBIBYTE)))
    piece = ScriptStep(0.0, b" " * MEBIBYTE)
    return Script((ScriptStep(pace.first, opening), *(piece,) * 100))


def html(_: Reply, pace: Pace) -> Script:
    """Answer 200 with a web page."""
    return sized_script(200, ((b"content-type", b"text/html"),), HTML, pace)


def invalid_json(_: Reply, pace: Pace) -> Script:
    """Answer 200 with what only looks like JSON."""
    return sized_script(200, (JSON,), b'{"id": "sandbox", "choices": [', pace)


def wrong_type(_: Reply, pace: Pace) -> Script:
    """Answer 200 with JSON of another shape."""
    return sized_script(200, (JSON,), b'["sandbox"]', pace)


def empty(reply: Reply, pace: Pace) -> Script:
    """Answer 200 with no body."""
    return sized_script(200, reply.headers if reply.streamed else (JSON,), b"", pace)


def redirect(_: Reply, pace: Pace) -> Script:
    """Point elsewhere."""
    location = (b"location", b"http://127.0.0.1:9/v1/chat/completions")
    return sized_script(307, (location,), b"", pace)


def reset(_: Reply, pace: Pace) -> Script:
    """Take the request and reset the connection."""
    return Script((ScriptStep(pace.first, b""),), ScriptEnd.RESET)


def close(_: Reply, pace: Pace) -> Script:
    """Take the request and close the connection."""
    return Script((ScriptStep(pace.first, b""),), ScriptEnd.CLOSE)


def hang(_: Reply, __: Pace) -> Script:
    """Take the request and never say a byte."""
    return Script((ScriptStep(NEVER, b""),), ScriptEnd.CLOSE)


def informational(reply: Reply, pace: Pace) -> Script:
    """Send interim replies before the real one."""
    interim = ScriptStep(0.0, b"HTTP/1.1 102 Processing\r\n\r\n")
    script = render(reply, pace)
    return Script((*(interim,) * 20, *script.steps), script.end)


def with_headers(reply: Reply, pace: Pace, *headers: Header) -> Script:
    """Render a reply with more headers."""
    changed = Reply(
        reply.status, (*reply.headers, *headers), reply.parts, reply.streamed
    )
    return render(changed, pace)


def many_headers(reply: Reply, pace: Pace) -> Script:
    """Send more headers than a reader should take."""
    return with_headers(reply, pace, *((b"x-filler", b"1"),) * 500)


def big_header(reply: Reply, pace: Pace) -> Script:
    """Send a header larger than a reader should take."""
    return with_headers(reply, pace, (b"x-filler", b"a" * 200_000))


def folded_header(reply: Reply, pace: Pace) -> Script:
    """Send a header that goes on in the next line."""
    return with_headers(reply, pace, (b"x-folded", b"one\r\n two"))


def bad_framing(reply: Reply, pace: Pace) -> Script:
    """Send both Content-Length and Transfer-Encoding."""
    body = b"".join(reply.parts)
    opening = head(reply.status, (*reply.headers, CHUNKED, length(len(body))))
    return Script((ScriptStep(pace.first, opening + chunk(body) + LAST_CHUNK),))


def bad_chunk(reply: Reply, pace: Pace) -> Script:
    """Send a chunk whose size is not a number."""
    wrong = ScriptStep(0.0, b"zz\r\nsandbox\r\n")
    return chunked_script(reply, halves(reply)[0], pace, (wrong,))


@functools.cache
def gzip_bomb_body() -> bytes:
    """Compress 100 MiB of zeros; a flushed block can be repeated as it is."""
    zeros = bytes(MEBIBYTE)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = compressor.compress(zeros) + compressor.flush(zlib.Z_FULL_FLUSH)
    last = compressor.flush(zlib.Z_FINISH)
    checksum = 0
    for _ in range(100):
        checksum = zlib.crc32(zeros, checksum)
    opening = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    return opening + block * 100 + last + struct.pack("<II", checksum, 100 * MEBIBYTE)


def gzip_bomb(_: Reply, pace: Pace) -> Script:
    """Send a compressed body that nobody asked for and that swells."""
    coding = (b"content-encoding", b"gzip")
    return sized_script(200, (JSON, coding), gzip_bomb_body(), pace)


def halves(reply: Reply) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Cut a body in the middle: a stream between events, any other anywhere."""
    if reply.streamed:
        middle = max(len(reply.parts) // 2, 1)
        return reply.parts[:middle], reply.parts[middle:]
    body = b"".join(reply.parts)
    return (body[: len(body) // 2],), (body[len(body) // 2 :],)


def broken(reply: Reply, pace: Pace, end: ScriptEnd, delay: float = 0.0) -> Script:
    """Send the first half of a reply, wait, and end the connection."""
    first, _ = halves(reply)
    last = ScriptStep(delay, b"")
    if reply.streamed:
        return chunked_script(reply, first, pace, (last,), end=end)
    size = length(sum(len(part) for part in reply.parts))
    data = head(reply.status, (*reply.headers, size)) + first[0]
    return Script((ScriptStep(pace.first, data), last), end)


def truncate(reply: Reply, pace: Pace) -> Script:
    """Close in the middle of the body."""
    return broken(reply, pace, ScriptEnd.CLOSE)


def reset_mid_stream(reply: Reply, pace: Pace) -> Script:
    """Reset the connection in the middle of the body."""
    return broken(reply, pace, ScriptEnd.RESET, delay=0.05)


def stall(reply: Reply, pace: Pace) -> Script:
    """Fall silent in the middle of the body."""
    return broken(reply, pace, ScriptEnd.CLOSE, NEVER)


def eof(reply: Reply, pace: Pace) -> Script:
    """End the body properly, but in the middle of what it says."""
    first, _ = halves(reply)
    return render(Reply(reply.status, reply.headers, first, reply.streamed), pace)


def extra_bytes(reply: Reply, pace: Pace) -> Script:
    """Send more than the Content-Length announced, or after the last chunk."""
    script = render(reply, pace)
    return Script((*script.steps, ScriptStep(0.0, b"sandbox: extra bytes")))


def slow_bytes(reply: Reply, pace: Pace) -> Script:
    """Send one byte a second after the headers."""
    body = b"".join(reply.parts)
    opening = head(reply.status, (*reply.headers, length(len(body))))
    steps = (ScriptStep(1.0, body[place : place + 1]) for place in range(len(body)))
    return Script((ScriptStep(pace.first, opening), *steps))


def endless(reply: Reply, pace: Pace) -> Script:
    """Repeat the middle of a stream for more than half an hour."""
    first, rest = halves(reply)
    again = ScriptStep(0.02, chunk(rest[0] if reply.streamed else b" "))
    return chunked_script(reply, first, pace, (again,) * 100_000)


def error_event(name: bytes = b"") -> bytes:
    """Write an error as an event of a stream."""
    value = error_object("The sandbox was asked to fail.", "server_error")
    return name + event(value)


def failed(reply: Reply, pace: Pace, parts: tuple[bytes, ...]) -> Script:
    """Send other events, or an error object; sound that has begun breaks off."""
    if reply.streamed and not reply.has_events and len(parts) > 1:
        return broken(reply, pace, ScriptEnd.CLOSE)
    if reply.has_events:
        return render(Reply(200, reply.headers, parts, streamed=True), pace)
    value = error_object("The sandbox was asked to fail.", "server_error")
    return render(json_reply(value), pace)


def error_first(reply: Reply, pace: Pace) -> Script:
    """Send an error instead of a stream's first event."""
    return failed(reply, pace, (error_event(),))


def error_in_stream(reply: Reply, pace: Pace) -> Script:
    """Send an error after a stream's first half."""
    return failed(reply, pace, (*halves(reply)[0], error_event()))


def named_error_event(reply: Reply, pace: Pace) -> Script:
    """Send an error with an event name after a stream's first half."""
    return failed(reply, pace, (*halves(reply)[0], error_event(b"event: error\n")))


def rewritten(rewrite: Callable[[bytes], Iterator[bytes]]) -> Fault:
    """Make a fault that writes every event otherwise, meaning the same."""

    def fault(reply: Reply, pace: Pace) -> Script:
        if not reply.has_events:
            return render(reply, pace)
        parts = tuple(new for part in reply.parts for new in rewrite(part))
        return render(Reply(reply.status, reply.headers, parts, streamed=True), pace)

    return fault


def multiline(part: bytes) -> Iterator[bytes]:
    """Break an event's data into two lines where JSON allows a line break."""
    data = part[len(b"data: ") : -2]
    if data.startswith(b"{"):
        part = b"data:{\ndata: " + data[1:] + b"\n\n"
    yield part


def commented(part: bytes) -> Iterator[bytes]:
    """Put comments and unknown fields around an event.

    Without `id`: after one, the official SDK takes a comment for an event.
    """
    yield b": sandbox\n\n"
    yield b"retry: 10\nx-sandbox: 1\n: again\n" + part


def byte_by_byte(part: bytes) -> Iterator[bytes]:
    """Cut an event after every byte."""
    return (part[place : place + 1] for place in range(len(part)))


def with_bom(reply: Reply, pace: Pace) -> Script:
    """Begin a stream with a byte order mark."""
    if not reply.has_events:
        return render(reply, pace)
    parts = (b"\xef\xbb\xbf" + reply.parts[0], *reply.parts[1:])
    return render(Reply(reply.status, reply.headers, parts, streamed=True), pace)


FAULTS: dict[str, Fault] = {
    "bad-chunk": bad_chunk,
    "bad-framing": bad_framing,
    "big-header": big_header,
    "bom": with_bom,
    "bytes": rewritten(byte_by_byte),
    "close": close,
    "comments": rewritten(commented),
    "crlf": rewritten(lambda part: iter((part.replace(b"\n", b"\r\n"),))),
    "empty": empty,
    "endless": endless,
    "eof": eof,
    "error-event": named_error_event,
    "error-first": error_first,
    "error-in-stream": error_in_stream,
    "extra-bytes": extra_bytes,
    "folded-header": folded_header,
    "gzip-bomb": gzip_bomb,
    "hang": hang,
    "html": html,
    "informational": informational,
    "insufficient-quota": insufficient_quota,
    "invalid-json": invalid_json,
    "large-error": large_error,
    "many-headers": many_headers,
    "multiline": rewritten(multiline),
    "redirect": redirect,
    "reset": reset,
    "reset-mid-stream": reset_mid_stream,
    "slow-bytes": slow_bytes,
    "stall": stall,
    "truncate": truncate,
    "wrong-type": wrong_type,
}
