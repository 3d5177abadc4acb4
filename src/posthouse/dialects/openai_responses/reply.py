"""A whole response: read along, and read into the neutral form.

Normal form: what a response says again of its request is left out, for it is said
again of the request that our client made.

Source: `Response` of OpenAI's Python SDK, 3.54.
"""

from functools import partial
from typing import Any

from posthouse.dialects.base import ParsedReply
from posthouse.dialects.neutral.members import Members, unlike
from posthouse.dialects.openai.replies import tier_of, with_model
from posthouse.dialects.openai.texts import texts_in
from posthouse.dialects.openai_responses.errors import failure_of
from posthouse.dialects.openai_responses.parts import NAME
from posthouse.dialects.openai_responses.read_output import (
    read_finish,
    read_item,
)
from posthouse.dialects.openai_responses.usage import read_usage
from posthouse.errors import UpstreamBadResponse
from posthouse.model.chat import ChatReply, Choice, Extras, Part, Refusal, ToolCall
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_KNOWN = frozenset(
    {
        "background",
        "billing",
        "completed_at",
        "conversation",
        "created_at",
        "error",
        "frequency_penalty",
        "id",
        "incomplete_details",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "model",
        "object",
        "output",
        "parallel_tool_calls",
        "presence_penalty",
        "previous_response_id",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "status",
        "store",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "usage",
        "user",
    }
)
"""What is read, or said again of the request."""


def parse_reply(body: bytes, public_model: str | None) -> ParsedReply:
    """Read a whole response along; raises UpstreamFault."""
    response = _decode(body)
    if public_model is not None:
        body = with_model(body, public_model)
    return ParsedReply(
        body=body,
        usage=read_usage(response),
        service_tier=tier_of(response.get("service_tier")),
        output_text=partial(_output_text, response["output"]),
    )


def _decode(body: bytes) -> dict[str, Any]:
    """Decode a response; raises UpstreamFault for one that is none, or has failed."""
    try:
        json.check_utf8(body)
        response: Any = json.decode(body, Any)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    if not isinstance(response, dict):
        raise UpstreamBadResponse
    fault = failure_of(response)
    if fault is not None:
        raise fault
    if not isinstance(response.get("output"), list):
        raise UpstreamBadResponse
    return response


_NOT_PRODUCED = frozenset(
    {
        "annotations",
        "call_id",
        "encrypted_content",
        "id",
        "logprobs",
        "phase",
        "result",
        "role",
        "status",
        "type",
    }
)


def _output_text(output: list[Any]) -> str:
    """Everything that the model produced, tool calls included."""
    return "\n".join(texts_in(output, _NOT_PRODUCED))


def read_reply(body: bytes) -> ChatReply:
    """Read a whole response; raises UpstreamFault."""
    response = _decode(body)
    members = Members(response, "", unlike)
    parts: list[Part] = []
    logprobs: list[Extras] | None = None
    for item in response["output"]:
        found, tokens = read_item(item)
        parts += found
        if tokens is not None:
            logprobs = [*(logprobs or ()), *tokens]
    finish = read_finish(
        response,
        calls=any(isinstance(part, ToolCall) for part in parts),
        refused=any(isinstance(part, Refusal) for part in parts),
    )
    choice = Choice(
        0, tuple(parts), finish, None if logprobs is None else tuple(logprobs)
    )
    return ChatReply(
        dialect=NAME,
        id=members.text("id"),
        model=members.text("model"),
        created=read_created(response),
        choices=(choice,),
        usage=read_usage(response),
        service_tier=tier_of(response.get("service_tier")),
        extras=reply_extras(response),
    )


def read_created(response: dict[str, Any]) -> int | None:
    """When it was begun, in seconds since 1970; some write it as a fraction."""
    created = response.get("created_at")
    if isinstance(created, bool) or not isinstance(created, int | float):
        return None
    return int(created) if abs(created) < 2**53 else None


def reply_extras(response: dict[str, Any]) -> Extras:
    """What a response tells that has no neutral form."""
    return {
        name: value
        for name, value in response.items()
        if value is not None and name not in _KNOWN
    }
