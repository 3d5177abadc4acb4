"""What a connection's bytes are by the letter of RFC 9112: the other reader.

It shares nothing with the server. Where the letter leaves a choice it takes the
one that refuses, but for several blanks in a request line (§3), which move no end of a
request; so whatever the server takes for a request and this reader does
not, is a request that nobody sent.
"""

import re
from dataclasses import dataclass
from enum import Enum

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"([A-Z]+) +([\x21-\x7e]+) +HTTP/1\.([01])")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*((?:[\x20-\x7e\x80-\xff\t]*))")
_CHUNK = re.compile(rb"([0-9A-Fa-f]+)(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_LENGTH = re.compile(rb"[0-9]+")


class End(Enum):
    """How a stream of requests ends."""

    WHOLE = "whole"
    """Behind a request."""
    CLOSED = "closed"
    """Behind a request after which nothing is read."""
    PARTIAL = "partial"
    """Inside a request."""
    BAD = "bad"
    """At bytes that are no request."""


@dataclass
class Sent:
    """A request as it was sent."""

    method: bytes
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes

    def values(self, name: bytes) -> list[bytes]:
        """Give every value of a field."""
        return [value for other, value in self.fields if other == name]


class _Bad(Exception):
    """Not HTTP."""


class _Partial(Exception):
    """More bytes are needed."""


def read_stream(data: bytes) -> tuple[list[Sent], End]:
    """Read all requests of a connection."""
    found: list[Sent] = []
    at = 0
    while True:
        # Line ends before a request line are to be ignored (RFC 9112 §2.2).
        while data[at : at + 1] in (b"\r", b"\n"):
            at += 1
        if at == len(data):
            return found, End.WHOLE
        try:
            sent, at, last = _read_request(data, at)
        except _Bad:
            return found, End.BAD
        except _Partial:
            return found, End.PARTIAL
        found.append(sent)
        if last:
            return found, End.CLOSED


def _read_request(data: bytes, at: int) -> tuple[Sent, int, bool]:
    """Read one request; give it, where it ends, and whether it is the last."""
    line, at = _line(data, at)
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise _Bad
    fields, at = _fields(data, at)
    sent = Sent(match[1], match[2], fields, b"")
    if len(sent.values(b"host")) != 1 and match[3] == b"1":
        raise _Bad
    codings, lengths = sent.values(b"transfer-encoding"), sent.values(b"content-length")
    if codings:
        if lengths or match[3] == b"0" or [c.lower() for c in codings] != [b"chunked"]:
            raise _Bad
        sent.body, at = _chunks(data, at)
    elif lengths:
        if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
            raise _Bad
        end = at + int(lengths[0])
        if end > len(data):
            raise _Partial
        sent.body, at = data[at:end], end
    options = b",".join(sent.values(b"connection")).lower()
    upgrades = b",".join(sent.values(b"upgrade")).lower()
    last = (
        match[3] == b"0"
        or match[1] == b"CONNECT"
        or b"close" in [option.strip() for option in options.split(b",")]
        or (b"upgrade" in options and b"websocket" in upgrades)
    )
    return sent, at, last


def _line(data: bytes, at: int) -> tuple[bytes, int]:
    """Give a line without its CRLF, and where the next one begins."""
    end = data.find(b"\n", at)
    if end < 0:
        raise _Partial
    line = data[at:end]
    if not line.endswith(b"\r") or b"\r" in line[:-1] or b"\0" in line:
        raise _Bad
    return line[:-1], end + 1


def _fields(data: bytes, at: int) -> tuple[list[tuple[bytes, bytes]], int]:
    """Read fields up to the empty line."""
    fields = []
    while True:
        line, at = _line(data, at)
        if not line:
            return fields, at
        match = _FIELD.fullmatch(line)
        if match is None:
            raise _Bad
        fields.append((match[1].lower(), match[2].rstrip(b" \t")))


def _chunks(data: bytes, at: int) -> tuple[bytes, int]:
    """Read a chunked body and its trailers."""
    body = b""
    while True:
        line, at = _line(data, at)
        match = _CHUNK.fullmatch(line)
        if match is None:
            raise _Bad
        size = int(match[1], 16)
        if not size:
            return body, _fields(data, at)[1]
        if at + size + 2 > len(data):
            if data[at + size : at + size + 1] not in (b"", b"\r"):
                raise _Bad
            raise _Partial
        if data[at + size : at + size + 2] != b"\r\n":
            raise _Bad
        body += data[at : at + size]
        at += size + 2
