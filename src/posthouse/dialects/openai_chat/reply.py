"""A whole chat reply, read along."""

from typing import Any

from msgspec import Raw, Struct, UnsetType

from posthouse.dialects.base import ParsedReply
from posthouse.dialects.openai.replies import (
    is_array,
    parse_reply_head,
    tier_of,
    usage_of,
    with_model,
)
from posthouse.errors import UpstreamBadResponse
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON


class _Message(Struct, frozen=True):
    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: Any = None
    function_call: Any = None


class _Choice(Struct):
    message: _Message = _Message()


_choices = json.decoder(list[_Choice])


def parse_reply(body: bytes, public_model: str | None) -> ParsedReply:
    """Read a whole reply; raises UpstreamFault."""
    head = parse_reply_head(body)
    if not is_array(head.choices):
        raise UpstreamBadResponse
    usage = usage_of(head)
    return ParsedReply(
        body=body if public_model is None else with_model(body, public_model),
        usage=usage,
        service_tier=tier_of(head.service_tier),
        # The text is only wanted where it must be counted.
        output_text="" if usage is not None else _output_text(head.choices),
    )


def _output_text(choices: Raw | UnsetType) -> str:
    """Everything that the model produced, tool calls included."""
    if isinstance(choices, UnsetType):
        return ""
    try:
        found = json.decode_with(_choices, choices)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    texts = []
    for choice in found:
        message = choice.message
        for value in (
            message.reasoning_content or message.reasoning,
            message.content,
            message.refusal,
            message.tool_calls,
            message.function_call,
        ):
            if isinstance(value, str):
                texts.append(value)
            elif value:
                texts.append(json.encode(value).decode())
    return "\n".join(texts)
