"""A whole chat reply, read along."""

from functools import partial

from msgspec import Raw

from posthouse.dialects.base import ParsedReply, ParsedRequest
from posthouse.dialects.openai.replies import (
    array_of,
    objects_in,
    parse_reply_head,
    produced_text,
    with_model,
)


def parse_reply(
    request: ParsedRequest,  # noqa: ARG001 - for dialects that must know it
    body: bytes,
    public_model: str | None,
) -> ParsedReply:
    """Read a whole reply; raises UpstreamFault."""
    head = parse_reply_head(body)
    choices = array_of(head.choices, body)
    return ParsedReply(
        body if public_model is None else with_model(body, public_model),
        head.usage,
        head.service_tier,
        partial(_output_text, choices),
    )


_THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details")
_PRODUCED = ("content", "refusal", "tool_calls", "function_call")


def _output_text(choices: Raw) -> str:
    """Everything that the model produced, tool calls included; raises nothing."""
    texts = []
    for choice in objects_in(choices):
        message = choice.get("message")
        if isinstance(message, dict):
            # Names for the same thoughts; some servers send several.
            thoughts = next(filter(None, map(message.get, _THOUGHTS)), None)
            others = [message.get(name) for name in _PRODUCED]
            texts.append(produced_text([thoughts, *others]))
    return "\n".join(texts)
