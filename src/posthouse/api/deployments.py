"""Bodies of Azure's deployments: there the path names the model, and they need not."""

from collections.abc import Callable
from functools import partial

from posthouse.dialects.base import Dialect, MediaDialect, ParsedRequest
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.multipart import MalformedForm, is_form, read_form, render_form

Parse = Callable[[bytes], ParsedRequest]


def parse_json(dialect: Dialect, model: str, body: bytes) -> ParsedRequest:
    """Judge a JSON body as if it named the model that the path names."""
    try:
        named = {**json.decode_envelope(body), "model": json.raw(model)}
    except MalformedJSON:
        return dialect.parse_request(body)
    return dialect.parse_request(json.encode(named))


def media_parser(
    dialect: MediaDialect, content_type: bytes, model: str | None
) -> Parse:
    """Choose what judges a body, JSON or a form; None: it names the model itself."""
    if not is_form(content_type):
        if model is None:
            return dialect.parse_request
        return partial(parse_json, dialect, model)
    if model is None:
        return partial(dialect.parse_form, content_type)
    return partial(_parse_form, dialect, content_type, model)


def _parse_form(
    dialect: MediaDialect, content_type: bytes, model: str, body: bytes
) -> ParsedRequest:
    """Judge a form as if it named the model that the path names."""
    try:
        form = read_form(content_type, body).with_text("model", model)
    except MalformedForm:
        return dialect.parse_form(content_type, body)
    named = render_form(form)
    return dialect.parse_form(named.content_type, named.data)
