"""Secrets with which a Posthouse is set up, and the search for them afterwards.

One canary for each class of secret, in the shapes that real ones have. A
canary counts as found in any coding in which a program might print it.
"""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

CUSTOMER = "sk-canarycustomer4f9a7c21e8b3d6405a1f"
OTHER = "sk-anotherkey0123456789abcdefghijklmnopq"
WRONG = "sk-canarywrong81d2f0c7b6e5a4938271605f"
IN_QUERY = "sk-canaryquery5e2d9c8b7a6f4e3d2c1b0a99"
PASSWORD = "canary-proxy-password-71c3"
HEADER = "canary-header-value-5d08e1"
COLLECTOR = "canary-collector-key-a2f7"
SECRET = "canary-installation-secret-0f1e2d3c4b5a69788796a5b4c3d2e1f0"
PROMPT = "canary prompt: my cat is called Zephyrine"
ANSWER = "canary answer: Zephyrine sleeps on the Wurlitzer"
IN_FILE = "sk-canaryfaultyfile9b8a7c6d5e4f30211203"

PROVIDERS = {
    "openai": "sk-proj-canaryprovider_0aB1cD2eF3gH4iJ5kL6mN7oP8qR9",
    "uuid": "ca9a2700-0bad-4dad-8bad-facade123456",
    "words": "correct-horse-battery-canary-staple",
    "base64": "Q2FuYXJ5/Zm9vK2Jhcg+YmF6/cXV4eHk=",
    "dotted": "9c1e5b7d3f8a4c2e.CanaryDottedSecret",
    "short": "can4ryK3y",
    "colon": "canary:provider/credential",
}
"""A channel for each, by the shape of its key."""

PROVIDER_SIDE = [*PROVIDERS.values(), PASSWORD, HEADER, COLLECTOR]
"""What no caller may ever see."""
ALL = [CUSTOMER, WRONG, IN_QUERY, SECRET, PROMPT, ANSWER, IN_FILE, *PROVIDER_SIDE]


def codings(canary: str) -> Iterator[bytes]:
    """Give the forms in which a canary may be printed, and what is made of it."""
    data = canary.encode()
    yield data
    yield quote(canary, safe="").encode()
    yield quote_plus(canary).encode()
    yield canary.replace("/", "\\/").encode()
    yield data.hex().encode()
    yield canary.encode("utf-16-le")
    for shift in range(3):
        # Without the ends, which depend on what stands beside it.
        coded = base64.b64encode(b"\0" * shift + data)
        yield coded[4:-4]
    digest = hashlib.sha256(data)
    yield digest.digest()
    yield digest.hexdigest().encode()


FORMS = {canary: tuple(set(codings(canary))) for canary in ALL}


def found_in(data: bytes, canaries: list[str]) -> list[str]:
    """Give the canaries that stand in some bytes."""
    return [
        canary for canary in canaries if any(form in data for form in FORMS[canary])
    ]


def files_with(folder: Path, canaries: list[str]) -> dict[str, list[str]]:
    """Give the files below a folder that hold a canary, in content or name."""
    found = {}
    for path in folder.rglob("*"):
        data = str(path.relative_to(folder)).encode()
        if path.is_file():
            data += path.read_bytes()
        hits = found_in(data, canaries)
        if hits:
            found[str(path)] = hits
    return found
