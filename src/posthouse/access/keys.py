"""Keys: how they are made, kept and recognised.

A key is `sk-` and 43 characters of base62, 256 bits; a sandbox key begins with
`sk-test-`. Only its HMAC-SHA256 under the installation's pepper is kept, so
that neither the database nor a timing tells anything about a key.
"""

import hmac
import secrets
import string
from collections.abc import Callable

PREFIX = "sk-"
SANDBOX_PREFIX = "sk-test-"
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_BITS = 256
RANDOM_CHARACTERS = 43
"""So many characters of base62 as 256 bits need."""
HINT_CHARACTERS = 4
MAX_LENGTH = 256


def new_key(
    random_bits: Callable[[int], int] = secrets.randbits, *, sandbox: bool = False
) -> str:
    """Make a key; `random_bits` gives a number of so many random bits."""
    number = random_bits(RANDOM_BITS)
    characters = []
    for _ in range(RANDOM_CHARACTERS):
        number, digit = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[digit])
    return (SANDBOX_PREFIX if sandbox else PREFIX) + "".join(characters)


def digest(pepper: bytes, key: str) -> bytes:
    """Give what is kept of a key: 32 bytes that only the pepper's owner can make."""
    return hmac.digest(pepper, key.encode(), "sha256")


def hint(key: str) -> str:
    """Give the key's last characters, by which people tell keys apart."""
    return key[-HINT_CHARACTERS:]
