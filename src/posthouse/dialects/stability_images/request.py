"""A native request to Stability, judged.

What is done names the model: `/generate/core` is `stable-image-core`, `/edit/erase`
is `stable-image-erase`, and so on; `sd3` has its model in a field, and engines of the
first version theirs in the path. Some give a task in place of a picture (`TASKS`),
whose result is asked for by its id.
"""

import re
from typing import Any

from msgspec import Raw, Struct

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.openai.envelope import (
    checked_model_name,
    count,
    judged,
    optional_text,
)
from posthouse.dialects.openai.vendor_images import native_request, read_native
from posthouse.errors import NotFound
from posthouse.model.call import Operation
from posthouse.wire import json
from posthouse.wire.json import Envelope

PREFIX = "/v2beta/stable-image/"
FIRST_PREFIX = "/v1/generation/"
SD3 = "sd3"
DEFAULT_SD3 = "sd3.5-large"
MOST_SAMPLES = 10
_DONE = {
    "generate": frozenset({"core", "ultra", SD3}),
    "edit": frozenset(
        {
            "erase",
            "inpaint",
            "outpaint",
            "remove-background",
            "replace-background-and-relight",
            "search-and-recolor",
            "search-and-replace",
        }
    ),
    "control": frozenset({"sketch", "structure", "style", "style-transfer"}),
    "upscale": frozenset({"conservative", "creative", "fast"}),
}
_PREFIXES = {"control": "control-", "upscale": "upscale-"}
RELIGHT = "stable-image-replace-background-and-relight"
_ENGINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_OF_WORDS = "text-to-image"
_OF_PICTURES = ("image-to-image", "image-to-image/masking")
_FIRST_PROMPT = "text_prompts[0][text]"
_NUMBERS = ("samples", "seed", "steps", "height", "width")


class _Prompt(Struct):
    text: str = ""


_prompts = json.decoder(list[_Prompt] | None)


def parse_native(
    path: str, content_type: bytes, body: bytes, *, raw: bool
) -> ParsedRequest:
    """Judge a request at one of its paths; raises InvalidRequest and NotFound."""
    found = _at(path)
    if found is None:
        raise NotFound
    model, of_pictures = found
    native = read_native(path, content_type, body, numbers=_NUMBERS, raw=raw)
    envelope = native.envelope
    if model == SD3:
        named = optional_text(envelope, "model") or DEFAULT_SD3
        model = checked_model_name(named)
        of_pictures = optional_text(envelope, "mode") == "image-to-image"
    wanted = 1
    if path.startswith(FIRST_PREFIX):
        wanted = count(envelope, "samples", highest=MOST_SAMPLES) or 1
    return native_request(
        native,
        Operation.IMAGE_EDIT if of_pictures else Operation.IMAGE,
        model,
        prompt=_prompt(envelope),
        count=wanted,
    )


def _at(path: str) -> tuple[str, bool] | None:
    """The model of a path, and whether it changes pictures; None: nothing is there."""
    if path.startswith(PREFIX):
        group, _, done = path.removeprefix(PREFIX).partition("/")
        if done not in _DONE.get(group, ()):
            return None
        if done == SD3:
            return SD3, False
        return model_of(group, done), group != "generate"
    engine, _, asked = path.removeprefix(FIRST_PREFIX).partition("/")
    if not path.startswith(FIRST_PREFIX) or not _ENGINE.fullmatch(engine):
        return None
    if asked == _OF_WORDS:
        return engine, False
    return (engine, True) if asked in _OF_PICTURES else None


def model_of(group: str, done: str) -> str:
    """What the model is called that does something."""
    return f"stable-image-{_PREFIXES.get(group, '')}{done}"


def _paths() -> dict[str, str]:
    found: dict[str, Any] = {}
    for group, names in _DONE.items():
        for name in names - {SD3}:
            found[model_of(group, name)] = f"{PREFIX}{group}/{name}"
    return found


PATHS = _paths()
"""By model, where it is asked."""
RESULTS = "/v2beta/results/"
"""With a task's id behind it: where its result is asked for."""
TASKS = frozenset({"stable-image-upscale-creative", RELIGHT})
"""Models that give a task in place of a picture."""
_TASK_PATHS = frozenset(PATHS[model] for model in TASKS)


def begins_task(request: ParsedRequest) -> bool:
    """Whether a native request is answered with a task."""
    return request.target in _TASK_PATHS


def _prompt(envelope: Envelope) -> str:
    listed: Raw | None = envelope.get("text_prompts")
    if listed is not None and json.opens_with(listed, b"["):
        prompts = judged(listed, "text_prompts", _prompts) or []
        return "\n".join(one.text for one in prompts)
    text = optional_text(envelope, "prompt")
    return text or optional_text(envelope, _FIRST_PROMPT) or ""


def prompt_text(request: ParsedRequest) -> str:
    """The prompt."""
    return _prompt(request.envelope)
