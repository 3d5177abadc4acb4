"""What is known of a file, of an upload, and of the pages that they are listed in.

Times are Unix milliseconds, sizes bytes. A blob is content under a random name of
ours; what callers call a file never becomes a part of a path.
"""

from enum import StrEnum

from msgspec import Struct

DAY_MS = 86_400_000
USUAL_DAYS = 30
"""For which files of batches are kept, unless their maker says otherwise."""
NAME_LIMIT = 255
"""Characters of a file's name."""


class StoredFile(Struct, frozen=True):
    """A file of an account's."""

    id: str
    account_id: str
    filename: str
    purpose: str
    media_type: str
    size: int
    blob: str
    created_ms: int
    expires_ms: int | None = None
    """None: it stays until it is deleted."""


class FileDetails(Struct, frozen=True):
    """What a caller says of a file that it sends."""

    filename: str
    purpose: str
    media_type: str
    keep_seconds: int | None = None
    """After which it is gone; None leaves that to the purpose."""


class UploadState(StrEnum):
    """How far an upload is."""

    PENDING = "pending"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Upload(Struct, frozen=True):
    """A file that comes in parts."""

    id: str
    account_id: str
    details: FileDetails
    size: int
    """Bytes that all parts together shall have."""
    state: UploadState
    created_ms: int
    expires_ms: int
    file_id: str | None = None


class UploadPart(Struct, frozen=True):
    """One of them."""

    id: str
    upload_id: str
    size: int
    blob: str
    created_ms: int


class Page(Struct, frozen=True):
    """Which part of a list is wanted."""

    limit: int
    """Entries at most."""
    descending: bool = True
    """The newest first."""
    after: str = ""
    """The page begins behind this one; "" at the beginning."""
    before: str = ""
    """The page ends before this one; "" has no end."""
    purpose: str = ""
    """Only files of this purpose; "" has all."""


def clean_name(name: str) -> str:
    """Give a file's name as it may be shown and written into a header."""
    name = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(letter for letter in name if letter.isprintable())
    return kept.strip()[-NAME_LIMIT:] or "file"


def expiry(details: FileDetails, created_ms: int) -> int | None:
    """Give when a file is gone; None: never."""
    if details.keep_seconds is not None:
        return created_ms + details.keep_seconds * 1000
    if details.purpose.startswith("batch"):
        return created_ms + USUAL_DAYS * DAY_MS
    return None
