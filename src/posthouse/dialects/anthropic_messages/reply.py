"""Whole replies: read along, read into the neutral form, and written for clients.

Source: `Message` of anthropic 2.12.0 (2026-11). Normal form of a round trip: members
that are null may be absent and the other way round. `extras` of a reply: members of
the message; `usage` there holds what is unknown in it. Signatures of other providers
stand sealed in thinking blocks, those of calls in one before the call.
"""

from functools import partial
from typing import Any

from msgspec import Raw, Struct

from posthouse.dialects.anthropic_messages.caching import NAME
from posthouse.dialects.anthropic_messages.citations import write_citation
from posthouse.dialects.anthropic_messages.errors import fault_in
from posthouse.dialects.anthropic_messages.finish import take_finish, write_finish
from posthouse.dialects.anthropic_messages.read_parts import read_blocks
from posthouse.dialects.anthropic_messages.usage import (
    reported_usage,
    tier_of,
    usage_extras,
    write_usage,
)
from posthouse.dialects.anthropic_messages.usual_reply import write_usual
from posthouse.dialects.anthropic_messages.write_parts import as_input
from posthouse.dialects.base import ParsedReply
from posthouse.dialects.neutral.codec import Identity
from posthouse.dialects.neutral.custom_tools import wrapped
from posthouse.dialects.neutral.members import Members, unlike
from posthouse.dialects.neutral.seal import seal
from posthouse.dialects.openai.replies import (
    produced_text,
    with_model,
    with_model_leniently,
)
from posthouse.errors import UpstreamBadResponse
from posthouse.model.chat import (
    Audio,
    ChatReply,
    ChatRequest,
    Choice,
    Document,
    Extras,
    Foreign,
    Image,
    Part,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Video,
)
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_NONE = Raw()


class _Block(Struct, gc=False):
    input: Raw = _NONE


class _Inputs(Struct, gc=False):
    content: list[_Block] = []


_inputs = json.decoder(_Inputs)
_anything = json.decoder(Any)


def decode_message(body: bytes) -> dict[str, Any]:
    """Decode a reply's object; raises UpstreamFault for an error or another thing."""
    try:
        value = _decoded(body)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    if not isinstance(value, dict):
        raise UpstreamBadResponse
    if not isinstance(value.get("content"), list):
        raise fault_in(value) or UpstreamBadResponse()
    return value


def _decoded(body: bytes) -> Any:
    try:
        return json.decode_with(_anything, body)
    except MalformedJSON:
        return json.decode_mended(body)


# --- for clients of this dialect ------------------------------------------------


class _Head(Struct, gc=False):
    """What is acted on in a reply that passes."""

    content: list[Raw]
    usage: Any = None


_head = json.decoder(_Head)


def parse_reply(body: bytes, public_model: str | None) -> ParsedReply:
    """Read a whole reply along; raises UpstreamFault."""
    try:
        json.check_utf8(body)
        head = json.decode_with(_head, body)
    except MalformedJSON:
        head = _Head([], decode_message(body).get("usage"))
    return ParsedReply(
        body=body if public_model is None else _renamed(body, public_model),
        usage=reported_usage(head.usage),
        service_tier=tier_of(head.usage),
        output_text=partial(_output_text, body),
    )


def _renamed(body: bytes, model: str) -> bytes:
    try:
        return with_model(body, model)
    except MalformedJSON:
        return with_model_leniently(body, model)


_PRODUCED = ("text", "thinking", "name", "input")


def _output_text(body: bytes) -> str:
    """Everything that the model produced, tool calls included."""
    return "\n".join(
        produced_text([block.get(name) for name in _PRODUCED])
        for block in decode_message(body)["content"]
        if isinstance(block, dict)
    )


# --- into the neutral form ------------------------------------------------------


def read_reply(body: bytes) -> ChatReply:
    """Read a whole reply; raises UpstreamFault."""
    top = Members(decode_message(body), "", unlike)
    top.take("type")
    top.take("role")
    parts = read_blocks(top, "content", _inputs_of(body))
    usage = top.take("usage")
    finish = take_finish(top)
    return ChatReply(
        dialect=NAME,
        id=top.text("id"),
        model=top.text("model"),
        choices=(Choice(0, parts, finish),),
        usage=reported_usage(usage),
        service_tier=tier_of(usage),
        extras=usage_extras(usage) | top.extras(),
    )


