"""Carrying a provider's signature through a dialect that has a place for its own.

Thoughts and tool calls are signed by providers who want them back to the letter.
A client whose dialect has a place for a signature keeps what we put there and
sends it back; the seal says in which dialect it was given, so that it reaches
only providers who can use it.
"""

from posthouse.model.chat import Signature

PREFIX = "posthouse."
"""Of every seal."""


def seal(signature: Signature | None, own: str) -> str:
    """Write a signature where clients of the dialect `own` keep one.

    Its own signatures stand as they are. None is a sealed nothing: the place
    must not be empty, and what comes back is known not to be a signature.
    """
    if signature is None:
        return f"{PREFIX}none."
    if signature.by == own:
        return signature.value
    return f"{PREFIX}{signature.by}.{signature.value}"


def unseal(text: str | None, own: str) -> Signature | None:
    """Read what such a client has sent back; None for a sealed nothing."""
    if not text:
        return None
    if not text.startswith(PREFIX):
        return Signature(own, text)
    by, _, value = text.removeprefix(PREFIX).partition(".")
    return Signature(by, value) if value else None
