"""What holds of all recorded chats and all dialects.

Read, written and read again they are the same; a stream that is written amounts
to the reply that is written; a way through another dialect changes no more than
REQUESTS and REPLIES list.
"""

import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs
from tests.support.cases import Decorator, each
from tools.chat_golden import (
    FOLDER,
    IDENTITY,
    TRAITS,
    Decoded,
    Spoken,
    asked,
    decode,
    encode,
    find_cases,
    frames_of,
    load_case,
    read_reply,
    read_request,
    spoken,
)

from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.collect import collect
from posthouse.dialects.neutral.events_of import events_of
from posthouse.errors import InvalidRequest, UpstreamFault
from posthouse.model.chat import ChatReply, ChatRequest
from posthouse.model.traits import CacheMarks, Replay, Traits
from posthouse.wire import json

CASES = find_cases()
OWN_TRAITS = {
    name: structs.replace(
        traits,
        model="m",
        replay=Replay.ALWAYS,
        cache_marks=CacheMarks.CONTROL,
        max_output=0,
    )
    for name, traits in TRAITS.items()
}
"""Targets that can do whatever their dialect can say."""

TOLD_APART = frozenset({"dialect", "model", "include_usage", "extras", "served"})
"""What is a dialect's own by its nature; `extras` are told of by `Losses`."""

# What a request loses in its own dialect: the normal form that its writer lists.
OWN_REQUESTS = {
    "openai_chat": {
        "messages.parts.arguments",  # of nothing: an empty object
        "messages.parts.legacy",
        "messages.parts.signature",  # another provider's
        "reasoning",
        "reasoning.budget",
        "reasoning.effort",
        "reasoning.enabled",
        "tools.legacy",
    },
    "anthropic_messages": {"messages.parts"},  # another provider's signatures
    "gemini_generate": {
        "messages.parts.call_id",
        "messages.parts.content.text",
        "messages.parts.is_error",
        "messages.parts.name",
    },
}
OWN_REPLIES = {
    # Who has no name gets one.
    "openai_chat": {"id", "created", "choices.parts.legacy"},
    "openai_responses": {"choices.parts.arguments", "choices.parts.extras"},
}
# What whole replies say that streams have no place for.
STREAMED = {
    "openai_chat": {"extras", "choices.extras"},
    # Arguments that are no JSON have passed before anybody can know.
    "anthropic_messages": {"choices.parts.arguments"},
    # What others call a thought comes with its signature, after its beginning.
    "gemini_generate": {"choices.parts.id"},
}
_ORDER = {
    "choices.parts.arguments",
    "choices.parts.id",
    "choices.parts.name",
    "choices.parts.source",
    "choices.parts.text",
    "choices.parts.type",
}
# What a stream says in another order than the whole reply.
ORDER = {
    # A whole message has one place for all that was said, thought and called.
    "openai_chat": _ORDER | {"choices.parts"},
    # Calls come when they are whole, and what is said meanwhile before them.
    "gemini_generate": _ORDER,
    # Another's signature of a text is known when the text has been said.
    "anthropic_messages": _ORDER | {"choices.parts.signature"},
}

