"""Requests for pictures, judged: OpenAI's generations, edits and variations.

Source: OpenAI's API description, schemas `CreateImageRequest`,
`CreateImageEditRequest` and `CreateImageVariationRequest` (openapi, 2026-08).

What a call costs is decided by how many pictures it asks for, their size and their
quality; these are judged here, everything else is for the provider to judge. The
tokens of a picture are known before: `TOKENS` is what the GPT Image models take.
"""

from msgspec import Raw, structs

from posthouse.dialects.base import Edits, ParsedRequest, PromptSize
from posthouse.dialects.openai import splice
from posthouse.dialects.openai.envelope import (
    beginning,
    count,
    flag,
    judged,
    judged_once,
    model_name,
    named_models,
    optional_object,
    optional_objects,
    optional_text,
    parse_envelope,
)
from posthouse.dialects.openai.forms import (
    envelope_of,
    parse_form,
    refuse_odd_parts,
    render_form_request,
)
from posthouse.dialects.openai.kinds import check_kinds, kinds
from posthouse.errors import InvalidRequest
from posthouse.model.call import Operation
from posthouse.model.image import pixels_of
from posthouse.wire import json
from posthouse.wire.json import Envelope
from posthouse.wire.multipart import JSON, Form, Payload

MOST_PICTURES = 10
"""Of one call."""
MOST_INPUTS = 16
"""Pictures that one edit may be given."""
MOST_PARTIAL = 3
LONGEST_PROMPT = 32_000
"""Characters."""
LONGEST_SIZE = 32
IMAGE_FIELDS = ("image", "image[]")
_FILES = (*IMAGE_FIELDS, "mask")

DEFAULT_SIZE = "1024x1024"
DEFAULT_QUALITY = "standard"
_SQUARE = 1024 * 1024
_LARGEST = 3840 * 2160
TOKENS = {"low": (272, 408), "medium": (1056, 1584), "high": (4160, 6240)}
"""By quality: tokens of a picture of 1024x1024, and of one half as large again."""
PARTIAL_TOKENS = 100
"""What each partial picture of a stream takes beside."""
_TEXTS = 512
"""Tokens of what is written beside a picture: a model may think about it."""

_KINDS = kinds(
    background="string",
    input_fidelity="string",
    moderation="string",
    output_compression="number",
    output_format="string",
    response_format="string",
    style="string",
    user="string",
)
_NUMBERS = ("n", "output_compression", "partial_images")
_FLAGS = ("stream",)
_SOURCES = frozenset({"image_url", "file_id"})
_prompt = json.decoder(str | None)
_urls = json.decoder(str | list[str] | None)


def parse_generation(body: bytes) -> ParsedRequest:
    """Read a request for pictures of a text; raises InvalidRequest."""
    envelope = parse_envelope(body)
    inputs = len(given_images(envelope))
    if inputs > MOST_INPUTS:
        raise _too_many("image")
    return judged_generation(Operation.IMAGE, envelope, inputs=inputs)


def given_images(envelope: Envelope) -> list[str]:
    """Read pictures that are given by URL beside a prompt, as some makers have it."""
    value = envelope.get("image")
    found: str | list[str] | None
    found = None if value is None else judged(value, "image", _urls)
    return [found] if isinstance(found, str) else found or []


def judged_generation(
    operation: Operation, envelope: Envelope, *, inputs: int
) -> ParsedRequest:
    """Judge a JSON body with a prompt; raises InvalidRequest."""
    prompt = _read_prompt(envelope, needed=True)
    return _request(operation, envelope, prompt, inputs=inputs)


def parse_edit(body: bytes) -> ParsedRequest:
    """Read a request for pictures of pictures, as JSON; raises InvalidRequest."""
    envelope = parse_envelope(body)
    prompt = _read_prompt(envelope, needed=True)
    images = judged_once(envelope, "images", optional_objects, _SOURCES) or []
    _check_inputs(len(images), "images")
    if "mask" in envelope:
        judged_once(envelope, "mask", optional_object, _SOURCES)
    return _request(Operation.IMAGE_EDIT, envelope, prompt, inputs=len(images))


def parse_edit_form(content_type: bytes, body: bytes) -> ParsedRequest:
    """Read a request for pictures of pictures, as a form; raises InvalidRequest."""
    form = parse_form(content_type, body)
    refuse_odd_parts(form, _FILES)
    envelope = envelope_of(form, numbers=_NUMBERS, flags=_FLAGS)
    prompt = _read_prompt(envelope, needed=True)
    inputs = _form_inputs(form)
    return _request(Operation.IMAGE_EDIT, envelope, prompt, inputs=inputs, form=form)


def parse_variation(body: bytes) -> ParsedRequest:  # noqa: ARG001 - as all have it
    """Refuse a body that is no form; raises InvalidRequest."""
    raise InvalidRequest(
        "Variations are asked for with a form (multipart/form-data)",
        param="image",
        code="invalid_form",
    )


def parse_variation_form(content_type: bytes, body: bytes) -> ParsedRequest:
    """Read a request for pictures like another one; raises InvalidRequest."""
    form = parse_form(content_type, body)
    refuse_odd_parts(form, _FILES)
    envelope = envelope_of(form, numbers=_NUMBERS, flags=_FLAGS)
    inputs = _form_inputs(form)
    if inputs > 1:
        raise InvalidRequest(
            "A variation is made of one image", param="image", code="invalid_value"
        )
    prompt = _read_prompt(envelope, needed=False)
    return _request(
        Operation.IMAGE_VARIATION, envelope, prompt, inputs=inputs, form=form
    )


