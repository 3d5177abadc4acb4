"""What was made for callers, in a folder."""

from pathlib import Path

import pytest

from posthouse.relay.media_store import MediaUnavailable
from posthouse.settings.environment import load_settings
from posthouse.storage.media import StoredMedia


@pytest.fixture
def media(tmp_path: Path) -> StoredMedia:
    return StoredMedia(load_settings(data=tmp_path))


async def test_content_is_kept_listed_and_removed(
    media: StoredMedia, tmp_path: Path
) -> None:
    assert await media.sizes() == ()
    assert not (tmp_path / "media").exists()
    await media.put("one", b"1")
    await media.put("two", b"22")
    assert await media.get("two") == b"22"
    assert await media.get("three") is None
    assert sorted(await media.sizes()) == [("one", 1), ("two", 2)]
    await media.remove(["one"])
    assert await media.get("one") is None


async def test_others_on_the_machine_see_nothing(
    media: StoredMedia, tmp_path: Path
) -> None:
    await media.put("one", b"1")
    assert (tmp_path / "media").stat().st_mode & 0o077 == 0


async def test_a_folder_that_cannot_be_written_says_so(
    media: StoredMedia, tmp_path: Path
) -> None:
    (tmp_path / "media").write_bytes(b"no folder")
    with pytest.raises(MediaUnavailable):
        await media.put("one", b"1")