# What a way through another dialect may change in a request. Whatever of it
# matters to the caller is told by `Losses`.
_THOUGHTS = {
    # The words that a model has for how much it thinks are not another's.
    "reasoning",
    "reasoning.adaptive",
    "reasoning.budget",
    "reasoning.effort",
    "reasoning.enabled",
    "reasoning.show",
    "reasoning.summary",
    # Thoughts, and what signs them, are of use to nobody but who had them.
    "messages.parts",
    "messages.parts.signature",
}
_EVERYWHERE = _THOUGHTS | {
    # Where the system and the tools speak is each dialect's own affair.
    "messages",
    "messages.role",
    "messages.parts.name",
    "messages.parts.content",
    "messages.parts.content.text",
    "messages.parts.type",
    # Errors of tools are told in words.
    "messages.parts.is_error",
    # Files have no names, or must have one; text may be told as it is.
    "messages.parts.source",
    "messages.parts.text",
    "messages.parts.title",
    "messages.parts.context",
    "messages.parts.citations",
    # Nothing is an empty object, and text is wrapped into one.
    "messages.parts.arguments",
    "messages.parts.custom",
    "messages.parts.legacy",
    "tools.legacy",
    "tools.value",
    "tools",
    "tool_choice",
    # Schemas have names in some.
    "output_format.name",
    "service_tier",
}
_CUSTOM_AS_FUNCTION = {
    "tools.type",
    "tools.description",
    "tools.format",
    "tools.parameters",
}
REQUESTS = {
    "openai_chat": _EVERYWHERE
    | {"messages.parts.cache", "tools.cache", "modalities", "sampling.top_k"},
    "openai_responses": _EVERYWHERE
    | {
        "choices",  # they are asked for one by one
        "messages.name",
        "messages.parts.cache",
        "messages.parts.content.detail",  # it must be told
        "messages.parts.detail",
        "output_limit",  # 16 at least
        "sampling.frequency_penalty",
        "sampling.presence_penalty",
        "sampling.seed",
        "sampling.top_k",
        "tools.cache",
        "tools.max_uses",
        "tools.parameters",
        "tools.strict",  # it must be told
    },
    "anthropic_messages": _EVERYWHERE
    | _CUSTOM_AS_FUNCTION
    | {
        "cache_key",
        "choices",  # they are asked for one by one
        "messages.name",
        "messages.parts.content.detail",
        "messages.parts.detail",
        "modalities",
        "output_format",
        "output_format.description",
        "output_format.schema",  # its limits are told in words
        "output_format.strict",
        "output_limit",  # it must be told
        "parallel_tool_calls",
        "sampling.frequency_penalty",
        "sampling.logit_bias",
        "sampling.logprobs",
        "sampling.presence_penalty",
        "sampling.seed",
        "sampling.temperature",  # 1 at most
        "sampling.top_logprobs",
        "sampling.top_p",
        "tool_choice.names",
        "tools.max_uses",
        "tools.optional",
        "tools.strict",
    },
    "gemini_generate": _EVERYWHERE
    | _CUSTOM_AS_FUNCTION
    | {
        "cache_key",
        "messages.name",
        "messages.parts.cache",
        "messages.parts.content.detail",
        "messages.parts.detail",
        "output_format.description",
        "output_format.strict",
        "parallel_tool_calls",
        "sampling.logit_bias",
        "tools.cache",
        "tools.strict",
        "user",
    },
}

# The same of replies.
_MADE = {
    # Sounds and pictures have no place, or are told in words.
    "choices.parts",
    "choices.parts.expires_at",
    "choices.parts.source",
    "choices.parts.text",
    "choices.parts.transcript",
    "choices.parts.type",
}
_COMMON_REPLIES = _MADE | {
    "id",
    "created",
    "service_tier",
    "choices.finish.reason",
    "choices.parts.arguments",
    "choices.parts.custom",
    "choices.parts.legacy",
    "choices.parts.id",
    "choices.parts.summary",
    "usage.cache_write_1h",
    "usage.cache_write_5m",
    "usage.searches",
}
_ONE_ANSWER = {"choices"}
REPLIES = {
    "openai_chat": _COMMON_REPLIES,
    "openai_responses": _COMMON_REPLIES
    | _ONE_ANSWER
    | {
        "choices.finish.stop_sequence",
        "choices.parts.citations",
        "choices.parts.citations.quote",
        "choices.parts.harmless",
        "choices.parts.kind",
        "choices.parts.signature",
        "choices.parts.value",
        "usage.audio_input",
        "usage.audio_output",
        "usage.image_output",
    },
    "anthropic_messages": _COMMON_REPLIES
    | _ONE_ANSWER
    | {
        "choices.logprobs",
        "choices.parts.citations.end",
        "choices.parts.citations.start",
        "usage.audio_input",
        "usage.audio_output",
        "usage.image_output",
    },
    "gemini_generate": _COMMON_REPLIES
    | {"choices.finish.stop_sequence", "choices.parts.citations.quote"},
}


@cache
def speakers() -> dict[str, Spoken]:
    return spoken()


def named(folder: Path) -> str:
    return str(folder.relative_to(FOLDER))


def cases_with(name: str) -> Decorator:
    found = [folder for folder in CASES if (folder / name).exists()]
    return each("folder", found, ids=named)


def plain(value: Any) -> Any:
    """A neutral value as dictionaries and lists, without what is not set."""
    return msgspec.json.decode(msgspec.json.encode(value))


def changes(before: Any, after: Any, place: str = "") -> set[str]:
    """Name the members that differ, without indexes."""
    if isinstance(before, dict) and isinstance(after, dict):
        found: set[str] = set()
        for name in (before.keys() | after.keys()) - TOLD_APART:
            there = f"{place}.{name}" if place else name
            found |= changes(before.get(name), after.get(name), there)
        return found
    if isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            return {place}
        return set().union(
            *(changes(a, b, place) for a, b in zip(before, after, strict=True))
        )
    # Nothing said is the same as no tokens, no parts, no text.
    if before == after or (not before and not after):
        return set()
    return {_WHOLE.sub(r"\1", place)}


_WHOLE = re.compile(r"\b(value|source|schema|parameters)\..*")
"""What is told of as one thing, whatever of it changes."""