def prompt_text(request: ParsedRequest) -> str:
    """The prompt."""
    return _read_prompt(request.envelope, needed=False)


def render_body(request: ParsedRequest, edits: Edits) -> Payload:
    """Write the request for an upstream, changing only what must change.

    The GPT Image models give base64 alone and refuse to be told so: what the caller
    has asked for is then seen to when the reply is delivered.
    """
    named = gives_base64(edits.model) or gives_base64(request.model)
    if named and "response_format" in request.envelope:
        request = _without_format(request)
    if request.form is not None:
        return render_form_request(request, edits)
    return Payload(JSON, splice.render_request(request, edits))


def gives_base64(model: str) -> bool:
    """Whether it is a model of OpenAI's that gives base64 alone."""
    name = model.rpartition("/")[2]
    return name.startswith(("gpt-image", "chatgpt-image"))


def _without_format(request: ParsedRequest) -> ParsedRequest:
    envelope = dict(request.envelope)
    del envelope["response_format"]
    form = request.form and request.form.without("response_format")
    return structs.replace(request, envelope=envelope, form=form)


def _request(
    operation: Operation,
    envelope: Envelope,
    prompt: str,
    *,
    inputs: int,
    form: Form | None = None,
) -> ParsedRequest:
    """Judge what all three operations have in common."""
    check_kinds(envelope, _KINDS)
    wanted = count(envelope, "n", highest=MOST_PICTURES) or 1
    stream = flag(envelope, "stream")
    partial = count(envelope, "partial_images", lowest=0, highest=MOST_PARTIAL) or 0
    size = _word(envelope, "size")
    quality = _word(envelope, "quality")
    mask = "mask" in envelope or (form is not None and form.first("mask") is not None)
    return ParsedRequest(
        operation=operation,
        envelope=envelope,
        model=model_name(envelope),
        stream=stream,
        prompt=PromptSize(text_bytes=len(prompt.encode()), images=inputs + mask),
        affinity=beginning(Raw(prompt.encode() or b" ")),
        choices=wanted,
        output_limit=tokens_of(size, quality) + PARTIAL_TOKENS * partial,
        include_usage=True,
        other_models=named_models(envelope),
        service_tier=tier_of(size, quality),
        wants_base64=_wants_base64(envelope),
        counted={"image": wanted},
        form=form,
    )


def _read_prompt(envelope: Envelope, *, needed: bool) -> str:
    value = envelope.get("prompt")
    prompt: str | None = None if value is None else judged(value, "prompt", _prompt)
    if not prompt and needed:
        raise InvalidRequest(
            "Missing required parameter: 'prompt'",
            param="prompt",
            code="missing_required_parameter",
        )
    if prompt is not None and len(prompt) > LONGEST_PROMPT:
        raise InvalidRequest(
            f"'prompt' may have at most {LONGEST_PROMPT} characters",
            param="prompt",
            code="string_above_max_length",
        )
    return prompt or ""


def _word(envelope: Envelope, name: str) -> str | None:
    """Read a short text; raises InvalidRequest."""
    value = optional_text(envelope, name)
    if value is not None and not (value.isprintable() and len(value) <= LONGEST_SIZE):
        raise InvalidRequest(
            f"Invalid value for '{name}'", param=name, code="invalid_value"
        )
    return value or None


def _wants_base64(envelope: Envelope) -> bool | None:
    asked = optional_text(envelope, "response_format")
    if asked not in (None, "url", "b64_json"):
        raise InvalidRequest.not_one_of("response_format", ("url", "b64_json"))
    return None if asked is None else asked == "b64_json"


def _form_inputs(form: Form) -> int:
    """Count the pictures of a form; raises InvalidRequest."""
    found = sum(1 for part in form.all(*IMAGE_FIELDS) if part.filename is not None)
    _check_inputs(found, "image")
    return found


def _check_inputs(found: int, name: str) -> None:
    if not found:
        raise InvalidRequest(
            f"Missing required parameter: '{name}'",
            param=name,
            code="missing_required_parameter",
        )
    if found > MOST_INPUTS:
        raise _too_many(name)


def _too_many(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"'{name}' may have at most {MOST_INPUTS} entries",
        param=name,
        code="array_above_max_length",
    )


def tier_of(size: str | None, quality: str | None) -> str:
    """Name what a picture's price depends on: `hd/1024x1792`."""
    size = DEFAULT_SIZE if size in (None, "auto") else size
    quality = DEFAULT_QUALITY if quality in (None, "auto") else quality
    return f"{quality}/{size}"


def tokens_of(size: str | None, quality: str | None) -> int:
    """The most output tokens that one picture takes, texts beside it included."""
    square, oblong = TOKENS.get(quality or "", TOKENS["high"])
    pixels = pixels_of(size)
    if pixels is None:
        return oblong + _TEXTS
    area = min(pixels[0] * pixels[1], _LARGEST)
    if area <= _SQUARE:
        return square + _TEXTS
    return max(oblong, -(-square * area // _SQUARE)) + _TEXTS
