"""Requests for the text of speech, judged: OpenAI's transcriptions and translations.

Source: OpenAI's API description, schemas `CreateTranscriptionRequest` and
`CreateTranslationRequest` (openapi, 2026-08).

What a call costs is decided by how long the sound lasts, which is measured here,
before anybody is asked: see `wire.audio`. What cannot be measured is estimated by its
size, upwards; what claims to last longer than its bytes can is refused. The sound
must come in the form: one that a provider would fetch cannot be measured.
"""

from posthouse.dialects.base import ParsedRequest, PromptSize
from posthouse.dialects.openai.envelope import (
    AFFINITY_LIMIT,
    flag,
    model_name,
    named_models,
    optional_text,
)
from posthouse.dialects.openai.forms import envelope_of, parse_form, refuse_odd_parts
from posthouse.errors import InvalidRequest
from posthouse.model.call import Operation
from posthouse.model.usage import Unit
from posthouse.wire.audio.measure import (
    is_possible,
    measure,
    seconds_by_size,
    whole_seconds,
)
from posthouse.wire.json import Envelope
from posthouse.wire.multipart import Form, Part

TOKENS_PER_SECOND = 10
"""Of sound that a model listens to: one in 100 ms, as OpenAI documents it at
https://developers.openai.com/api/docs/guides/realtime-costs (2026-11-21)."""
TEXT_TOKENS_PER_SECOND = 8
"""Of text that a second of speech has at most, even if it is read out fast."""
_LEAST_TEXT = 64
"""Tokens of an answer, however short the sound is."""
_FLAGS = ("stream",)
_FILES = ("file",)
_ELSEWHERE = frozenset({"audio_url", "file_base64", "file_id", "file_url", "url"})
"""Names by which one provider or another takes a sound that is not the file."""


def parse_body(body: bytes) -> ParsedRequest:  # noqa: ARG001 - as all have it
    """Refuse a body that is no form; raises InvalidRequest."""
    raise InvalidRequest(
        "Sound is sent with a form (multipart/form-data)",
        param="file",
        code="invalid_form",
    )


def parse_audio_form(
    operation: Operation, content_type: bytes, body: bytes
) -> ParsedRequest:
    """Read a request for the text of speech; raises InvalidRequest."""
    form = parse_form(content_type, body)
    refuse_odd_parts(form, _FILES)
    envelope = envelope_of(form, flags=_FLAGS)
    sound = _sound_of(form).value
    seconds = measure(sound)
    if seconds is not None and not is_possible(seconds, len(sound)):
        raise InvalidRequest(
            "The sound claims to last longer than its bytes can",
            param="file",
            code="invalid_audio",
        )
    lasts = seconds_by_size(len(sound)) if seconds is None else whole_seconds(seconds)
    return ParsedRequest(
        operation=operation,
        envelope=envelope,
        model=model_name(envelope),
        stream=flag(envelope, "stream"),
        prompt=PromptSize(
            text_bytes=len((optional_text(envelope, "prompt") or "").encode()),
            audio_parts=1,
            audio_seconds=lasts,
        ),
        affinity=sound[:AFFINITY_LIMIT],
        output_limit=TEXT_TOKENS_PER_SECOND * lasts + _LEAST_TEXT,
        include_usage=True,
        other_models=named_models(envelope),
        counted={Unit.SECOND.value: lasts},
        counts_roughly=seconds is None,
        form=form,
    )


def _sound_of(form: Form) -> Part:
    """Find the one file; raises InvalidRequest."""
    for part in form.parts:
        name = part.name.casefold()
        if name in _ELSEWHERE:
            raise _refusal(f"'{name}' is not taken: send the sound as 'file'", name)
    files = [part for part in form.all("file") if part.filename is not None]
    if not files:
        raise InvalidRequest(
            "Missing required parameter: 'file'",
            param="file",
            code="missing_required_parameter",
        )
    if len(files) > 1:
        raise _refusal("The form has more than one 'file'", "file")
    if not files[0].value:
        raise _refusal("The file is empty", "file")
    return files[0]


def _refusal(message: str, param: str) -> InvalidRequest:
    return InvalidRequest(message, param=param, code="invalid_value")


def prompt_text(request: ParsedRequest) -> str:
    """The text that guides the model."""
    return optional_text(request.envelope, "prompt") or ""


def response_format(envelope: Envelope) -> str:
    """Read how the text shall be written; raises InvalidRequest."""
    return optional_text(envelope, "response_format") or "json"
