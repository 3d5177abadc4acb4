"""Content in a folder and at a service that speaks as S3 does: whole, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from tests.support import store as databases
from tests.support.processes import ServerProcess, free_port, python_module

from posthouse.cli.doctor import look_at_files
from posthouse.errors import InvalidRequest, NotFound, PayloadTooLarge
from posthouse.files.ports import BlobUnavailable
from posthouse.files.records import FileDetails
from posthouse.files.service import FileLimits, Files, Limit, new_blob
from posthouse.files.uploads import Uploads
from posthouse.settings.environment import Settings, load_settings
from posthouse.settings.failure import ConfigurationError
from posthouse.storage.blobs import ObjectBlobs
from posthouse.storage.database import Database
from posthouse.storage.files import StoredFiles, StoredRemovals
from posthouse.storage.uploads import StoredUploads

LARGE = 24 * 2**20
DAY = 86_400.0
DETAILS = FileDetails("a.bin", "user_data", "application/octet-stream")


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that speaks as S3 does, with one bucket."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with ServerProcess(
        python_module("moto.server", "-H", "127.0.0.1", "-p", str(port)),
        url=url,
        ready="/moto-api/",
        log=tmp_path_factory.mktemp("s3") / "log",
        environment={"PYTHONWARNINGS": "ignore"},
    ):
        urlopen(Request(f"{url}/bucket", method="PUT")).close()
        yield url


@pytest.fixture(params=["folder", "s3"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Each of the places where content may be."""
    if request.param == "folder":
        return Settings(data=tmp_path)
    return Settings(
        data=tmp_path,
        files="s3://bucket/a/prefix",
        files_endpoint=request.getfixturevalue("s3"),
        files_region="us-east-1",
        files_access_key_id="key",
        files_secret_access_key="secret",
    )


@pytest.fixture
def blobs(settings: Settings) -> ObjectBlobs:
    """A store there."""
    return ObjectBlobs(settings)


