"""WebSocket's framing, the client's side: bytes in, whole messages out.

Source: RFC 6455 §4.1, §5. Rules: the server masks nothing and uses no extension;
control frames are whole and short; messages do not depend on how the bytes were
cut; work is linear in the bytes fed.
"""

import struct
from base64 import b64encode
from hashlib import sha1

MESSAGE_LIMIT = 16 * 1024 * 1024
"""Bytes of one message."""

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_CONTINUATION = 0
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SHORT, _LONG = 126, 127
_CONTROL_LIMIT = 125

Message = tuple[int, bytes]
"""What kind it is (`TEXT`, `CLOSE` …) and its bytes."""


class BrokenFrame(ValueError):
    """The server does not keep to the protocol."""


def accept_of(key: bytes) -> bytes:
    """What a server answers to the key of a handshake."""
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def client_frame(kind: int, payload: bytes, mask: bytes) -> bytes:
    """Write a frame that is a whole message.

    Args:
        kind: what it is.
        payload: its bytes.
        mask: four bytes by chance.
    """
    size = len(payload)
    if size < _SHORT:
        head = struct.pack(">BB", 0x80 | kind, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", 0x80 | kind, 0x80 | _SHORT, size)
    else:
        head = struct.pack(">BBQ", 0x80 | kind, 0x80 | _LONG, size)
    whole = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    masked = int.from_bytes(payload, "big") ^ whole
    return head + mask + masked.to_bytes(size, "big")


class MessageDecoder:
    """Cuts a byte stream into messages."""

    __slots__ = ("_kind", "_pieces", "_rest", "_size")

    def __init__(self) -> None:
        """Start after the handshake."""
        self._rest = bytearray()
        self._kind = 0
        """Of the message that has begun in pieces; 0: none has."""
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Message]:
        """Take the next bytes; give the messages that they complete.

        Raises BrokenFrame.
        """
        rest = self._rest
        rest += data
        found: list[Message] = []
        start = 0
        while (frame := _frame_at(rest, start)) is not None:
            first, payload, start = frame
            message = self._take(first, payload)
            if message is not None:
                found.append(message)
        del rest[:start]
        return found

    def _take(self, first: int, payload: bytes) -> Message | None:
        """Take a frame; give the message that it completes."""
        kind, final = first & 0x0F, first & 0x80
        if kind >= CLOSE:
            if not final or len(payload) > _CONTROL_LIMIT:
                raise BrokenFrame("a control frame is in pieces or too long")
            return kind, payload
        if (kind == _CONTINUATION) != bool(self._kind):
            raise BrokenFrame("a message goes on that has not begun, or begins twice")
        self._kind = kind or self._kind
        self._size += len(payload)
        if self._size > MESSAGE_LIMIT:
            raise BrokenFrame("a message is too long")
        self._pieces.append(payload)
        if not final:
            return None
        whole = self._kind, b"".join(self._pieces)
        self._pieces.clear()
        self._kind = self._size = 0
        return whole


def _frame_at(data: bytearray, at: int) -> tuple[int, bytes, int] | None:
    """Give a frame's first byte, its payload and its end; None: it is not whole."""
    if len(data) - at < 2:
        return None
    first, second = data[at], data[at + 1]
    if first & 0x70 or second & 0x80 or (first & 0x0F) not in _KINDS:
        raise BrokenFrame("a frame is masked, extended or of no known kind")
    size, start = second, at + 2
    if second >= _SHORT:
        form = ">H" if second == _SHORT else ">Q"
        start += struct.calcsize(form)
        if len(data) < start:
            return None
        (size,) = struct.unpack_from(form, data, at + 2)
    if size > MESSAGE_LIMIT:
        raise BrokenFrame("a frame is too long")
    end = start + size
    return (first, bytes(data[start:end]), end) if len(data) >= end else None


_KINDS = (_CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)
