"""How long a key takes to be refused says nothing about it.

Welch's test over interleaved samples, as promised: |t| below 4.5. Measured inside
the process, where a difference is not drowned by the network; a machine that does
something else meanwhile may look like a difference once, but not each time.
"""

import gc
import math
import random
import statistics
import time

from posthouse.access.authenticator import Authenticator, Bounds
from posthouse.access.keys import digest
from posthouse.access.principal import Principal
from posthouse.errors import AuthenticationFailed

PEPPER = b"p" * 32
GOOD = "sk-" + "g" * 43
EXPIRED = "sk-" + "e" * 43
SAMPLES = 4000
"""Of each kind, at each look."""
LOOKS = 8
CRITICAL = 4.5
KINDS = {
    "unknown": "sk-" + "u" * 43,
    "wrong first character": "sk-" + "x" + "g" * 42,
    "wrong last character": "sk-" + "g" * 42 + "x",
    "expired": EXPIRED,
}


class Store:
    """One good key and one that has expired."""

    async def find(self, found: bytes) -> Principal | None:
        """Give the principal."""
        if found == digest(PEPPER, GOOD):
            return Principal("good", "good", "default")
        if found == digest(PEPPER, EXPIRED):
            return Principal("expired", "expired", "default", expires_at=1.0)
        return None


def refuse(door: Authenticator, key: str) -> int:
    """Give how many nanoseconds a key takes that has been refused before."""
    refusal = door.authenticate(key, "192.0.2.1")
    began = time.perf_counter_ns()
    try:
        refusal.send(None)
    except AuthenticationFailed:
        return time.perf_counter_ns() - began
    raise AssertionError("it was not refused at once")


def welch(ones: list[int], others: list[int]) -> float:
    """Give Welch's t, without the slowest twentieth of each, which is the machine's."""
    kept = [sorted(found)[: len(found) * 19 // 20] for found in (ones, others)]
    means = [statistics.fmean(found) for found in kept]
    errors = [statistics.variance(found) / len(found) for found in kept]
    return (means[0] - means[1]) / math.sqrt(sum(errors))


def look(door: Authenticator, source: random.Random) -> dict[str, float]:
    """Measure every kind against the unknown one; give those that differ."""
    order = [kind for kind in KINDS for _ in range(SAMPLES)]
    source.shuffle(order)
    times: dict[str, list[int]] = {kind: [] for kind in KINDS}
    gc.disable()
    try:
        for kind in order:
            times[kind].append(refuse(door, KINDS[kind]))
    finally:
        gc.enable()
    found = {kind: welch(times["unknown"], times[kind]) for kind in KINDS}
    return {kind: t for kind, t in found.items() if abs(t) >= CRITICAL}


def test_a_difference_would_be_seen() -> None:
    """Of a hundredth part between noisy samples."""
    source = random.Random(2)
    ones = [round(source.gauss(10_000, 500)) for _ in range(SAMPLES)]
    others = [round(source.gauss(10_100, 500)) for _ in range(SAMPLES)]
    assert abs(welch(ones, others)) > CRITICAL
    assert abs(welch(ones, ones)) < CRITICAL


async def test_a_wrong_key_takes_as_long_wherever_it_is_wrong() -> None:
    """In its first character, its last, or nowhere near a key; or was one once."""
    door = Authenticator(Store(), PEPPER, bounds=Bounds(failures_per_minute=10**9))
    assert (await door.authenticate(GOOD, "192.0.2.1")).name == "good"
    for key in KINDS.values():
        try:
            await door.authenticate(key, "192.0.2.1")
        except AuthenticationFailed:
            continue
    source = random.Random(1)
    for number in range(1, LOOKS + 1):
        differing = look(door, source)
        if not differing:
            return
        assert number < LOOKS, differing
