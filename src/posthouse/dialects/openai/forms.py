"""Forms in OpenAI's language: what their texts say, and writing them again.

To all who judge a call a form looks like a JSON body: its texts stand in an
envelope, numbers and flags as such where the operation knows them. A form goes on
with its parts to the byte, but for those that an edit changes.
"""

import re
from collections.abc import Collection

from msgspec import Raw

from posthouse.dialects.base import Edits, ParsedRequest
from posthouse.dialects.neutral.edits import apply_edits
from posthouse.dialects.openai.envelope import is_acted_on, refuse_lookalikes
from posthouse.errors import InvalidRequest
from posthouse.wire import json
from posthouse.wire.json import Envelope, MalformedJSON
from posthouse.wire.multipart import (
    Form,
    MalformedForm,
    Part,
    Payload,
    read_form,
    render_form,
)

_FLAGS = {"true": Raw(b"true"), "false": Raw(b"false")}
_FORMAT = "response_format"
_NUMBER = re.compile("-?(0|[1-9][0-9]{0,18})")
_text = json.decoder(str)


def parse_form(content_type: bytes, body: bytes) -> Form:
    """Read a form; raises InvalidRequest."""
    try:
        return read_form(content_type, body)
    except MalformedForm as error:
        raise InvalidRequest(
            f"We could not read the form of your request: {error}",
            code="invalid_form",
        ) from None


def refuse_odd_parts(form: Form, files: Collection[str]) -> None:
    """Refuse parts that a provider may read as what was not judged here.

    Providers differ in what they make of a file where a text belongs, of `n[]` and
    of `FILE`: nobody shall be given what was not counted.

    Args:
        form: the form.
        files: names of parts that are files, `image[]` say.

    Raises:
        InvalidRequest: for the first of them.
    """
    words = {name.partition("[")[0] for name in files}
    for part in form.parts:
        word = re.split(r"[.\[]", part.name, maxsplit=1)[0].casefold()
        is_file = part.filename is not None
        if part.name in files:
            odd = not is_file
        elif word.removesuffix("s") in words:
            odd = True
        else:
            plain = word == part.name and not is_file
            odd = not plain and (word == _FORMAT or is_acted_on(word))
        if odd:
            what = "a file" if is_file else "a text"
            raise InvalidRequest(
                f"The form may not have {what} named '{part.name[:64]}'",
                param=(word if is_file else part.name)[:64],
                code="invalid_form",
            )


def envelope_of(
    form: Form, *, numbers: Collection[str] = (), flags: Collection[str] = ()
) -> Envelope:
    """Give a form's texts as a body's members; raises InvalidRequest.

    A name that stands there twice is refused, for nobody knows which one counts; but
    lists (`image[]`) are not, whose first entry is given.

    Args:
        form: the form.
        numbers: the texts that stand for whole numbers.
        flags: those that stand for true or false.
    """
    envelope: Envelope = {}
    for part in form.parts:
        name = part.name
        if part.filename is not None:
            continue
        if name in envelope:
            if name.endswith("[]"):
                continue
            raise InvalidRequest(
                f"The field '{name[:64]}' stands in the form twice",
                param=name[:64],
                code="invalid_form",
            )
        text = _text_of(part)
        value = json.raw(text)
        if name in numbers and _is_number(text):
            value = Raw(text.encode())
        elif name in flags:
            value = _FLAGS.get(text.lower(), value)
        envelope[name] = value
    refuse_lookalikes(envelope)
    return envelope


def _is_number(text: str) -> bool:
    """Whether it is a whole number as JSON writes one."""
    return _NUMBER.fullmatch(text) is not None


def _text_of(part: Part) -> str:
    try:
        return part.text
    except MalformedForm as error:
        raise InvalidRequest(
            f"We could not read the form of your request: {error}",
            param=part.name[:64],
            code="invalid_form",
        ) from None


def render_form_request(
    request: ParsedRequest, edits: Edits, *, names_model: bool = True
) -> Payload:
    """Write a form for an upstream, changing only what must change.

    Without `names_model` the form says nothing of the model.
    """
    form = request.form
    if form is None:
        raise ValueError("the request is no form")
    if edits.model_only and (edits.model == request.model or not names_model):
        return render_form(form)
    before = request.envelope
    after = dict(before)
    apply_edits(after, edits)
    if names_model:
        after["model"] = json.raw(edits.model)
    form = form.without(*(before.keys() - after.keys()))
    for name, value in after.items():
        if before.get(name) != value:
            form = form.with_text(name, text_of(value))
    return render_form(form)


def text_of(value: Raw) -> str:
    """Write a member as a form has it: texts bare, all else as JSON."""
    if json.opens_with(value, b'"'):
        try:
            return json.decode_with(_text, value)  # type: ignore[no-any-return]  # a text
        except MalformedJSON:
            pass
    return bytes(value).decode()
