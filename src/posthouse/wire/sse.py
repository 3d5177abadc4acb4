"""Server-sent events: bytes in, whole frames out.

Source: the WHATWG HTML standard, "Server-sent events". Rules: lines end with
CRLF, LF or CR and with nothing else (U+2028 and its kin are text); a frame
ends with an empty line; a frame's bytes are kept as they stood, so that it can
be passed on untouched; frames do not depend on how the bytes were cut (a CR at
the end of what has arrived waits, for it may be half a CRLF); work is linear
in the bytes fed.
"""

FRAME_LIMIT = 16 * 1024 * 1024
"""Bytes that one frame may have."""

_BOM = b"\xef\xbb\xbf"
_EMPTY_LINES = (b"\n", b"\r\n", b"\r")
# A frame's end begins with one of these, as far as there is a CR in it.
_ENDS_WITH_CR = (b"\n\n", b"\n\r", b"\r\r")
_ENDS = (b"\n\n",)

Frame = tuple[bytes, bytes]
"""The bytes of a frame with its empty line, and its joined data lines.

The latter is b"" for a comment or a frame without data.
"""


class FrameTooLarge(ValueError):
    """A frame went over FRAME_LIMIT without ending."""


class SSEDecoder:
    """Cuts a byte stream into frames."""

    __slots__ = ("_has_cr", "_rest", "_started")

    def __init__(self) -> None:
        """Start before the stream's first byte."""
        self._rest = bytearray()
        self._started = False
        self._has_cr = False
        """A CR has been seen; without one, frames are cut faster."""

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes; give the frames that they complete.

        Raises FrameTooLarge.
        """
        if not self._has_cr and b"\r" in data:
            self._has_cr = True
        if self._rest or not self._started:
            data = self._join(data)
        frames, position = _cut_lines(data) if self._has_cr else _cut(data)
        if position < len(data):
            self._rest += data[position:]
            self._check_size()
        return frames

    def close(self) -> list[Frame]:
        """End the stream; a last frame without its empty line still counts."""
        rest = bytes(self._rest)
        self._rest.clear()
        lines = rest.splitlines(keepends=True)
        if all(line in _EMPTY_LINES for line in lines):
            return []
        ended = lines[-1] in _EMPTY_LINES
        return [(rest if ended else rest + b"\n\n", _data_of(lines))]

    def _join(self, data: bytes) -> bytes:
        """Append to what is left over; give all of it once a frame may end there.

        Until then only the new bytes are looked at, so that a frame in a
        million pieces costs no more than a million looks.
        """
        rest = self._rest
        looked_at = max(0, len(rest) - 2)
        rest += data
        if not self._started:
            if len(rest) < len(_BOM) and _BOM.startswith(rest):
                return b""
            if rest.startswith(_BOM):
                del rest[: len(_BOM)]
            self._started = True
        if self._may_end(looked_at):
            whole = bytes(rest)
            rest.clear()
            return whole
        self._check_size()
        return b""

    def _may_end(self, looked_at: int) -> bool:
        """Whether a frame may end after `looked_at`, or is an empty line only."""
        rest = self._rest
        if not rest or rest[0] in b"\r\n":
            return True
        ends = _ENDS_WITH_CR if self._has_cr else _ENDS
        return any(rest.find(end, looked_at) >= 0 for end in ends)

    def _check_size(self) -> None:
        if len(self._rest) > FRAME_LIMIT:
            raise FrameTooLarge


def _cut(data: bytes) -> tuple[list[Frame], int]:
    """Cut off whole frames; give them and the position after the last.

    For bytes without CR. Most frames have one line, which is tried first.
    """
    frames: list[Frame] = []
    start = 0
    length = len(data)
    while start < length:
        line_end = data.find(b"\n", start)
        if line_end < 0:
            break
        if line_end == start:
            end = start + 1
        elif data.startswith(b"\n", line_end + 1):
            end = line_end + 2
            if data.startswith(b"data: ", start):
                frames.append((data[start:end], data[start + 6 : line_end]))
                start = end
                continue
        else:
            end = data.find(b"\n\n", line_end) + 2
            if end < 2:
                break
        raw = data[start:end]
        frames.append((raw, _data_of(raw.splitlines(keepends=True))))
        start = end
    return frames, start


def _cut_lines(data: bytes) -> tuple[list[Frame], int]:
    """Do the same for bytes whose lines may end in any way."""
    frames: list[Frame] = []
    start = end = 0
    lines: list[bytes] = []
    arrived = data[:-1] if data.endswith(b"\r") else data
    for line in arrived.splitlines(keepends=True):
        end += len(line)
        lines.append(line)
        if line in _EMPTY_LINES:
            frames.append((data[start:end], _data_of(lines)))
            lines.clear()
            start = end
    return frames, start


def _data_of(lines: list[bytes]) -> bytes:
    """Join the values of a frame's data lines, given with their ends."""
    values = []
    for line in lines:
        if line.startswith(b"data:"):
            values.append(line[6 if line.startswith(b" ", 5) else 5 :].rstrip(b"\r\n"))
        elif line.rstrip(b"\r\n") == b"data":
            values.append(b"")
    return b"\n".join(values)


def event_name(raw: bytes) -> bytes:
    """The last `event` field of a frame; b"" if it has none."""
    name = b""
    for line in raw.splitlines():
        if line.startswith(b"event:"):
            name = line[6:].removeprefix(b" ")
    return name


def comment(text: bytes) -> bytes:
    """A frame that clients ignore; keeps a silent connection alive."""
    return b": " + text + b"\n\n"


def data_frame(payload: bytes) -> bytes:
    """A frame with this data and nothing else."""
    if b"\n" in payload:
        payload = payload.replace(b"\n", b"\ndata: ")
    return b"data: " + payload + b"\n\n"


def with_data(raw: bytes, payload: bytes) -> bytes:
    """A frame with other data; its lines of other fields stay."""
    if raw.startswith(b"data:") and raw.find(b"\n") == len(raw) - 2:
        return data_frame(payload)
    others = [
        line
        for line in raw.splitlines()
        if line and line != b"data" and not line.startswith(b"data:")
    ]
    return b"\n".join([*others, data_frame(payload)])
