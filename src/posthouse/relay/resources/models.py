"""Models and files that a body names, as the channel that it goes to calls them.

A body in which all is called the same there is left as it is, to the byte.
"""

from collections.abc import Mapping

from msgspec import Raw, Struct

from posthouse.dialects.resources.names import is_callers, is_id_name, last_word
from posthouse.routing.table import Channel, offered_as
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.multipart import Form, Part, is_form, read_form, render_form


class _Names(Struct, frozen=True):
    """What is called otherwise."""

    models: dict[str, str]
    things: Mapping[str, str]


def body_for(
    channel: Channel,
    content_type: bytes | None,
    body: bytes,
    *,
    models: list[str],
    things: Mapping[str, str],
) -> bytes:
    """Give a body as a channel must have it.

    Args:
        channel: where it goes.
        content_type: what it is.
        body: as it came.
        models: all that it names.
        things: of what it names by an id, what the provider calls otherwise.
    """
    upstream = {model: offered_as(channel, model) or model for model in models}
    renamed = {model: name for model, name in upstream.items() if name != model}
    names = _Names(renamed, things)
    if not (renamed or things) or not body:
        return body
    if is_form(content_type):
        return _form(content_type or b"", body, names)
    try:
        return bytes(_renamed(Raw(body), names))
    except MalformedJSON:
        return body


def _form(content_type: bytes, body: bytes, names: _Names) -> bytes:
    form = read_form(content_type, body)
    parts = tuple(_part(part, names) for part in form.parts)
    boundary = content_type.partition(b"boundary=")[2].split(b";")[0].strip(b'" ')
    return render_form(Form(parts), boundary).data


def _part(part: Part, names: _Names) -> Part:
    if part.filename is not None:
        return part
    text = part.value.decode(errors="replace")
    upstream = None
    if part.name == "model":
        upstream = names.models.get(text)
    elif is_id_name(last_word(part.name)):
        upstream = names.things.get(text)
    if upstream is None and names.things and text.lstrip()[:1] in ("{", "["):
        try:
            upstream = bytes(_renamed(Raw(part.value), names)).decode()
        except MalformedJSON:
            return part
    if upstream is None:
        return part
    return Part(part.name, upstream.encode(), None, part.content_type)


def _renamed(value: Raw, names: _Names, member: str = "") -> Raw:
    """Rename what is named in a value; all else stays to the letter."""
    text = bytes(value).lstrip()
    if text[:1] == b"{":
        members: dict[str, Raw] = json.decode(text, dict[str, Raw])
        return json.raw(
            {name: _member(name, one, names) for name, one in members.items()}
        )
    if text[:1] == b"[":
        entries: list[Raw] = json.decode(text, list[Raw])
        return json.raw([_renamed(one, names, member) for one in entries])
    if names.things and text[:1] == b'"' and is_id_name(member):
        name = json.decode(text, str)
        return json.raw(names.things[name]) if name in names.things else value
    return value


def _member(name: str, value: Raw, names: _Names) -> Raw:
    if name == "model":
        return _model(value, names)
    word = name.casefold()
    return value if is_callers(word) else _renamed(value, names, word)


def _model(value: Raw, names: _Names) -> Raw:
    if bytes(value)[:1] != b'"':
        return _renamed(value, names)
    model = json.decode(value, str)
    return json.raw(names.models[model]) if model in names.models else value