class Clock:
    """Unix seconds that a test sets."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def database(store: str, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database of each kind."""
    database = Database(databases.new_installation(tmp_path / "posthouse.db"))
    yield database
    await database.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of everything that keeps files."""
    clock = Clock()
    for module in ("files", "uploads"):
        monkeypatch.setattr(
            f"posthouse.storage.{module}.now_ms", lambda: int(clock.now * 1000)
        )
    return clock


@pytest.fixture
def files(database: Database, blobs: ObjectBlobs, clock: Clock) -> Files:
    """What keeps files."""
    return Files(
        StoredFiles(database),
        StoredRemovals(database),
        blobs,
        limits=FileLimits(2 * LARGE, LARGE),
        clock=clock,
    )


async def read(blobs: ObjectBlobs, blob: str) -> bytes:
    return b"".join([piece async for piece in blobs.read(blob)])


async def is_there(blobs: ObjectBlobs, blob: str) -> bool:
    try:
        await read(blobs, blob)
    except BlobUnavailable:
        return False
    return True


async def test_what_was_written_is_read(blobs: ObjectBlobs) -> None:
    """Of every size, whole and in part."""
    for size in (0, 1, 5 * 2**20, LARGE):
        blob = new_blob()
        writer = blobs.writer(blob)
        content = bytes(range(256)) * (size // 256) + bytes(size % 256)
        for start in range(0, size, 2**20):
            await writer.write(content[start : start + 2**20])
        if size:
            assert not await is_there(blobs, blob)
        await writer.finish()
        assert await read(blobs, blob) == content
        if size > 2**20:
            part = await blobs.read_part(blob, 2**20 - 3, 10)
            assert part == content[2**20 - 3 :][:10]
        await blobs.remove(blob)
        assert not await is_there(blobs, blob)
        await blobs.remove(blob)


async def test_what_is_given_up_was_never_there(
    blobs: ObjectBlobs, settings: Settings
) -> None:
    """Also after much of it was sent; nothing is left in a folder."""
    blob = new_blob()
    writer = blobs.writer(blob)
    for _ in range(12):
        await writer.write(bytes(2**20))
    await writer.abort()
    assert not await is_there(blobs, blob)
    if settings.files is None:
        assert [path for path in settings.data.rglob("*") if path.is_file()] == []


async def test_what_a_crash_leaves_is_removed(
    blobs: ObjectBlobs, settings: Settings
) -> None:
    """A folder has what was being written under a name of its own."""
    blob = new_blob()
    writer = blobs.writer(blob)
    await writer.write(bytes(2**20))
    await writer.finish()
    if settings.files is None:
        whole = settings.data / "files" / blob
        whole.rename(whole.with_name(f"{whole.name}#1"))
    await blobs.remove(blob)
    assert [path for path in settings.data.rglob("*") if path.is_file()] == []


async def test_a_store_that_is_not_there_is_told(tmp_path: Path) -> None:
    """As one error, which says nothing of where it is."""
    nowhere = Settings(
        data=tmp_path,
        files="s3://bucket",
        files_endpoint=f"http://127.0.0.1:{free_port()}",
        files_region="us-east-1",
        files_access_key_id="key",
        files_secret_access_key="secret",
    )
    blobs = ObjectBlobs(nowhere)
    writer = blobs.writer(new_blob())
    with pytest.raises(BlobUnavailable) as refused:
        async with asyncio.timeout(60):
            await writer.finish()
    assert "127.0.0.1" not in str(refused.value)


async def test_a_file_goes_when_it_expires(files: Files, clock: Clock) -> None:
    """It is not there from that moment on; its content goes with the next sweep."""
    got = await files.receive(Limit(100))
    await got.write(b"content")
    file = await files.add("one", FileDetails("a", "batch", "", 3600), got)
    assert await files.whole(await files.find(file.id, "one")) == b"content"
    assert await files.sweep() == 0
    clock.now += 3600
    with pytest.raises(NotFound):
        await files.find(file.id, "one")
    assert await files.sweep() == 1
    assert not await is_there(files.blobs, file.blob)  # type: ignore[arg-type]  # it is one
    assert await files.sweep() == 0


async def test_what_never_became_a_file_is_swept(files: Files, clock: Clock) -> None:
    """A day after it began, if nobody said sooner that it is given up."""
    lost = await files.receive(Limit(100))
    await lost.write(b"lost")
    await lost.finish()
    aborted = await files.receive(Limit(100))
    await aborted.write(b"aborted")
    await aborted.abort()
    kept = await files.receive(Limit(100))
    await kept.write(b"kept")
    file = await files.add("one", DETAILS, kept)
    assert await files.sweep() == 1
    clock.now += DAY + 1
    assert await files.sweep() == 1
    assert not await is_there(files.blobs, lost.blob)  # type: ignore[arg-type]  # it is one
    assert await files.whole(file) == b"kept"


async def test_an_account_s_room_is_its_own(files: Files) -> None:
    """What arrives at the same time counts before it is whole."""
    limit = await files.check_room("one", LARGE)
    assert limit.room == 2 * LARGE
    arriving = [await files.receive(limit, "one") for _ in range(3)]
    piece = bytes(LARGE * 3 // 4)
    await arriving[0].write(piece)
    await arriving[1].write(piece)
    with pytest.raises(InvalidRequest):
        await arriving[2].write(piece)
    await arriving[2].abort()
    with pytest.raises(PayloadTooLarge):
        await arriving[1].write(piece)
    await arriving[1].abort()
    await files.add("one", DETAILS, arriving[0])
    again = await files.receive(await files.check_room("one", 0), "one")
    await again.write(piece)
    await files.add("one", DETAILS, again)
    with pytest.raises(InvalidRequest):
        await files.check_room("one", len(piece))
    await files.check_room("two", len(piece))


async def test_of_two_that_end_together_one_has_room(files: Files) -> None:
    """The transaction counts, whatever was there when they began."""
    limit = Limit(LARGE)
    both = [await files.receive(limit, str(n)) for n in range(3)]
    for one in both:
        await one.write(bytes(LARGE * 3 // 4))
    results = await asyncio.gather(
        *(files.add("one", DETAILS, one) for one in both), return_exceptions=True
    )
    assert sorted(isinstance(result, InvalidRequest) for result in results) == [
        False,
        False,
        True,
    ]


async def test_an_upload_ends_after_an_hour(
    files: Files, database: Database, clock: Clock
) -> None:
    """Its parts go, and its room is free again."""
    uploads = Uploads(StoredUploads(database), files)
    upload = await uploads.begin("one", DETAILS, LARGE)
    got = await uploads.receive(upload)
    await got.write(b"part")
    await uploads.add_part(upload, got)
    second = await uploads.begin("one", DETAILS, LARGE)
    with pytest.raises(InvalidRequest):
        await uploads.begin("one", DETAILS, 1)
    assert (await uploads.find(second.id, "one")).id == second.id
    clock.now += 3600
    with pytest.raises(InvalidRequest, match="expired"):
        await uploads.find(second.id, "one")
    await uploads.begin("one", DETAILS, LARGE)
    assert await files.sweep() == 1
    assert not await is_there(files.blobs, got.blob)  # type: ignore[arg-type]  # it is one


async def test_a_folder_may_be_elsewhere(tmp_path: Path) -> None:
    """One that nodes share; it is made if it is not there."""
    folder = tmp_path / "shared folder"
    settings = Settings(data=tmp_path / "data", files=folder.as_uri())
    blobs = ObjectBlobs(settings)
    blob = new_blob()
    writer = blobs.writer(blob)
    await writer.write(b"content")
    await writer.finish()
    assert (folder / blob).read_bytes() == b"content"
    (folder / blob).rename(folder / f"{blob}#2")
    await blobs.remove(blob)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "place",
    ["/a/folder", "file://folder", "file:///", "s3://", "http://a/b", "s3://a:b@c/d"],
)
def test_a_place_that_cannot_be_is_refused(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the name of its variable."""
    monkeypatch.setenv("POSTHOUSE_FILES", place)
    with pytest.raises(ConfigurationError, match="POSTHOUSE_FILES"):
        load_settings()


async def test_what_amazons_own_variables_say_counts(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where ours are not set."""
    for name, value in (
        ("AWS_ENDPOINT_URL", s3),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("POSTHOUSE_FILES", "s3://bucket"),
    ):
        monkeypatch.setenv(name, value)
    blobs = ObjectBlobs(load_settings(data=tmp_path))
    blob = new_blob()
    writer = blobs.writer(blob)
    await writer.write(b"content")
    await writer.finish()
    assert await read(blobs, blob) == b"content"


def test_the_doctor_tries_the_place(s3: str, tmp_path: Path) -> None:
    """A bucket that is there, one that is not, and a folder of one node alone."""
    for bucket, expected in (("bucket", "ok"), ("nowhere", "fault")):
        settings = Settings(
            data=tmp_path,
            files=f"s3://{bucket}",
            files_endpoint=s3,
            files_region="us-east-1",
            files_access_key_id="key",
            files_secret_access_key="secret",
        )
        found = asyncio.run(look_at_files(settings))
        assert (found.subject, found.result) == ("files", expected)
    alone = asyncio.run(look_at_files(Settings(data=tmp_path)))
    assert alone.result == "warning"
