"""What access asks of storage and of a shared counter."""

from typing import Protocol

from posthouse.access.principal import Principal
from posthouse.access.windows import Permit


class KeyStore(Protocol):
    """Finds keys by the digest of their text."""

    async def find(self, digest: bytes) -> Principal | None:
        """Give a usable key's principal; None if unknown, disabled or revoked.

        One indexed read. Raises StorageUnavailable.
        """


class Limiter(Protocol):
    """Admits calls within the limits of their keys."""

    async def admit(
        self, principal: Principal, tokens: int, *, output_tokens: int = 0
    ) -> Permit:
        """Count a call or raise RateLimited; see `limits.Limits.admit`."""
