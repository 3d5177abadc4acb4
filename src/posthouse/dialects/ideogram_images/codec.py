"""Ideogram's pictures, written from the neutral form and read into it.

Models from 3.0 on are asked at their own paths, the others at the first ones. Its
masks are black where the picture changes.
"""

from datetime import datetime
from typing import Any

from typing_extensions import override

from posthouse.dialects.base import ParsedReply
from posthouse.dialects.ideogram_images.reply import read
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.images import (
    ImageCodec,
    drop_unknown,
    file_part,
    nearest_ratio,
    needed_picture,
    refuse_more,
    reply_of,
    take,
    text_part,
)
from posthouse.dialects.neutral.plain import Written
from posthouse.errors import UpstreamRejected
from posthouse.model.image import ImageReply, ImageRequest, MadePicture
from posthouse.wire import json
from posthouse.wire.masks import BLACK
from posthouse.wire.multipart import Form, Part

MOST = 8
_FAMILIES = {"V_3": "/v1/ideogram-v3/", "V_4": "/v1/ideogram-v4/"}
_RATIOS = [
    *("1:1", "10:16", "16:10", "9:16", "16:9", "3:2"),
    *("2:3", "4:3", "3:4", "1:3", "3:1"),
]
_NEW_RATIOS = [*_RATIOS, "1:2", "2:1", "4:5", "5:4"]
_SPEEDS = {"low": "TURBO", "hd": "QUALITY", "high": "QUALITY"}
_KNOWN = ("negative_prompt", "seed", "style_type", "color_palette")
_LEGACY = (*_KNOWN, "magic_prompt_option", "resolution", "aspect_ratio")
_NEW = (
    *_KNOWN,
    "magic_prompt",
    "rendering_speed",
    "resolution",
    "aspect_ratio",
    "style_codes",
    "style_preset",
    "image_weight",
)


class IdeogramCodec(ImageCodec):
    """See `ImageCodec`; spoken behind us alone."""

    most = MOST
    takes_urls = False
    mask_changes = BLACK

    @override
    def write_request(self, asked: ImageRequest, model: str, losses: Losses) -> Written:
        refuse_more(asked, MOST, losses)
        family = _FAMILIES.get(model)
        drop_unknown(asked, ("quality",) if family else (), losses)
        if family is not None:
            return _written(asked, family, losses)
        return _written_first(asked, model, losses)

    @override
    def read_reply(self, reply: ParsedReply, asked: ImageRequest) -> ImageReply:
        found = read(reply.body)
        pictures = [
            MadePicture(url=one.url, prompt=one.prompt)
            for one in found.data or ()
            if one.url
        ]
        if found.data and not pictures:
            raise UpstreamRejected(
                "The pictures were found to be unsafe.",
                status=400,
                code="content_policy_violation",
                error_type="image_generation_user_error",
            )
        return reply_of(pictures, created=_seconds(found.created))


def _seconds(text: str | None) -> int | None:
    """Unix seconds of a date as ISO 8601 has it."""
    try:
        return int(datetime.fromisoformat(text or "").timestamp())
    except ValueError:
        return None


def _written_first(asked: ImageRequest, model: str, losses: Losses) -> Written:
    """Write for a model that is older than 3.0."""
    members: dict[str, Any] = {"prompt": _prompt(asked, losses), "model": model}
    if asked.count > 1:
        members["num_images"] = asked.count
    members |= take(asked, _LEGACY, losses)
    edits = asked.images and asked.mask is not None
    if not edits and "resolution" not in members and "aspect_ratio" not in members:
        ratio = nearest_ratio(asked, _RATIOS)
        if ratio is not None:
            members["aspect_ratio"] = f"ASPECT_{ratio.replace(':', '_')}"
    if not asked.images:
        return Written({"image_request": members}, target="/generate")
    picture = file_part("image_file", needed_picture(asked, losses), losses)
    if edits:
        parts = [picture, _mask(asked, losses), *_fields(members)]
        return Written(form=Form(tuple(parts)), target="/edit")
    request = text_part("image_request", json.encode(members).decode())
    return Written(form=Form((picture, request)), target="/remix")


def _written(asked: ImageRequest, family: str, losses: Losses) -> Written:
    """Write for a model of 3.0 or later."""
    members: dict[str, Any] = {"prompt": _prompt(asked, losses)}
    if asked.count > 1:
        members["num_images"] = asked.count
    if asked.quality not in (None, "auto"):
        members["rendering_speed"] = _SPEEDS.get(asked.quality or "", "DEFAULT")
    members |= take(asked, _NEW, losses)
    edits = asked.images and asked.mask is not None
    if not edits and "resolution" not in members and "aspect_ratio" not in members:
        ratio = nearest_ratio(asked, _NEW_RATIOS)
        if ratio is not None:
            members["aspect_ratio"] = ratio.replace(":", "x")
    parts = _fields(members)
    if not asked.images:
        return Written(members, form=Form(tuple(parts)), target=f"{family}generate")
    parts.insert(0, file_part("image", needed_picture(asked, losses), losses))
    if not edits:
        return Written(members, form=Form(tuple(parts)), target=f"{family}remix")
    parts.insert(1, _mask(asked, losses))
    return Written(members, form=Form(tuple(parts)), target=f"{family}edit")


def _prompt(asked: ImageRequest, losses: Losses) -> str:
    if not asked.prompt:
        losses.refuse("prompt", "This model needs a prompt")
    if len(asked.images) > 1:
        losses.refuse("image", "This model changes one picture at a time")
    return asked.prompt


def _mask(asked: ImageRequest, losses: Losses) -> Part:
    mask = needed_picture(asked, losses) if asked.mask is None else asked.mask
    return file_part("mask", mask, losses)


def _fields(members: dict[str, Any]) -> list[Part]:
    """Write members as fields of a form: lists as often, objects as JSON."""
    parts = []
    for name, value in members.items():
        for one in value if isinstance(value, list) else (value,):
            text = one if isinstance(one, str) else json.encode(one).decode()
            parts.append(text_part(name, text))
    return parts
