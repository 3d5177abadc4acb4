"""Recorded chats become what somebody who knows the protocols wrote down.

And what they become is what the vendors' own SDKs take.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest
from tests.support.cases import each
from tests.support.vendor_types import check_reply, check_request, check_stream
from tools.chat_golden import (
    DIALECTS,
    FOLDER,
    Spoken,
    decode,
    find_cases,
    frames_of,
    load_case,
    produce,
    spoken,
)
from tools.golden import cuts

from posthouse.dialects.neutral.collect import collect

LARGEST = 200_000
CASES = find_cases()
INPUTS = ("request.json", "reply.json", "stream.txt")

each_case = each("folder", CASES, ids=lambda folder: str(folder.relative_to(FOLDER)))


@cache
def speakers() -> dict[str, Spoken]:
    return spoken()


@cache
def produced(folder: Path) -> dict[str, bytes]:
    """What a case becomes, made once for all tests."""
    return produce(folder, speakers())


@each("name", DIALECTS)
def test_a_dialect_that_is_there_has_a_codec(name: str) -> None:
    """The matrix leaves out only what does not exist."""
    if find_spec(f"posthouse.dialects.{name}") is None:
        pytest.skip("there is no such dialect yet")
    assert name in speakers()


@each_case
def test_a_case_becomes_what_is_expected(folder: Path) -> None:
    """In every other dialect, and with nothing missing or left over."""
    assert any((folder / name).exists() for name in INPUTS)
    assert load_case(folder).source
    found = produced(folder)
    known = {path.name for path in (folder / "expected").glob("*")}
    assert known == found.keys()
    for name, content in found.items():
        assert content == (folder / "expected" / name).read_bytes(), name


@each_case
def test_it_does_not_matter_how_a_stream_is_cut(folder: Path) -> None:
    """Whole, per line, per byte or anywhere: its frames are the same."""
    path = folder / "stream.txt"
    if not path.exists():
        return
    wire = path.read_bytes()
    assert len(wire) <= LARGEST
    dialect = speakers()[folder.parent.name].dialect
    whole = frames_of(dialect, [wire])
    for name, pieces in cuts(wire):
        assert frames_of(dialect, pieces) == whole, name


@each_case
def test_a_stream_amounts_to_the_whole_reply(folder: Path) -> None:
    """Where both were recorded, unless the case says why they differ."""
    stream, reply = folder / "stream.txt", folder / "reply.json"
    if not (stream.exists() and reply.exists()):
        return
    speaker = speakers()[folder.parent.name]
    decoded = decode(speaker, frames_of(speaker.dialect, [stream.read_bytes()]))
    assert decoded.fault is None
    same = collect(decoded.events) == speaker.codec.read_reply(reply.read_bytes())
    assert same == (load_case(folder).differs is None)


@each_case
def test_vendors_would_take_what_a_case_becomes(folder: Path) -> None:
    """Requests, replies and each frame of streams are of their SDKs' types."""
    for name, content in produced(folder).items():
        dialect, _, what = name.partition(".")
        if dialect not in DIALECTS:
            continue
        match what:
            case "request.json":
                check_request(dialect, msgspec.json.decode(content))
            case "reply.json":
                check_reply(dialect, content)
            case "stream.txt":
                check_stream(dialect, content)


def test_there_are_cases() -> None:
    """An empty folder would pass."""
    found = {folder.parent.name for folder in CASES}
    assert found == {
        name for name in DIALECTS if find_spec(f"posthouse.dialects.{name}")
    }
