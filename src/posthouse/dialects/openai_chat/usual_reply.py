"""The replies that nearly all are: words, why they ended, and what they have used.

They are read by types in one go, for a third of what reading member by member
costs. Whatever has a member more, or one of another type, is read so.
"""

from msgspec import Struct

from posthouse.dialects.openai.replies import UsualUsage, usual_usage
from posthouse.dialects.openai_chat.endings import FINISHES
from posthouse.dialects.openai_chat.thoughts import NAME
from posthouse.model.chat import ChatReply, Choice, Extras, Part, Text
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json


class _Message(Struct, gc=False, forbid_unknown_fields=True):
    role: str = ""
    content: str | None = None
    refusal: None = None
    annotations: tuple[()] | None = None
    tool_calls: None = None
    function_call: None = None
    audio: None = None
    reasoning_content: None = None


class _Choice(Struct, gc=False, forbid_unknown_fields=True):
    message: _Message
    index: int = 0
    finish_reason: str | None = None
    logprobs: None = None


class _Reply(Struct, gc=False, forbid_unknown_fields=True):
    choices: tuple[_Choice]
    id: str | None = None
    object: str | None = None
    created: int | None = None
    model: str | None = None
    usage: UsualUsage | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    error: None = None


_reply = json.decoder(_Reply)
_SILENT = ReportedUsage()


def read_usual(body: bytes) -> ChatReply | None:
    """Read a whole reply; None if it is not a usual one."""
    try:
        reply: _Reply = _reply.decode(body)
    except json.DECODE_ERRORS:
        return None
    choice = reply.choices[0]
    # Whose reason is another, or none, is looked at closely.
    finish = FINISHES.get(choice.finish_reason or "")
    if finish is None:
        return None
    text = choice.message.content
    parts: tuple[Part, ...] = (Text(text),) if text else ()
    print_of = reply.system_fingerprint
    extras: Extras = {} if print_of is None else {"system_fingerprint": print_of}
    usage = None if reply.usage is None else usual_usage(reply.usage)
    return ChatReply(
        dialect=NAME,
        id=reply.id or None,
        model=reply.model or None,
        created=reply.created,
        choices=(Choice(choice.index, parts, finish),),
        # A usage that says nothing is none.
        usage=None if usage == _SILENT else usage,
        service_tier=reply.service_tier,
        extras=extras,
    )
