"""From a path to its handler: one dictionary look-up for a path as documented.

Clients are told one base URL and write it in many ways: with `/v1`, without,
doubled because base and path both have one, with doubled slashes or a slash at
the end. All lead to the same route. Only the path decides: never Host, never
a header that rewrites it.
"""

import re
from collections.abc import Awaitable, Callable, Iterable

from msgspec import Struct

from posthouse.dialects.base import Manners
from posthouse.server.request import Request

Handler = Callable[[Request], Awaitable[None]]
"""Answers a request through `request.client`, or raises a PosthouseError."""

_VERSION = "/v1"
_DOUBLED = ("/v1/v1/", "/v1/v1beta/", "/v1beta/v1beta/", "/v1beta/v1/")
_SLASHES = re.compile("/{2,}")


class Route(Struct, frozen=True):
    """What one path answers.

    `path` is the documented one, with `/v1` where it has that. A `prefix` route
    ends with a slash and takes everything below; the rest is `Request.tail`.
    """

    methods: tuple[str, ...]
    path: str
    handler: Handler
    prefix: bool = False
    manners: Manners | None = None
    """How its dialect speaks to its clients; None: it has none of its own."""
    urgent: bool = False
    """Never waits for its turn, however far the process is behind: health."""
    socket: Handler | None = None
    """Takes those who ask for a WebSocket; None: nobody may."""
    rest: frozenset[str] | None = None
    """Of the one route `/v1/` for what no other takes: the first words of paths that
    lead there without the version, too."""


class Entry(Struct, frozen=True):
    """A path with the handlers of its methods."""

    path: str
    handlers: dict[str, Handler]
    manners: Manners | None = None
    urgent: bool = False
    socket: Handler | None = None

    @property
    def allow(self) -> bytes:
        """The value of an Allow header."""
        return ", ".join(sorted({*self.handlers, "OPTIONS"})).encode("ascii")


class RouteTable:
    """All routes."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Merge routes by path; raises ValueError if two claim the same."""
        exact: dict[str, Entry] = {}
        self._prefixes: dict[str, Entry] = {}
        self._rest: Entry | None = None
        self._words = frozenset[str]()
        for route in routes:
            if route.rest is not None:
                handlers = dict.fromkeys(route.methods, route.handler)
                self._rest = Entry(route.path, handlers, route.manners)
                self._words = route.rest
                continue
            if route.prefix != route.path.endswith("/") and route.path != "/":
                raise ValueError(f"only prefix routes end with a slash: {route.path}")
            self._add(self._prefixes if route.prefix else exact, route)
        self.exact = {path: (entry, "") for path, entry in exact.items()}
        """What `find` gives for paths that are written as documented."""

    def _add(self, table: dict[str, Entry], route: Route) -> None:
        entry = table.get(route.path)
        if entry is None:
            entry = Entry(route.path, {}, route.manners, route.urgent, route.socket)
            table[route.path] = entry
        if route.path.startswith(_VERSION + "/"):
            table[route.path.removeprefix(_VERSION)] = entry
        methods = route.methods
        if "GET" in methods and "HEAD" not in methods:
            methods = (*methods, "HEAD")
        for method in methods:
            if method in entry.handlers:
                raise ValueError(f"two routes for {method} {route.path}")
            entry.handlers[method] = route.handler

    def find(self, path: str) -> tuple[Entry, str] | None:
        """Give a path's entry and what follows its prefix.

        Args:
            path: as it came, escapes decoded.
        """
        found = self.exact.get(path)
        if found is not None:
            return found
        path = normalise(path)
        found = self.exact.get(path)
        if found is not None:
            return found
        for prefix, entry in self._prefixes.items():
            if path.startswith(prefix):
                return entry, path[len(prefix) :]
        if self._rest is not None:
            tail = path.removeprefix(f"{_VERSION}/")
            if tail is not path or path[1:].partition("/")[0] in self._words:
                return self._rest, tail.lstrip("/")
        return None


def normalise(path: str) -> str:
    """Give a path's one spelling; the leading `/v1` stays as it is, but single."""
    if "//" in path:
        path = _SLASHES.sub("/", path)
    if len(path) > 1 and path.endswith("/"):
        path = path[:-1]
    while path.startswith(_DOUBLED) or path == "/v1/v1":
        path = path[path.index("/", 1) :]
    return path
