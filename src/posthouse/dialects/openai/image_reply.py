"""Replies with pictures, read along: how many there are, what they have cost.

Source: OpenAI's API description, schemas `ImagesResponse` and the events of
`ImageGenStreamEvent` and `ImageEditStreamEvent` (openapi, 2026-08). A picture that
could not be made may stand among the others as an error (Volcengine Ark): it is
neither counted nor charged, and a reply of nothing else is an error.
"""

from typing import Any

from msgspec import Raw, Struct

from posthouse.dialects.base import ParsedReply, ParsedRequest
from posthouse.dialects.openai.errors import fault_in, judge, read_error
from posthouse.dialects.openai.image_request import tier_of
from posthouse.errors import UpstreamBadResponse, UpstreamFault
from posthouse.model.call import Operation
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.json import Envelope, MalformedJSON

EVENT_STREAM = b"text/event-stream; charset=utf-8"
EVENT_NAMES = {Operation.IMAGE: "image_generation"}
"""What the events of an operation begin with; the others are edits."""
_TOLD = ("background", "output_format", "quality", "size")
_NOTHING = Raw()


class _Picture(Struct, gc=False):
    url: Raw = _NOTHING
    b64_json: Raw = _NOTHING
    error: Any = None

    @property
    def made(self) -> bool:
        return _is_told(self.url) or _is_told(self.b64_json)


class _Head(Struct, gc=False):
    data: Raw = _NOTHING
    error: Any = None
    usage: Any = None
    size: Any = None
    quality: Any = None


def _is_told(value: Raw) -> bool:
    """Whether it is a text that is not empty, without looking at all of it."""
    return len(value) > len(b'""') and json.opens_with(value, b'"')


_head = json.decoder(_Head)
_envelope = json.decoder(dict[str, Raw])
_list = json.decoder(list[_Picture])


class ImageHead(Struct, frozen=True):
    """What money asks of a reply."""

    made: int
    """Pictures that there are."""
    usage: ReportedUsage
    tier: str
    """What a picture's price depends on, as the reply tells it or else the request."""


def parse_head(request: ParsedRequest, body: bytes) -> ImageHead:
    """Read a whole reply's top level; raises UpstreamFault."""
    try:
        json.check_utf8(body)
        head: _Head = json.decode_with(_head, body)
        if not head.data or not json.opens_with(head.data, b"["):
            raise _fault(body)
        pictures: list[_Picture] = json.decode_with(_list, head.data)
    except MalformedJSON:
        raise _fault(body) from None
    made = sum(picture.made for picture in pictures)
    if not made:
        failed = next((one.error for one in pictures if one.error), None)
        # What has failed is each picture, not the provider.
        raise judge(400, read_error({"error": failed})) if failed else _fault(body)
    return ImageHead(
        made=made,
        usage=image_usage(head.usage, made),
        tier=told_tier(request, head.size, head.quality),
    )


def parse_reply(
    request: ParsedRequest, body: bytes, public_model: str | None
) -> ParsedReply:
    """Read a whole reply; raises UpstreamFault.

    For a client who has asked for a stream it is written as one.
    """
    head = parse_head(request, body)
    if request.stream:
        body = as_stream(request, body)
    elif public_model is not None:
        body = _renamed(body, public_model)
    return ParsedReply(
        body=body,
        usage=head.usage,
        service_tier=head.tier,
        output_text=str,
        content_type=EVENT_STREAM if request.stream else b"application/json",
    )


def reply_envelope(body: bytes) -> Envelope:
    """Decode a reply's top level, which may be large; raises MalformedJSON.

    It has been read once, so that its shape need not be looked at.
    """
    envelope: Envelope = json.decode_with(_envelope, body)
    return envelope


def _renamed(body: bytes, model: str) -> bytes:
    """Put the public name in the place of the provider's, if one stands there."""
    envelope = reply_envelope(body)
    if "model" not in envelope:
        return body
    envelope["model"] = json.raw(model)
    return json.encode(envelope)


def told_tier(request: ParsedRequest, size: Any, quality: Any) -> str:
    """Name what a picture's price depends on, as a reply tells it.

    What it does not tell is as it was asked for.
    """
    asked_quality, _, asked_size = (request.service_tier or "").partition("/")
    return tier_of(
        size if isinstance(size, str) and size else asked_size or None,
        quality if isinstance(quality, str) and quality else asked_quality or None,
    )


def as_stream(request: ParsedRequest, body: bytes) -> bytes:
    """Write a whole reply as the events that a stream ends with."""
    envelope = reply_envelope(body)
    told = {name: envelope[name] for name in (*_TOLD, "usage") if name in envelope}
    pictures: list[dict[str, Raw]] = json.decode(envelope["data"], list[dict[str, Raw]])
    made = [one for one in pictures if "b64_json" in one or "url" in one]
    frames = []
    for number, picture in enumerate(made):
        last = number == len(made) - 1
        event = {
            "type": json.raw(completed_event(request)),
            "created_at": envelope.get("created", Raw(b"0")),
            **{name: picture[name] for name in ("b64_json", "url") if name in picture},
            **{name: value for name, value in told.items() if last or name != "usage"},
        }
        frames.append(event_frame(completed_event(request), event))
    return b"".join(frames)


def completed_event(request: ParsedRequest) -> str:
    """The type of the event that brings a picture."""
    return f"{EVENT_NAMES.get(request.operation, 'image_edit')}.completed"


def event_frame(name: str, event: dict[str, Any]) -> bytes:
    """Write an event."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), json.encode(event))


def image_usage(usage: Any, made: int) -> ReportedUsage:
    """Translate a `usage` object of an image reply, and count the pictures.

    All output is of pictures where it is not told apart.
    """
    if not isinstance(usage, dict):
        return ReportedUsage(counted={"image": made})
    sent = _members(usage, "input_tokens_details")
    produced = _members(usage, "output_tokens_details")
    generated = _whole(usage.get("generated_images"))
    output = _whole(usage.get("output_tokens"))
    pictures = _whole(produced.get("image_tokens"))
    return ReportedUsage(
        input=_whole(usage.get("input_tokens")),
        output=output,
        cached_input=_whole(sent.get("cached_tokens")),
        image_input=_whole(sent.get("image_tokens")),
        image_output=output if pictures is None else pictures,
        counted={"image": made if generated is None else generated},
    )


def _members(usage: dict[str, Any], name: str) -> dict[str, Any]:
    found = usage.get(name)
    return found if isinstance(found, dict) else {}


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None


def _fault(body: bytes) -> UpstreamFault:
    """What is wrong with a reply that brings no picture."""
    try:
        return fault_in(json.decode_leniently(body)) or UpstreamBadResponse()
    except MalformedJSON:
        return UpstreamBadResponse()
