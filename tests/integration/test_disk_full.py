"""A disk that is full, used up, read-only, or does not keep what it was given.

New calls are refused before anything is sent; what is under way ends well; the
server stays up and serves again by itself once there is room. After a failed
sync it serves no more: what was written may be lost, and only a restart knows.
"""

import json
import os
import resource
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

import pytest
from tests.fakes import openai
from tests.fakes.steps import Behaviour, Request, Step, Wait
from tests.fakes.upstream import FakeUpstream
from tests.faults.asked import ask
from tests.faults.channels import channel
from tests.faults.station import KEY, KEYS, eventually, play, running
from tests.support import raw
from tests.support.fake import ThreadedFake
from tests.support.posthouse import COMMAND, Posthouse

from posthouse.billing.journal_sync import GroupSync

ROOM = 8 << 20
SMALL = {"POSTHOUSE_JOURNAL_SEGMENT_BYTES": "65536"}
PATIENCE = 10.0
FILE = os.urandom(100_000)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    place = tmp_path / "volume"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", place]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("file systems can be mounted by root only")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


class Full:
    """Not a byte is left, for anybody."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def begin(self, _: Posthouse) -> None:
        """Leave nothing."""
        _fill(self._place)

    def end(self, _: Posthouse) -> None:
        """Make room again."""
        (self._place / "ballast").unlink()


class UsedUp:
    """This process has had its share: what it writes to files is refused."""

    def begin(self, posthouse: Posthouse) -> None:
        """Let no file grow, nor be written behind its beginning."""
        self._set(posthouse, 4096)

    def end(self, posthouse: Posthouse) -> None:
        """Give it more."""
        self._set(posthouse, resource.RLIM_INFINITY)

    def _set(self, posthouse: Posthouse, size: int) -> None:
        limits = (size, resource.RLIM_INFINITY)
        resource.prlimit(posthouse.process.pid, resource.RLIMIT_FSIZE, limits)


class ReadOnly:
    """Files that are open can be written to, and no others."""

    def begin(self, posthouse: Posthouse) -> None:
        """Mount it over itself, so that nobody who writes is in the way."""
        place = posthouse.data
        subprocess.run(["mount", "--bind", place, place], check=True)
        command = ["mount", "-o", "remount,bind,ro", place]
        until = time.monotonic() + 30
        # It is busy while a file that was opened through it is written to.
        while subprocess.run(
            command, check=False, stderr=subprocess.DEVNULL
        ).returncode:
            assert time.monotonic() < until
            time.sleep(0.01)

    def end(self, posthouse: Posthouse) -> None:
        """Let it be written to; what was opened meanwhile may still not be."""
        place = posthouse.data
        subprocess.run(["mount", "-o", "remount,bind,rw", place], check=True)


T = TypeVar("T")
Trouble = Full | UsedUp | ReadOnly


@pytest.fixture(params=["full", "used-up", "read-only"])
def trouble(request: pytest.FixtureRequest, volume: Path) -> Trouble:
    """What the disk has."""
    if request.param == "full":
        return Full(volume)
    return UsedUp() if request.param == "used-up" else ReadOnly()


def _fill(place: Path) -> None:
    """Leave not a byte."""
    with (place / "ballast").open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue


def _call(posthouse: Posthouse, *, stream: bool = False) -> raw.RawReply:
    messages = [{"role": "user", "content": "Is there room?"}]
    body = {"model": "slow" if stream else "m", "messages": messages, "stream": stream}
    headers = (("Authorization", f"Bearer {KEY}"),)
    data = json.dumps(body).encode()
    return raw.send(posthouse.url, "/v1/chat/completions", data, headers=headers)


def _store(posthouse: Posthouse, content: bytes) -> raw.RawReply:
    """Have a file kept."""
    disposition = b"--x\r\nContent-Disposition: form-data; "
    body = (
        disposition
        + b'name="purpose"\r\n\r\nuser_data\r\n'
        + disposition
        + b'name="file"; filename="a.bin"\r\n\r\n'
        + content
        + b"\r\n--x--\r\n"
    )
    kind = ("Content-Type", "multipart/form-data; boundary=x")
    headers = (("Authorization", f"Bearer {KEY}"), kind)
    return raw.send(posthouse.url, "/v1/files", body, headers=headers)


def _content(posthouse: Posthouse, stored: raw.RawReply) -> bytes:
    """Read a file that was kept."""
    path = f"/v1/files/{json.loads(stored.body)['id']}/content"
    headers = (("Authorization", f"Bearer {KEY}"),)
    return raw.send(posthouse.url, path, method="GET", headers=headers).body


def _together(what: Callable[[], T]) -> list[T]:
    """Do something so many times at once that it takes several connections."""
    with ThreadPoolExecutor(12) as pool:
        return [each.result() for each in [pool.submit(what) for _ in range(12)]]


def _is_refusal(reply: raw.RawReply) -> bool:
    """Whether it says that nothing can be kept now, and to come again."""
    if reply.status != 503:
        return False
    code = json.loads(reply.body)["error"]["code"]
    return code == "storage_unavailable" and bool(reply.header("retry-after"))


def _until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def _slowly(request: Request) -> Behaviour:
    """A stream that lasts for as long as the disk is full."""
    steps: list[Step] = []
    for step in openai.chat(request).steps:
        steps += [step, Wait(0.15)]
    return Behaviour("slowly", tuple(steps), openai.chat_usage(request))


def test_a_disk_in_trouble_refuses_calls_and_ends_none(
    volume: Path, trouble: Trouble
) -> None:
    """503 before anything is sent, a whole stream meanwhile, and then all is well."""
    with ThreadedFake() as provider:
        provider.on("slow", _slowly)
        text = KEYS + channel("a", provider.origin)
        with Posthouse(volume, text, SMALL) as posthouse:
            assert _call(posthouse).status == 200
            before = _store(posthouse, FILE)
            streamed: list[raw.RawReply] = []
            caller = threading.Thread(
                target=lambda: streamed.append(_call(posthouse, stream=True))
            )
            caller.start()
            _until(lambda: provider.served("slow"), "the stream does not begin")
            trouble.begin(posthouse)
            refused: list[raw.RawReply] = []

            def refusing() -> bool:
                asked = len(provider.served("m"))
                reply = _call(posthouse)
                assert reply.status in (200, 503), reply.body
                if reply.status == 503:
                    assert len(provider.served("m")) == asked, "it was asked"
                    refused.append(reply)
                return reply.status == 503

            _until(refusing, "calls are still taken")
            assert _is_refusal(refused[0])
            assert _is_refusal(_store(posthouse, FILE))
            read = _together(lambda: _content(posthouse, before))
            assert set(read) == {FILE}
            caller.join(20)
            assert streamed[0].complete
            assert streamed[0].body.endswith(b"data: [DONE]\n\n")
            assert posthouse.process.poll() is None
            trouble.end(posthouse)
            _until(lambda: _call(posthouse).status == 200, "nobody is served again")
            for stored in _together(lambda: _store(posthouse, FILE)):
                assert stored.status == 200, stored.body
                assert _content(posthouse, stored) == FILE
            assert _content(posthouse, before) == FILE
        # The end of the block has audited the books.
        with sqlite3.connect(volume / "data" / "posthouse.db") as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_start_on_a_read_only_disk_is_one_clear_line(volume: Path) -> None:
    """It says what is wrong, and does not serve."""
    (volume / "posthouse.toml").write_text(KEYS)
    subprocess.run(["mount", "-o", "remount,ro", volume], check=True)
    command: list[str | Path] = [COMMAND, "serve"]
    command += ["--config", volume / "posthouse.toml"]
    command += ["--data", volume / "data", "--port", "0"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr
    assert "Traceback" not in done.stderr


def test_after_a_failed_sync_nothing_more_is_promised(tmp_path: Path) -> None:
    """The call that waited for it is refused, and so is every other; no retry."""
    syncs: list[int] = []
    broken = threading.Event()

    def fsync(descriptor: int) -> None:
        if broken.is_set():
            syncs.append(descriptor)
            raise OSError(5, "the disk is broken")
        os.fdatasync(descriptor)

    async def test() -> None:
        with patch(
            "posthouse.billing.holds.GroupSync", partial(GroupSync, fsync=fsync)
        ):
            async with FakeUpstream(openai.answer) as provider:
                text = KEYS + channel("a", provider.origin)
                async with running(tmp_path, text, durability="power") as station:
                    assert (await ask(station)).status == 200
                    broken.set()
                    seen = await ask(station)
                    assert (seen.status, seen.error["code"]) == (
                        503,
                        "storage_unavailable",
                    )
                    assert len(provider.served) == 2
                    broken.clear()
                    for _ in range(3):
                        assert (await ask(station)).status == 503
                    assert len(provider.served) == 2, "it was asked"
                    assert len(syncs) == 1, "it was tried again"
                    assert not station.application.is_ready
                    await eventually(
                        lambda: not station.application.holds.open_holds,
                        "a hold is left",
                    )

    play(test)
