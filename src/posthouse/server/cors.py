"""Cross-origin requests of browsers: which origins may read our replies.

Keys travel in headers that the page's own code sets, never in cookies, so
credentials are never allowed and `*` is safe to offer.
"""

import re

from posthouse.server.heads import Headers

_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_FIELD_NAMES = re.compile(
    rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?: *, *[A-Za-z0-9!#$%&'*+.^_`|~-]+)*"
)
_MAX_AGE = b"7200"
_EXPOSED = (
    b"x-request-id, retry-after, retry-after-ms, x-should-retry, "
    b"x-ratelimit-limit-requests, x-ratelimit-remaining-requests, "
    b"x-ratelimit-reset-requests, x-ratelimit-limit-tokens, "
    b"x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)


class CORS:
    """The origins that may call from a browser."""

    def __init__(self, origins: tuple[str, ...] = ()) -> None:
        """Take origins as browsers send them, or `*` for all; none allows none."""
        self._any = "*" in origins
        self._origins = frozenset(
            origin.rstrip("/").lower().encode("latin-1") for origin in origins
        )

    def headers(self, origin: bytes) -> Headers:
        """Give what a reply to `origin` carries, whatever its status."""
        if self._any:
            allowed = b"*"
        elif origin.lower() in self._origins:
            allowed = origin
        else:
            return [(b"vary", b"origin")] if self._origins else []
        headers = [
            (b"access-control-allow-origin", allowed),
            (b"access-control-expose-headers", _EXPOSED),
        ]
        if not self._any:
            headers.append((b"vary", b"origin"))
        return headers

    def preflight(self, origin: bytes, requested: bytes | None) -> Headers:
        """Give what the answer to a preflight carries beside `headers`.

        Args:
            origin: of the page.
            requested: the header names that the page wants to send.
        """
        if not self._any and origin.lower() not in self._origins:
            return []
        headers = [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-max-age", _MAX_AGE),
        ]
        if requested is not None and _FIELD_NAMES.fullmatch(requested):
            headers.append((b"access-control-allow-headers", requested))
        return headers
