"""Tickets: what they hold, when they end, and that nobody makes one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.access import keys
from posthouse.access.principal import Principal
from posthouse.access.tickets import OPENING_LIMIT, PREFIX, Ticket, Tickets
from posthouse.errors import AuthenticationFailed, InvalidRequest, PermissionDenied
from posthouse.storage.secrets import SecretBox

PEPPER = b"pepper"
KEY = "sk-mine"


class Store:
    """Knows one key."""

    def __init__(self, principal: Principal | None) -> None:
        self.principal = principal

    async def find(self, digest: bytes) -> Principal | None:
        """Find it."""
        return self.principal if digest == keys.digest(PEPPER, KEY) else None


class World:
    """Tickets, their store and a clock."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.store = Store(Principal("k", "n", "a"))
        self.box = SecretBox(bytes(32))
        self.tickets = Tickets(
            self.store, self.box, PEPPER, wall_clock=lambda: self.now
        )


async def test_a_ticket_stands_for_its_key_until_its_end() -> None:
    """It says what it was issued for."""
    world = World()
    text, ends = world.tickets.issue(KEY, "m", 60, '{"a":1}')
    assert text.startswith(PREFIX)
    assert KEY not in text
    ticket = world.tickets.read(text)
    assert (ticket.model, ticket.opening, ticket.expires_at) == ("m", '{"a":1}', ends)
    assert await world.tickets.principal(ticket, "127.0.0.1") == world.store.principal
    world.now = ends
    with pytest.raises(AuthenticationFailed):
        world.tickets.read(text)


async def test_a_ticket_ends_with_its_key() -> None:
    """Revoked, expired, or used from elsewhere."""
    world = World()
    ticket = world.tickets.read(world.tickets.issue(KEY, "m", 60, "")[0])
    world.store.principal = Principal("k", "n", "a", networks=("10.0.0.0/8",))
    with pytest.raises(PermissionDenied):
        await world.tickets.principal(ticket, "127.0.0.1")
    assert await world.tickets.principal(ticket, "10.1.2.3")
    for gone in (None, Principal("k", "n", "a", expires_at=1_000)):
        world.store.principal = gone
        with pytest.raises(AuthenticationFailed):
            await world.tickets.principal(ticket, "10.1.2.3")


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda d: PREFIX + d.hex()))
def test_nobody_makes_one(text: str) -> None:
    """Nor does what was sealed for something else open here."""
    with pytest.raises(AuthenticationFailed):
        World().tickets.read(text)


def test_what_another_secret_has_sealed() -> None:
    """Is no ticket."""
    text, _ = World().tickets.issue(KEY, "m", 60, "")
    other = Tickets(Store(None), SecretBox(b"x" * 32), PEPPER, wall_clock=lambda: 0.0)
    with pytest.raises(AuthenticationFailed):
        other.read(text)


def test_a_session_begins_with_little() -> None:
    """A ticket must fit into a header."""
    tickets = World().tickets
    text, _ = tickets.issue(KEY, "m" * 128, 60, "x" * OPENING_LIMIT)
    assert len(text) < 7_000
    with pytest.raises(InvalidRequest):
        tickets.issue(KEY, "m", 60, "é" * (OPENING_LIMIT // 2 + 1))
    assert isinstance(tickets.read(text), Ticket)
