"""Forms as they arrive: whole, cut anywhere, broken, endless."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.errors import CallerError, InvalidRequest, PayloadTooLarge
from posthouse.server.uploads import MOST_PARTS, read_events
from posthouse.wire.multipart import (
    Form,
    Part,
    PartData,
    PartEnd,
    PartHead,
    render_form,
)

TYPE = b"multipart/form-data; boundary=mark"


class _Exchange:
    """A body that comes in pieces."""

    def __init__(self, pieces: list[bytes], length: int | None) -> None:
        self._pieces = iter(pieces)
        self.received = 0
        self.head = SimpleNamespace(content_length=length)

    async def read(self) -> bytes:
        piece = next(self._pieces, b"")
        self.received += len(piece)
        return piece


async def _read(
    body: bytes,
    *,
    size: int = 100,
    limit: int = 10**6,
    content_type: bytes = TYPE,
    coding: bytes | None = None,
) -> list[tuple[str, str | None, bytes]]:
    """Read a form that comes in pieces of a size; give name, filename, content."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    fields = {b"content-type": content_type}
    if coding is not None:
        fields[b"content-encoding"] = coding
    request: Any = SimpleNamespace(
        client=_Exchange(pieces, len(body)), header=fields.get
    )
    found: list[tuple[str, str | None, bytes]] = []
    head: PartHead | None = None
    content = b""
    async for event in read_events(request, limit):
        if isinstance(event, PartHead):
            assert head is None
            head, content = event, b""
        elif isinstance(event, PartData):
            content += event.data
        elif isinstance(event, PartEnd):
            assert head is not None
            found.append((head.name, head.filename, content))
            head = None
    assert head is None
    return found


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1),
            st.none() | st.sampled_from(["a.txt", "b c.pdf"]),
            st.binary(max_size=200)
            | st.sampled_from([b"--mark", b"\r\n--mar", b"\r\n", b"\r\n--"]),
        ),
        max_size=4,
    ),
    st.integers(1, 50),
)
async def test_a_form_is_what_was_written(
    parts: list[tuple[str, str | None, bytes]], size: int
) -> None:
    """Wherever it is cut, and whatever looks like a boundary."""
    form = Form(tuple(Part(name, data, file, None) for name, file, data in parts))
    written = render_form(form)
    if not parts:
        return
    found = await _read(written.data, size=size, content_type=written.content_type)
    assert found == parts


BODY = (
    b'--mark\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
    b"content\r\n--mark--\r\n"
)


@each("end", range(1, len(BODY) - 4))
async def test_a_form_that_is_cut_off_is_refused(end: int) -> None:
    """At each byte."""
    with pytest.raises(InvalidRequest):
        await _read(BODY[:end])


@each(
    ("body", "options"),
    [
        (BODY, {"content_type": b"application/json"}),
        (BODY, {"content_type": b"multipart/form-data"}),
        (BODY, {"content_type": b"multipart/form-data; boundary=" + b"x" * 300}),
        (BODY, {"coding": b"gzip"}),
        (b"nothing of the kind", {}),
        (BODY.replace(b'; name="file"', b""), {}),
        (BODY.replace(b"form-data", b"attachment"), {}),
        (BODY.replace(b"content-disposition", b"x" * 10_000), {}),
        (BODY.removesuffix(b"--\r\n"), {}),
        ((BODY.removesuffix(b"--mark--\r\n") * (MOST_PARTS + 1)) + b"--mark--\r\n", {}),
    ],
)
async def test_what_is_no_form_is_refused(body: bytes, options: dict[str, Any]) -> None:
    """And nothing of it gets any further than it came."""
    with pytest.raises(CallerError):
        await _read(body, **options)


async def test_a_form_has_a_limit() -> None:
    """Whether or not it says beforehand how long it is."""
    with pytest.raises(PayloadTooLarge):
        await _read(BODY, limit=50)


async def test_what_comes_is_handed_on_at_once() -> None:
    """A large file is never gathered."""
    pieces = [
        BODY.removesuffix(b"content\r\n--mark--\r\n"),
        *[bytes(1000)] * 50,
        b"\r\n--mark--\r\n",
    ]
    request: Any = SimpleNamespace(
        client=_Exchange(pieces, None), header={b"content-type": TYPE}.get
    )
    sizes = [
        len(event.data)
        async for event in read_events(request, 10**6)
        if isinstance(event, PartData)
    ]
    assert sum(sizes) == 50_000
    assert max(sizes) <= 1000
