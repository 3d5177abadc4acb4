"""OpenAI's moderations into the neutral form, and verdicts out of it.

No other dialect of moderations is spoken to providers; who judges in their place is
a chat model.
"""

from typing import Any

from msgspec import Raw
from typing_extensions import override

from posthouse.dialects.base import ParsedReply, ParsedRequest
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.plain import PlainCodec, Written
from posthouse.dialects.openai.envelope import judged
from posthouse.dialects.openai.upstream_only import refuse_asking
from posthouse.errors import InvalidRequest, UpstreamBadResponse
from posthouse.model.chat import Image, Media, Part, Text
from posthouse.model.moderation import (
    CATEGORIES,
    KIND,
    OF_IMAGES,
    ModerationInput,
    ModerationReply,
    ModerationRequest,
    Verdict,
)
from posthouse.wire import json
from posthouse.wire.multipart import Payload

NAME = "openai_moderations"
_READ = frozenset({"model", "input"})
_NULL = Raw(b"null")
_input = json.decoder(str | list[str | dict[str, Any]])


class OpenAIModerationCodec(PlainCodec[ModerationRequest, ModerationReply]):
    """See `PlainCodec` for what each method promises."""

    kind = KIND

    @override
    def read_request(self, request: ParsedRequest) -> ModerationRequest:
        envelope = request.envelope
        return ModerationRequest(
            dialect=NAME,
            inputs=_inputs(judged(envelope["input"], "input", _input)),
            extras=tuple(
                name
                for name, value in envelope.items()
                if name not in _READ and value != _NULL
            ),
        )

    @override
    def write_request(
        self, asked: ModerationRequest, model: str, losses: Losses
    ) -> Written:
        refuse_asking()

    @override
    def read_reply(
        self, reply: ParsedReply, asked: ModerationRequest
    ) -> ModerationReply:
        refuse_asking()

    @override
    def write_reply(
        self, answered: ModerationReply, request: ParsedRequest, model: str
    ) -> Payload:
        inputs = self.read_request(request).inputs
        if len(inputs) != len(answered.verdicts):
            raise UpstreamBadResponse
        written = {
            "id": f"modr-{answered.id}",
            "model": model,
            "results": [
                _result(verdict, one)
                for verdict, one in zip(answered.verdicts, inputs, strict=True)
            ],
        }
        return Payload(b"application/json", json.encode(written))


def _inputs(value: Any) -> tuple[ModerationInput, ...]:
    """Read what is to be judged: parts together are one input."""
    if isinstance(value, str):
        return (ModerationInput((Text(value),)),)
    if all(isinstance(entry, str) for entry in value):
        return tuple(ModerationInput((Text(entry),)) for entry in value)
    return (ModerationInput(tuple(map(_part, value))),)


def _part(value: Any) -> Part:
    if isinstance(value, str):
        return Text(value)
    match value:
        case {"type": "text", "text": str(text)}:
            return Text(text)
        case {"type": "image_url", "image_url": {"url": str(url)}}:
            return Image(_media(url))
        case _:
            pass
    raise InvalidRequest(
        "Every part of 'input' must be a text or an image_url",
        param="input",
        code="invalid_value",
    )


def _media(url: str) -> Media:
    """Where a picture is: at a URL, or in it."""
    head, comma, data = url.partition(";base64,")
    if comma and head.startswith("data:"):
        return Media(data=data, media_type=head.removeprefix("data:"))
    return Media(url=url)


def _result(verdict: Verdict, judged_input: ModerationInput) -> dict[str, Any]:
    kinds = {type(part) for part in judged_input.parts}
    return {
        "flagged": bool(verdict.flagged),
        "categories": {name: name in verdict.flagged for name in CATEGORIES},
        "category_scores": {name: verdict.scores.get(name, 0.0) for name in CATEGORIES},
        "category_applied_input_types": {
            name: (["text"] if Text in kinds else [])
            + (["image"] if Image in kinds and name in OF_IMAGES else [])
            for name in CATEGORIES
        },
    }
