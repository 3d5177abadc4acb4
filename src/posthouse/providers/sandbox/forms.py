"""Forms as bodies: texts as their names say, files as lists of parts."""

from posthouse.providers.sandbox.checks import Body
from posthouse.providers.sandbox.refusal import RequestRefused
from posthouse.wire.multipart import MalformedForm, read_form

WHOLE = frozenset({"n", "output_compression", "partial_images"})
FLAGS = {"true": True, "false": False}
FLAG_NAMES = frozenset({"stream"})


def read_form_body(content_type: bytes, data: bytes) -> Body:
    """Read a form; raises RequestRefused."""
    body: Body = {}
    try:
        for part in read_form(content_type, data).parts:
            name = part.name
            if part.filename is not None:
                body.setdefault(name, []).append(part)
            elif name in WHOLE and part.text.isdecimal():
                body[name] = int(part.text[:20])
            elif name in FLAG_NAMES:
                body[name] = FLAGS.get(part.text, part.text)
            else:
                body[name] = part.text
    except (MalformedForm, AttributeError):
        raise RequestRefused("The request's body is not a form.") from None
    return body
