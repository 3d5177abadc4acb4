"""What dialects of picture makers have in common who have many paths of their own.

A native request says by its path what is asked; `parse_native` judges it. It goes on
as it came: JSON spliced, a form with its parts to the byte.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Raw, Struct
from typing_extensions import override

from posthouse.dialects.base import (
    Edits,
    Headers,
    Manners,
    ParsedRequest,
    PromptSize,
    StreamTap,
    error_headers,
)
from posthouse.dialects.neutral.edits import apply_edits
from posthouse.dialects.openai.envelope import beginning, parse_envelope
from posthouse.dialects.openai.errors import status_of
from posthouse.dialects.openai.forms import (
    envelope_of,
    parse_form,
    render_form_request,
)
from posthouse.dialects.openai.images import OpenAIImages
from posthouse.errors import InvalidRequest, PosthouseError
from posthouse.model.call import Operation
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.json import Envelope
from posthouse.wire.multipart import JSON, Form, Payload, is_form
from posthouse.wire.sse import data_frame


class Native(Struct, frozen=True):
    """A native request, as far as every vendor has it."""

    path: str
    """Behind the channel's base path."""
    envelope: Envelope
    form: Form | None
    raw: bool = False
    """The picture itself is wanted, not JSON."""

    @property
    def files(self) -> int:
        """How many files it has."""
        parts = () if self.form is None else self.form.parts
        return sum(1 for part in parts if part.filename is not None)


def read_native(
    path: str,
    content_type: bytes,
    body: bytes,
    *,
    numbers: Sequence[str] = (),
    raw: bool = False,
) -> Native:
    """Read a native request's body; raises InvalidRequest."""
    if is_form(content_type):
        form = parse_form(content_type, body)
        return Native(path, envelope_of(form, numbers=numbers), form, raw)
    return Native(path, parse_envelope(body), None, raw)


def native_request(
    native: Native,
    operation: Operation,
    model: str,
    *,
    prompt: str,
    count: int,
    tier: str | None = None,
) -> ParsedRequest:
    """Judge a native request.

    Args:
        native: what was read.
        operation: what is asked.
        model: its name here.
        prompt: its text.
        count: pictures asked for.
        tier: what a picture's price depends on; None where that is the model alone.
    """
    return ParsedRequest(
        operation=operation,
        envelope=native.envelope,
        model=model,
        stream=False,
        prompt=PromptSize(text_bytes=len(prompt.encode()), images=native.files),
        affinity=beginning(Raw(prompt.encode() or b" ")),
        choices=count,
        output_limit=0,
        service_tier=tier,
        wants_base64=not native.raw,
        counted={"image": count},
        form=native.form,
        target=native.path,
    )


class VendorImages(OpenAIImages):
    """A dialect of whole replies; the model's name may stand nowhere in its bodies."""

    model_field = "model"
    """The member that names the model."""

    def parse_native(
        self, path: str, content_type: bytes, body: bytes, *, raw: bool = False
    ) -> ParsedRequest:
        """Judge a request at one of the vendor's own paths.

        Args:
            path: behind the channel's base path.
            content_type: the body's.
            body: all of it.
            raw: the picture itself is wanted, not JSON.

        Raises:
            InvalidRequest: it is none, or nothing is known at this path.
        """
        raise NotImplementedError

    @override
    def parse_request(self, body: bytes) -> ParsedRequest:
        raise InvalidRequest(
            "This is asked at the provider's own paths", code="unsupported_operation"
        )

    @override
    def tap_answer(
        self,
        request: ParsedRequest,
        headers: Sequence[tuple[bytes, bytes]],
        public_model: str | None,
    ) -> StreamTap | None:
        return None

    @override
    def render_body(self, request: ParsedRequest, edits: Edits) -> Payload:
        if request.form is not None:
            named = self.model_field in request.envelope
            return render_form_request(request, edits, names_model=named)
        envelope = dict(request.envelope)
        apply_edits(envelope, edits)
        if self.model_field in request.envelope:
            envelope[self.model_field] = json.raw(edits.model)
        return Payload(JSON, json.encode(envelope))


def is_text(value: Raw) -> bool:
    """Whether it is a text that is not empty, without looking at all of it."""
    return len(value) > len(b'""') and json.opens_with(value, b'"')


def made(count: int) -> ReportedUsage:
    """The usage of a reply that has so many pictures and tells nothing else."""
    return ReportedUsage(counted={"image": count})


def manners(body: Callable[[PosthouseError], dict[str, Any]]) -> Manners:
    """How a vendor's clients are told of errors, by the shape of its error bodies."""

    def render(error: PosthouseError) -> tuple[int, Headers, bytes]:
        return status_of(error), error_headers(error), json.encode(body(error))

    def frame(error: PosthouseError) -> bytes:
        return data_frame(json.encode(body(error)))

    return Manners(render, frame)
