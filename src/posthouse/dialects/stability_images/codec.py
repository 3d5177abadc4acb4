"""Stability's pictures, written from the neutral form and read into it.

Pictures are made one at a time. A blurred picture is an error to those who do not
speak Stability's language: theirs has no word for it.
"""

from typing import Any

from typing_extensions import override

from posthouse.dialects.base import ParsedReply
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.images import (
    ImageCodec,
    drop_unknown,
    file_part,
    nearest_ratio,
    needed_picture,
    reply_of,
    take,
    text_part,
)
from posthouse.dialects.neutral.plain import Written
from posthouse.dialects.stability_images.reply import FILTERED, read
from posthouse.dialects.stability_images.request import PATHS, PREFIX, SD3, TASKS
from posthouse.errors import UpstreamRejected
from posthouse.model.image import ImageReply, ImageRequest, MadePicture
from posthouse.wire.masks import WHITE
from posthouse.wire.multipart import Form, Part

_RATIOS = ("16:9", "1:1", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21")
_KNOWN = (
    "negative_prompt",
    "seed",
    "style_preset",
    "strength",
    "cfg_scale",
    "aspect_ratio",
    "search_prompt",
    "select_prompt",
    "grow_mask",
    "creativity",
    "control_strength",
    "fidelity",
    "left",
    "right",
    "up",
    "down",
)
_STRENGTH = 0.6
_MAKERS = ("stable-image-ultra", SD3)
"""What makes pictures of words and of pictures at the same path, with `strength`."""


class StabilityCodec(ImageCodec):
    """See `ImageCodec`; spoken behind us alone."""

    most = 1
    takes_urls = False
    mask_changes = WHITE

    @override
    def write_request(self, asked: ImageRequest, model: str, losses: Losses) -> Written:
        if model in TASKS:
            losses.refuse(
                "model", "This model gives a task: ask it at Stability's own route"
            )
        target = PATHS.get(model, f"{PREFIX}generate/{SD3}")
        members: dict[str, Any] = {}
        if model not in PATHS:
            members["model"] = model
        if asked.prompt:
            members["prompt"] = asked.prompt
        if asked.output_format is not None:
            members["output_format"] = asked.output_format
        drop_unknown(asked, ("output_format",), losses)
        members |= take(asked, _KNOWN, losses)
        files = _files(asked, members, model, losses)
        if not files and "aspect_ratio" not in members:
            ratio = nearest_ratio(asked, _RATIOS)
            if ratio is not None:
                members["aspect_ratio"] = ratio
        parts = [*files, *(text_part(name, one) for name, one in members.items())]
        # A form without a file is one all the same; it must not be empty.
        form = Form(tuple(parts) or (Part("none", b"", ""),))
        return Written(members, form=form, target=target)

    @override
    def read_reply(self, reply: ParsedReply, asked: ImageRequest) -> ImageReply:
        found = read(reply.body)
        clear = [one for one in found if one.finish_reason != FILTERED]
        if not clear:
            raise UpstreamRejected(
                "The picture was found to be unsafe.",
                status=400,
                code="content_policy_violation",
                error_type="image_generation_user_error",
            )
        return reply_of([MadePicture(base64=one.base64) for one in clear])


def _files(
    asked: ImageRequest, members: dict[str, Any], model: str, losses: Losses
) -> list[Part]:
    """Write the pictures that are given."""
    if not asked.images:
        return []
    if len(asked.images) > 1:
        losses.refuse("image", "This model changes one picture at a time")
    if model == "stable-image-core":
        losses.refuse("image", "This model makes pictures of words alone")
    files = [file_part("image", needed_picture(asked, losses), losses)]
    if model not in PATHS:
        members["mode"] = "image-to-image"
    if model not in PATHS or model in _MAKERS:
        members.setdefault("strength", _STRENGTH)
    if asked.mask is not None:
        files.append(file_part("mask", asked.mask, losses))
    return files
