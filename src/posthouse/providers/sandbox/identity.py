"""Names and numbers that a reply needs and that only the request decides."""

import hashlib

from msgspec import Struct

CREATED = 1_700_000_000
"""Every reply's `created`: the sandbox has no clock."""
FINGERPRINT = "sandbox"
SAMPLE = 65_536
"""Bytes at either end of a body that its ids depend on."""


class Identity(Struct, frozen=True):
    """Where a reply's ids come from."""

    digest: str

    def make(self, prefix: str, index: int = 0) -> str:
        """Make an id; another index makes another one."""
        return f"{prefix}{self.digest[index : index + 24]}"


def identify(data: bytes) -> Identity:
    """Derive ids from a request's body; equal requests get equal ids."""
    sample = data[:SAMPLE] + data[-SAMPLE:]
    return Identity(hashlib.blake2b(sample, digest_size=64).hexdigest())


def logprob(place: int, rank: int = 0) -> float:
    """Give a token's log probability: between 0 and -1, less for each rank."""
    return -((place * 7 + 3) % 97) / 97 - 2.0 * rank
