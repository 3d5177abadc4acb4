"""What the vendors' own SDKs make of the streams that we write for their users.

Their assemblers are fed event by event, and must come to what is written where
the same is answered as a whole.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.golden.test_chat_properties import (
    asked_of,
    cases_with,
    named,
    speakers,
)
from tests.support.cases import each
from tests.support.vendor_types import named as vendors
from tools.chat_golden import IDENTITY, Spoken, decode, encode, frames_of

from posthouse.dialects.neutral.collect import collect
from posthouse.wire.sse import Frame


def openai_chat(frames: list[Frame]) -> Any:
    """What `client.chat.completions.stream` has at its end."""
    chunk = vendors("openai.types.chat.ChatCompletionChunk")
    state = vendors("openai.lib.streaming.chat.ChatCompletionStreamState")()
    for _, data in frames:
        if data and not data.startswith(b"[DONE]"):
            # As the SDK does: what it does not know passes.
            state.handle_chunk(chunk.construct(**_models(chunk, data)))
    return state.current_completion_snapshot.to_dict(warnings=False)


def _models(chunk: Any, data: bytes) -> dict[str, Any]:
    build = vendors("openai._models.construct_type")
    built = build(type_=chunk, value=json.loads(data))
    return {name: getattr(built, name) for name in built.model_fields_set}


def openai_responses(frames: list[Frame]) -> Any:
    """What `client.responses.stream` has at its end."""
    events = vendors("openai.types.responses.ResponseStreamEvent")
    build = vendors("openai._models.construct_type")
    omit = vendors("openai.omit")
    kind = "openai.lib.streaming.responses._responses.ResponseStreamState"
    state = vendors(kind)(input_tools=omit, text_format=omit)
    last = None
    for _, data in frames:
        if not data:
            continue
        event = build(type_=events, value=json.loads(data))
        state.handle_event(event)
        last = getattr(event, "response", last)
    return last.to_dict(warnings=False) if last is not None else None


def anthropic_messages(frames: list[Frame]) -> Any:
    """What `client.messages.stream` has at its end."""
    accumulate = vendors("anthropic.lib.streaming._messages.accumulate_event")
    build = vendors("anthropic._models.construct_type")
    events = vendors("anthropic.types.RawMessageStreamEvent")
    snapshot, buffers = None, {}
    for _, data in frames:
        if not data or json.loads(data)["type"] == "ping":
            continue
        snapshot = accumulate(
            event=build(type_=events, value=json.loads(data)),
            current_snapshot=snapshot,
            json_bufs=buffers,
        )
    return snapshot.to_dict(warnings=False) if snapshot is not None else None


def chat_essence(value: Any) -> Any:
    return [
        (
            choice["message"].get("content") or "",
            choice["message"].get("refusal") or "",
            [_called(call) for call in choice["message"].get("tool_calls") or ()],
            choice["finish_reason"],
        )
        for choice in value["choices"]
    ]


def _called(call: Any) -> Any:
    called = call[call["type"]]
    return called["name"], called.get("arguments", called.get("input"))


def responses_essence(value: Any) -> Any:
    kept = ("type", "name", "arguments", "content", "summary", "input")
    items = [{k: item.get(k) for k in kept} for item in value["output"]]
    return value["status"], _without_scores(items)


def _without_scores(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_scores(v) for k, v in value.items() if k != "logprobs"}
    return [_without_scores(v) for v in value] if isinstance(value, list) else value


def messages_essence(value: Any) -> Any:
    return value["content"], value["stop_reason"]


WAYS: dict[str, tuple[Callable[[list[Frame]], Any], Callable[[Any], Any]]] = {
    "openai_chat": (openai_chat, chat_essence),
    "openai_responses": (openai_responses, responses_essence),
    "anthropic_messages": (anthropic_messages, messages_essence),
}


OTHERWISE = {
    # A text's signature of Gemini's is known after the text.
    ("gemini_generate/thinking", "anthropic_messages"),
    # The SDK gives up on such arguments, whoever wrote them.
    ("openai_chat/tool_arguments_not_json", "anthropic_messages"),
}


@each("name", WAYS)
@cases_with("stream.txt")
def test_an_sdk_assembles_what_we_write(folder: Path, name: str) -> None:
    """Whoever has answered."""
    if folder.parent.name == name or (named(folder), name) in OTHERWISE:
        return
    source = speakers()[folder.parent.name]
    wire = (folder / "stream.txt").read_bytes()
    decoded = decode(source, frames_of(source.dialect, [wire]))
    if decoded.fault is not None:
        return
    client: Spoken = speakers()[name]
    chat = asked_of(folder, client, stream=True)
    assemble, essence = WAYS[name]
    written = encode(client, decoded, chat)
    assembled = assemble(frames_of(client.dialect, [written]))
    whole = json.loads(
        client.codec.write_reply(collect(decoded.events), chat, IDENTITY)
    )
    assert essence(assembled) == essence(whole)
