"""Who is calling: from the key that a request presents to its principal.

Rules: every kind of bad key (absent, malformed, unknown, revoked, disabled,
expired) ends in the same error after the same work. Keys are never remembered,
only marks of them: digests under a secret of the process's own, which cost a
fifth of those in the store. Everything remembered is bounded: principals,
unknown marks, addresses, look-ups under way. A look-up that began before
`forget` is not remembered after it, so a revoked key cannot come back.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from msgspec import Struct

from posthouse.access import keys
from posthouse.access.failures import FailureTable
from posthouse.access.networks import inside
from posthouse.access.ports import KeyStore
from posthouse.access.principal import Principal
from posthouse.errors import AuthenticationFailed, Overloaded, PermissionDenied

MARK_BYTES = 32
UNKNOWN_SECONDS = 60.0
"""For which an unknown key is not looked up again."""


class Bounds(Struct, frozen=True):
    """How much an authenticator remembers."""

    principals: int = 20_000
    unknown: int = 10_000
    addresses: int = 10_000
    look_ups: int = 1_000
    """Look-ups under way at the same time; more are refused."""
    failures_per_minute: int = 20
    """Per address; above it every key that is not remembered is refused."""


DEFAULT_BOUNDS = Bounds()


class Authenticator:
    """Recognises keys; `cached` serves the hot path, `authenticate` the rest."""

    def __init__(
        self,
        store: KeyStore,
        pepper: bytes,
        *,
        bounds: Bounds = DEFAULT_BOUNDS,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin knowing nobody.

        Args:
            store: where keys are found.
            pepper: the secret part of every digest.
            bounds: how much to remember.
            wall_clock: Unix seconds, for expiry.
            clock: monotonic seconds, for everything else.
        """
        self._store = store
        self._pepper = pepper
        # Copied for each key: that costs half of taking in the secret anew. What the
        # secret stands before is no longer than a block; as a key it had one more.
        self._marker = blake2b(secrets.token_bytes(32), digest_size=MARK_BYTES)
        self._bounds = bounds
        self._wall_clock = wall_clock
        self._clock = clock
        # Two generations make a cheap LRU: what is used moves to the young one;
        # when that is full it becomes the old one, and the old one goes.
        self._young: dict[bytes, Principal] = {}
        self._old: dict[bytes, Principal] = {}
        self._unknown: dict[bytes, float] = {}
        self._under_way: dict[bytes, asyncio.Task[Principal | None]] = {}
        self._failures = FailureTable(
            bounds.failures_per_minute, bounds.addresses, clock
        )
        self._generation = 0

    def __len__(self) -> int:
        """Give the number of principals remembered."""
        return len(self._young) + len(self._old)

    def cached(self, presented: str, address: str) -> Principal | None:
        """Give the principal if it is remembered and may call from there.

        None decides nothing: `authenticate` does, and knows the error.
        """
        principal = self.recall(presented)
        if principal is None:
            return None
        if principal.networks and not inside(address, principal.networks):
            return None
        return principal

    def recall(self, presented: str) -> Principal | None:
        """Give the principal if it is remembered and has not expired.

        From where it may call is for the caller to check.
        """
        if len(presented) > keys.MAX_LENGTH or not presented.isascii():
            return None
        marker = self._marker.copy()
        marker.update(presented.encode())
        mark = marker.digest()
        principal = self._young.get(mark)
        if principal is None:
            principal = self._old.pop(mark, None)
            if principal is None:
                return None
            self._remember(mark, principal)
        expires_at = principal.expires_at
        if expires_at is not None and self._wall_clock() >= expires_at:
            return None
        return principal

    async def authenticate(self, presented: str | None, address: str) -> Principal:
        """Give the principal of a key.

        Args:
            presented: the key as it came; None if there was none.
            address: the caller's, as seen behind trusted proxies.

        Raises:
            AuthenticationFailed: for every kind of bad key.
            PermissionDenied: a good key from an address that it may not use.
            RateLimited: too many bad keys came from this address.
            StorageUnavailable: the key could not be looked up.
            Overloaded: too many keys are being looked up.
        """
        if not presented:
            # Nobody guesses by sending nothing, so this counts for nothing.
            raise AuthenticationFailed
        principal = self.cached(presented, address)
        if principal is not None:
            return principal
        principal = await self._recognise(presented, address)
        if principal.networks and not inside(address, principal.networks):
            raise PermissionDenied("This key may not be used from your address.")
        return principal

    async def _recognise(self, presented: str, address: str) -> Principal:
        """Give the principal of a key that is not simply remembered."""
        mark = self._readable_mark(presented)
        if mark is None or self._is_settled(mark):
            self._failures.check(address)
            principal = None if mark is None else self._known(mark)
            if principal is None:
                self._failures.count(address)
                raise AuthenticationFailed
            return principal
        turn = await self._failures.enter(address)
        failed = False
        try:
            principal = await self._find(mark, presented)
            failed = principal is None
        finally:
            self._failures.leave(turn, failed=failed)
        if principal is None:
            if turn.spare:
                self._failures.check(address)
            raise AuthenticationFailed
        return principal

    def forget(self, *key_ids: str) -> None:
        """Drop what is remembered of these keys, after they have changed."""
        self._outdate()
        gone = frozenset(key_ids)
        for principals in (self._young, self._old):
            stale = [
                mark
                for mark, principal in principals.items()
                if principal.key_id in gone
            ]
            for mark in stale:
                del principals[mark]

    def clear(self) -> None:
        """Drop everything that is remembered of keys."""
        self._outdate()
        self._young.clear()
        self._old.clear()

    def _outdate(self) -> None:
        """Let nobody join a look-up that has begun, nor keep its answer."""
        self._generation += 1
        self._unknown.clear()
        self._under_way.clear()

    def _has_expired(self, principal: Principal) -> bool:
        expires_at = principal.expires_at
        return expires_at is not None and self._wall_clock() >= expires_at

    def _readable_mark(self, presented: str) -> bytes | None:
        """Give the mark of what may be a key; None for what cannot be one."""
        if len(presented) > keys.MAX_LENGTH or not presented.isascii():
            return None
        marker = self._marker.copy()
        marker.update(presented.encode())
        return marker.digest()

    def _known(self, mark: bytes) -> Principal | None:
        """Give the principal if it is remembered.

        One that has expired is from then on as unknown as any other bad key.
        """
        principal = self._young.get(mark) or self._old.get(mark)
        if principal is None or not self._has_expired(principal):
            return principal
        self._young.pop(mark, None)
        self._old.pop(mark, None)
        self._remember_unknown(mark)
        return None

    def _is_settled(self, mark: bytes) -> bool:
        """Whether it is known of a key what it is, good or bad."""
        if self._known(mark) is not None:
            return True
        until = self._unknown.get(mark)
        return until is not None and self._clock() < until

    async def _find(self, mark: bytes, presented: str) -> Principal | None:
        """Find a key in memory or in the store, once for all who ask."""
        if self._is_settled(mark):
            return self._known(mark)
        task = self._under_way.get(mark)
        if task is None:
            if len(self._under_way) >= self._bounds.look_ups:
                raise Overloaded(retry_after=1)
            digest = keys.digest(self._pepper, presented)
            task = asyncio.create_task(self._look_up(mark, digest))
            self._under_way[mark] = task
            task.add_done_callback(_retrieve)
        # A caller that goes away must not take the others' look-up with it.
        return await asyncio.shield(task)

    async def _look_up(self, mark: bytes, digest: bytes) -> Principal | None:
        """Ask the store, and remember its answer unless it may be outdated."""
        generation = self._generation
        try:
            principal = await self._store.find(digest)
            if principal is not None and self._has_expired(principal):
                principal = None
        finally:
            if self._under_way.get(mark) is asyncio.current_task():
                del self._under_way[mark]
        if generation == self._generation:
            if principal is not None:
                self._remember(mark, principal)
            else:
                self._remember_unknown(mark)
        return principal

    def _remember(self, mark: bytes, principal: Principal) -> None:
        young = self._young
        young[mark] = principal
        if len(young) >= max(self._bounds.principals // 2, 1):
            self._old = young
            self._young = {}

    def _remember_unknown(self, mark: bytes) -> None:
        unknown = self._unknown
        if len(unknown) >= self._bounds.unknown:
            # The oldest stands first, and is the first to lapse anyway.
            del unknown[next(iter(unknown))]
        unknown.pop(mark, None)
        unknown[mark] = self._clock() + UNKNOWN_SECONDS


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Take note of a failure that every waiter has gone away from."""
    if not task.cancelled():
        task.exception()
