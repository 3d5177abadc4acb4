"""Forms whose files may be large: read part by part, as they arrive.

What arrives is handed on before more is read, so a file of any size takes no more
memory than a few reads of the connection. A form must say where it ends, and
nothing but small fields is kept here.
"""

from collections.abc import AsyncIterator

from msgspec import Struct
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from posthouse.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from posthouse.server.request import Request

MOST_PARTS = 64
"""Of a form."""
HEAD_LIMIT = 8 * 1024
"""Bytes of a part's header."""
FIELD_LIMIT = 64 * 1024
"""Bytes of a field that is no file."""
BOUNDARY_LIMIT = 256


class PartHead(Struct, frozen=True):
    """What a part says of itself."""

    name: str
    filename: str | None
    """None: it is a field."""
    content_type: str


class PartData(Struct, frozen=True):
    """Some of a part's content."""

    data: bytes


class PartEnd(Struct, frozen=True):
    """The part is whole."""


FormEvent = PartHead | PartData | PartEnd


async def read_events(request: Request, limit: int) -> AsyncIterator[FormEvent]:
    """Read a form as it arrives; authenticate before.

    Args:
        request: whose body it is.
        limit: bytes of the whole body.

    Raises:
        UnsupportedMediaType, InvalidRequest, PayloadTooLarge, RequestTimeout: as
        their names say.
    """
    reader = _Reader()
    parser = MultipartParser(_boundary(request), reader.callbacks())  # type: ignore[arg-type]  # a TypedDict of callables
    exchange = request.client
    declared = exchange.head.content_length
    if declared is not None and declared > limit:
        raise _too_large(limit)
    try:
        while data := await exchange.read():
            if exchange.received > limit:
                raise _too_large(limit)
            parser.write(data)
            for event in reader.take():
                yield event
        parser.finalize()
    except MultipartParseError as error:
        raise InvalidRequest(f"The form is malformed: {error}") from None
    if not reader.ended:
        raise InvalidRequest("The form is cut off.")


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request body is larger than {limit} bytes.")


def _boundary(request: Request) -> bytes:
    """Find what stands between the parts; raises what reading the form does."""
    coding = request.header(b"content-encoding") or b"identity"
    if coding.strip().lower() not in (b"", b"identity"):
        raise UnsupportedMediaType("Files are taken without a Content-Encoding.")
    kind, options = parse_options_header(request.header(b"content-type"))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= BOUNDARY_LIMIT:
        raise InvalidRequest(
            "The body must be a form: multipart/form-data with a boundary"
        )
    return boundary


class _Reader:
    """Takes what the parser finds."""

    def __init__(self) -> None:
        self.ended = False
        self._events: list[FormEvent] = []
        self._parts = 0
        self._size = 0
        self._fields: dict[bytes, bytes] = {}
        self._name = bytearray()
        self._value = bytearray()

    def callbacks(self) -> dict[str, object]:
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._head_end,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def take(self) -> list[FormEvent]:
        """Give what was found since."""
        events, self._events = self._events, []
        return events

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise MultipartParseError(f"it has more than {MOST_PARTS} parts")
        self._fields = {}
        self._size = 0

    def _grow(self, target: bytearray, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > HEAD_LIMIT:
            raise MultipartParseError("the header of a part is too long")
        target += piece

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._grow(self._name, data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._grow(self._value, data[start:end])

    def _header_end(self) -> None:
        self._fields[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _head_end(self) -> None:
        kind, options = parse_options_header(self._fields.get(b"content-disposition"))
        name = options.get(b"name")
        if kind != b"form-data" or name is None:
            raise MultipartParseError("a part has no name")
        filename = options.get(b"filename")
        self._events.append(
            PartHead(
                name.decode(errors="replace"),
                None if filename is None else filename.decode(errors="replace"),
                self._fields.get(b"content-type", b"").decode("latin-1"),
            )
        )

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(PartData(data[start:end]))

    def _part_end(self) -> None:
        self._events.append(PartEnd())

    def _end(self) -> None:
        self.ended = True
