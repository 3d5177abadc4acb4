"""Credentials by reference: `env:NAME` and `file:PATH`, read when applied.

A reason never repeats what was read. Relative paths start at the folder of
the configuration file, so that it means the same from wherever it is applied.
"""

import re
from collections.abc import Mapping
from pathlib import Path

MAX_FILE_BYTES = 16_384

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_reference(value: str) -> bool:
    """Whether a value says where a credential is instead of being one."""
    return value.startswith(("env:", "file:"))


def check_reference(value: str) -> None:
    """Raise ValueError when the reference is malformed; nothing is read."""
    kind, _, target = value.partition(":")
    if kind == "env" and not _NAME.fullmatch(target):
        raise ValueError(f"{value!r} does not name an environment variable")
    if kind == "file" and (not target or "\0" in target):
        raise ValueError(f"{value!r} does not name a file")


def resolve(value: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Give the credential that a value is or refers to.

    Raises ValueError with a reason for the operator when it is not there.
    """
    if not is_reference(value):
        return value
    kind, _, target = value.partition(":")
    if kind == "env":
        found = environment.get(target, "").strip()
        if not found:
            raise ValueError(f"the environment variable {target} is not set")
        return found
    path = folder / Path(target).expanduser()
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"{path} is too large for a credential")
    try:
        found = data.decode("ascii").strip()
    except UnicodeDecodeError:
        raise ValueError(f"{path} does not hold a credential in ASCII") from None
    if not found:
        raise ValueError(f"{path} is empty")
    return found
