"""What a channel's provider may repeat of what it was told, and callers may not see.

A dialect cleans a provider's words by the shapes that secrets have; here they
are also cleaned of this channel's own secrets, whatever shape those have.
Costs nothing unless an attempt has failed.
"""

import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, urlsplit

from posthouse.errors import PosthouseError, UpstreamRejected
from posthouse.routing.table import Channel

SHORTEST_SECRET = 6
"""Characters; what is shorter is a word, and no secret."""
REMOVED = "[removed]"
_PARTS = re.compile(r"[:|@]")
"""Between the parts of a credential that signs."""


def without_secrets(text: str, channel: Channel) -> str:
    """Give a text without the channel's secrets, and its host."""
    for secret in _secrets(channel):
        if secret in text:
            text = text.replace(secret, REMOVED)
    return text


def body_without_secrets(body: bytes, channel: Channel) -> bytes:
    """Give the body of an error reply without them, before it is cut or cleaned."""
    for secret in _secrets(channel):
        data = secret.encode()
        if data in body:
            body = body.replace(data, REMOVED.encode())
    return body


def conceal(error: PosthouseError, channel: Channel) -> None:
    """Take the channel's secrets out of an error that quotes its provider."""
    if not isinstance(error, UpstreamRejected):
        return
    error.message = without_secrets(error.message, channel)
    for name in ("param", "upstream_code", "upstream_type"):
        value = getattr(error, name)
        if value is not None:
            setattr(error, name, without_secrets(value, channel))


def _secrets(channel: Channel) -> list[str]:
    """List them in the forms in which they are written, the longest first."""
    found = set()
    for secret in _kept(channel):
        if len(secret) >= SHORTEST_SECRET:
            found |= {secret, quote(secret, safe=""), secret.replace("/", "\\/")}
    return sorted(found, key=len, reverse=True)


def _kept(channel: Channel) -> Iterator[str]:
    yield from channel.credentials
    if channel.provider.signing is not None:
        for credential in channel.credentials:
            yield from _PARTS.split(credential)
    yield from _with_words(channel.spec.headers.values())
    for address in (channel.origin, channel.spec.proxy):
        if address is not None:
            parts = urlsplit(address)
            yield from (parts.netloc, parts.hostname or "", parts.password or "")


def _with_words(values: Iterable[str]) -> Iterator[str]:
    """Give header values and the words in them: `Bearer <secret>`."""
    for value in values:
        yield value
        yield from value.split()
