"""OpenAI's pictures into the neutral form and out.

Source: OpenAI's API description, schemas `CreateImageRequest`,
`CreateImageEditRequest` and `ImagesResponse` (openapi, 2026-08).
"""

from typing import Any

from msgspec import Raw, Struct
from typing_extensions import override

from posthouse.dialects.base import ParsedReply, ParsedRequest
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.images import (
    ImageCodec,
    file_part,
    reply_of,
    text_part,
    url_of,
)
from posthouse.dialects.neutral.plain import Written
from posthouse.dialects.openai.envelope import count, judged, optional_text
from posthouse.dialects.openai.image_reply import (
    EVENT_STREAM,
    as_stream,
    reply_envelope,
)
from posthouse.dialects.openai.image_request import (
    IMAGE_FIELDS,
    given_images,
    gives_base64,
)
from posthouse.errors import UpstreamBadResponse
from posthouse.model.call import Operation
from posthouse.model.image import ImageReply, ImageRequest, MadePicture, Picture
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.multipart import JSON, Form, Part, Payload

_KNOWN = frozenset(
    {
        "background",
        "image",
        "image[]",
        "images",
        "mask",
        "model",
        "n",
        "output_compression",
        "output_format",
        "partial_images",
        "prompt",
        "quality",
        "response_format",
        "size",
        "stream",
        "style",
        "user",
    }
)
_TOLD = ("background", "output_format", "quality", "size")
_NULL = Raw(b"null")
_NAMES = {
    Operation.IMAGE: "openai_images",
    Operation.IMAGE_EDIT: "openai_image_edits",
    Operation.IMAGE_VARIATION: "openai_image_variations",
}
_NOTHING = Raw()
_any = json.decoder(Any)


class _Source(Struct):
    image_url: str | None = None
    file_id: str | None = None


class _Made(Struct):
    url: str | None = None
    b64_json: Raw = _NOTHING
    revised_prompt: str | None = None


class _Reply(Struct):
    data: list[_Made]
    created: int | None = None
    usage: Raw = _NOTHING


_sources = json.decoder(list[_Source] | None)
_source = json.decoder(_Source | None)
_reply = json.decoder(_Reply)


class OpenAIImageCodec(ImageCodec):
    """See `ImageCodec`."""

    @override
    def read_request(self, request: ParsedRequest) -> ImageRequest:
        envelope = request.envelope
        images, mask = _inputs(request)
        return ImageRequest(
            dialect=_NAMES[request.operation],
            operation=request.operation,
            prompt=optional_text(envelope, "prompt") or "",
            images=images,
            mask=mask,
            count=request.choices,
            size=optional_text(envelope, "size"),
            quality=optional_text(envelope, "quality"),
            style=optional_text(envelope, "style"),
            background=optional_text(envelope, "background"),
            output_format=optional_text(envelope, "output_format"),
            compression=count(envelope, "output_compression", lowest=0, highest=100),
            wants_base64=request.wants_base64,
            user=optional_text(envelope, "user"),
            extras={
                name: judged(value, name, _any)
                for name, value in envelope.items()
                if name not in _KNOWN and value != _NULL
            },
        )

    @override
    def write_request(self, asked: ImageRequest, model: str, losses: Losses) -> Written:
        members: dict[str, Any] = {"model": model}
        if asked.prompt:
            members["prompt"] = asked.prompt
        told = {
            "size": asked.size,
            "quality": asked.quality,
            "style": asked.style,
            "background": asked.background,
            "output_format": asked.output_format,
            "output_compression": asked.compression,
            "user": asked.user,
        }
        members |= {name: value for name, value in told.items() if value is not None}
        if asked.count > 1:
            members["n"] = asked.count
        if asked.wants_base64 is not None and not gives_base64(model):
            members["response_format"] = "b64_json" if asked.wants_base64 else "url"
        for name in asked.extras:
            losses.drop(name)
        if asked.operation is Operation.IMAGE:
            return Written(members)
        return _written_edit(asked, members, losses)

    @override
    def read_reply(self, reply: ParsedReply, asked: ImageRequest) -> ImageReply:
        try:
            found: _Reply = json.decode_with(_reply, reply.body)
            envelope = reply_envelope(reply.body)
            told = {
                name: json.decode_with(_any, envelope[name])
                for name in _TOLD
                if name in envelope
            }
        except MalformedJSON:
            raise UpstreamBadResponse from None
        pictures = [
            MadePicture(
                url=one.url, base64=_told(one.b64_json), prompt=one.revised_prompt
            )
            for one in found.data
            if one.url or _told(one.b64_json)
        ]
        return reply_of(
            pictures, created=found.created, usage=_told(found.usage), extras=told
        )

    @override
    def write_reply(
        self, answered: ImageReply, request: ParsedRequest, model: str
    ) -> Payload:
        written: dict[str, Any] = {
            "created": answered.created or 0,
            "data": [_picture(one) for one in answered.pictures],
            **answered.extras,
        }
        if answered.usage is not None:
            written["usage"] = answered.usage
        body = json.encode(written)
        if request.stream:
            return Payload(EVENT_STREAM, as_stream(request, body))
        return Payload(JSON, body)


def _told(value: Raw) -> Raw | None:
    """A member that is there and not null."""
    return None if not value or value == _NULL else value


def _picture(made: MadePicture) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if made.base64 is not None:
        written["b64_json"] = made.base64
    else:
        written["url"] = made.url
    if made.prompt is not None:
        written["revised_prompt"] = made.prompt
    return written


def _inputs(request: ParsedRequest) -> tuple[tuple[Picture, ...], Picture | None]:
    """Read the pictures that are given, and the mask."""
    form = request.form
    if form is not None:
        mask = form.first("mask")
        images = (part for part in form.all(*IMAGE_FIELDS) if part.filename is not None)
        return tuple(map(_file, images)), None if mask is None else _file(mask)
    envelope = request.envelope
    if "image" in envelope:
        return tuple(Picture(url=url) for url in given_images(envelope)), None
    sources = json.decode_with(_sources, envelope.get("images", _NULL)) or []
    source = json.decode_with(_source, envelope.get("mask", _NULL))
    return tuple(map(_given, sources)), None if source is None else _given(source)


def _file(part: Part) -> Picture:
    kind = None if part.content_type is None else part.content_type.decode("latin-1")
    return Picture(data=part.value, media_type=kind, filename=part.filename or None)


def _given(source: _Source) -> Picture:
    return Picture(url=source.image_url, file_id=source.file_id)


def _written_edit(
    asked: ImageRequest, members: dict[str, Any], losses: Losses
) -> Written:
    """Write an edit: as a form where there are files, as JSON where there are not."""
    given = [one for one in (*asked.images, asked.mask) if one is not None]
    if any(one.data is not None for one in given):
        parts = [text_part(name, value) for name, value in members.items()]
        name = "image" if len(asked.images) == 1 else "image[]"
        parts += [file_part(name, one, losses) for one in asked.images]
        if asked.mask is not None:
            parts.append(file_part("mask", asked.mask, losses))
        return Written(members, form=Form(tuple(parts)))
    members["images"] = [_reference(one, losses) for one in asked.images]
    if asked.mask is not None:
        members["mask"] = _reference(asked.mask, losses)
    return Written(members)


def _reference(picture: Picture, losses: Losses) -> dict[str, str]:
    if picture.file_id is not None:
        return {"file_id": picture.file_id}
    return {"image_url": url_of(picture, losses)}
