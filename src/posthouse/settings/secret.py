"""The one secret of an installation, and the keys that are derived from it.

It is POSTHOUSE_SECRET, or else the content of DATA/secret.key, which is made
once, readable by its owner alone. Each use has a derived key of its own, so
that none of them tells anything about another or about the secret.
"""

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from typing_extensions import override

from posthouse.settings.environment import MIN_SECRET_LENGTH, Settings
from posthouse.settings.failure import ConfigurationError

FILE_NAME = "secret.key"
KEY_BYTES = 32
PEPPER = b"posthouse/keys/hmac-sha256/1"
CREDENTIALS = b"posthouse/credentials/aes-256-gcm/1"


class Secret:
    """The secret; it shows itself to nobody."""

    __slots__ = ("_material",)

    def __init__(self, material: bytes) -> None:
        self._material = material

    @override
    def __repr__(self) -> str:
        return "Secret(…)"

    def derive(self, purpose: bytes) -> bytes:
        """Give the 32-byte key for a purpose; the same one every time."""
        return HKDF(
            algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose
        ).derive(self._material)


def load_secret(settings: Settings) -> Secret:
    """Take the secret from the settings, or read or make the data folder's."""
    if settings.secret is not None:
        return Secret(settings.secret.encode())
    path = settings.data / FILE_NAME
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(path, lambda: secrets.token_urlsafe(KEY_BYTES) + "\n")
    return Secret(_read(path))


def _read(path: Path) -> bytes:
    if stat.S_IMODE(path.stat().st_mode) & 0o007:
        raise ConfigurationError(str(path), None, "others may read it; chmod 600 it")
    material = path.read_bytes().strip()
    if len(material) < MIN_SECRET_LENGTH:
        reason = f"holds fewer than {MIN_SECRET_LENGTH} characters"
        raise ConfigurationError(str(path), None, reason)
    return material


def write_private(path: Path, make: Callable[[], str]) -> bool:
    """Write a file that only its owner may read, unless it is there already.

    The file appears whole or not at all, and of several writers one wins.
    Gives whether this call wrote it.
    """
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, does not replace what another has written.
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True
