"""Requests that come as forms: their texts judged like JSON, their parts kept.

Rules as for JSON bodies: what must change on the way to a channel is changed, every
other part passes with its bytes, name, file name and type.
"""

from posthouse.dialects.base import Edits
from posthouse.errors import InvalidRequest
from posthouse.wire import json
from posthouse.wire.json import Envelope
from posthouse.wire.multipart import Form, MalformedForm, Part, read_form

LONGEST_TEXT = 256 * 1024
"""Bytes of a field that is no file."""


def form_of(content_type: bytes, body: bytes) -> Form:
    """Read a form; raises InvalidRequest."""
    try:
        return read_form(content_type, body)
    except MalformedForm as error:
        raise InvalidRequest(f"The form is malformed: {error}.") from None


def texts_of(form: Form) -> Envelope:
    """Give the fields that are no files as a JSON object would have them: strings.

    A field that is given several times, or whose name ends with `[]`, becomes a list
    under its plain name. Raises InvalidRequest.
    """
    found: dict[str, str | list[str]] = {}
    for part in form.parts:
        if part.filename is not None:
            continue
        if len(part.value) > LONGEST_TEXT:
            raise InvalidRequest("A field of the form is too long.", param=part.name)
        name = part.name.removesuffix("[]")
        try:
            text = part.text
        except MalformedForm as error:
            raise InvalidRequest(f"{error}.", param=name) from None
        before = found.get(name)
        if isinstance(before, list):
            before.append(text)
        elif before is not None:
            found[name] = [before, text]
        else:
            found[name] = text if name == part.name else [text]
    return {name: json.raw(value) for name, value in found.items()}


def edited(form: Form, edits: Edits) -> Form:
    """Change what must be changed on the way to a channel."""
    quirks = edits.quirks
    parts = []
    for part in form.parts:
        name = part.name.removesuffix("[]")
        if name in quirks.drop or name in edits.drop:
            continue
        new = quirks.rename.get(name)
        suffix = part.name[len(name) :]
        parts.append(
            part
            if new is None
            else Part(new + suffix, part.value, part.filename, part.content_type)
        )
    changed = Form(tuple(parts))
    for name, value in quirks.default.items():
        if changed.first(name) is None:
            changed = changed.with_text(name, _text(json.decode(value, object)))
    for name, member in edits.set.items():
        changed = changed.with_text(name, _text(member))
    return changed.with_text("model", edits.model)


def _text(value: object) -> str:
    """Write a value as a form has it: a string as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.encode(value).decode()
