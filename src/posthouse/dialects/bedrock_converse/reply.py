"""A provider's whole reply, read.

Source: `ConverseResponse` of botocore 1.44.5. A reply has neither a name nor a
model's; what a tool is called with keeps its letters.
"""

from typing import Any

from msgspec import Raw, Struct

from posthouse.dialects.bedrock_converse.citations import read_citation
from posthouse.dialects.bedrock_converse.names import EMPTY_OBJECT, NAME, SIGNED_BY
from posthouse.dialects.bedrock_converse.usage import reported_usage, tier_of
from posthouse.errors import UpstreamBadResponse
from posthouse.model.chat import (
    ChatReply,
    Choice,
    Finish,
    FinishReason,
    Foreign,
    Image,
    Media,
    Part,
    Signature,
    Text,
    Thinking,
    ToolCall,
)
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_NONE = Raw()


class ToolUse(Struct, gc=False, rename="camel"):
    """A call of a tool."""

    tool_use_id: str = ""
    name: str = ""
    input: Raw = _NONE
    type: str | None = None
    """Set where it is the provider's own tool."""


class _Block(Struct, gc=False, rename="camel"):
    text: str | None = None
    tool_use: ToolUse | None = None
    tool_result: dict[str, Any] | None = None
    reasoning_content: dict[str, Any] | None = None
    citations_content: dict[str, Any] | None = None
    image: dict[str, Any] | None = None


class _Message(Struct, gc=False):
    content: list[_Block] = []


class _Output(Struct, gc=False):
    message: _Message


class _Reply(Struct, gc=False, rename="camel"):
    output: _Output
    stop_reason: str | None = None
    usage: Any = None
    service_tier: Any = None
    additional_model_response_fields: Any = None


_reply = json.decoder(_Reply)

_FINISHES = {
    "end_turn": FinishReason.STOP,
    "tool_use": FinishReason.TOOL_CALLS,
    "max_tokens": FinishReason.LENGTH,
    "stop_sequence": FinishReason.STOP_SEQUENCE,
    "guardrail_intervened": FinishReason.CONTENT_FILTER,
    "content_filtered": FinishReason.CONTENT_FILTER,
    "malformed_model_output": FinishReason.OTHER,
    "malformed_tool_use": FinishReason.MALFORMED_CALL,
    "model_context_window_exceeded": FinishReason.CONTEXT_LENGTH,
}


def read_reply(body: bytes) -> ChatReply:
    """Read a whole reply; raises UpstreamFault."""
    try:
        json.check_utf8(body)
        reply: _Reply = json.decode_with(_reply, body)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    parts = tuple(
        part
        for block in reply.output.message.content
        if (part := _part(block)) is not None
    )
    finish = read_finish(reply.stop_reason, reply.additional_model_response_fields)
    return ChatReply(
        dialect=NAME,
        choices=(Choice(0, parts, finish),),
        usage=reported_usage(reply.usage),
        service_tier=tier_of(reply.service_tier),
    )


def read_finish(reason: str | None, fields: Any) -> Finish | None:
    """Read why an answer ended; `fields` are those that were asked for beside."""
    if reason is None:
        return None
    found = fields.get("stop_sequence") if isinstance(fields, dict) else None
    sequence = found if isinstance(found, str) else None
    known = _FINISHES.get(reason)
    if known is None:
        return Finish(FinishReason.OTHER, sequence, {"stopReason": reason})
    return Finish(known, sequence)


def _part(block: _Block) -> Part | None:
    part: Part | None = None
    if block.text is not None:
        part = Text(block.text)
    elif block.tool_use is not None:
        part = _tool_use(block.tool_use)
    elif block.reasoning_content is not None:
        part = read_reasoning(block.reasoning_content)
    elif block.citations_content is not None:
        part = _cited(block.citations_content)
    elif block.image is not None:
        part = read_image(block.image)
    elif block.tool_result is not None:
        part = Foreign("toolResult", block.tool_result, harmless=True)
    return part


def _tool_use(call: ToolUse) -> Part:
    given = bytes(call.input) or b"null"
    text = EMPTY_OBJECT if given == b"null" else given.decode()
    if call.type is not None:
        return foreign_call(call)
    return ToolCall(call.tool_use_id, call.name, text)


def foreign_call(call: ToolUse) -> Foreign:
    """A call of a tool that the provider runs itself."""
    value = {"toolUseId": call.tool_use_id, "name": call.name, "type": call.type}
    return Foreign("toolUse", value, harmless=True)


def read_reasoning(content: dict[str, Any]) -> Part | None:
    """Read thoughts; None for what cannot be any."""
    redacted = content.get("redactedContent")
    if isinstance(redacted, str):
        return Thinking(signature=Signature(NAME, redacted), redacted=True)
    text = content.get("reasoningText")
    if not isinstance(text, dict):
        return None
    said, signature = text.get("text"), text.get("signature")
    return Thinking(
        said if isinstance(said, str) else "",
        Signature(SIGNED_BY, signature) if isinstance(signature, str) else None,
    )


def _cited(content: dict[str, Any]) -> Part:
    texts = content.get("content")
    citations = content.get("citations")
    return Text(
        "".join(
            entry["text"]
            for entry in (texts if isinstance(texts, list) else ())
            if isinstance(entry, dict) and isinstance(entry.get("text"), str)
        ),
        tuple(
            read_citation(entry)
            for entry in (citations if isinstance(citations, list) else ())
            if isinstance(entry, dict)
        ),
    )


def read_image(image: dict[str, Any]) -> Part | None:
    """Read a picture; None for one without bytes."""
    source = image.get("source")
    data = source.get("bytes") if isinstance(source, dict) else None
    kind = image.get("format")
    if not isinstance(data, str):
        return None
    media_type = f"image/{kind}" if isinstance(kind, str) else None
    return Image(Media(data=data, media_type=media_type))
