"""A whole completion reply, read along."""

from functools import partial

from msgspec import Raw

from posthouse.dialects.base import ParsedReply
from posthouse.dialects.openai.replies import (
    array_of,
    objects_in,
    parse_reply_head,
    with_model,
)


def parse_reply(body: bytes, public_model: str | None) -> ParsedReply:
    """Read a whole reply; raises UpstreamFault."""
    head = parse_reply_head(body)
    choices = array_of(head.choices, body)
    return ParsedReply(
        body=body if public_model is None else with_model(body, public_model),
        usage=head.usage,
        service_tier=head.service_tier,
        output_text=partial(_output_text, choices),
    )


def _output_text(choices: Raw) -> str:
    """Everything that the model produced; raises nothing."""
    texts = [choice.get("text") for choice in objects_in(choices)]
    return "\n".join(text for text in texts if isinstance(text, str))
