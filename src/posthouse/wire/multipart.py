"""Forms: `multipart/form-data`, read and written.

Whole, or event by event as they arrive. Rules: the order, names, file names, types
and bytes of parts stay as they came; a form that is cut off, nested or fuller than
the limits is refused.

Source: RFC 7578, RFC 2046 §5.1.
"""

import secrets
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from msgspec import Struct
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

JSON = b"application/json"
MOST_PARTS = 512
LONGEST_HEAD = 8 * 1024
"""Bytes of one part's header fields."""
_CONTROLS = frozenset(b"\r\n\0")
LONGEST_BOUNDARY = 200
"""Characters; the standard has 70, some clients more."""


class MalformedForm(ValueError):
    """The bytes are no form, or one beyond the limits; str() says why."""


class Part(Struct, frozen=True):
    """One field of a form."""

    name: str
    value: bytes
    filename: str | None = None
    """None: it is a value, not a file."""
    content_type: bytes | None = None

    @property
    def text(self) -> str:
        """The value as text; raises MalformedForm if it is not UTF-8."""
        try:
            return self.value.decode()
        except UnicodeDecodeError:
            raise MalformedForm(f"the field '{self.name}' is not UTF-8") from None


class Form(Struct, frozen=True):
    """A form's fields, in their order."""

    parts: tuple[Part, ...]

    def first(self, name: str) -> Part | None:
        """Give the first field of a name; None if there is none."""
        return next(self.all(name), None)

    def all(self, *names: str) -> Iterator[Part]:
        """Give the fields that have one of these names."""
        return (part for part in self.parts if part.name in names)

    def with_text(self, name: str, value: str) -> "Form":
        """Put a value in the place of a field's, or at the end if there is none."""
        new = Part(name, value.encode())
        if self.first(name) is None:
            return Form((*self.parts, new))
        return Form(tuple(new if part.name == name else part for part in self.parts))

    def without(self, *names: str) -> "Form":
        """Leave out the fields of these names."""
        return Form(tuple(part for part in self.parts if part.name not in names))


class Payload(Struct, frozen=True):
    """A body and what it is."""

    content_type: bytes
    data: bytes


def is_form(content_type: bytes | None) -> bool:
    """Whether a Content-Type is a form's."""
    return (content_type or b"").lstrip()[:20].lower() == b"multipart/form-data;"


def read_form(content_type: bytes, body: bytes) -> Form:
    """Read a whole form; raises MalformedForm.

    Args:
        content_type: the header's value, with the boundary.
        body: all of it.
    """
    reader = FormReader(content_type)
    parts: list[Part] = []
    pieces: list[bytes] = []
    head = PartHead("", None, None)
    for event in reader.feed(body):
        if isinstance(event, PartData):
            pieces.append(event.data)
        elif isinstance(event, PartHead):
            head = event
        else:
            value = b"".join(pieces)
            parts.append(Part(head.name, value, head.filename, head.content_type))
            pieces.clear()
    reader.close()
    return Form(tuple(parts))


def render_form(form: Form, boundary: bytes | None = None) -> Payload:
    """Write a form.

    Args:
        form: its fields.
        boundary: what stands between them; None takes one that none of them holds.
    """
    mark = boundary or _boundary(form)
    pieces: list[bytes] = []
    for part in form.parts:
        head = b'content-disposition: form-data; name="%b"' % _quoted(part.name)
        if part.filename is not None:
            head += b'; filename="%b"' % _quoted(part.filename)
        if part.content_type is not None:
            head += b"\r\ncontent-type: " + part.content_type
        pieces += (b"--", mark, b"\r\n", head, b"\r\n\r\n", part.value, b"\r\n")
    pieces += (b"--", mark, b"--\r\n")
    return Payload(b"multipart/form-data; boundary=" + mark, b"".join(pieces))


class PartFrame(Struct, frozen=True):
    """A form around the bytes of one file, which are somewhere else."""

    content_type: bytes
    before: bytes
    after: bytes


