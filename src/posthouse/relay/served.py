"""What an attempt has brought, as far as money asks."""

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from posthouse.dialects.base import Headers, StreamTap
from posthouse.model.usage import ReportedUsage
from posthouse.routing.plan import Target
from posthouse.wire.multipart import JSON


class Completion(StrEnum):
    """How far an answer came."""

    WHOLE = "whole"
    INTERRUPTED = "interrupted"
    """The provider broke off after content had been delivered."""
    ABANDONED = "abandoned"
    """The client went away; nothing more was read, or all of it was."""
    CUT_OFF = "cut_off"
    """We ended it, for the money did not reach further."""


class Served(Struct, frozen=True, gc=False):
    """What was produced, to be priced."""

    target: Target
    completion: Completion
    usage: ReportedUsage | None
    """As the provider told it; None must be counted."""
    service_tier: str | None
    text: Callable[[], str]
    """Reads what was produced, where it must be counted; of much, a sample."""
    size: int = 0
    """Bytes of all of it, where that may be more than `text` gives."""
    body: bytes = b""
    """The whole reply for the client; a stream has been written."""
    content_type: bytes = JSON
    """Of the body."""
    headers: Headers = ()
    """What else the client's reply has."""
    each: tuple[ReportedUsage | None, ...] = ()
    """Of every request, where several were made at once; None has told none."""


def served_stream(target: Target, completion: Completion, tap: StreamTap) -> Served:
    """A stream, as far as it came."""
    return Served(
        target,
        completion,
        tap.usage,
        tap.service_tier,
        tap.output_text,
        tap.output_bytes,
        each=tuple(tap.each),
    )
