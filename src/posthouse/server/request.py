"""A request as handlers see it: what was asked, by whom, and how to answer."""

from msgspec import Struct

from posthouse.dialects.base import Manners
from posthouse.server.address import TrustedProxies
from posthouse.server.bodies import read_body, too_large
from posthouse.server.credentials import carries_key, presented_key
from posthouse.server.exchange import Exchange


class Request(Struct):
    """One request; `client` is the way to answer it."""

    client: Exchange
    proxies: TrustedProxies
    """Whose X-Forwarded-For is believed."""
    request_id: str
    """Unique over processes and restarts; the reply's `x-request-id`."""
    manners: Manners | None = None
    """How the matched route's dialect speaks to its clients; None: it has none."""
    route: str = ""
    """The matched route's path; empty while none has matched."""
    tail: str = ""
    """What follows a prefix route, unescaped; may hold slashes."""
    named_key: str | None = None
    """The key, where an API has it in a place of its own."""
    held: int = 0
    """Bytes of memory that are counted for it."""

    @property
    def path(self) -> str:
        """The path in its documented spelling, escapes decoded."""
        return self.route + self.tail or self.client.head.path

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return self.client.head.method

    @property
    def query(self) -> bytes:
        """The raw query string, without the question mark."""
        return self.client.head.query

    @property
    def client_address(self) -> str:
        """The caller's IP address, behind proxies that are trusted."""
        return self.proxies.caller(
            self.client.peer, self.client.head.fields.get(b"x-forwarded-for")
        )

    def header(self, name: bytes) -> bytes | None:
        """Give a header's value; `name` in lower case."""
        return self.client.head.fields.get(name)

    def presented_key(self) -> str | None:
        """Give the key that the request carries; None for none or a malformed one."""
        if self.named_key is not None:
            return self.named_key
        head = self.client.head
        return head.key or presented_key(head.fields, head.query)

    @property
    def carries_key(self) -> bool:
        """Whether there is a key in one of the usual places, good or not."""
        return carries_key(self.client.head.fields, self.client.head.query)

    def arrived_body(self, limit: int) -> bytes | None:
        """Give the body if it came at once and plain, as small ones do.

        None: `body` reads it. Raises PayloadTooLarge and Overloaded.
        """
        client = self.client
        if b"content-encoding" in client.head.fields:
            return None
        data = client.take_whole()
        if data is not None:
            size = len(data)
            if size > limit:
                raise too_large(limit)
            self.hold(size)
        return data

    async def body(self, limit: int) -> bytes:
        """Read the whole body, decompressed; once.

        Authenticate before: this is what costs memory.

        Args:
            limit: bytes, before and after decompression.

        Raises:
            PayloadTooLarge, InvalidRequest, UnsupportedMediaType,
            RequestTimeout, Overloaded: as their names say.
        """
        data = self.arrived_body(limit)
        return await read_body(self.client, limit, self) if data is None else data

    def hold(self, size: int) -> None:
        """Count `size` bytes of memory for this request; raises Overloaded."""
        budget = self.client.context.budget
        if budget.held + size > budget.limit:
            budget.refuse()
        budget.held += size
        self.held += size
