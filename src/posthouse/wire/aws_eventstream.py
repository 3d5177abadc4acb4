"""AWS's event stream: bytes in, whole messages out.

Source: https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html and the
Smithy specification, "Amazon Event Stream": a message is its length and that of its
headers (four bytes each, big-endian), their CRC-32, the headers, the payload, and a
CRC-32 of all before. Rules: messages do not depend on how the bytes were cut; both
sums are checked, the first before anything is waited for by its word; work is linear
in the bytes fed.
"""

import struct
from zlib import crc32

MESSAGE_LIMIT = 16 * 1024 * 1024 + 16
"""Bytes of one message: the specification's sixteen mebibytes of payload."""

_PRELUDE = struct.Struct(">III")
_SUM = struct.Struct(">I")
_SMALLEST = _PRELUDE.size + _SUM.size

# What follows a header's type: so many bytes, or a length of two bytes and those.
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_WITH_LENGTH = (6, 7)
_STRING = 7


class CorruptMessage(ValueError):
    """A message is not what its sums say, or longer than one may be."""


class EventStreamDecoder:
    """Cuts a byte stream into messages."""

    __slots__ = ("_length", "_rest")

    def __init__(self) -> None:
        """Start before the stream's first byte."""
        self._rest = bytearray()
        self._length = 0
        """Of the message that has begun; 0: its prelude is not there yet."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; give the messages that they complete.

        Raises CorruptMessage.
        """
        rest = self._rest
        rest += data
        found: list[bytes] = []
        start = 0
        while True:
            if not self._length and len(rest) - start >= _PRELUDE.size:
                self._length = _checked_length(rest, start)
            if not self._length or len(rest) - start < self._length:
                break
            message = bytes(rest[start : start + self._length])
            start += self._length
            self._length = 0
            if _SUM.unpack_from(message, len(message) - 4)[0] != crc32(message[:-4]):
                raise CorruptMessage("the message's sum is wrong")
            found.append(message)
        del rest[:start]
        return found


def _checked_length(data: bytearray, start: int) -> int:
    """Give a message's length once its prelude is there."""
    length, headers, checksum = _PRELUDE.unpack_from(data, start)
    if checksum != crc32(data[start : start + 8]):
        raise CorruptMessage("the prelude's sum is wrong")
    if not _SMALLEST + headers <= length <= MESSAGE_LIMIT:
        raise CorruptMessage("the message's length is out of range")
    return int(length)


def headers_of(message: bytes) -> dict[str, str]:
    """Give a message's headers that are texts; raises CorruptMessage."""
    _, size, _ = _PRELUDE.unpack_from(message)
    at, end = _PRELUDE.size, _PRELUDE.size + size
    found: dict[str, str] = {}
    try:
        while at < end:
            name_end = at + 1 + message[at]
            name = message[at + 1 : name_end].decode()
            kind = message[name_end]
            at = name_end + 1
            if kind in _WITH_LENGTH:
                (length,) = struct.unpack_from(">H", message, at)
                at += 2
            else:
                length = _SIZES[kind]
            if kind == _STRING:
                found[name] = message[at : at + length].decode()
            at += length
    except (LookupError, UnicodeDecodeError, struct.error):
        raise CorruptMessage("a header cannot be read") from None
    if at != end:
        raise CorruptMessage("the headers are longer than they say")
    return found


def payload_of(message: bytes) -> bytes:
    """Give a message's payload."""
    _, size, _ = _PRELUDE.unpack_from(message)
    return message[_PRELUDE.size + size : -_SUM.size]


def message(headers: dict[str, str], payload: bytes) -> bytes:
    """Write a message whose headers are texts."""
    block = b"".join(
        bytes((len(name.encode()),))
        + name.encode()
        + struct.pack(">BH", _STRING, len(value.encode()))
        + value.encode()
        for name, value in headers.items()
    )
    length = _SMALLEST + len(block) + len(payload)
    sizes = struct.pack(">II", length, len(block))
    whole = sizes + _SUM.pack(crc32(sizes)) + block + payload
    return whole + _SUM.pack(crc32(whole))
