"""Paths taken apart: words, ids, and the template that they make together."""

import re
from functools import lru_cache
from urllib.parse import unquote

from msgspec import Struct

from posthouse.dialects.resources.words import (
    ADMINISTRATION,
    CONTENT,
    NUMBERED,
    PUBLIC,
    WHOLE_ACCOUNT,
    WORDS,
)
from posthouse.errors import NotFound

_SLASHES = re.compile("/{2,}")
_VERSION = re.compile(r"(/v1(?=/|$))+")
_STEPS = frozenset({".", ".."})


class ResourcePath(Struct, frozen=True):
    """A path behind the version."""

    raw: str
    """As it came, but for doubled slashes and one at the end."""
    template: str
    """With `{}` in the place of each id, `/files/{}` say."""
    ids: tuple[str, ...]
    """In their order, escapes decoded."""

    @property
    def first(self) -> str:
        """The first segment."""
        return self.template[1:].partition("/")[0]

    @property
    def last(self) -> str:
        """The last segment."""
        return self.template.rpartition("/")[2]

    @property
    def names_things(self) -> bool:
        """Whether it names anything, be that everybody's."""
        return "{}" in self.template

    @property
    def is_administration(self) -> bool:
        """Whether it manages the account."""
        segment = self.raw[1:].partition("/")[0]
        return unquote(segment).casefold() in ADMINISTRATION

    @property
    def is_whole_account(self) -> bool:
        """Whether it concerns everything on the account."""
        return self.first in WHOLE_ACCOUNT

    @property
    def is_content(self) -> bool:
        """Whether it gives what somebody has stored."""
        return self.last in CONTENT


@lru_cache(maxsize=1024)
def read_path(raw: str) -> ResourcePath:
    """Take a path apart; raises NotFound for one that no API has.

    Args:
        raw: as it came, with its version or without, escapes as they stand.
    """
    path = _SLASHES.sub("/", raw)
    path = _VERSION.sub("", path.rstrip("/"), count=1) or "/"
    words: list[str] = []
    ids: list[str] = []
    for segment in path[1:].split("/"):
        text = unquote(segment)
        _check(text)
        known = segment in WORDS
        numbers = words and words[-1] in NUMBERED and len(words) > 1
        if not (known or numbers or segment in PUBLIC):
            ids.append(text)
        words.append(segment if known else "{}")
    return ResourcePath(path, "/" + "/".join(words), tuple(ids))


def _check(text: str) -> None:
    """Refuse what another server may read as a step to elsewhere."""
    for _ in range(3):
        if not text or not text.isprintable() or "\\" in text:
            raise NotFound
        if _STEPS.intersection(text.split("/")):
            raise NotFound
        plain = unquote(text)
        if plain == text:
            return
        text = plain
    raise NotFound
