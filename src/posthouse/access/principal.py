"""The principal: whom a call is made for, and what it may do."""

from msgspec import Struct
from msgspec.structs import force_setattr

from posthouse.access.windows import Rates, rates_of


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
    rates: Rates | None = None
    """Its limits; None has none. Made of `rpm`, `tpm` and `concurrency`."""

    def __post_init__(self) -> None:
        """Find the limits once, not for every call."""
        limits = self.rpm, self.tpm, self.concurrency
        rates = None if limits == (None, None, None) else rates_of(*limits)
        force_setattr(self, "rates", rates)
