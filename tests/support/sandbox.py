"""Asks the sandbox directly and reads its scripts as an HTTP client would."""

import json
from dataclasses import dataclass, field
from typing import Any

from openai import BaseModel
from openai.types.chat import ChatCompletion

from posthouse.model.exchange import Script, ScriptEnd, Timeouts, UpstreamRequest
from posthouse.providers.sandbox import play

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
CLOCK = {"type": "function", "function": {"name": "get_time"}}
CUSTOM = {"type": "custom", "custom": {"name": "run_code"}}
ARGUMENTS = {"city": "sample city", "unit": "celsius"}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "strict": True,
        "schema": WEATHER["function"]["parameters"],  # type: ignore[index]
    },
}


@dataclass
class Played:
    """A script, taken apart."""

    script: Script
    status: int
    headers: dict[str, str]
    body: bytes
    end: ScriptEnd
    events: list[Any] = field(default_factory=list)
    """A stream's JSON documents, without `[DONE]`."""
    done: bool = False
    """Whether `[DONE]` came."""

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def request(path: str, body: Any, method: str = "POST") -> UpstreamRequest:
    """Make a request to the sandbox; `body` is bytes or becomes JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return UpstreamRequest(
        method, "sandbox://local", "/v1" + path, (), data, Timeouts()
    )


def ask(path: str, **body: Any) -> Played:
    """Ask the sandbox and take its answer apart."""
    return take_apart(play(request(path, body)))


def chat(prompt: Any = "Hello", **body: Any) -> Played:
    """Ask for a chat of one user message."""
    defaults = {
        "model": "sandbox",
        "messages": [{"role": "user", "content": prompt}],
    }
    return ask("/chat/completions", **{**defaults, **body})


def take_apart(script: Script) -> Played:
    """Read a script that is honest HTTP/1.1."""
    data = b"".join(step.data for step in script.steps)
    if not data:
        return Played(script, 0, {}, b"", script.end)
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines if ": " in line)
    body = dechunked(rest) if "transfer-encoding" in headers else rest
    played = Played(script, int(first.split()[1]), headers, body, script.end)
    if headers.get("content-type", "").startswith("text/event-stream"):
        for block in body.decode("utf-8-sig").replace("\r\n", "\n").split("\n\n"):
            lines = [line for line in block.split("\n") if line.startswith("data:")]
            data = "\n".join(line[5:].removeprefix(" ") for line in lines)
            if data == "[DONE]":
                played.done = True
            elif data:
                played.events.append(json.loads(data))
    return played


def dechunked(data: bytes) -> bytes:
    """Join chunks, up to the last one or to where they break off."""
    parts = []
    place = 0
    while (end := data.find(b"\r\n", place)) > 0:
        try:
            size = int(data[place:end], 16)
        except ValueError:
            break
        parts.append(data[end + 2 : end + 2 + size])
        place = end + 2 + size + 2
    return b"".join(parts)


def unknown_fields(value: Any, path: str = "") -> list[str]:
    """List every field below a value of the SDK that the SDK does not know."""
    found: list[str] = []
    if isinstance(value, BaseModel):
        found += [f"{path}.{name}" for name in value.model_extra or ()]
        for name in type(value).model_fields:
            found += unknown_fields(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            found += unknown_fields(item, f"{path}[]")
    return found


def completion(prompt: Any = "Hello", **body: Any) -> ChatCompletion:
    """Ask for a whole reply; the SDK's types must take it strictly."""
    played = chat(prompt, **body)
    assert played.status == 200, played.body
    return ChatCompletion.model_validate_json(played.body, strict=True)


def assembled(played: Played) -> list[dict[str, Any]]:
    """Join a stream's chunks by choice, as a client does."""
    assert played.done
    joined: dict[int, dict[str, Any]] = {}
    for event in played.events:
        for choice in event["choices"]:
            whole = joined.setdefault(choice["index"], {"finish": None, "calls": {}})
            assert whole["finish"] is None, "nothing follows a finish reason"
            for name, value in choice["delta"].items():
                if name == "tool_calls":
                    join_calls(whole["calls"], value)
                elif isinstance(value, str):
                    whole[name] = whole.get(name, "") + value
            whole["finish"] = choice["finish_reason"]
    return [joined[index] for index in sorted(joined)]


def join_calls(calls: dict[int, str], fragments: list[dict[str, Any]]) -> None:
    """Add fragments of tool calls to what has come."""
    for fragment in fragments:
        inner = fragment.get("function") or fragment.get("custom")
        assert inner is not None
        text = inner.get("arguments", inner.get("input", ""))
        calls[fragment["index"]] = calls.get(fragment["index"], "") + text
