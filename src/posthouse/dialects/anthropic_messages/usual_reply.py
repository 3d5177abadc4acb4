"""Replies of other dialects' providers that are one text, as most are.

They are written by types in one go, as `reply` writes them part by part. Whatever
tells more is written so.
"""

from msgspec import UNSET, Struct, UnsetType

from posthouse.dialects.anthropic_messages.finish import ENDED, WRITTEN
from posthouse.dialects.anthropic_messages.usage import NOTHING, TIERS, input_apart
from posthouse.model.chat import ChatReply, Text
from posthouse.wire import json


class _Text(Struct, gc=False, tag="text"):
    text: str


class _Written(Struct, gc=False):
    """What was written to the provider's cache, by its lifetime."""

    ephemeral_5m_input_tokens: int
    ephemeral_1h_input_tokens: int


class _Thoughts(Struct, gc=False):
    thinking_tokens: int


class _Usage(Struct, gc=False):
    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    cache_creation: _Written
    output_tokens: int
    output_tokens_details: _Thoughts | UnsetType = UNSET


class _Message(Struct, gc=False, kw_only=True):
    id: str
    type: str = "message"
    role: str = "assistant"
    model: str
    content: tuple[_Text]
    stop_reason: str
    stop_sequence: str | None
    stop_details: None = None
    usage: _Usage


def write_usual(reply: ChatReply, reply_id: str, model: str) -> bytes | None:
    """Write a whole reply of another dialect; None if it is not a usual one.

    Args:
        reply: what was answered.
        reply_id: what the reply is called.
        model: what the model is called.
    """
    usage = reply.usage or NOTHING
    if len(reply.choices) != 1 or usage.searches or reply.service_tier in TIERS:
        return None
    choice = reply.choices[0]
    if len(choice.parts) != 1:
        return None
    part, finish = choice.parts[0], choice.finish or ENDED
    if type(part) is not Text or not part.text or not part.is_plain():
        return None
    plain, cached, five, hour = input_apart(usage)
    thoughts = usage.reasoning
    counts = _Usage(
        plain,
        five + hour,
        cached,
        _Written(five, hour),
        usage.output or 0,
        UNSET if thoughts is None else _Thoughts(thoughts),
    )
    message = _Message(
        id=reply_id,
        model=model,
        content=(_Text(part.text),),
        stop_reason=WRITTEN[finish.reason],
        stop_sequence=finish.stop_sequence,
        usage=counts,
    )
    return json.encode(message)
