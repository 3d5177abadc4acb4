"""A reply with pictures among its parts.

Thoughts may have pictures as well, which are drafts. Tokens are told by what they
are of; those of thoughts are beside those of the answer.
"""

from typing import Any

from msgspec import Raw, Struct

from posthouse.dialects.base import ParsedReply
from posthouse.dialects.google.errors import blocked, fault_in
from posthouse.dialects.google.names import camel
from posthouse.dialects.openai.vendor_images import is_text
from posthouse.errors import UpstreamBadResponse, UpstreamRejected
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_REFUSED = ("SAFETY", "PROHIBITED", "RECITATION", "BLOCKLIST", "SPII")
"""In the reasons for which there is no picture, what says that none may be."""


_NOTHING = Raw()


class Data(Struct, rename="camel"):
    """A picture's bytes in base64."""

    data: Raw = _NOTHING
    mime_type: str | None = None


class _Part(Struct, rename="camel"):
    inline_data: Data | None = None
    text: str | None = None
    thought: bool | None = None


class _Content(Struct):
    parts: list[_Part] | None = None


class _Candidate(Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None


class _Reply(Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: dict[str, Any] | None = None
    usage_metadata: dict[str, Any] | None = None
    error: Any = None


_reply = json.decoder(_Reply)


def read(body: bytes) -> tuple[list[Data], _Reply]:
    """Read a reply's pictures; raises UpstreamFault where there are none."""
    try:
        reply: _Reply = json.decode_with(_reply, body)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    found = [
        part.inline_data
        for candidate in reply.candidates or ()
        for part in (candidate.content and candidate.content.parts) or ()
        if part.inline_data is not None
        and is_text(part.inline_data.data)
        and not part.thought
    ]
    if not found:
        _refuse(reply, body)
    return found, reply


def _refuse(reply: _Reply, body: bytes) -> None:
    """Say why there is no picture; raises UpstreamFault."""
    if reply.error:
        raise fault_in(json.decode_leniently(body)) or UpstreamBadResponse()
    feedback = reply.prompt_feedback or {}
    if feedback.get("blockReason"):
        raise blocked(feedback["blockReason"], feedback.get("blockReasonMessage"))
    reasons = [one.finish_reason or "" for one in reply.candidates or ()]
    for reason in reasons:
        if any(word in reason for word in _REFUSED):
            raise blocked(reason, None)
    if reasons:
        raise UpstreamRejected(
            "The model answered without a picture.", status=400, code="no_image"
        )
    raise UpstreamBadResponse


def parse_reply(body: bytes) -> ParsedReply:
    """Read a whole reply; raises UpstreamFault."""
    found, reply = read(body)
    return ParsedReply(
        body=body,
        usage=_usage(reply.usage_metadata or {}, len(found)),
        service_tier=None,
        output_text=str,
    )


def _usage(metadata: dict[str, Any], count: int) -> ReportedUsage:
    told = {camel(name): value for name, value in metadata.items()}
    given, thoughts = (
        _whole(told, "candidatesTokenCount"),
        _whole(told, "thoughtsTokenCount"),
    )
    output = None if given is None else given + (thoughts or 0)
    pictures = _of_pictures(told.get("candidatesTokensDetails"))
    return ReportedUsage(
        input=_whole(told, "promptTokenCount"),
        output=output,
        cached_input=_whole(told, "cachedContentTokenCount"),
        image_input=_of_pictures(told.get("promptTokensDetails")),
        reasoning=thoughts,
        # A reply that does not tell them apart is a picture.
        image_output=given if pictures is None else pictures,
        counted={"image": count},
    )


def _whole(told: dict[str, Any], name: str) -> int | None:
    value = told.get(name)
    return value if type(value) is int else None


def _of_pictures(details: Any) -> int | None:
    """Add up what is told of pictures; None if nothing is told apart."""
    if not isinstance(details, list) or not details:
        return None
    counts: list[int] = [
        entry["tokenCount"]
        for entry in details
        if isinstance(entry, dict)
        and entry.get("modality") == "IMAGE"
        and type(entry.get("tokenCount")) is int
    ]
    return sum(counts)
