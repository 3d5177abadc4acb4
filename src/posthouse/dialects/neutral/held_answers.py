"""Holding answers to a JSON schema that their model was only asked to keep to.

Where a provider holds its models to schemas itself, nothing is done here. Of what
came whole, a fence of Markdown around the JSON is left out, and what does not
match is refused. A stream has been read before anybody could say.
"""

from typing import Any

from msgspec import structs

from posthouse.dialects.neutral.json_schema import matches
from posthouse.errors import UpstreamUnlikeSchema
from posthouse.model.chat import (
    ChatReply,
    ChatRequest,
    Choice,
    Extras,
    FinishReason,
    OutputKind,
    Refusal,
    Text,
    ToolCall,
)
from posthouse.model.traits import Traits
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_WHOLE = (FinishReason.STOP, FinishReason.STOP_SEQUENCE)
_FENCE = "```"
_anything = json.decoder(Any)


def schema_to_hold(chat: ChatRequest, traits: Traits, *, strict: bool) -> Extras | None:
    """The schema that answers must be held to here; None if there is none.

    Args:
        chat: what was asked.
        traits: of the model.
        strict: whether schemas bind where a request of its dialect does not say.
    """
    wanted = chat.output_format
    if traits.schema or wanted is None or wanted.kind is not OutputKind.SCHEMA:
        return None
    strict = strict if wanted.strict is None else wanted.strict
    return wanted.schema if strict else None


def held(reply: ChatReply, schema: Extras) -> ChatReply:
    """Give the reply, its answers bare JSON; raises UpstreamUnlikeSchema."""
    choices = tuple([_held(choice, schema) for choice in reply.choices])
    return structs.replace(reply, choices=choices)


def _held(choice: Choice, schema: Extras) -> Choice:
    finish = choice.finish
    if finish is not None and finish.reason not in _WHOLE:
        # It is cut off, or something else than an answer.
        return choice
    if any(isinstance(part, ToolCall | Refusal) for part in choice.parts):
        return choice
    texts = [part for part in choice.parts if isinstance(part, Text)]
    said = "".join(part.text for part in texts)
    answer = _bare(said)
    try:
        value = json.decode_with(_anything, answer.encode(errors="replace"))
    except MalformedJSON:
        raise UpstreamUnlikeSchema from None
    if not matches(value, schema):
        raise UpstreamUnlikeSchema
    if answer == said:
        return choice
    others = [part for part in choice.parts if not isinstance(part, Text)]
    return structs.replace(choice, parts=(*others, Text(answer)))


def _bare(text: str) -> str:
    """Leave out the fence that models like to put around JSON."""
    inner = text.strip()
    if not inner.startswith(_FENCE) or not inner.endswith(_FENCE):
        return text
    language, _, rest = inner[len(_FENCE) : -len(_FENCE)].partition("\n")
    return rest.strip() if language.strip().lower() in ("", "json") else text
