"""A native request to Ideogram, judged and written.

The first paths name the model in `image_request` or in a field; those of 3.0 and
later have it in the path, and in it the model is named `V_3`. What a picture costs
depends on the model and, from 3.0 on, on the speed and on references to characters.
"""

from typing import Any

from msgspec import Raw, structs

from posthouse.dialects.base import Edits, ParsedRequest
from posthouse.dialects.neutral.edits import apply_edits
from posthouse.dialects.openai.envelope import (
    checked_model_name,
    count,
    judged,
    optional_text,
    refuse_lookalikes,
)
from posthouse.dialects.openai.forms import envelope_of, render_form_request
from posthouse.dialects.openai.vendor_images import (
    Native,
    native_request,
    read_native,
)
from posthouse.errors import InvalidRequest, NotFound
from posthouse.model.call import Operation
from posthouse.wire import json
from posthouse.wire.json import Envelope
from posthouse.wire.multipart import JSON, Form, Payload

MOST_PICTURES = 8
DEFAULT_MODEL = "V_2"
WITHOUT_MODEL = {
    "/upscale": "ideogram-upscale",
    "/describe": "ideogram-describe",
}
"""Paths at which no model is named, and what they are priced as."""
LEGACY = frozenset({"/generate", "/edit", "/remix", "/reframe", *WITHOUT_MODEL})
_FAMILIES = {"/v1/ideogram-v3/": "V_3", "/v1/ideogram-v4/": "V_4"}
_ASKED = frozenset(
    {
        "edit",
        "generate",
        "generate-transparent",
        "inpaint",
        "reframe",
        "remix",
        "replace-background",
    }
)
_WRAPPED = "image_request"
_NUMBERS = ("num_images", "seed", "image_weight", "resemblance", "detail")
_CHARACTERS = ("character_reference_images",)
SPEEDS = ("FLASH", "TURBO", "DEFAULT", "QUALITY")

_object = json.decoder(dict[str, Raw])
_text = json.decoder(str)


def parse_native(path: str, content_type: bytes, body: bytes) -> ParsedRequest:
    """Judge a request at one of its paths; raises InvalidRequest and NotFound."""
    family, _, asked = path.rpartition("/")
    model = _FAMILIES.get(f"{family}/")
    if not (path in LEGACY or (model is not None and asked in _ASKED)):
        raise NotFound
    native = read_native(path, content_type, body, numbers=_NUMBERS)
    return _judged(native, asked, model)


def _judged(native: Native, asked: str, model: str | None) -> ParsedRequest:
    members = members_of(native.envelope)
    prompt = optional_text(members, "prompt") or ""
    wanted = count(members, "num_images", highest=MOST_PICTURES) or 1
    if model is None:
        named = WITHOUT_MODEL.get(native.path) or optional_text(members, "model")
        model = checked_model_name(named or DEFAULT_MODEL)
    made_of_words = asked in ("generate", "generate-transparent")
    return native_request(
        native,
        Operation.IMAGE if made_of_words else Operation.IMAGE_EDIT,
        model,
        prompt=prompt,
        count=1 if native.path == "/describe" else wanted,
        tier=tier_of(native.path, native.envelope, native.form),
    )


def tier_of(path: str, envelope: Envelope, form: Form | None) -> str | None:
    """Name what a picture's price depends on: `TURBO` or `QUALITY/character`.

    None where it depends on the model alone.
    """
    if not path.startswith(tuple(_FAMILIES)):
        return None
    speed = optional_text(envelope, "rendering_speed")
    found = speed if speed in SPEEDS else "DEFAULT"
    given = {*envelope, *(part.name for part in (form.parts if form else ()))}
    if not given.isdisjoint(_CHARACTERS):
        return f"{found}/character"
    is_transparent = path.endswith("generate-transparent")
    return f"{found}/transparent" if is_transparent else found


def members_of(envelope: Envelope) -> Envelope:
    """The members that say what is asked, wherever they stand."""
    wrapped = envelope.get(_WRAPPED)
    if wrapped is None:
        return envelope
    if json.opens_with(wrapped, b'"'):
        # In a form it is JSON in a text.
        wrapped = Raw(judged(wrapped, _WRAPPED, _text).encode())
    members: Envelope = judged(wrapped, _WRAPPED, _object)
    refuse_lookalikes(members)
    return members


def prompt_text(request: ParsedRequest) -> str:
    """The prompt."""
    return optional_text(members_of(request.envelope), "prompt") or ""


def render_body(request: ParsedRequest, edits: Edits) -> Payload:
    """Write a request, changing only what must change."""
    envelope, form = request.envelope, request.form
    named = edits.model != request.model and request.target in LEGACY
    if named and request.target not in WITHOUT_MODEL and _WRAPPED in envelope:
        members: dict[str, Any] = dict(members_of(envelope))
        members["model"] = edits.model
        data = json.encode(members)
        envelope = {**envelope, _WRAPPED: Raw(data)}
        if form is not None:
            form = form.with_text(_WRAPPED, data.decode())
    if form is not None:
        sent = structs.replace(request, envelope=_texts(form), form=form)
        return render_form_request(sent, edits, names_model="model" in envelope)
    written = dict(envelope)
    apply_edits(written, edits)
    return Payload(JSON, json.encode(written))


def _texts(form: Form) -> Envelope:
    try:
        return envelope_of(form)
    except InvalidRequest:
        return {}
