"""A request as handlers see it: what was asked, by whom, and how to answer."""

from posthouse.server.address import TrustedProxies
from posthouse.server.bodies import read_body, too_large
from posthouse.server.credentials import presented_key
from posthouse.server.exchange import Exchange

ID_FIELD = b"x-request-id: "


class Request:
    """One request; `client` is the way to answer it."""

    __slots__ = ("_held", "_id_line", "_proxies", "client", "route", "tail")

    def __init__(
        self, client: Exchange, proxies: TrustedProxies, id_line: bytes
    ) -> None:
        """Wrap an exchange; the dispatcher sets `route` and `tail`.

        Args:
            client: the exchange.
            proxies: whose X-Forwarded-For is believed.
            id_line: the reply's line that tells the request's id.
        """
        self.client = client
        self.route = ""
        """The matched route's path; empty while none has matched."""
        self.tail = ""
        """What follows a prefix route, unescaped; may hold slashes."""
        self._proxies = proxies
        self._id_line = id_line
        self._held = 0

    @property
    def request_id(self) -> str:
        """Unique over processes and restarts; the reply's `x-request-id`."""
        return self._id_line[len(ID_FIELD) : -2].decode("ascii")

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
        return self._proxies.caller(
            self.client.peer, self.client.head.fields.get(b"x-forwarded-for")
        )

    def header(self, name: bytes) -> bytes | None:
        """Give a header's value; `name` in lower case."""
        return self.client.head.fields.get(name)

    def presented_key(self) -> str | None:
        """Give the key that the request carries; None for none or a malformed one."""
        return presented_key(self.client.head.fields, self.client.head.query)

    async def body(self, limit: int) -> bytes:
        """Read the whole body, decompressed; once.

        Authenticate before: this is what costs memory.

        Args:
            limit: bytes, before and after decompression.

        Raises:
            PayloadTooLarge, InvalidRequest, UnsupportedMediaType,
            RequestTimeout, Overloaded: as their names say.
        """
        client = self.client
        if b"content-encoding" not in client.head.fields:
            data = client.take_whole()
            if data is not None:
                if len(data) > limit:
                    raise too_large(limit)
                self.hold(len(data))
                return data
        return await read_body(client, limit, self)

    def hold(self, size: int) -> None:
        """Count `size` bytes of memory for this request; raises Overloaded."""
        self.client.context.budget.take(size)
        self._held += size

    def release(self) -> None:
        """Give back the body's share of memory; the dispatcher does it."""
        if self._held:
            self.client.context.budget.give_back(self._held)
            self._held = 0
