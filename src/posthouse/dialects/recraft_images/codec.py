"""Recraft's pictures, written from the neutral form and read into it."""

from typing import Any

from typing_extensions import override

from posthouse.dialects.base import ParsedReply
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.images import (
    ImageCodec,
    drop_unknown,
    file_part,
    needed_picture,
    refuse_more,
    reply_of,
    take,
    text_part,
)
from posthouse.dialects.neutral.plain import Written
from posthouse.dialects.recraft_images.reply import read
from posthouse.dialects.recraft_images.request import GENERATIONS, MOST_PICTURES, PREFIX
from posthouse.model.call import Operation
from posthouse.model.image import ImageReply, ImageRequest, MadePicture
from posthouse.wire import json
from posthouse.wire.masks import WHITE
from posthouse.wire.multipart import Form, Part

_OF_OPENAI = ("vivid", "natural")
_KNOWN = (
    "substyle",
    "style_id",
    "negative_prompt",
    "image_format",
    "controls",
    "text_layout",
    "random_seed",
    "strength",
)
_FORMATS = {"png": "png", "webp": "webp"}
_STRENGTH = 0.5


class RecraftCodec(ImageCodec):
    """See `ImageCodec`; spoken behind us alone."""

    most = MOST_PICTURES
    takes_urls = False
    mask_changes = WHITE

    @override
    def write_request(self, asked: ImageRequest, model: str, losses: Losses) -> Written:
        refuse_more(asked, MOST_PICTURES, losses)
        members = _members(asked, model, losses)
        if asked.operation is Operation.IMAGE:
            return Written(members, target=GENERATIONS)
        members.pop("size", None)
        picture = file_part("image", needed_picture(asked, losses), losses)
        if len(asked.images) > 1:
            losses.refuse("image", "This model changes one picture at a time")
        files = [picture]
        name = "variateImage"
        if asked.mask is not None:
            name = "inpaint"
            files.append(_mask(asked, losses))
        elif asked.prompt:
            name = "imageToImage"
            members.setdefault("strength", _STRENGTH)
        elif asked.size not in (None, "auto"):
            members["size"] = asked.size
        parts = (*files, *_fields(members))
        return Written(members, form=Form(parts), target=PREFIX + name)

    @override
    def read_reply(self, reply: ParsedReply, asked: ImageRequest) -> ImageReply:
        found = read(reply.body)
        pictures = [
            MadePicture(
                url=one.url, base64=one.b64_json or None, prompt=one.revised_prompt
            )
            for one in found.pictures
        ]
        return reply_of(pictures, created=found.created)


def _members(asked: ImageRequest, model: str, losses: Losses) -> dict[str, Any]:
    members: dict[str, Any] = {"model": model}
    if asked.prompt:
        members["prompt"] = asked.prompt
    if asked.count > 1:
        members["n"] = asked.count
    if asked.size not in (None, "auto"):
        members["size"] = asked.size
    if asked.wants_base64 is not None:
        members["response_format"] = "b64_json" if asked.wants_base64 else "url"
    if asked.style in _OF_OPENAI:
        losses.drop("style")
    elif asked.style is not None:
        members["style"] = asked.style
    if asked.output_format in _FORMATS:
        members["image_format"] = asked.output_format
    elif asked.output_format is not None:
        losses.drop("output_format")
    drop_unknown(asked, ("style", "output_format"), losses)
    if "seed" in asked.extras:
        members["random_seed"] = asked.extras["seed"]
    found = take(asked, (*_KNOWN, "seed"), losses)
    found.pop("seed", None)
    return {**members, **found}


def _mask(asked: ImageRequest, losses: Losses) -> Part:
    mask = needed_picture(asked, losses) if asked.mask is None else asked.mask
    return file_part("mask", mask, losses)


def _fields(members: dict[str, Any]) -> list[Part]:
    """Write members as fields of a form: what is no text as JSON."""
    return [
        text_part(name, one if isinstance(one, str) else json.encode(one).decode())
        for name, one in members.items()
    ]
