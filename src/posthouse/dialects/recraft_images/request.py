"""A native request to Recraft, judged.

What a picture costs depends on what is done (`vectorize`, `crispUpscale` …), and for
those that are made on whether they are drawn as vectors.
"""

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.openai.envelope import count, model_name, optional_text
from posthouse.dialects.openai.vendor_images import native_request, read_native
from posthouse.errors import NotFound
from posthouse.model.call import Operation
from posthouse.wire.json import Envelope

PREFIX = "/v1/images/"
GENERATIONS = f"{PREFIX}generations"
DEFAULT_MODEL = "recraftv3"
MOST_PICTURES = 6
DRAWING = frozenset(
    {
        "generations",
        "generateBackground",
        "imageToImage",
        "inpaint",
        "outpaint",
        "replaceBackground",
        "variateImage",
    }
)
"""What makes pictures of a style, as many as are asked for."""
MENDING = frozenset(
    {
        "clarityUpscale",
        "creativeUpscale",
        "crispUpscale",
        "eraseRegion",
        "generativeUpscale",
        "removeBackground",
        "vectorize",
    }
)
"""What makes one picture of another one."""
VECTOR = "vector"
_VECTOR_STYLES = ("vector_illustration", "icon", "logo_vector")
_NUMBERS = ("n", "random_seed")


def parse_native(path: str, content_type: bytes, body: bytes) -> ParsedRequest:
    """Judge a request at one of its paths; raises InvalidRequest and NotFound."""
    asked = path.removeprefix(PREFIX)
    if not path.startswith(PREFIX) or asked not in DRAWING | MENDING:
        raise NotFound
    native = read_native(path, content_type, body, numbers=_NUMBERS)
    envelope = native.envelope
    wanted = 1
    if asked in DRAWING:
        wanted = count(envelope, "n", highest=MOST_PICTURES) or 1
    model = model_name(envelope, DEFAULT_MODEL)
    operation = Operation.IMAGE if asked == "generations" else Operation.IMAGE_EDIT
    return native_request(
        native,
        operation,
        model,
        prompt=optional_text(envelope, "prompt") or "",
        count=wanted,
        tier=tier_of(asked, model, envelope),
    )


def tier_of(asked: str, model: str, envelope: Envelope) -> str | None:
    """Name what a picture's price depends on; None is the usual price."""
    if asked in MENDING:
        return asked
    style = optional_text(envelope, "style") or ""
    drawn = model.endswith("_vector") or style.startswith(_VECTOR_STYLES)
    return VECTOR if drawn else None