def _inputs_of(body: bytes) -> list[Raw]:
    """The arguments of tool calls to the letter, by block."""
    if b'"input"' not in body:
        return []
    try:
        json.check_utf8(body)
        return [block.input for block in json.decode_with(_inputs, body).content]
    except MalformedJSON:
        return []


# --- out of it ------------------------------------------------------------------

_NO_EXTRAS: Extras = {}


def write_reply(reply: ChatReply, chat: ChatRequest, identity: Identity) -> bytes:
    """Write a whole reply; of several answers, the first."""
    if reply.dialect != NAME:
        model = identity.model or reply.model or chat.model
        usual = write_usual(reply, f"msg_{identity.id}", model)
        if usual is not None:
            return usual
    return _write_parts(reply, chat, identity)


def _write_parts(reply: ChatReply, chat: ChatRequest, identity: Identity) -> bytes:
    """Write whatever there is, part by part."""
    own = reply.dialect == NAME
    choice = reply.choices[0] if reply.choices else Choice(0, (), None)
    kinds = set(map(type, choice.parts))
    message = message_head(reply.id if own else None, reply.model, chat, identity)
    message["content"] = written_blocks(choice.parts, own=own)
    message |= write_finish(
        choice.finish, own=own, calls=ToolCall in kinds, refused=Refusal in kinds
    )
    extras = reply.extras if own else _NO_EXTRAS
    message["usage"] = write_usage(reply.usage, reply.service_tier, extras)
    if extras:
        message |= {name: extras[name] for name in extras if name != "usage"}
    return json.encode(message)


def message_head(
    own_id: str | None, model: str | None, chat: ChatRequest, identity: Identity
) -> Extras:
    """Write what a message begins with.

    Args:
        own_id: as a provider of this dialect gave it.
        model: as the provider calls it.
        chat: what was asked.
        identity: names what has no name.
    """
    return {
        "id": own_id or f"msg_{identity.id}",
        "type": "message",
        "role": "assistant",
        "model": identity.model or model or chat.model,
    }


def written_blocks(parts: tuple[Part, ...], *, own: bool) -> list[Extras]:
    """Write an answer's blocks; empty texts are none."""
    blocks: list[Extras] = []
    for part in parts:
        if type(part) is Text and part.text and part.is_plain():
            blocks.append({"type": "text", "text": part.text})
            continue
        signature = carried_signature(part)
        if signature is not None:
            blocks.append(thinking_block("", signature))
        block = _block(part, own=own)
        if block is not None:
            blocks.append(block)
    return blocks


def carried_signature(part: Part) -> Signature | None:
    """The signature of a part whose block has no place for one."""
    return part.signature if isinstance(part, _UNSIGNED) else None


_UNSIGNED = (Text, Image, ToolCall)


def thinking_block(text: str, signature: Signature | None) -> Extras:
    """Write thoughts; the signature is never empty."""
    return {"type": "thinking", "thinking": text, "signature": seal(signature, NAME)}


def _block(part: Part, *, own: bool) -> Extras | None:
    match part:
        case Text() if part.text or own:
            block: Extras = {"type": "text", "text": part.text}
            if part.citations:
                cited = [write_citation(found, own=own) for found in part.citations]
                block["citations"] = cited
        case Thinking() if part.redacted:
            data = seal(part.signature, NAME)
            block = {"type": "redacted_thinking", "data": data}
        case Thinking():
            block = thinking_block(part.text, part.signature)
        case ToolCall():
            arguments = wrapped(part.arguments) if part.custom else part.arguments
            given = as_input(arguments)
            block = {
                "type": "tool_use",
                "id": part.id,
                "name": part.name,
                "input": {"_raw": part.arguments} if given is None else given,
            }
        case Foreign():
            return part.value if own else None
        case _:
            return _in_words(part)
    return block | part.extras if own else block


def _in_words(part: Part) -> Extras | None:
    text = spoken(part)
    return {"type": "text", "text": text} if text else None


def spoken(part: Part) -> str:
    """What a part that has no block of its own is in words; "" for nothing."""
    match part:
        case Refusal():
            return part.text
        case Audio():
            return part.transcript or ""
        case Image():
            source = part.source
            kind = source.media_type or "image/png"
            url = source.url or f"data:{kind};base64,{source.data or ''}"
            return f"![image]({url})"
        case Text() | Thinking():
            return part.text
        case Video() | Document() | ToolCall() | ToolResult() | Foreign():
            return ""
