"""One end of an open WebSocket: bytes in, whole messages and bytes to write out.

The framing is the `websockets` library's, for either side. Rules: messages and
frames have one limit, checked before they are whole; text is UTF-8 or the
connection fails; no extension is spoken, so nothing can be larger than it came;
pings are answered. After a failure or a close nothing more comes out.
"""

import logging
from typing import Final

from msgspec import Struct
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.protocol import SEND_EOF, Protocol, Side, State

from posthouse.wire.websocket import BINARY, MESSAGE_LIMIT, TEXT, Message

NO_CODE: Final = 1005
"""Stands for a close frame without a code; never sent."""
LOST: Final = 1006
"""Stands for a connection that ended without a close frame; never sent."""
_REASON_BYTES = 123
_FIRST_PRIVATE, _LAST = 3000, 4999
_SENDABLE = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})


def _silent() -> logging.Logger:
    """A logger that is nobody's child: frames and close reasons are not logged."""
    return logging.Logger("websocket", logging.CRITICAL + 1)  # noqa: LOG001 - no child of the root's


SILENT: Final = _silent()


class Closing(Struct, frozen=True):
    """How a WebSocket was closed."""

    code: int
    reason: str = ""

    @property
    def passable(self) -> "Closing":
        """The same as it may be told to somebody else."""
        if self.code in _SENDABLE or _FIRST_PRIVATE <= self.code <= _LAST:
            return self
        return Closing(1000) if self.code == NO_CODE else Closing(1011)


def cut_reason(text: str) -> str:
    """As much of a reason as a close frame holds."""
    return text.encode()[:_REASON_BYTES].decode(errors="ignore")


class SocketEnd:
    """The framing of one end; does no I/O."""

    __slots__ = ("_kind", "_pieces", "_protocol", "_size", "failure")

    def __init__(self, protocol: Protocol) -> None:
        """Take over a protocol whose handshake is done."""
        self._protocol = protocol
        self._kind = 0
        self._pieces: list[bytes] = []
        self._size = 0
        self.failure: Closing | None = None
        """What the other side did wrong; None: nothing."""

    @classmethod
    def of_server(cls) -> "SocketEnd":
        """The server's end of a connection."""
        return cls(
            Protocol(
                Side.SERVER,
                state=State.OPEN,
                max_size=(MESSAGE_LIMIT, MESSAGE_LIMIT),
                logger=SILENT,
            )
        )

    @property
    def open(self) -> bool:
        """Whether messages may be sent."""
        return self._protocol.state is State.OPEN

    @property
    def held(self) -> int:
        """Bytes of messages that are not whole yet."""
        return self._size + len(self._protocol.reader.buffer)

    @property
    def closing(self) -> Closing | None:
        """What the other side's close frame said; None: none has come."""
        told = self._protocol.close_rcvd
        return None if told is None else Closing(told.code, told.reason)

    def feed(self, data: bytes) -> list[Message]:
        """Take the next bytes; give the messages that they complete."""
        protocol = self._protocol
        if protocol.reader.eof:
            return []
        protocol.receive_data(data)
        found: list[Message] = []
        for frame in protocol.events_received():
            if not isinstance(frame, Frame) or frame.opcode >= Opcode.CLOSE:
                continue
            message = self._take(frame)
            if message is not None:
                found.append(message)
            if self.failure is not None:
                return found
        self._note_failure()
        return found

    def end(self) -> None:
        """The other side will send no more bytes."""
        self._protocol.receive_eof()

    def send(self, kind: int, payload: bytes) -> None:
        """Send a whole message, if the connection is open."""
        if self._protocol.state is not State.OPEN:
            return
        if kind == TEXT:
            self._protocol.send_text(payload)
        else:
            self._protocol.send_binary(payload)

    def ping(self) -> None:
        """Ask the other side for a sign of life."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")

    def close(self, closing: Closing) -> None:
        """Send a close frame, once."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(closing.code, cut_reason(closing.reason))

    def fail(self, closing: Closing) -> None:
        """Close for what the other side did; nothing more of it is read."""
        self.failure = self.failure or closing
        if self._protocol.state is State.OPEN:
            self._protocol.fail(closing.code, cut_reason(closing.reason))

    def writes(self) -> tuple[bytes, bool]:
        """What is to be written now, and whether that is all there will be."""
        pieces = self._protocol.data_to_send()
        over = SEND_EOF in pieces
        return b"".join(pieces), over

    def _take(self, frame: Frame) -> Message | None:
        """Take a data frame; give the message that it completes."""
        if frame.opcode is not Opcode.CONT:
            self._kind = TEXT if frame.opcode is Opcode.TEXT else BINARY
        if frame.fin and not self._pieces:
            payload = bytes(frame.data)
        else:
            self._pieces.append(bytes(frame.data))
            self._size += len(frame.data)
            if not frame.fin:
                return None
            payload = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
        if self._kind == TEXT and not payload.isascii():
            try:
                payload.decode()
            except UnicodeDecodeError:
                self.fail(Closing(CloseCode.INVALID_DATA, "the text is not UTF-8"))
                return None
        return self._kind, payload

    def _note_failure(self) -> None:
        """Remember a fault that the library has found and answered."""
        sent: Close | None = self._protocol.close_sent
        if self._protocol.parser_exc is not None and self.failure is None:
            self.failure = Closing(LOST) if sent is None else Closing(sent.code)