def frame_form(
    texts: Mapping[str, str], name: str, file: tuple[str, str], mark: bytes
) -> PartFrame:
    """Write a form around a file.

    Args:
        texts: its other fields.
        name: the file's field.
        file: its name and its type.
        mark: what stands between the fields, and nowhere in the file.
    """
    filename, kind = file
    fields = tuple(Part(name, value.encode()) for name, value in texts.items())
    empty = Part(name, b"", filename, kind.encode("latin-1", "replace"))
    whole = render_form(Form((*fields, empty)), mark)
    end = b"\r\n--" + mark + b"--\r\n"
    return PartFrame(whole.content_type, whole.data.removesuffix(end), end)


def _boundary(form: Form) -> bytes:
    """Name a boundary by the content, so that the same form is the same body."""
    digest = sha256()
    for part in form.parts:
        digest.update(part.name.encode())
        digest.update(part.value)
    mark = b"posthouse-" + digest.hexdigest()[:32].encode()
    while any(mark in part.value for part in form.parts):
        mark = b"posthouse-" + secrets.token_hex(16).encode()
    return mark


def _quoted(text: str) -> bytes:
    """Write a name as browsers do: quotes and line ends are escaped."""
    for character, escape in (('"', "%22"), ("\r", "%0D"), ("\n", "%0A")):
        text = text.replace(character, escape)
    return text.encode()


# --- as it arrives ------------------------------------------------------------------


class PartHead(Struct, frozen=True):
    """What a part says of itself."""

    name: str
    filename: str | None
    """None: it is a field."""
    content_type: bytes | None


class PartData(Struct, frozen=True):
    """Some of a part's content."""

    data: bytes


class PartEnd(Struct, frozen=True):
    """The part is whole."""


FormEvent = PartHead | PartData | PartEnd


class FormReader:
    """Reads a form as it arrives, keeping no more of it than one part's head."""

    def __init__(self, content_type: bytes, *, most_parts: int = MOST_PARTS) -> None:
        """Begin; raises MalformedForm for a Content-Type that is no form's."""
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind.lower() != b"multipart/form-data" or not boundary:
            raise MalformedForm("the Content-Type is no form with a boundary")
        if len(boundary) > LONGEST_BOUNDARY:
            raise MalformedForm("the boundary is too long")
        self._most_parts = most_parts
        self._parts = 0
        self._events: list[FormEvent] = []
        self._fields: dict[bytes, bytes] = {}
        self._name = bytearray()
        self._value = bytearray()
        self._size = 0
        self._ended = False
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._head_end,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks)

    def feed(self, data: bytes) -> list[FormEvent]:
        """Take the next bytes; give what they bring; raises MalformedForm."""
        try:
            self._parser.write(data)
        except MultipartParseError as error:
            raise MalformedForm(str(error)) from None
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """There is nothing more; raises MalformedForm if there should be."""
        try:
            self._parser.finalize()
        except MultipartParseError as error:
            raise MalformedForm(str(error)) from None
        if not self._ended:
            raise MalformedForm("the form is cut off")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > self._most_parts:
            raise MultipartParseError(f"it has more than {self._most_parts} parts")
        self._fields = {}
        self._size = 0

    def _grow(self, target: bytearray, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > LONGEST_HEAD:
            raise MultipartParseError("the header of a part is too long")
        target += piece

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._grow(self._name, data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._grow(self._value, data[start:end])

    def _header_end(self) -> None:
        if not _CONTROLS.isdisjoint(self._value):
            # It goes on as it is, to servers for whom it may end a line.
            raise MultipartParseError("the header of a part holds a control character")
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
                self._fields.get(b"content-type"),
            )
        )

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(PartData(data[start:end]))

    def _part_end(self) -> None:
        self._events.append(PartEnd())

    def _end(self) -> None:
        self._ended = True
