"""Writing a whole reply for a client.

`write(read(b))` is `b` up to this normal form: null members are absent but for
those that must stand; `reasoning` is `reasoning_content`; counts of tokens that
nobody prices are 0; a call's finish reason is `tool_calls`; calls without an id
have one; what was not understood in `annotations` is absent.

Source: OpenAI's API description, `CreateChatCompletionResponse` (openapi, 2026-08).
"""

from typing import Any

from posthouse.dialects.neutral.codec import Identity
from posthouse.dialects.neutral.custom_tools import unwrapped
from posthouse.dialects.neutral.seal import seal
from posthouse.dialects.openai_chat.endings import (
    finish_name,
    write_tier,
    write_usage,
)
from posthouse.dialects.openai_chat.media import write_place
from posthouse.dialects.openai_chat.thoughts import (
    NAME,
    write_details,
    write_signature,
)
from posthouse.model.chat import (
    Audio,
    ChatReply,
    ChatRequest,
    Choice,
    Citation,
    CustomTool,
    Extras,
    Finish,
    FinishReason,
    FunctionTool,
    Image,
    Refusal,
    Text,
    Thinking,
    ToolCall,
)
from posthouse.wire import json

_STOPPED = Finish(FinishReason.STOP)


def write_reply(reply: ChatReply, chat: ChatRequest, identity: Identity) -> bytes:
    """Write a whole reply."""
    own = reply.dialect == NAME
    created = identity.created if reply.created is None else reply.created
    choices = [_write_choice(choice, chat, own=own) for choice in reply.choices]
    body: Extras = {
        "id": reply.id or f"chatcmpl-{identity.id}",
        "object": "chat.completion",
        "created": created,
        "model": public_model(reply.model, chat, identity),
        "choices": choices,
    }
    if reply.usage is not None:
        body["usage"] = write_usage(reply.usage)
    tier = write_tier(reply.service_tier, own=own)
    if tier is not None:
        body["service_tier"] = tier
    return json.encode(body | reply.extras if own else body)


def public_model(told: str | None, chat: ChatRequest, identity: Identity) -> str:
    """The model's name as the client shall see it."""
    return identity.model or told or chat.model


def _write_choice(choice: Choice, chat: ChatRequest, *, own: bool) -> Extras:
    message = _Message(Calls(chat))
    for part in choice.parts:
        message.add(part)
    extras = dict(choice.extras) if own else {}
    beside = extras.pop("message", None)
    finish = choice.finish or _STOPPED
    name = finish_name(finish, legacy=message.called_legacy, refused=message.refused)
    entry: Extras = {
        "index": choice.index,
        "message": message.whole() | (beside if isinstance(beside, dict) else {}),
        "logprobs": write_logprobs(choice, refused=message.refused),
        "finish_reason": name,
    }
    if finish.stop_sequence is not None:
        entry["stop_reason"] = finish.stop_sequence
    if own and isinstance(finish.extras.get("finish_reason"), str):
        entry["finish_reason"] = finish.extras["finish_reason"]
    return entry | extras


def write_logprobs(choice: Choice, *, refused: bool) -> Extras | None:
    """Write the probabilities of tokens."""
    if choice.logprobs is None:
        return None
    tokens = list(choice.logprobs)
    if refused:
        return {"content": None, "refusal": tokens}
    return {"content": tokens, "refusal": None}


class Calls:
    """How the calls of one client's tools are told."""

    __slots__ = ("_custom", "legacy")

    def __init__(self, chat: ChatRequest) -> None:
        """Take the tools that the client has named."""
        self.legacy = any(
            isinstance(tool, FunctionTool) and tool.legacy for tool in chat.tools
        )
        """Calls are `function_call`s."""
        self._custom = frozenset(
            tool.name for tool in chat.tools if isinstance(tool, CustomTool)
        )

    def is_wrapped(self, call: ToolCall) -> bool:
        """Whether a call's text came as a member of JSON arguments."""
        return not call.custom and call.name in self._custom

    def entry(self, call: ToolCall) -> Extras:
        """Write a call."""
        if call.custom or self.is_wrapped(call):
            text = call.arguments if call.custom else unwrapped(call.arguments)
            kind, inner = "custom", {"name": call.name, "input": text}
        else:
            kind, inner = (
                "function",
                {"name": call.name, "arguments": call.arguments or "{}"},
            )
        entry: Extras = {"id": call.id, "type": kind, kind: inner}
        if call.signature is not None:
            signature = seal(call.signature, NAME)
            entry["extra_content"] = write_signature(None, signature)
        return entry


