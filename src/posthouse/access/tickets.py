"""Tickets: keys of a few minutes, for browsers, that open sessions of one model.

A ticket holds the digest of the key that it was issued for, its model, its end and
how its sessions begin, sealed: nobody can read or alter it, and nothing is stored.
Whoever holds one has that key's rights for that model, as long as the key has them.
A ticket opens no other door: to every other route it is an unknown key.
"""

import base64
import time
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from posthouse.access import keys
from posthouse.access.networks import inside
from posthouse.access.ports import KeyStore
from posthouse.access.principal import Principal
from posthouse.errors import AuthenticationFailed, InvalidRequest, PermissionDenied
from posthouse.wire import json

PREFIX = "ek_"
LONGEST = 8 * 1024
"""Characters of a ticket."""
OPENING_LIMIT = 4 * 1024
"""Bytes of what its sessions begin with."""
_PLACE = "realtime/client_secrets"


class Ticket(Struct, frozen=True, array_like=True):
    """What a ticket holds."""

    digest: bytes
    """Of the key that it was issued for."""
    model: str
    expires_at: int
    """Unix seconds."""
    opening: str
    """The event that its sessions begin with, as JSON."""


class Box(Protocol):
    """Seals; `open` raises an Exception for what it has not sealed."""

    def seal(self, plaintext: bytes, place: str) -> bytes:
        """Encrypt for a place."""

    def open(self, sealed: bytes, place: str) -> bytes:
        """Decrypt what was sealed for it."""


class Tickets:
    """Issues tickets and knows whose they are."""

    def __init__(
        self,
        store: KeyStore,
        box: Box,
        pepper: bytes,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Find keys in `store`; `wall_clock` gives Unix seconds."""
        self._store = store
        self._box = box
        self._pepper = pepper
        self._wall_clock = wall_clock

    def issue(
        self, presented: str, model: str, seconds: int, opening: str
    ) -> tuple[str, int]:
        """Issue a ticket; raises InvalidRequest.

        Args:
            presented: the key of who asks, which was found good.
            model: the only one that it opens sessions of.
            seconds: for which it opens them.
            opening: the event that they begin with, as JSON.

        Returns the ticket, and the Unix second at which it ends.
        """
        if len(opening.encode()) > OPENING_LIMIT:
            raise InvalidRequest(
                f"A session may begin with {OPENING_LIMIT} bytes of settings; the "
                "rest is for session.update.",
                param="session",
                code="string_above_max_length",
            )
        expires_at = int(self._wall_clock()) + seconds
        digest = keys.digest(self._pepper, presented)
        ticket = Ticket(digest, model, expires_at, opening)
        sealed = self._box.seal(json.encode(ticket), _PLACE)
        text = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
        return PREFIX + text, expires_at

    def read(self, text: str) -> Ticket:
        """Read a ticket that is still good; raises AuthenticationFailed."""
        body = text.removeprefix(PREFIX)
        try:
            sealed = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
            ticket = json.decode(self._box.open(sealed, _PLACE), Ticket)
        except Exception:  # noqa: BLE001 - the box has words of its own for forgeries
            raise AuthenticationFailed from None
        if self._wall_clock() >= ticket.expires_at:
            raise AuthenticationFailed
        return ticket

    async def principal(self, ticket: Ticket, address: str) -> Principal:
        """Give whom a ticket stands for.

        Raises AuthenticationFailed once its key is no longer good, PermissionDenied
        for an address that the key may not be used from, and StorageUnavailable.
        """
        principal = await self._store.find(ticket.digest)
        if principal is None:
            raise AuthenticationFailed
        ends = principal.expires_at
        if ends is not None and self._wall_clock() >= ends:
            raise AuthenticationFailed
        if principal.networks and not inside(address, principal.networks):
            raise PermissionDenied("This key may not be used from your address.")
        return principal
