"""Models that a body names, as the channel that it goes to calls them.

A body whose models are called the same there is left as it is, to the byte.
"""

from msgspec import Raw

from posthouse.dialects.resources.names import is_callers
from posthouse.routing.table import Channel, offered_as
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.multipart import Form, Part, is_form, read_form, render_form


def body_for(
    channel: Channel, content_type: bytes | None, body: bytes, models: list[str]
) -> bytes:
    """Give a body as a channel must have it."""
    names = {}
    for model in models:
        upstream = offered_as(channel, model)
        if upstream is not None and upstream != model:
            names[model] = upstream
    if not names or not body:
        return body
    if is_form(content_type):
        return _form(content_type or b"", body, names)
    try:
        return bytes(_renamed(Raw(body), names))
    except MalformedJSON:
        return body


def _form(content_type: bytes, body: bytes, names: dict[str, str]) -> bytes:
    form = read_form(content_type, body)
    parts = tuple(_part(part, names) for part in form.parts)
    boundary = content_type.partition(b"boundary=")[2].split(b";")[0].strip(b'" ')
    return render_form(Form(parts), boundary).data


def _part(part: Part, names: dict[str, str]) -> Part:
    if part.name != "model" or part.filename is not None:
        return part
    upstream = names.get(part.value.decode(errors="replace"))
    if upstream is None:
        return part
    return Part(part.name, upstream.encode(), None, part.content_type)


def _renamed(value: Raw, names: dict[str, str]) -> Raw:
    """Rename models wherever they stand; all else stays to the letter."""
    text = bytes(value).lstrip()
    if text[:1] == b"{":
        members: dict[str, Raw] = json.decode(text, dict[str, Raw])
        return json.raw(
            {
                name: _model(one, names)
                if name == "model"
                else one
                if is_callers(name.casefold())
                else _renamed(one, names)
                for name, one in members.items()
            }
        )
    if text[:1] == b"[":
        entries: list[Raw] = json.decode(text, list[Raw])
        return json.raw([_renamed(one, names) for one in entries])
    return value


def _model(value: Raw, names: dict[str, str]) -> Raw:
    if bytes(value)[:1] != b'"':
        return _renamed(value, names)
    model = json.decode(value, str)
    return json.raw(names[model]) if model in names else value
