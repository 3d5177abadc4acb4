"""Reading a provider's whole reply into the neutral form.

Sources: OpenAI's API description, `CreateChatCompletionResponse` (openapi,
2026-08); see `thoughts`, `read_messages` and `endings` for what others add.
"""

import re
from typing import Any

from posthouse.dialects.neutral.members import Members, unlike
from posthouse.dialects.neutral.usage import merged_usage
from posthouse.dialects.openai.errors import fault_in
from posthouse.dialects.openai.replies import reported_usage, tier_of
from posthouse.dialects.openai_chat.endings import read_finish
from posthouse.dialects.openai_chat.read_messages import read_answer
from posthouse.dialects.openai_chat.thoughts import NAME
from posthouse.dialects.openai_chat.usual_reply import read_usual
from posthouse.errors import UpstreamBadResponse
from posthouse.model.chat import ChatReply, Choice, Extras, Refusal, ToolCall
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_object = json.decoder(dict[str, Any])
_STRANGE = re.compile(r"[^A-Za-z0-9_-]+")
"""What no id of a call may have."""
_SILENT = ReportedUsage()


def read_reply(body: bytes) -> ChatReply:
    """Read a whole reply; raises UpstreamFault."""
    usual = read_usual(body)
    return _read_members(body) if usual is None else usual


def _read_members(body: bytes) -> ChatReply:
    """Read a reply member by member; raises UpstreamFault."""
    value = _decoded(body)
    members = Members(value, "", unlike)
    if not isinstance(members.peek("choices"), list) or members.peek("error"):
        raise fault_in(value) or UpstreamBadResponse()
    members.take("object")
    reply_id = optional_text(members.take("id"))
    model = optional_text(members.take("model"))
    created = members.take("created")
    usage = reported_usage(members.take("usage"))
    tier = tier_of(members.take("service_tier"))
    members.take("error")
    choices = []
    for number, choice in enumerate(members.each("choices")):
        # Moonshot reports its usage here.
        usage = merged_usage(usage, reported_usage(choice.take("usage")))
        choices.append(_read_choice(choice, number, reply_id))
    return ChatReply(
        dialect=NAME,
        id=reply_id,
        model=model,
        created=created if type(created) is int else None,
        choices=tuple(choices),
        usage=_told(usage),
        service_tier=tier,
        extras=members.extras(),
    )


def _decoded(body: bytes) -> Extras:
    value: Any
    try:
        value = json.decode_with(_object, body)
    except MalformedJSON:
        try:
            value = json.decode_mended(body)
        except MalformedJSON:
            raise UpstreamBadResponse from None
    if not isinstance(value, dict):
        raise UpstreamBadResponse
    return value


def _read_choice(members: Members, number: int, reply_id: str | None) -> Choice:
    index = members.take("index")
    index = index if type(index) is int else number
    message = members.inner("message")
    if message is None:
        raise UpstreamBadResponse
    message.take("role")
    parts = read_answer(message, unlike, f"{call_id(reply_id)}_{index}")
    met = take_met(members)
    called = any(isinstance(part, ToolCall) for part in parts)
    refused = any(isinstance(part, Refusal) for part in parts)
    reason = members.take("finish_reason")
    # A whole reply has ended, whether it says so or not.
    finish = read_finish(reason, met, called=called, refused=refused) or read_finish(
        "stop", None, called=called, refused=refused
    )
    logprobs = read_logprobs(members.take("logprobs"))
    extras = members.extras()
    beside = message.extras()
    if beside:
        extras["message"] = beside
    return Choice(index, tuple(parts), finish, logprobs, extras)


def take_met(members: Members) -> str | None:
    """Take the stop sequence that was met, as vLLM tells it; a token's number stays."""
    met = members.peek("stop_reason")
    return members.text("stop_reason") if isinstance(met, str) else None


def optional_text(value: Any) -> str | None:
    """A text that is one and is not empty."""
    return value if isinstance(value, str) and value else None


def call_id(reply_id: str | None) -> str:
    """What the ids of a reply's calls begin with if they have none."""
    return f"call_{_STRANGE.sub('', reply_id or '')[:40]}"


def read_logprobs(value: Any) -> tuple[Extras, ...] | None:
    """Read the probabilities of tokens: of what was said, or else of a refusal."""
    if not isinstance(value, dict):
        return None
    tokens = value.get("content") or value.get("refusal")
    if not isinstance(tokens, list):
        return None
    return tuple(_read_token(token) for token in tokens if isinstance(token, dict))


def _read_token(token: Extras) -> Extras:
    """Read a token's probability; what is unlike one is left out."""
    others = token.get("top_logprobs")
    if others is None:
        return token
    if not isinstance(others, list):
        others = []
    if all(isinstance(other, dict) for other in others):
        return token | {"top_logprobs": others}
    kept = [other for other in others if isinstance(other, dict)]
    return token | {"top_logprobs": kept}


def _told(usage: ReportedUsage | None) -> ReportedUsage | None:
    """A usage that says something."""
    return None if usage == _SILENT else usage
