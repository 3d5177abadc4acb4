"""Request bodies: read under a limit, decompressed under the same one.

The limit holds for what is kept in memory: the body as sent and the body as
decompressed. Decompression yields to the loop, so that a bomb stops no one
else, and ends at a ratio that no honest text has.
"""

import asyncio
import zlib
from typing import Protocol

from posthouse.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from posthouse.server.exchange import Exchange

_STEP = 256 * 1024
"""Bytes decompressed between two turns of the loop."""
_RATIO = 100
_RATIO_FROM = 1024 * 1024
"""Size from which the ratio is judged: small texts may compress very well."""
_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS
_CODINGS = {b"gzip": _GZIP, b"x-gzip": _GZIP, b"deflate": _ZLIB}


class BodyHold(Protocol):
    """Where the memory that a body takes is counted."""

    def hold(self, size: int) -> None:
        """Count `size` bytes more; raises Overloaded."""


async def read_body(exchange: Exchange, limit: int, hold: BodyHold) -> bytes:
    """Give the whole body, decompressed.

    Args:
        exchange: whose body it is.
        limit: bytes, before and after decompression.
        hold: what the budget's share is counted on.

    Raises:
        PayloadTooLarge, InvalidRequest, UnsupportedMediaType, RequestTimeout,
        Overloaded: as their names say.
    """
    declared = exchange.head.content_length
    if declared is not None and declared > limit:
        raise too_large(limit)
    coding = exchange.head.fields.get(b"content-encoding")
    if coding is not None:
        coding = coding.strip().lower()
        if coding not in (b"", b"identity"):
            return await _read_coded(exchange, limit, hold, coding)
    data = await exchange.read()
    hold.hold(len(data))
    if exchange.body_done and exchange.received == len(data):
        if len(data) > limit:
            raise too_large(limit)
        return data
    body = bytearray(data)
    while data:
        if len(body) > limit:
            raise too_large(limit)
        data = await exchange.read()
        hold.hold(len(data))
        body += data
    return bytes(body)


async def _read_coded(
    exchange: Exchange, limit: int, hold: BodyHold, coding: bytes
) -> bytes:
    if coding not in _CODINGS:
        raise UnsupportedMediaType
    body = bytearray()
    inflater = None
    while data := await exchange.read():
        if exchange.received > limit:
            raise too_large(limit)
        if inflater is None:
            inflater = zlib.decompressobj(_window(coding, data))
        while data:
            try:
                part = inflater.decompress(data, _STEP)
            except zlib.error:
                raise _damaged() from None
            data = inflater.unconsumed_tail
            hold.hold(len(part))
            body += part
            _judge(len(body), exchange.received, limit)
            if data:
                await asyncio.sleep(0)
    if inflater is None:
        return b""
    if not inflater.eof or inflater.unused_data:
        raise _damaged()
    return bytes(body)


def _window(coding: bytes, data: bytes) -> int:
    """Give zlib's window bits; some clients send `deflate` without its wrapper."""
    bits = _CODINGS[coding]
    if bits == _ZLIB and data[0] & 0x0F != zlib.DEFLATED:
        return _RAW
    return bits


def _judge(size: int, received: int, limit: int) -> None:
    if size > limit:
        raise too_large(limit)
    if size > _RATIO_FROM and size > received * _RATIO:
        raise PayloadTooLarge("The request body decompresses to far more than it is.")


def too_large(limit: int) -> PayloadTooLarge:
    """Give the error for a body of more than `limit` bytes."""
    return PayloadTooLarge(f"The request body is larger than {limit} bytes.")


def _damaged() -> InvalidRequest:
    return InvalidRequest("The request body is not what its Content-Encoding says.")
