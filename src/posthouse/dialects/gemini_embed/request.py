"""An embeddings request's envelope: one content, or a batch of requests of one each.

Every entry of a batch names the model; all must name the path's.
"""

from collections.abc import Iterator
from typing import Any

from msgspec import Raw, Struct

from posthouse.dialects.base import Edits, ParsedRequest, PromptSize
from posthouse.dialects.google.envelope import listed, one_spelling, parse_envelope
from posthouse.dialects.neutral.edits import apply_edits
from posthouse.dialects.openai.envelope import (
    AFFINITY_LIMIT,
    checked_model_name,
    judged,
    model_in,
    model_name,
)
from posthouse.errors import InvalidRequest
from posthouse.model.call import Operation
from posthouse.wire import json
from posthouse.wire.json import Envelope

INPUT_LIMIT = 2048
"""The most entries of one request: as many as OpenAI's embeddings take."""

BATCH = "requests"
_PREFIX = "models/"


class _Part(Struct, gc=False):
    text: str | None = None


class Content(Struct, gc=False):
    """What is to be embedded, as far as it is text."""

    parts: list[_Part] | _Part | None = None

    def texts(self) -> list[str]:
        """Its texts, in order."""
        return [part.text for part in listed(self.parts) if part.text is not None]


_content = json.decoder(Content | None)
_objects = json.decoder(list[dict[str, Raw]] | None)


def parse_request(body: bytes) -> ParsedRequest:
    """Read a request whose body names its model; raises InvalidRequest."""
    envelope = parse_envelope(body)
    return _parse(envelope, model_name(envelope).removeprefix(_PREFIX))


def parse_request_for(body: bytes, model: str) -> ParsedRequest:
    """Read a request; raises InvalidRequest.

    Args:
        body: the request's; with `requests` in it, it is a batch.
        model: its name in the path, without `models/`.
    """
    return _parse(parse_envelope(body), checked_model_name(model))


def _parse(envelope: Envelope, model: str) -> ParsedRequest:
    named = model_in(envelope, "model")
    if named is not None:
        _check_model(named, model, "model")
    entries = _entries(envelope, model)
    texts = list(_texts(entries))
    return ParsedRequest(
        operation=Operation.EMBEDDING,
        envelope=envelope,
        model=model,
        stream=False,
        prompt=PromptSize(text_bytes=sum(len(text.encode()) for text in texts)),
        affinity=(texts[0][:AFFINITY_LIMIT],) if texts else (),
        output_limit=0,
    )


def _entries(envelope: Envelope, model: str) -> list[Envelope]:
    """Read the requests of a batch, or the one that there is."""
    value = envelope.get(BATCH)
    if value is None:
        if "content" not in envelope:
            raise InvalidRequest(
                "content is not specified",
                param="content",
                code="missing_required_parameter",
            )
        return [envelope]
    found = judged(value, BATCH, _objects) or []
    if not found or len(found) > INPUT_LIMIT:
        raise InvalidRequest(
            f"'{BATCH}' must have from 1 to {INPUT_LIMIT} entries",
            param=BATCH,
            code="invalid_value",
        )
    entries = [one_spelling(entry) for entry in found]
    for index, entry in enumerate(entries):
        place = f"{BATCH}[{index}].model"
        named = model_in(entry, place)
        if named is not None:
            _check_model(named, model, place)
    envelope[BATCH] = json.raw(entries)
    return entries


def _check_model(named: str, model: str, place: str) -> None:
    """Refuse another model than the path's."""
    if named.removeprefix(_PREFIX) != model:
        raise InvalidRequest(
            f"'{place}' must be the model of the path",
            param=place,
            code="invalid_value",
        )


def _texts(entries: list[Envelope]) -> Iterator[str]:
    for entry in entries:
        yield "\n".join(content_of(entry).texts())


def content_of(entry: Envelope) -> Content:
    """Read what an entry embeds; raises InvalidRequest."""
    value = entry.get("content")
    found: Any = None if value is None else judged(value, "content", _content)
    return found or Content()


def render_request(request: ParsedRequest, edits: Edits) -> bytes:
    """Write the request for an upstream: always a batch, be it of one.

    Every entry must name the model, whether or not its caller knew; what is edited
    is edited in each.
    """
    name = json.raw(f"{_PREFIX}{edits.model}")
    written = []
    for entry in entries_of(request):
        changed = {"model": name, **entry}
        apply_edits(changed, edits)
        changed["model"] = name
        written.append(changed)
    return json.encode({BATCH: written})


def prompt_text(request: ParsedRequest) -> str:
    """The text that is embedded, for counting where no usage was given."""
    return "\n".join(_texts(entries_of(request)))


def entries_of(request: ParsedRequest) -> list[Envelope]:
    """The requests of a batch, or the one that there is."""
    value = request.envelope.get(BATCH)
    if value is None:
        return [request.envelope]
    return json.decode_with(_objects, value) or []
