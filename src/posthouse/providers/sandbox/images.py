"""Pictures: real PNG files of the size asked for, whole or in parts.

Two models, as OpenAI has two kinds: `sandbox-image` is priced by the picture and
gives URLs unless base64 is asked for; `sandbox-image-tokens` is priced by tokens,
gives base64 alone and tells its usage. Both stream, edit and vary.
"""

import base64
from typing import Any

from msgspec import Struct

from posthouse.providers.sandbox import checks, tokens
from posthouse.providers.sandbox.checks import Body
from posthouse.providers.sandbox.directives import Directives, from_prompt
from posthouse.providers.sandbox.identity import CREATED, Identity
from posthouse.providers.sandbox.png import png
from posthouse.providers.sandbox.refusal import RequestRefused
from posthouse.providers.sandbox.reply import (
    EVENT_STREAM,
    Reply,
    json_reply,
)
from posthouse.wire import json
from posthouse.wire.multipart import Part
from posthouse.wire.pictures import picture_type

DEFAULT_SIZE = (1024, 1024)
LARGEST = 3840
MOST_PIXELS = 16 * 1024 * 1024
"""Of all pictures of one reply: the sandbox shares its process with everybody's
calls."""
SMALLEST = 16
MOST = 10
MOST_INPUTS = 16
LONGEST_PROMPT = 32_000
QUALITIES = ("auto", "standard", "hd", "low", "medium", "high")
TOKENS = {"low": 272, "medium": 1056, "high": 4160}
"""Output tokens of a picture of 1024x1024."""
PARTIAL_TOKENS = 100
BY_TOKENS = "sandbox-image-tokens"
TAKEN = frozenset({"image/png", "image/jpeg", "image/webp"})
_SQUARE = 1024 * 1024


class Asked(Struct, frozen=True):
    """A request, read."""

    model: str
    prompt: str
    inputs: int
    count: int
    size: tuple[int, int]
    quality: str
    as_base64: bool
    partial: int
    stream: bool

    @property
    def by_tokens(self) -> bool:
        """Whether the model is priced so."""
        return self.model.partition(":")[0] == BY_TOKENS


def generate(body: Body, directives: Directives, identity: Identity) -> Reply:
    """Answer a request for pictures of a text; raises RequestRefused."""
    if not checks.string(body, "prompt"):
        raise checks.missing("prompt")
    return _reply(_read(body, 0), directives, identity, "image_generation")


def edit(body: Body, directives: Directives, identity: Identity) -> Reply:
    """Answer a request for pictures of pictures; raises RequestRefused."""
    if not checks.string(body, "prompt"):
        raise checks.missing("prompt")
    return _reply(_read(body, _inputs(body)), directives, identity, "image_edit")


def vary(body: Body, directives: Directives, identity: Identity) -> Reply:
    """Answer a request for pictures like another one; raises RequestRefused."""
    return _reply(_read(body, _inputs(body)), directives, identity, "image_edit")


def _read(body: Body, inputs: int) -> Asked:
    model = checks.model(body)
    prompt = checks.string(body, "prompt") or ""
    if len(prompt) > LONGEST_PROMPT:
        raise checks.too_long("prompt", len(prompt), LONGEST_PROMPT)
    by_tokens = model.partition(":")[0] == BY_TOKENS
    asked = checks.option(body, "response_format", ("url", "b64_json"))
    if asked is not None and by_tokens:
        raise checks.unsupported("response_format", "is not taken by this model")
    form = checks.option(body, "output_format", ("png", "jpeg", "webp")) or "png"
    if form != "png":
        raise RequestRefused(
            "The sandbox makes PNG files alone.",
            code="unsupported_value",
            param="output_format",
        )
    stream = bool(checks.boolean(body, "stream"))
    size, count = _size(body), checks.integer(body, "n", 1, MOST) or 1
    if size[0] * size[1] * count > MOST_PIXELS:
        raise RequestRefused(
            f"The sandbox makes at most {MOST_PIXELS} pixels at once.",
            code="invalid_value",
            param="size",
        )
    return Asked(
        model=model,
        prompt=from_prompt(prompt, Directives())[1],
        inputs=inputs,
        count=count,
        size=size,
        quality=checks.option(body, "quality", QUALITIES) or "auto",
        as_base64=by_tokens or stream or asked == "b64_json",
        partial=checks.integer(body, "partial_images", 0, 3) or 0,
        stream=stream,
    )


