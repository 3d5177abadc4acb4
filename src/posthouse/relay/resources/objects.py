"""Things that providers keep for callers: whose each is, and where.

A file, a thread, a batch … is remembered when a provider's answer names it: by its
id, its channel and the credential that made it. The first owner stays the owner.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Struct


class Owned(Struct, frozen=True):
    """One thing at one channel."""

    id: str
    channel: str
    account_id: str
    """Whose it is."""
    family: str
    """The API that it belongs to."""
    kind: str
    """The path of the list that it stands in, `/files` say; empty: in none."""
    credential: bytes
    """A digest of the credential that reaches it; empty: any does."""
    created_ms: int
    """Unix time in milliseconds at which it was learnt."""


class Page(Struct, frozen=True):
    """Which part of which list is wanted."""

    family: str
    kind: str
    limit: int
    """Things at most."""
    descending: bool = True
    """The newest come first."""
    after: Owned | None = None
    """The list goes on behind this one."""


class ObjectStore(Protocol):
    """Remembers things; raises StorageUnavailable where that cannot be done."""

    async def learn(self, things: Sequence[Owned]) -> None:
        """Remember things that nobody owns yet; the others stay as they are."""

    async def find(self, ids: Iterable[str]) -> list[Owned]:
        """Give all that have one of these ids, at whatever channel, whoever's."""

    async def page(self, account_id: str, page: Page) -> list[Owned]:
        """Give a part of an account's things of one kind, in order."""

    async def forget(self, thing: Owned) -> None:
        """Remove one that is gone."""
