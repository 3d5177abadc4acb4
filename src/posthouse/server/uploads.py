"""Forms whose files may be large: read part by part, as they arrive.

What arrives is handed on before more is read, so a file of any size takes no more
memory than a few reads of the connection. A form must say where it ends, and
nothing but small fields is kept here.
"""

from collections.abc import AsyncIterator

from posthouse.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from posthouse.server.request import Request
from posthouse.wire.multipart import FormEvent, FormReader, MalformedForm

MOST_PARTS = 64
"""Of a form."""
FIELD_LIMIT = 64 * 1024
"""Bytes of a field that is no file."""


async def read_events(request: Request, limit: int) -> AsyncIterator[FormEvent]:
    """Read a form as it arrives; authenticate before.

    Args:
        request: whose body it is.
        limit: bytes of the whole body.

    Raises:
        UnsupportedMediaType, InvalidRequest, PayloadTooLarge, RequestTimeout: as
        their names say.
    """
    reader = _reader(request)
    exchange = request.client
    declared = exchange.head.content_length
    if declared is not None and declared > limit:
        raise _too_large(limit)
    try:
        while data := await exchange.read():
            if exchange.received > limit:
                raise _too_large(limit)
            for event in reader.feed(data):
                yield event
        reader.close()
    except MalformedForm as error:
        raise InvalidRequest(f"The form is malformed: {error}.") from None


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request body is larger than {limit} bytes.")


def _reader(request: Request) -> FormReader:
    """Begin to read a form; raises what `read_events` does."""
    coding = request.header(b"content-encoding") or b"identity"
    if coding.strip().lower() not in (b"", b"identity"):
        raise UnsupportedMediaType("Files are taken without a Content-Encoding.")
    kind = request.header(b"content-type") or b""
    try:
        return FormReader(kind, most_parts=MOST_PARTS)
    except MalformedForm:
        raise InvalidRequest(
            "The body must be a form: multipart/form-data with a boundary"
        ) from None