def _size(body: Body) -> tuple[int, int]:
    value = checks.string(body, "size")
    if value in (None, "auto"):
        return DEFAULT_SIZE
    width, _, height = str(value).partition("x")
    if all(side.isdecimal() and len(side) <= 4 for side in (width, height)):
        found = int(width), int(height)
        if min(found) >= SMALLEST and max(found) <= LARGEST:
            return found
    raise checks.invalid_value("size", value, ("auto", "1024x1024", "1536x1024"))


def _inputs(body: Body) -> int:
    """Count the pictures that are given; raises RequestRefused for what is none."""
    listed = checks.array(body, "images", MOST_INPUTS)
    if listed:
        return len(listed)
    files: list[Part] = [*body.get("image", ()), *body.get("image[]", ())]
    if not files:
        raise checks.missing("image")
    if len(files) > MOST_INPUTS:
        raise RequestRefused(
            f"At most {MOST_INPUTS} images are taken.",
            code="array_above_max_length",
            param="image",
        )
    for file in (*files, *body.get("mask", ())):
        if not isinstance(file, Part) or picture_type(file.value) not in TAKEN:
            raise RequestRefused(
                "Invalid image file: expected PNG, JPEG or WebP.",
                code="invalid_image_file",
                param="image",
            )
    return len(files)


def _reply(
    asked: Asked, directives: Directives, identity: Identity, name: str
) -> Reply:
    if "content-filter" in directives.behaviours:
        raise RequestRefused(
            "The sandbox was asked to find the prompt unsafe.",
            code="content_policy_violation",
        )
    if asked.stream:
        return _streamed(asked, directives, identity, name)
    document: dict[str, Any] = {
        "created": CREATED,
        "data": [_picture(asked, identity, number) for number in range(asked.count)],
        **_told(asked),
    }
    if asked.by_tokens and directives.usage != "no-usage":
        document["usage"] = _usage(asked)
    return json_reply(document)


def _told(asked: Asked) -> dict[str, Any]:
    width, height = asked.size
    quality = "high" if asked.quality == "auto" else asked.quality
    return {
        "background": "opaque",
        "output_format": "png",
        "quality": quality if asked.by_tokens else asked.quality,
        "size": f"{width}x{height}",
    }


def _picture(asked: Asked, identity: Identity, number: int) -> dict[str, Any]:
    text = _file(asked, identity, number)
    revised = {"revised_prompt": asked.prompt} if asked.prompt else {}
    if asked.as_base64:
        return {"b64_json": text, **revised}
    # A URL that needs no server.
    return {"url": f"data:image/png;base64,{text}", **revised}


def _file(asked: Asked, identity: Identity, number: int) -> str:
    width, height = asked.size
    digest = identity.digest[number:] + identity.digest[:number]
    return base64.b64encode(png(width, height, digest)).decode()


def _usage(asked: Asked) -> dict[str, Any]:
    width, height = asked.size
    each = TOKENS.get(asked.quality, TOKENS["high"])
    made = -(-each * width * height // _SQUARE) + PARTIAL_TOKENS * asked.partial
    text, images = tokens.count(asked.prompt), tokens.IMAGE_TOKENS * asked.inputs
    output = made * asked.count
    return {
        "input_tokens": text + images,
        "output_tokens": output,
        "total_tokens": text + images + output,
        "input_tokens_details": {"text_tokens": text, "image_tokens": images},
        "output_tokens_details": {"text_tokens": 0, "image_tokens": output},
    }


def _streamed(
    asked: Asked, directives: Directives, identity: Identity, name: str
) -> Reply:
    events: list[bytes] = []
    for number in range(asked.count):
        made = {"b64_json": _file(asked, identity, number), "created_at": CREATED}
        shape = {**made, **_told(asked)}
        for place in range(asked.partial):
            kind = f"{name}.partial_image"
            events.append(_event(kind, {**shape, "partial_image_index": place}))
        if asked.by_tokens and directives.usage != "no-usage":
            shape["usage"] = _usage(asked)
        events.append(_event(f"{name}.completed", shape))
    headers = (EVENT_STREAM, (b"cache-control", b"no-cache"))
    return Reply(200, headers, tuple(events), streamed=True)


def _event(kind: str, members: dict[str, Any]) -> bytes:
    data = json.encode({"type": kind, **members})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)
