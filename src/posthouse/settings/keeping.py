"""Settings of what is kept for callers: their files, and the batches made of them.

They stand in the same table as all others; see `environment`.
"""

from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from posthouse.settings.file import Guarded
from posthouse.settings.rule import Rule, count

KEEPING_SECRETS: Final = frozenset({"files_secret_access_key"})
STANDARD_FILES_ENDPOINT: Final = "AWS_ENDPOINT_URL"
_SCHEMES: Final = frozenset({"s3", "s3a", "gs", "az", "abfs", "abfss", "file"})


def check_place(value: str) -> None:
    """Refuse what no store of files is named by; raises ValueError."""
    parts = urlsplit(value)
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"does not begin with one of {', '.join(sorted(_SCHEMES))}")
    if parts.scheme == "file" and (parts.netloc or len(parts.path) < 2):
        raise ValueError("names no folder: file:///folder has three slashes")
    if parts.scheme != "file" and not parts.netloc:
        raise ValueError("names no bucket")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("has more than a bucket and a prefix")


def check_endpoint(value: str) -> None:
    """Refuse what is no address of a service; raises ValueError."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("is not an http or https URL")


class KeepingSettings(Guarded, frozen=True, kw_only=True):
    """Settings of files and batches."""

    files: Annotated[
        str | None,
        Rule(
            "Where callers' files are kept, such as `s3://bucket/prefix` or "
            "`file:///folder`; without it in DATA/files. Nodes that share a database "
            "must share it.",
            item=check_place,
        ),
    ] = None
    files_endpoint: Annotated[
        str | None,
        Rule(
            "Address of a service that speaks as S3 does; without it "
            f"`{STANDARD_FILES_ENDPOINT}` counts, and without both it is Amazon's.",
            item=check_endpoint,
        ),
    ] = None
    files_region: Annotated[
        str | None, Rule("Region of the bucket; default is `AWS_REGION`.")
    ] = None
    files_access_key_id: Annotated[
        str | None, Rule("S3's access key; default is `AWS_ACCESS_KEY_ID`.")
    ] = None
    files_secret_access_key: Annotated[
        str | None,
        Rule(
            "Its secret; default is `AWS_SECRET_ACCESS_KEY`. It may stand in a file: "
            "`file:PATH`.",
            shortest=1,
        ),
    ] = None
    files_quota_bytes: Annotated[int, count("All files of one account together.")] = (
        1024**3
    )
    file_max_bytes: Annotated[int, count("Largest file.")] = 512 * 1024 * 1024
    file_input_bytes: Annotated[
        int, count("All files together that one call may name.")
    ] = 32 * 1024 * 1024
    public_url: Annotated[
        str | None,
        Rule(
            "Where callers reach this server, for URLs of what was made for them, such "
            "as `https://ai.example.com`; default is the address it listens at.",
            item=check_endpoint,
        ),
    ] = None
    media_rehost: Annotated[
        Literal["off", "on"],
        Rule(
            "Whether pictures that providers give short-lived URLs for are kept here, "
            "and callers get a URL of this server."
        ),
    ] = "off"
    media_seconds: Annotated[
        float,
        Rule(
            "For which a URL of what was made for a caller is good.",
            least=60,
            most=2_592_000,
        ),
    ] = 86_400
    media_quota_bytes: Annotated[
        int, count("All that is kept under such URLs together.")
    ] = 1024**3
    batch_concurrency: Annotated[
        int,
        Rule(
            "Calls of batches that one process makes at a time; 0 makes none.",
            least=0,
            most=1024,
        ),
    ] = 8
    batch_poll_seconds: Annotated[
        float,
        Rule(
            "After which a provider is asked how far a batch is that it was given; "
            "later ones up to twenty times as long.",
            least=0.1,
            most=3600,
        ),
    ] = 30.0
