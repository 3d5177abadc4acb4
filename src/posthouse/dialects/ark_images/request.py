"""A native request to Volcengine Ark, judged."""

from msgspec import structs

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.openai.envelope import (
    count,
    judged_once,
    optional_object,
    optional_text,
    parse_envelope,
)
from posthouse.dialects.openai.image_request import given_images, judged_generation
from posthouse.model.call import Operation
from posthouse.wire.json import Envelope

MOST_OF_A_GROUP = 15
MOST_INPUTS = 14
_OPTIONS = "sequential_image_generation_options"
_LIMIT = frozenset({"max_images"})


def parse_request(body: bytes) -> ParsedRequest:
    """Read a request; raises InvalidRequest."""
    envelope = parse_envelope(body)
    inputs = _inputs(envelope)
    operation = Operation.IMAGE_EDIT if inputs else Operation.IMAGE
    request = judged_generation(operation, envelope, inputs=inputs)
    most = _group(envelope)
    # The price depends on the model alone.
    return structs.replace(
        request, choices=most, counted={"image": most}, service_tier=None
    )


def _inputs(envelope: Envelope) -> int:
    return min(len(given_images(envelope)), MOST_INPUTS)


def _group(envelope: Envelope) -> int:
    """The most pictures that the model may make."""
    if optional_text(envelope, "sequential_image_generation") != "auto":
        return 1
    options = judged_once(envelope, _OPTIONS, optional_object, _LIMIT)
    return (
        count(options or {}, "max_images", highest=MOST_OF_A_GROUP) or MOST_OF_A_GROUP
    )
