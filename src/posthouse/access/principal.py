"""The principal: whom a call is made for, and what it may do."""

from msgspec import Struct


class Principal(Struct, frozen=True):
    """A key's rights, as the call needs them."""

    key_id: str
    name: str
    account_id: str
    """The account that pays."""
    models: tuple[str, ...] | None = None
    """Allowed names, `*` matching any run of characters; None allows all."""
    networks: tuple[str, ...] = ()
    """CIDR blocks the caller's address must be in; empty allows all."""
    expires_at: int | None = None
    """Unix seconds."""
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    sandbox: bool = False
    group: str | None = None
    """What rules of routing may ask for."""
