"""URLs of what was made for callers: nobody guesses them, and they expire."""

from collections.abc import Sequence

import pytest
from typing_extensions import override

from posthouse.relay.media_store import (
    SWEEP_SECONDS,
    Contents,
    MediaStore,
    MediaUnavailable,
)

PUBLIC = "https://ai.example.com/"


class Memory(Contents):
    """Keeps content in a dictionary; `broken` does not answer."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.broken = False

    def _answer(self) -> None:
        if self.broken:
            raise MediaUnavailable("OSError")

    @override
    async def put(self, key: str, data: bytes) -> None:
        self._answer()
        self.held[key] = data

    @override
    async def get(self, key: str) -> bytes | None:
        self._answer()
        return self.held.get(key)

    @override
    async def sizes(self) -> Sequence[tuple[str, int]]:
        self._answer()
        return [(key, len(data)) for key, data in self.held.items()]

    @override
    async def remove(self, keys: Sequence[str]) -> None:
        self._answer()
        for key in keys:
            del self.held[key]


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(memory: Memory, clock: Clock) -> MediaStore:
    return MediaStore(
        memory, public_url=PUBLIC, seconds=100, quota_bytes=100, clock=clock
    )


def token_of(url: str | None) -> str:
    assert url is not None
    head, _, token = url.rpartition("/media/")
    assert head == "https://ai.example.com"
    return token


async def test_a_url_leads_to_what_was_kept(store: MediaStore) -> None:
    token = token_of(await store.keep(b"picture"))
    assert await store.read(token) == b"picture"


async def test_two_urls_have_nothing_in_common_but_when_they_expire(
    store: MediaStore,
) -> None:
    one = token_of(await store.keep(b"picture"))
    other = token_of(await store.keep(b"picture"))
    assert one != other
    assert len(one.partition("-")[2]) == 32


async def test_a_url_expires_before_its_content_is_removed(
    store: MediaStore, clock: Clock, memory: Memory
) -> None:
    token = token_of(await store.keep(b"picture"))
    clock.now += 100
    assert await store.read(token) is None
    assert memory.held
    await store.tidy()
    assert not memory.held


@pytest.mark.parametrize("change", ["later", "shorter", "longer", "path", "empty"])
async def test_a_token_that_was_never_given_leads_nowhere(
    store: MediaStore, change: str
) -> None:
    token = token_of(await store.keep(b"picture"))
    changed = {
        "later": f"{int(token[:10], 16) + 10:010x}{token[10:]}",
        "shorter": token[:-1],
        "longer": f"{token}a",
        "path": f"../{token}",
        "empty": "",
    }
    assert await store.read(changed[change]) is None


async def test_beyond_the_quota_nothing_is_taken(
    store: MediaStore, clock: Clock
) -> None:
    assert await store.keep(b"x" * 60)
    assert await store.keep(b"x" * 60) is None
    assert await store.keep(b"x" * 101) is None
    assert await store.keep(b"x" * 40)
    # There is room again once the first have expired and somebody has looked.
    clock.now += 100 + SWEEP_SECONDS
    assert await store.keep(b"x" * 90)


async def test_what_another_process_keeps_counts_once_it_is_seen(
    memory: Memory, store: MediaStore, clock: Clock
) -> None:
    other = MediaStore(
        memory, public_url=PUBLIC, seconds=100, quota_bytes=100, clock=clock
    )
    assert await store.keep(b"x" * 10)
    assert await other.keep(b"x" * 80)
    clock.now += SWEEP_SECONDS
    assert await store.keep(b"x" * 20) is None


async def test_a_store_that_does_not_answer_fails_no_call(
    memory: Memory, store: MediaStore
) -> None:
    memory.broken = True
    assert await store.keep(b"picture") is None
    await store.tidy()
