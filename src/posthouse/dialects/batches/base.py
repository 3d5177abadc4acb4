"""What the ways of speaking about batches have in common.

Nothing that a provider says is believed further than its shape: names that go into
paths are names, numbers are numbers, and what cannot be read is `Unreadable`.
"""

import re
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from posthouse.model.catalog import BatchRow
from posthouse.wire import json
from posthouse.wire.json import Decoder, MalformedJSON

JSON = b"application/json"
LISTED = 100
"""Batches of a page."""
T = TypeVar("T")
_WORD = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


class Unreadable(ValueError):
    """What a provider says is not what it should be; str() tells what."""


class Ask(Struct, frozen=True):
    """A request about batches; the path begins behind the channel's."""

    method: str
    path: str
    body: bytes = b""
    content_type: bytes = JSON


class Remote(Struct, frozen=True):
    """A batch as the provider tells of it."""

    id: str
    ended: bool
    created: float
    """Unix seconds."""
    lines: int
    mark: str = ""
    """What it was given to be known by; empty: none, or providers do not say."""
    results: tuple[str, ...] = ()
    """Paths of its results; there may be none."""
    reason: str = ""
    """Why it has failed as a whole: the provider's code."""


class Listed(Struct, frozen=True):
    """A page of batches, newest first."""

    batches: tuple[Remote, ...]
    following: str
    """The next page's path; empty: there is none."""


class Result(Struct, frozen=True):
    """What became of one request."""

    custom_id: str
    status: int
    """HTTP's; 0: it was not answered."""
    body: bytes


class BatchDialect(Protocol):
    """A way of speaking about batches."""

    tells_marks: bool
    """Whether batches say by what they are known."""
    cursor: str
    """The parameter that says behind which batch a page begins."""

    def line(self, custom_id: str, url: str, body: bytes) -> bytes:
        """Write one request; its body is one line of JSON."""

    def upload(self, row: BatchRow, mark: str, lines: Sequence[bytes]) -> Ask | None:
        """Ask to keep the requests; None: they go with the batch itself."""

    def create(
        self, row: BatchRow, mark: str, url: str, lines: Sequence[bytes] | str
    ) -> Ask:
        """Ask for a batch of requests, or of the file that has them."""

    def told(self, row: BatchRow, found: dict[str, Any]) -> Remote:
        """Take what is told of a batch; raises Unreadable."""

    def result(self, line: bytes) -> Result:
        """Read a line of results; raises Unreadable."""


def remote_of(dialect: BatchDialect, row: BatchRow, body: bytes) -> Remote:
    """Read a batch; raises Unreadable."""
    return dialect.told(row, object_of(body))


def listed_of(dialect: BatchDialect, row: BatchRow, body: bytes) -> Listed:
    """Read a page of batches; raises Unreadable."""
    found = object_of(body)
    data = found.get("data")
    if not isinstance(data, list):
        raise Unreadable("its data is no list")
    batches = tuple(dialect.told(row, members(one, "a batch")) for one in data)
    return Listed(batches, page_of(row, dialect.cursor, found))


def object_of(body: bytes) -> dict[str, Any]:
    """Read an object; raises Unreadable."""
    try:
        found = json.decode_leniently(body)
    except MalformedJSON as error:
        raise Unreadable(f"it is no JSON: {error}") from None
    return members(found, "it")


def read(decoder: Decoder[T], line: bytes) -> T:
    """Read a line; raises Unreadable."""
    try:
        return json.decode_with(decoder, line)
    except MalformedJSON as error:
        raise Unreadable(str(error)) from None


def members(value: Any, what: str) -> dict[str, Any]:
    """Give a value that is an object; raises Unreadable."""
    if not isinstance(value, dict):
        raise Unreadable(f"{what} is no object")
    return value


def name_of(value: Any, what: str) -> str:
    """Give a value that is a name and can stand in a path; raises Unreadable."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise Unreadable(f"{what} is no name")
    return value


def id_of(body: bytes) -> str:
    """Give the name of what was made; raises Unreadable."""
    return name_of(object_of(body).get("id"), "its id")


def word_of(value: Any) -> str:
    """Give a value that is a code; words of any other kind may be a caller's."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""


def code_of(body: bytes) -> str:
    """Give the code of a refusal; empty: it has none."""
    try:
        error = object_of(body).get("error")
    except Unreadable:
        return ""
    if not isinstance(error, dict):
        return ""
    return word_of(error.get("code")) or word_of(error.get("type"))


def count_of(value: Any) -> int:
    """Give a value that is a count; everything else is none."""
    return value if type(value) is int and value > 0 else 0


def page_of(row: BatchRow, parameter: str, found: dict[str, Any]) -> str:
    """Give the path of the page that follows one."""
    if found.get("has_more") is not True:
        return ""
    last = name_of(found.get("last_id"), "last_id")
    return f"{first_page(row)}&{parameter}={last}"


def first_page(row: BatchRow) -> str:
    """Give the path of the newest batches."""
    return f"{row.path}?limit={LISTED}"


def look(row: BatchRow, remote_id: str) -> Ask:
    """Ask how far a batch is."""
    return Ask("GET", f"{row.path}/{remote_id}")


def cancel(row: BatchRow, remote_id: str) -> Ask:
    """Ask for a batch's early end."""
    return Ask("POST", f"{row.path}/{remote_id}/cancel", b"{}")
