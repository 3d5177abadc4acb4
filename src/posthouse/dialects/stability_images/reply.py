"""A reply of Stability's, read along.

A picture that the filter has blurred comes with status 200 and
`CONTENT_FILTERED`: whoever speaks Stability's language is given it as it is.
"""

import binascii
import re
from base64 import b64decode

from msgspec import Raw, Struct

from posthouse.dialects.base import Answer, ParsedReply, ParsedRequest
from posthouse.dialects.openai.errors import fault_in
from posthouse.dialects.openai.vendor_images import is_text, made
from posthouse.dialects.stability_images.request import begins_task
from posthouse.errors import UpstreamBadResponse
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.multipart import JSON
from posthouse.wire.pictures import picture_type

FILTERED = "CONTENT_FILTERED"
_FAILED = "ERROR"
_text = json.decoder(str)


_NOTHING = Raw()


class Artifact(Struct):
    """One picture, as the first version tells of it."""

    base64: Raw = _NOTHING
    finish_reason: str | None = None
    seed: int | None = None


class _Artifact(Struct, rename={"finish_reason": "finishReason"}):
    base64: Raw = _NOTHING
    finish_reason: str | None = None
    seed: int | None = None


class _Reply(Struct):
    image: Raw = _NOTHING
    finish_reason: str | None = None
    seed: int | None = None
    artifacts: list[_Artifact] | None = None


class _Task(Struct):
    id: str


_reply = json.decoder(_Reply)
_task = json.decoder(_Task)
TASK_ID = re.compile("[A-Za-z0-9_-]{1,128}")


def read(body: bytes) -> list[Artifact]:
    """Read a reply's pictures; raises UpstreamFault."""
    try:
        reply: _Reply = json.decode_with(_reply, body)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    if reply.artifacts is not None:
        found = [
            Artifact(one.base64, one.finish_reason, one.seed)
            for one in reply.artifacts
            if is_text(one.base64) and one.finish_reason != _FAILED
        ]
    else:
        found = [Artifact(reply.image, reply.finish_reason, reply.seed)]
    if not found or not is_text(found[0].base64):
        raise fault_in(json.decode_leniently(body)) or UpstreamBadResponse()
    return found


def read_task(body: bytes) -> str:
    """Read the id of the task that a reply tells of; raises UpstreamFault."""
    try:
        name: str = json.decode_with(_task, body).id
    except MalformedJSON:
        raise UpstreamBadResponse from None
    if TASK_ID.fullmatch(name) is None:
        raise UpstreamBadResponse
    return name


def parse_reply(request: ParsedRequest, answer: Answer) -> ParsedReply:
    """Read a whole reply; raises UpstreamFault."""
    if begins_task(request):
        read_task(answer.body)
        # What comes of it is one picture.
        return ParsedReply(answer.body, made(1), request.service_tier, str)
    found = read(answer.body)
    body, kind = answer.body, JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if request.wants_base64 is False:
        first = found[0]
        body = _bytes_of(first)
        kind = (picture_type(body) or "application/octet-stream").encode()
        headers = (
            (b"finish-reason", (first.finish_reason or "SUCCESS").encode()[:64]),
            (b"seed", str(first.seed or 0).encode()),
        )
    return ParsedReply(
        body=body,
        usage=made(len(found)),
        service_tier=request.service_tier,
        output_text=str,
        content_type=kind,
        headers=headers,
    )


def _bytes_of(artifact: Artifact) -> bytes:
    try:
        text = json.decode_with(_text, artifact.base64)
        return b64decode(text, validate=True)
    except (MalformedJSON, binascii.Error, ValueError):
        raise UpstreamBadResponse from None