@cases_with("request.json")
def test_a_request_survives_its_own_dialect(folder: Path) -> None:
    """Read, written and read again, it is the same but for the normal form."""
    name = folder.parent.name
    chat = request_of(folder)
    if chat is None:
        return
    again = written_and_read(chat, speakers()[name], OWN_TRAITS[name])
    assert changes(plain(chat), plain(again)) <= OWN_REQUESTS.get(name, set())
    assert chat.extras == again.extras


@cases_with("request.json")
def test_a_way_through_another_dialect_changes_what_is_listed(folder: Path) -> None:
    """And nothing else of a request, unless it is refused."""
    chat = request_of(folder)
    if chat is None:
        return
    for name, speaker in others(folder):
        with suppress(InvalidRequest):
            again = written_and_read(chat, speaker, TRAITS[name])
            assert changes(plain(chat), plain(again)) <= REQUESTS[name], name


@cases_with("reply.json")
def test_a_reply_survives_its_own_dialect(folder: Path) -> None:
    """Read, written and read again, it is the same but for the normal form."""
    name = folder.parent.name
    reply = reply_of(folder)
    if reply is None:
        return
    again = written_reply(reply, speakers()[name], folder)
    assert changes(plain(reply), plain(again)) <= OWN_REPLIES.get(name, set())


@cases_with("reply.json")
def test_a_reply_in_another_dialect_changes_in_what_is_listed(folder: Path) -> None:
    """And in nothing else."""
    reply = reply_of(folder)
    if reply is None:
        return
    for name, speaker in others(folder):
        again = written_reply(reply, speaker, folder)
        assert changes(plain(reply), plain(again)) <= REPLIES[name], name


@cases_with("reply.json")
def test_a_stream_is_written_as_the_whole_reply_is(folder: Path) -> None:
    """In every dialect, whatever the reply was read from."""
    reply = reply_of(folder)
    if reply is None:
        return
    for name, speaker in speakers().items():
        whole = written_reply(reply, speaker, folder)
        streamed = streamed_reply(reply, speaker, folder)
        found = changes(plain(whole), plain(streamed)) - ORDER.get(name, set())
        assert found <= STREAMED.get(name, set()), name


@cases_with("stream.txt")
def test_a_stream_amounts_to_the_same_in_another_dialect(folder: Path) -> None:
    """As the reply that it amounts to, written as a whole."""
    speaker = speakers()[folder.parent.name]
    wire = (folder / "stream.txt").read_bytes()
    decoded = decode(speaker, frames_of(speaker.dialect, [wire]))
    if decoded.fault is not None:
        return
    for name, client in speakers().items():
        written = encode(client, decoded, asked_of(folder, client, stream=True))
        again = decode(client, frames_of(client.dialect, [written]))
        assert again.fault is None
        whole = written_reply(collect(decoded.events), client, folder)
        found = changes(plain(whole), plain(collect(again.events)))
        found -= ORDER.get(name, set())
        assert found <= STREAMED.get(name, set()), name


# --- ways through a dialect -----------------------------------------------------------


def written_and_read(chat: ChatRequest, speaker: Spoken, traits: Traits) -> ChatRequest:
    """What a provider of a dialect would read of a request."""
    body = speaker.codec.write_request(chat, traits, Losses())
    whole = {"model": traits.model} | body | {"stream": chat.stream}
    return speaker.codec.read_request(speaker.dialect.parse_request(json.encode(whole)))


def others(folder: Path) -> list[tuple[str, Spoken]]:
    """The dialects that a case was not recorded in."""
    return [(n, found) for n, found in speakers().items() if n != folder.parent.name]


def request_of(folder: Path) -> ChatRequest | None:
    try:
        return read_request(folder, load_case(folder), speakers()[folder.parent.name])
    except InvalidRequest:
        return None


def reply_of(folder: Path) -> ChatReply | None:
    try:
        return read_reply(folder, speakers()[folder.parent.name])
    except UpstreamFault:
        return None


def asked_of(folder: Path, speaker: Spoken, *, stream: bool) -> ChatRequest:
    there = (folder / "request.json").exists()
    chat = request_of(folder) if there else None
    return asked(chat, speaker, load_case(folder), stream=stream)


def written_reply(reply: ChatReply, speaker: Spoken, folder: Path) -> ChatReply:
    """What a client of a dialect would read of a reply."""
    chat = asked_of(folder, speaker, stream=False)
    return speaker.codec.read_reply(speaker.codec.write_reply(reply, chat, IDENTITY))


def streamed_reply(reply: ChatReply, speaker: Spoken, folder: Path) -> ChatReply:
    """What a client of a dialect would make of a reply's stream."""
    chat = asked_of(folder, speaker, stream=True)
    wire = encode(speaker, Decoded(list(events_of(reply))), chat)
    decoded = decode(speaker, frames_of(speaker.dialect, [wire]))
    assert decoded.fault is None
    return collect(decoded.events)
