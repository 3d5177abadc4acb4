"""What a scheme of signed requests gives.

Rules. A scheme is pure: it is told what time it is and given a nonce, and asks
for what it must fetch. `sign` is a generator that gives one `TokenWanted` for
each token that it needs, is sent the `Token`, and returns the signed request;
whoever drives it keeps tokens and fetches anew in time. A request's address may
hold names in braces (`{region}`, `{project}`) where the credential says what
stands there. No message names a part of the credential.
"""

import re
from collections.abc import Callable, Generator, Mapping
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace
from typing_extensions import override

from posthouse.model.exchange import UpstreamRequest

Headers = tuple[tuple[bytes, bytes], ...]

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


class BadCredential(ValueError):
    """A credential is not of the form that its scheme wants; str() says which."""


class Token(Struct, frozen=True):
    """What a provider gives for a credential, to be shown with every request."""

    value: str
    lifetime: float
    """Seconds, from when it was asked for."""

    @override
    def __repr__(self) -> str:
        """Say how long it lives; the rest is secret."""
        return f"Token(lifetime={self.lifetime!r})"


class TokenWanted(Struct, frozen=True):
    """A token that must be fetched, unless there is one."""

    request: UpstreamRequest
    read: Callable[[int, bytes], Token]
    """Judges the reply's status and body; raises UpstreamFault."""


Steps = Generator[TokenWanted, Token, UpstreamRequest]


class Signer(Protocol):
    """Signs the requests of one credential."""

    def sign(self, request: UpstreamRequest, now: float, nonce: str) -> Steps:
        """Begin to sign a request.

        Args:
            request: complete but for its signature.
            now: seconds since 1970.
            nonce: letters and digits that were never given before.

        Raises BadCredential for a credential that does not fit the address.
        """


class Make(Protocol):
    """Makes a scheme's signer."""

    def __call__(self, credential: str, options: Mapping[str, str]) -> Signer:
        """Read a credential; raises BadCredential.

        Args:
            credential: what the operator has written.
            options: what the provider's row says beside the scheme's name.
        """


def host_of(request: UpstreamRequest) -> str:
    """The Host header as it will be sent: without a port that goes unsaid."""
    scheme, _, host = request.origin.partition("://")
    usual = ":443" if scheme == "https" else ":80"
    return host.lower().removesuffix(usual)


def filled(request: UpstreamRequest, names: Mapping[str, str]) -> UpstreamRequest:
    """Fill in the names that an address holds in braces; raises BadCredential."""
    if "{" not in request.origin and "{" not in request.target:
        return request

    def fill(found: re.Match[str]) -> str:
        value = names.get(found[1], "")
        if not value:
            raise BadCredential(f"the credential does not say the {found[1]}")
        return value

    return replace(
        request,
        origin=_PLACEHOLDER.sub(fill, request.origin),
        target=_PLACEHOLDER.sub(fill, request.target),
    )


def with_headers(request: UpstreamRequest, headers: Headers) -> UpstreamRequest:
    """Add headers, in place of those that have their names."""
    names = {name for name, _ in headers}
    kept = tuple(header for header in request.headers if header[0] not in names)
    return replace(request, headers=kept + headers)
