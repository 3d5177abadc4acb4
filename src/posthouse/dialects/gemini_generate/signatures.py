"""Thought signatures, and those of other dialects' providers in their place.

Gemini signs the parts that it wants back to the letter: the first call of a step,
at times a text or a picture. Its own signatures pass as they stand. Those of
others travel sealed and in base64, for SDKs read the member as bytes: nothing
else about a thought has a place here, so that it is withheld, and what it is
called, are told with the seal.

Sources: https://ai.google.dev/gemini-api/docs/thought-signatures (2026-11), the
stand-ins for lost signatures included; google-genai 3.4.0, `types.Part`.
"""

import base64
import re
from binascii import Error as BadBase64

from posthouse.dialects.neutral.seal import seal, unseal
from posthouse.model.chat import Signature, Thinking

NAME = "gemini_generate"

STAND_IN = "context_engineering_is_the_way_to_go"
"""What Google takes for the signature of a call that was never signed by it."""

_SEALED = base64.b64encode(b"posthouse").decode()
_USUAL_ALPHABET = str.maketrans("-_", "+/")
_REDACTED = "+redacted"
_ID = "+id="
_GENERATION = re.compile(r"gemini-(\d+)")


def write_signature(signature: Signature | None) -> str | None:
    """Write a signature for a client; None if there is none."""
    if signature is None:
        return None
    if signature.by == NAME:
        return signature.value
    return base64.b64encode(seal(signature, NAME).encode()).decode()


def read_signature(text: str | None) -> Signature | None:
    """Read what a client or a provider has sent."""
    if not text:
        return None
    if not text.startswith(_SEALED):
        return Signature(NAME, text)
    # SDKs may write bytes in the other alphabet, and without the signs at the end.
    plain = text.translate(_USUAL_ALPHABET).rstrip("=")
    padded = plain + "=" * (-len(plain) % 4)
    try:
        return unseal(base64.b64decode(padded, validate=True).decode(), NAME)
    except (BadBase64, ValueError):
        return Signature(NAME, text)


def sign_thought(thought: Thinking) -> str | None:
    """Write a thought's signature, with what else must come back with it."""
    signature = thought.signature
    if signature is None or signature.by == NAME:
        return write_signature(signature)
    by = signature.by
    if thought.redacted:
        by += _REDACTED
    if thought.id is not None:
        by += _ID + thought.id
    return write_signature(Signature(by, signature.value))


def signed_thought(text: str, signature: Signature | None) -> Thinking:
    """Make a thought of its text and of what stood in its signature's place."""
    if signature is None or "+" not in signature.by:
        return Thinking(text, signature)
    by, _, name = signature.by.partition(_ID)
    redacted = by.endswith(_REDACTED)
    signature = Signature(by.removesuffix(_REDACTED), signature.value)
    return Thinking(text, signature, redacted=redacted, id=name or None)


def generation(model: str) -> int | None:
    """The generation in a Gemini model's name: 2, 3; None if it tells none."""
    match = _GENERATION.search(model)
    return None if match is None else int(match[1])


def wants_signatures(model: str) -> bool:
    """Whether a model refuses calls of its current turn that are not signed."""
    found = generation(model)
    return found is None or found > 2
