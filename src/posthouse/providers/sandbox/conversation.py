"""A chat's messages, read for what the sandbox answers and counts."""

from typing import Any

from msgspec import Struct

from posthouse.providers.sandbox import checks, tokens
from posthouse.providers.sandbox.checks import Body
from posthouse.providers.sandbox.directives import first_text
from posthouse.providers.sandbox.refusal import RequestRefused

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
PRIMING_TOKENS = 3
"""What a chat costs beside its messages."""

MEDIA = {
    "image_url": ("image", tokens.IMAGE_TOKENS),
    "input_audio": ("audio clip", tokens.AUDIO_TOKENS),
    "file": ("file", tokens.FILE_TOKENS),
    "video_url": ("video", tokens.IMAGE_TOKENS),
}
"""Part type → what it is called in an answer, and what it counts as."""


class Conversation(Struct):
    """What the messages said."""

    prompt: str = ""
    """The last user message's text."""
    system: str = ""
    last_role: str = ""
    results: list[str] = []
    """The texts of the tool results after the last assistant message."""
    tokens: int = PRIMING_TOKENS
    audio_tokens: int = 0
    image_tokens: int = 0
    media: dict[str, int] = {}
    """How many images, audio clips and files the last user message holds."""
    says_json: bool = False


def read(body: Body) -> Conversation:
    """Read and check the messages; raises RequestRefused."""
    messages = checks.array(body, "messages")
    if messages is None:
        raise checks.missing("messages")
    found = Conversation()
    awaited: set[str] = set()
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise checks.wrong_type(where, "an object", message)
        role = message.get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise checks.invalid_value(f"{where}.role", role, ROLES)
        awaited = answered(message, role, where, awaited)
        read_message(found, message, role, where)
    if awaited:
        raise unanswered(awaited, len(messages) - 1)
    return found


def answered(message: Body, role: str, where: str, awaited: set[str]) -> set[str]:
    """Check that tool results follow their calls; give the calls still open."""
    if role == "tool":
        call = message.get("tool_call_id")
        if not isinstance(call, str):
            raise checks.missing(f"{where}.tool_call_id")
        if call not in awaited:
            raise RequestRefused(
                "A message of role 'tool' must answer one of the 'tool_calls' of "
                f"the assistant message before it; '{call[:64]}' does not.",
                param=f"{where}.tool_call_id",
            )
        awaited.discard(call)
        return awaited
    if awaited:
        raise unanswered(awaited, int(where[9:-1]))
    return {
        str(call.get("id"))
        for call in message.get("tool_calls") or ()
        if isinstance(call, dict)
    }


def unanswered(calls: set[str], index: int) -> RequestRefused:
    """Refuse a chat that leaves tool calls without results."""
    listed = ", ".join(call[:64] for call in sorted(calls)[:5])
    return RequestRefused(
        "Every id in an assistant message's 'tool_calls' must be answered by a "
        f"message of role 'tool' right after it; unanswered: {listed}.",
        param=f"messages[{index}].role",
    )


def read_message(found: Conversation, message: Body, role: str, where: str) -> None:
    """Add one message to what is known."""
    content = message.get("content")
    if content is None and role in ("system", "developer", "user"):
        raise checks.missing(f"{where}.content")
    if role == "user":
        found.media = {}
    text = read_content(found, content, f"{where}.content")
    found.tokens += tokens.MESSAGE_TOKENS + tokens.count(text)
    found.tokens += call_tokens(message)
    found.says_json = found.says_json or "json" in text.lower()
    if role == "user":
        found.prompt = text
    elif role in ("system", "developer"):
        found.system = text
    if role in ("tool", "function"):
        found.results.append(text)
    else:
        found.results = []
    found.last_role = role


def call_tokens(message: Body) -> int:
    """Count the tool calls and thoughts that an assistant message repeats."""
    texts = [first_text(message.get("reasoning_content"))]
    calls = [message.get("function_call")]
    for call in message.get("tool_calls") or ():
        if isinstance(call, dict):
            calls += [call.get("function"), call.get("custom")]
    for call in calls:
        if isinstance(call, dict):
            names = ("name", "arguments", "input")
            texts += [first_text(call.get(name)) for name in names]
    return sum(tokens.count(text) for text in texts)


def read_content(found: Conversation, content: Any, where: str) -> str:
    """Give a message's text and count its other parts."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise checks.wrong_type(where, "a string or an array", content)
    texts = []
    for index, part in enumerate(content):
        place = f"{where}[{index}]"
        if not isinstance(part, dict):
            raise checks.wrong_type(place, "an object", part)
        kind = part.get("type")
        if kind in ("text", "refusal"):
            texts.append(first_text(part.get(kind)))
        elif isinstance(kind, str) and kind in MEDIA:
            count_media(found, kind)
        else:
            supported = ("text", "refusal", *MEDIA)
            raise checks.invalid_value(f"{place}.type", kind, supported)
    return "\n".join(texts)


def count_media(found: Conversation, kind: str) -> None:
    """Count an image, an audio clip or a file."""
    name, amount = MEDIA[kind]
    found.tokens += amount
    found.media = {**found.media, name: found.media.get(name, 0) + 1}
    if kind == "input_audio":
        found.audio_tokens += amount
    elif kind in ("image_url", "video_url"):
        found.image_tokens += amount
