"""Writing replies for clients of this dialect: their parts and whole ones.

`write(read(b))` is `b` up to this normal form: names are in `camelCase` and null
members absent; texts and thoughts that follow one another are one; every
candidate has its index and its content a role; `finishReason` is there; counts of
nothing are there for the prompt, the candidates and their sum; `tokenId` is absent.
"""

import re
from typing import Any

from msgspec import Raw

from posthouse.dialects.gemini_generate.calls import is_made
from posthouse.dialects.gemini_generate.endings import write_finish, write_logprobs
from posthouse.dialects.gemini_generate.grounding import Cited, Ruler, write_grounding
from posthouse.dialects.gemini_generate.media import write_source
from posthouse.dialects.gemini_generate.signatures import (
    NAME,
    sign_thought,
    write_signature,
)
from posthouse.dialects.gemini_generate.usage import write_usage
from posthouse.dialects.neutral.codec import Identity
from posthouse.dialects.neutral.custom_tools import wrapped
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

_object = json.decoder(dict[str, Raw])
_LINE_BREAK = re.compile("[\r\n]")


def write_reply(reply: ChatReply, chat: ChatRequest, identity: Identity) -> bytes:  # noqa: ARG001 - a codec's
    """Write a whole reply."""
    own = reply.dialect == NAME
    body: Extras = {
        "candidates": [_candidate(choice, own=own) for choice in reply.choices]
    }
    extras = dict(reply.extras) if own else {}
    beside = extras.pop("usageMetadata", {})
    if reply.usage is not None:
        body["usageMetadata"] = write_usage(reply.usage, beside)
    body["modelVersion"] = identity.model or reply.model or ""
    body["responseId"] = reply.id or identity.id
    return encoded(body | extras)


def encoded(value: Any) -> bytes:
    """Encode what may hold half a surrogate pair: its other half may follow."""
    try:
        return json.encode(value)
    except UnicodeEncodeError:
        return json.encode_leniently(_plain(value))


def _plain(value: Any) -> Any:
    """A value whose members all are decoded."""
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return json.decode_leniently(bytes(value)) if isinstance(value, Raw) else value


def _candidate(choice: Choice, *, own: bool) -> Extras:
    cited: list[Cited] = []
    parts: list[Extras] = []
    for part in choice.parts:
        written = write_part(part, own=own)
        if isinstance(part, Text) and part.citations:
            ruler = Ruler()
            ruler.add(part.text)
            cited += [Cited(len(parts), one, ruler) for one in part.citations]
        if written is not None:
            parts.append(written)
    found: Extras = {"content": content_of(parts)}
    if choice.finish is not None:
        found |= write_finish(choice.finish, own=own)
    found["index"] = choice.index
    if choice.logprobs is not None:
        found["logprobsResult"] = write_logprobs(choice.logprobs)
    grounding = {} if own else write_grounding(cited)
    if grounding:
        found["groundingMetadata"] = grounding
    return found | choice.extras if own else found


def content_of(parts: list[Extras]) -> Extras:
    """A content of the model's; SDKs forget a turn that has no part."""
    return {"parts": parts or [{"text": ""}], "role": "model"}


# --- parts --------------------------------------------------------------------------


def write_part(part: Part, *, own: bool) -> Extras | None:
    """Write a part; None for what has nothing to say here.

    Args:
        part: of a reply.
        own: whether a provider of this dialect has given it.
    """
    match part:
        case Text() | Refusal():
            found: Extras = {"text": part.text}
            if isinstance(part, Text):
                found |= _signed(part.signature)
        case Thinking():
            found = {"text": part.text, "thought": True}
            signature = sign_thought(part)
            if signature is not None:
                found["thoughtSignature"] = signature
        case ToolCall():
            return write_call(part, part.arguments, own=own)
        case Image() | Audio() | Video() | Document():
            return _shown(part, own=own)
        case Foreign():
            return part.value if own else None
        case ToolResult():
            return None
    return found | part.extras if own else found


def _signed(signature: Signature | None) -> Extras:
    written = write_signature(signature)
    return {} if written is None else {"thoughtSignature": written}


def write_call(call: ToolCall, arguments: str, *, own: bool) -> Extras:
    """Write a call with these arguments."""
    text = wrapped(arguments) if call.custom else arguments
    inner: Extras = {} if own and is_made(call.id) else {"id": call.id}
    inner["name"] = call.name
    inner["args"] = _arguments(text)
    found: Extras = {"functionCall": inner} | _signed(call.signature)
    if own:
        extras = dict(call.extras)
        beside = extras.pop("functionCall", None)
        if isinstance(beside, dict):
            inner |= beside
        found |= extras
    return found


def _arguments(text: str) -> Any:
    """Arguments as an object; what is none stands under a name that says so."""
    if not text.strip():
        return {}
    try:
        data = text.encode()
        json.decode_with(_object, data)
        # A frame of a stream is one line.
        return Raw(json.compact(data) if _LINE_BREAK.search(text) else data)
    except (MalformedJSON, UnicodeEncodeError):
        return {"_raw": text}


def _shown(part: Image | Audio | Video | Document, *, own: bool) -> Extras | None:
    usual = {Image: "image/png", Audio: "audio/wav", Video: "video/mp4"}
    found = write_source(part.source, usual.get(type(part), "application/pdf"))
    if found is None:
        transcript = part.transcript if isinstance(part, Audio) else None
        return {"text": transcript} if transcript else None
    if isinstance(part, Image):
        found |= _signed(part.signature)
    if not own:
        return found
    extras = dict(part.extras)
    title = extras.pop("displayName", getattr(part, "title", None))
    for name in ("inlineData", "fileData"):
        if name in found:
            inner = extras.pop(name, {})
            found[name] |= inner | ({} if title is None else {"displayName": title})
    return found | extras