class _Message:
    """An answer's message, as it is put together."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._texts: list[str] = []
        self._length = 0
        self._citations: list[Extras] = []
        self._thoughts: list[Thinking] = []
        self._refusals: list[str] = []
        self._made: list[ToolCall] = []
        self._rest: Extras = {}

    @property
    def called_legacy(self) -> bool:
        return self._calls.legacy and bool(self._made)

    @property
    def refused(self) -> bool:
        return bool(self._refusals)

    def add(self, part: Any) -> None:
        match part:
            case Text():
                self._add_text(part)
            case Thinking():
                self._thoughts.append(part)
            case Refusal(text=text):
                self._refusals.append(text)
            case ToolCall():
                self._made.append(part)
            case Audio():
                self._rest["audio"] = write_audio(part)
            case Image():
                entry = write_image(part)
                if entry is not None:
                    self._rest.setdefault("images", []).append(entry)
            case _:
                # What only another dialect's clients would know.
                pass

    def _add_text(self, part: Text) -> None:
        self._citations += write_citations(
            part.citations, self._length, self._length + len(part.text)
        )
        self._texts.append(part.text)
        self._length += len(part.text)
        if part.signature is not None:
            signature = seal(part.signature, NAME)
            self._rest["extra_content"] = write_signature(None, signature)

    def _is_bare(self) -> bool:
        """Whether nothing stands for the text that there is not."""
        return not (self._refusals or self._made or self._rest)

    def whole(self) -> Extras:
        refusal = "".join(self._refusals)
        message: Extras = {
            "role": "assistant",
            "content": "".join(self._texts) if self._texts or self._is_bare() else None,
            "refusal": refusal if self._refusals else None,
        }
        thoughts = "".join(thought.text for thought in self._thoughts)
        if thoughts:
            message["reasoning_content"] = thoughts
        details = write_details(self._thoughts)
        if details:
            message["reasoning_details"] = details
        if self._citations:
            message["annotations"] = self._citations
        if self.called_legacy:
            call = self._made[0]
            message["function_call"] = {
                "name": call.name,
                "arguments": call.arguments or "{}",
            }
        elif self._made:
            message["tool_calls"] = [self._calls.entry(call) for call in self._made]
        return message | self._rest


def write_citations(
    citations: tuple[Citation, ...], start: int, end: int
) -> list[Extras]:
    """Write `annotations`: those that lead to a URL.

    Args:
        citations: of one text, whose places are counted from its beginning.
        start: where that text begins in the message.
        end: where it ends.
    """
    return [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": start
                if citation.start is None
                else start + citation.start,
                "end_index": end if citation.end is None else start + citation.end,
                "title": citation.title or citation.url,
                "url": citation.url,
            }
            | ({} if citation.quote is None else {"content": citation.quote}),
        }
        for citation in citations
        if citation.url is not None
    ]


def write_audio(part: Audio) -> Extras:
    """Write a sound that the model made."""
    return {
        "id": part.id or "audio",
        "data": part.source.data or "",
        "expires_at": part.expires_at or 0,
        "transcript": part.transcript or "",
    }


def write_image(part: Image) -> Extras | None:
    """Write a picture that the model made, as OpenRouter tells it."""
    url = write_place(part.source, "image/png")
    if url is None:
        return None
    entry: Extras = {"type": "image_url", "image_url": {"url": url}}
    if part.signature is not None:
        signature = seal(part.signature, NAME)
        entry["extra_content"] = write_signature(None, signature)
    return entry
