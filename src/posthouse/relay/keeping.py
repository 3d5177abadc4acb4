"""Responses that outlive their call: what is kept, by whom, and at which channel.

A response that a provider keeps is remembered by its id, owner and channel; one
whose provider keeps none is kept whole, by us. Another tenant's is not there.
"""

from typing import Protocol

from msgspec import Struct

from posthouse.routing.plan import Target


class Kept(Struct, frozen=True):
    """A response that can be asked for again."""

    id: str
    account_id: str
    """Whose it is."""
    channel: str
    """Where it was made."""
    created_ms: int
    """Unix time in milliseconds."""
    expires_ms: int
    data: bytes | None
    """The response with what led to it; None: the provider keeps it."""


class ResponseStore(Protocol):
    """Keeps responses; raises StorageUnavailable where that cannot be done."""

    async def keep(self, kept: Kept) -> None:
        """Keep a response; returns when others can find it."""

    async def find(self, response_id: str, account_id: str) -> Kept | None:
        """Give one of an account's, unless it has expired."""

    async def forget(self, response_id: str, account_id: str) -> bool:
        """Delete one of an account's; False if there is none."""


class Keeper(Protocol):
    """Keeps what one call brings."""

    async def keep(self, target: Target, reply: bytes, *, translated: bool) -> None:
        """Keep the reply of a target, before the client has the last of it.

        Args:
            target: what served the call.
            reply: the whole reply, or the frames that end the stream.
            translated: the provider knows nothing of it in this form.
        """
