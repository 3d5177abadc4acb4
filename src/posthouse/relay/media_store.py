"""What was made for callers and has a URL of ours for a while.

A URL's token is nothing but the key of the content: when it expires and so many
random bytes that nobody guesses it. Whoever has it needs no key of ours. The content
lasts as long as the URL; all of it together has a quota, beyond which nothing is
taken.
"""

import time
from collections.abc import Callable, Sequence
from re import compile as pattern
from secrets import token_urlsafe
from typing import Protocol

from posthouse.observe.logs import logger

log = logger("posthouse.media")

SWEEP_SECONDS = 60.0
RANDOM_BYTES = 24
TOKEN = pattern(r"[0-9a-f]{10}-[A-Za-z0-9_-]{32}")
PATH = "/media/"


class MediaUnavailable(Exception):
    """What keeps the content does not answer; str() tells operators why."""


class Contents(Protocol):
    """Keeps content by key. `storage` implements it."""

    async def put(self, key: str, data: bytes) -> None:
        """Keep content; raises MediaUnavailable."""

    async def get(self, key: str) -> bytes | None:
        """Give content; None if there is none; raises MediaUnavailable."""

    async def sizes(self) -> Sequence[tuple[str, int]]:
        """Give every key and its bytes; raises MediaUnavailable."""

    async def remove(self, keys: Sequence[str]) -> None:
        """Remove some; raises MediaUnavailable."""


class MediaStore:
    """Gives URLs for content."""

    def __init__(
        self,
        contents: Contents,
        *,
        public_url: str,
        seconds: float,
        quota_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep what is given in `contents`.

        Args:
            contents: where.
            public_url: where callers reach us, without a path.
            seconds: for which a URL is good.
            quota_bytes: of all that is kept.
            clock: seconds since 1970.
        """
        self._contents = contents
        self._public_url = public_url.rstrip("/")
        self._seconds = seconds
        self._quota = quota_bytes
        self._clock = clock
        self._used = 0
        """Bytes of all that is kept, as of the last sweep, and what came since."""
        self._swept = float("-inf")

    async def keep(self, data: bytes) -> str | None:
        """Keep content; give its URL. None where there is no room or no answer."""
        if len(data) > self._quota:
            return None
        expires = int(self._clock() + self._seconds)
        token = f"{expires:010x}-{token_urlsafe(RANDOM_BYTES)}"
        try:
            await self._sweep()
            if self._used + len(data) > self._quota:
                log.warning("there is no room for what was made", quota=self._quota)
                return None
            self._used += len(data)
            await self._contents.put(token, data)
        except MediaUnavailable as error:
            log.warning("what was made could not be kept", reason=str(error))
            return None
        return f"{self._public_url}{PATH}{token}"

    async def read(self, token: str) -> bytes | None:
        """Give what a URL leads to; None if it is none, or has expired.

        Raises MediaUnavailable.
        """
        if not TOKEN.fullmatch(token) or self._has_expired(token):
            return None
        return await self._contents.get(token)

    def _has_expired(self, token: str) -> bool:
        return int(token.partition("-")[0], 16) <= self._clock()

    async def _sweep(self) -> None:
        """Remove what has expired, now and then, and see how much is left."""
        now = self._clock()
        if now - self._swept < SWEEP_SECONDS:
            return
        self._swept = now
        used = 0
        expired = []
        for key, size in await self._contents.sizes():
            if not TOKEN.fullmatch(key):
                continue
            if self._has_expired(key):
                expired.append(key)
            else:
                used += size
        self._used = used
        if expired:
            await self._contents.remove(expired)

    async def tidy(self) -> None:
        """Sweep, whatever was kept in between; raises nothing."""
        self._swept = float("-inf")
        try:
            await self._sweep()
        except MediaUnavailable as error:
            log.warning("what has expired could not be removed", reason=str(error))
