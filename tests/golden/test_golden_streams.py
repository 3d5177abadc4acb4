"""Recorded streams become what somebody who knows the protocol wrote down."""

from pathlib import Path

from tests.support.cases import each
from tools.golden import FOLDER, cuts, find_cases, reading_file, replay

LARGEST = 200_000
CASES = find_cases()


@each("folder", CASES, ids=lambda folder: str(folder.relative_to(FOLDER)))
def test_a_recorded_stream(folder: Path) -> None:
    """The same for the client and the tap, however the stream is cut."""
    wire = (folder / "wire.sse").read_bytes()
    assert len(wire) <= LARGEST
    client = (folder / "client.sse").read_bytes()
    reading = (folder / "reading.json").read_text()
    for name, pieces in cuts(wire):
        found = replay(folder, pieces)
        assert found.client == client, name
        assert reading_file(found.reading).decode() == reading, name


def test_there_are_cases() -> None:
    """An empty folder would pass."""
    assert len(CASES) >= 20
