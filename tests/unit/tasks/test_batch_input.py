"""Lines of a batch's input, however they are cut."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.tasks import batch_input
from posthouse.tasks.batch_input import LineTooLong, body_of, split_lines


async def _pieces(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


@given(
    st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"")), max_size=8),
    st.integers(1, 9),
    st.booleans(),
)
async def test_lines_are_found_wherever_they_are_cut(
    lines: list[bytes],
    size: int,
    ends: bool,
) -> None:
    """Each with its number and place; those without anything are left out."""
    content = b"\n".join(lines) + (b"\n" if ends else b"")
    found = [one async for one in split_lines(_pieces(content, size))]
    assert [(number, text) for number, _, text in found] == [
        (number, line) for number, line in enumerate(lines, 1) if line.strip()
    ]
    for _, place, text in found:
        assert content[place : place + len(text)] == text


async def test_a_line_without_end_is_not_gathered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond the limit nothing more is read."""
    monkeypatch.setattr(batch_input, "LINE_LIMIT", 100)
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 10
            yield b"x" * 10

    with pytest.raises(LineTooLong):
        async for _ in split_lines(endless()):
            pass
    assert read <= 120


def test_a_body_stays_to_the_byte() -> None:
    body = b'{"n": 1e400, "t":"\\u00e9"}'
    assert body_of(b'{"custom_id":"a","url":"/x","body":%b}' % body) == body
