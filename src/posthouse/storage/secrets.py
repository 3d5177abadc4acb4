"""Provider credentials at rest: AES-256-GCM, bound to the row they stand in.

What is sealed for one row does not open in another, so swapping the contents
of two rows is noticed like any other tampering.
"""

import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from typing_extensions import override

NONCE_BYTES = 12
VERSION = b"\x01"
"""Names the format: the version, the nonce, the ciphertext with its tag."""


class SealBroken(Exception):
    """What is stored does not open: it was altered, or the secret is another."""


class SecretBox:
    """Seals and opens with one key; it shows itself to nobody."""

    def __init__(
        self, key: bytes, random_bytes: Callable[[int], bytes] = os.urandom
    ) -> None:
        """Take a key of 32 bytes."""
        self._cipher = AESGCM(key)
        self._random_bytes = random_bytes

    @override
    def __repr__(self) -> str:
        return "SecretBox(…)"

    def seal(self, plaintext: bytes, place: str) -> bytes:
        """Encrypt for a place, such as `channels/<id>`."""
        nonce = self._random_bytes(NONCE_BYTES)
        return VERSION + nonce + self._cipher.encrypt(nonce, plaintext, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """Decrypt what was sealed for this place; raises SealBroken."""
        nonce = sealed[1 : 1 + NONCE_BYTES]
        if sealed[:1] != VERSION or len(nonce) != NONCE_BYTES:
            raise SealBroken(f"{place} does not hold a sealed value")
        try:
            return self._cipher.decrypt(
                nonce, sealed[1 + NONCE_BYTES :], place.encode()
            )
        except InvalidTag:
            raise SealBroken(
                f"{place} does not open: is POSTHOUSE_SECRET, or the data folder's "
                "secret.key, the one it was sealed with?"
            ) from None
