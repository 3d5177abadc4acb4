"""What access asks of storage and of a shared counter."""

from collections.abc import Sequence
from typing import Protocol

from posthouse.access.counters import Answer, Ask
from posthouse.access.principal import Principal


class KeyStore(Protocol):
    """Finds keys by the digest of their text."""

    async def find(self, digest: bytes) -> Principal | None:
        """Give a usable key's principal; None if unknown, disabled or revoked.

        One indexed read. Raises StorageUnavailable.
        """


class Permit(Protocol):
    """One admitted call; release it when the call ends, however it ends."""

    def release(self, tokens_used: int | None = None) -> None:
        """End the call; see `windows.Permit.release`."""

    def header_lines(self) -> bytes:
        """Write the `x-ratelimit-*` headers of this moment; none without limits."""


class Limiter(Protocol):
    """Admits calls within the limits of their keys."""

    def admit_now(
        self, principal: Principal, tokens: int, *, output_tokens: int = 0
    ) -> Permit | None:
        """Do as `admit`; None where that must wait: nothing is counted then."""

    async def admit(
        self, principal: Principal, tokens: int, *, output_tokens: int = 0
    ) -> Permit:
        """Count a call or raise RateLimited; see `limits.Limits.admit_now`."""

    def header_lines(self, principal: Principal) -> bytes:
        """Write the `x-ratelimit-*` headers of a key, for a reply that refuses."""


class CountersUnavailable(Exception):
    """The store does not answer; str() tells why, to operators."""

    def __init__(self, reason: str, *, untold: bool = True) -> None:
        super().__init__(reason)
        self.untold = untold
        """Whether it has certainly taken nothing of what it was told."""


class CounterStore(Protocol):
    """Counts for several processes; its keeper tells it by whom it is asked.

    What it keeps may be lost. It returns the places of processes that die.
    """

    def start(self) -> None:
        """Begin, within a running event loop; faults show at the first exchange."""

    async def exchange(self, asks: Sequence[Ask]) -> Sequence[Answer]:
        """Answer all asks, in order, as `counters.answer` does, each as one change.

        Callers have one exchange under way at a time; one that is cancelled may
        still be done. Raises CountersUnavailable.
        """

    async def close(self) -> None:
        """Stop; whatever this process still holds is returned."""

    @property
    def processes(self) -> int:
        """How many share the counters; 0 if only their keepers know."""
        return 0
