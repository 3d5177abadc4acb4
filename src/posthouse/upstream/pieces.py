"""Reading a little at a time, for who has more than its reader takes.

A socket is read as far as it goes, a quarter of a megabyte at once, which is then
in memory as often as something is made of it: as a frame, as its text, as what
waits for a client. Where much comes it is therefore read in smaller pieces. It
costs a microsecond for each, so it is not how everything is read.
"""

import asyncio
import threading

from typing_extensions import override

PIECE_BYTES = 32 * 1024


class _Place(threading.local):
    """Where bytes arrive, one connection's after the other's: one for each loop."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(PIECE_BYTES))


_place = _Place()


class InPieces(asyncio.BufferedProtocol):
    """Stands between a transport and a protocol."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        """Give `protocol` what comes, and tell it what happens."""
        self._protocol = protocol
        self._view = _place.view

    @override
    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where the next bytes go."""
        return self._view

    @override
    def buffer_updated(self, nbytes: int) -> None:
        """Hand over those that came."""
        self._protocol.data_received(bytes(self._view[:nbytes]))

    @override
    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._protocol.eof_received()

    @override
    def pause_writing(self) -> None:
        """Pass it on."""
        self._protocol.pause_writing()

    @override
    def resume_writing(self) -> None:
        """Pass it on."""
        self._protocol.resume_writing()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        self._protocol.connection_lost(exc)
