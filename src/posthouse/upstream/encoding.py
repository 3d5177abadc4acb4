"""Replies that a provider compressed although we asked it not to.

gzip and deflate are undone piece by piece, never more than a piece ahead of the
reader; more than 64 MiB, or more than a hundredfold growth after the first MiB,
is TOO_LARGE. Every other coding is a PROTOCOL failure: bytes that we cannot read
are of no use to anybody behind us.
"""

import asyncio
import zlib
from typing import Any

from posthouse.model.exchange import Certainty, ExchangeFailure, FailureKind
from posthouse.upstream.head import Headers
from posthouse.upstream.response import Response, check_size

DECODED_LIMIT = 64 * 1024 * 1024
RATIO_LIMIT = 100
RATIO_FREE_BYTES = 1024 * 1024
PIECE_BYTES = 256 * 1024

_GZIP = frozenset({b"gzip", b"x-gzip"})
_STALE_HEADERS = frozenset({b"content-encoding", b"content-length"})
_NO_BODY = frozenset({204, 304})


def decoded(response: Response) -> "Response | DecodedResponse":
    """Wrap a reply that has a Content-Encoding; raises ExchangeFailure."""
    coding = response.encoding.strip().lower()
    if coding in {b"", b"identity"} or response.status in _NO_BODY:
        return response
    if response.body_less:
        return response
    if coding not in _GZIP and coding != b"deflate":
        response.abort()
        raise _failure(
            FailureKind.PROTOCOL, f"Content-Encoding {coding[:40]!r} was not asked for"
        )
    return DecodedResponse(response, gzip=coding in _GZIP)


def _failure(kind: FailureKind, detail: str) -> ExchangeFailure:
    """Build a failure of a reply that has begun."""
    return ExchangeFailure(kind, Certainty.RESPONSE_STARTED, detail)


class DecodedResponse:
    """A reply whose body is decompressed as it is read."""

    def __init__(self, response: Response, *, gzip: bool) -> None:
        """Decode `response`; `gzip` tells it from deflate."""
        self.status = response.status
        self.headers: Headers = [
            (name, value)
            for name, value in response.headers
            if name not in _STALE_HEADERS
        ]
        self._response = response
        self._gzip = gzip
        self._inflater: Any = None
        self._waiting = b""
        self._taken = 0
        self._given = 0

    async def read(self) -> bytes:
        """Give the next decoded bytes, b"" at the end."""
        while True:
            if self._waiting:
                data = self._inflate()
                if data:
                    return data
                continue
            piece = await self._response.read()
            if not piece:
                self._check_end()
                return b""
            self._taken += len(piece)
            self._waiting = piece

    async def read_all(self, limit: int) -> bytes:
        """Give the rest, decoded; more than `limit` bytes is TOO_LARGE."""
        pieces: list[bytes] = []
        size = 0
        try:
            while piece := await self.read():
                size += len(piece)
                check_size(size, limit)
                pieces.append(piece)
                # Inflating may go on for long without waiting for the network.
                await asyncio.sleep(0)
        except BaseException:
            self.abort()
            raise
        return b"".join(pieces)

    def release(self) -> None:
        """Let go of the rest of the body."""
        self._waiting = b""
        self._response.release()

    def abort(self) -> None:
        """Close at once."""
        self._waiting = b""
        self._response.abort()

    def _inflate(self) -> bytes:
        """Decode at most one piece of what waits."""
        data = self._waiting
        if self._inflater is None:
            self._inflater = self._new_inflater(data)
        try:
            out: bytes = self._inflater.decompress(data, PIECE_BYTES)
        except zlib.error as error:
            self.abort()
            raise _failure(FailureKind.PROTOCOL, str(error)) from None
        self._waiting = self._inflater.unconsumed_tail
        if self._inflater.eof:
            # A gzip stream may have several members.
            self._waiting = self._inflater.unused_data if self._gzip else b""
            self._inflater = None
        elif not out and len(self._waiting) == len(data):
            self._waiting = b""
        self._given += len(out)
        taken = self._taken - len(self._waiting)
        if self._given > DECODED_LIMIT or (
            self._given > RATIO_FREE_BYTES and self._given > RATIO_LIMIT * taken
        ):
            self.abort()
            raise _failure(
                FailureKind.TOO_LARGE, f"{taken} bytes grew to {self._given} or more"
            )
        return out

    def _new_inflater(self, data: bytes) -> Any:
        """Choose the format; deflate comes with and without zlib's wrapper."""
        if self._gzip:
            return zlib.decompressobj(16 + zlib.MAX_WBITS)
        wrapped = data[0] & 0x0F == 8 and data[0] >> 4 <= 7
        return zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)

    def _check_end(self) -> None:
        """Refuse a body that ends inside its compressed stream."""
        if self._inflater is not None:
            raise _failure(FailureKind.PROTOCOL, "the compressed body is cut off")
