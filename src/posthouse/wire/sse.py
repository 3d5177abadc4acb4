"""Server-sent events: bytes in, whole frames out.

Source: the WHATWG HTML standard, "Server-sent events". Rules: lines end with
CRLF, LF or CR and with nothing else (U+2028 and its kin are text); a frame
ends with an empty line; a frame's bytes are kept as they stood, so that it can
be passed on untouched; work is linear in the bytes fed, whatever their cuts.
"""

import re
from typing import NamedTuple

FRAME_LIMIT = 16 * 1024 * 1024
"""Bytes that one frame may have."""

_BOM = b"\xef\xbb\xbf"
_BOUNDARY = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_LONGEST_BOUNDARY = 4


class FrameTooLarge(ValueError):
    """A frame went over FRAME_LIMIT without ending."""


class Frame(NamedTuple):
    """One frame: its bytes with the empty line, and its joined data lines.

    `data` is b"" for a comment or a frame without data.
    """

    raw: bytes
    data: bytes


class SSEDecoder:
    """Cuts a byte stream into frames."""

    __slots__ = ("_rest", "_scanned", "_started")

    def __init__(self) -> None:
        """Start before the stream's first byte."""
        self._rest = bytearray()
        self._scanned = 0
        self._started = False

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes; give the frames that they complete.

        Raises FrameTooLarge.
        """
        if self._rest or not self._started:
            buffer = self._join(data)
            if buffer is None:
                return []
        else:
            buffer = data
        frames, position = _split(buffer, self._scanned)
        self._keep(buffer, position)
        return frames

    def close(self) -> list[Frame]:
        """End the stream; a last frame without its empty line still counts."""
        rest = bytes(self._rest)
        self._rest.clear()
        self._scanned = 0
        if not rest.strip(b"\r\n"):
            return []
        return [_frame_of_lines(rest + b"\n\n")]

    def _join(self, data: bytes) -> bytes | bytearray | None:
        """Append to what is left over; drop a BOM at the stream's start."""
        self._rest += data
        if not self._started:
            if len(self._rest) < len(_BOM) and _BOM.startswith(self._rest):
                return None
            if self._rest.startswith(_BOM):
                del self._rest[: len(_BOM)]
            self._started = True
        return self._rest

    def _keep(self, buffer: bytes | bytearray, position: int) -> None:
        """Remember the bytes after the last whole frame."""
        if buffer is self._rest:
            del self._rest[:position]
        elif position < len(buffer):
            self._rest += buffer[position:]
        if len(self._rest) > FRAME_LIMIT:
            raise FrameTooLarge
        self._scanned = max(0, len(self._rest) - _LONGEST_BOUNDARY + 1)


def _split(buffer: bytes | bytearray, scanned: int) -> tuple[list[Frame], int]:
    """Cut off whole frames; give them and the position after the last.

    `scanned` bytes at the start are known to hold no boundary.
    """
    frames: list[Frame] = []
    start = 0
    if b"\r" not in buffer:
        end = buffer.find(b"\n\n", scanned)
        while end >= 0:
            frames.append(_frame(bytes(buffer[start : end + 2])))
            start = end + 2
            end = buffer.find(b"\n\n", start)
        return frames, start
    for match in _BOUNDARY.finditer(buffer, scanned):
        frames.append(_frame_of_lines(bytes(buffer[start : match.end()])))
        start = match.end()
    return frames, start


def _frame(raw: bytes) -> Frame:
    """Read a frame without CR; most have the one line that is tried first."""
    if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2:
        return Frame(raw, raw[6:-2])
    return _frame_of_lines(raw)


def _frame_of_lines(raw: bytes) -> Frame:
    """Read a frame's data lines, whatever ends them."""
    values = []
    for line in _LINE_END.split(raw):
        if line.startswith(b"data:"):
            value = line[5:]
            values.append(value[1:] if value.startswith(b" ") else value)
        elif line == b"data":
            values.append(b"")
    return Frame(raw, b"\n".join(values))


def comment(text: bytes) -> bytes:
    """A frame that clients ignore; keeps a silent connection alive."""
    return b": " + text + b"\n\n"


def data_frame(payload: bytes) -> bytes:
    """A frame with one data line; `payload` holds no line end."""
    return b"data: " + payload + b"\n\n"
