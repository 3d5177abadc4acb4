"""A provider with batches of its own, in OpenAI's way and in Anthropic's.

It is a behaviour of the fake provider. What it is given it keeps; a batch ends when
it is told to (`end`), or at once. It answers whatever else it is asked as the fake
does, so a test sees which lines came one by one.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct, field
from tests.fakes import openai
from tests.fakes.steps import Behaviour, Close, Request, Send, json_reply, reply

from posthouse.wire.multipart import read_form

FILES, BATCHES, MESSAGES = "/v1/files", "/v1/batches", "/v1/messages/batches"
Answer = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Gives the whole line of a result for a request; None: there is none."""


class Given(Struct):
    """A batch that it was given."""

    id: str
    lines: list[dict[str, Any]]
    created: float
    headers: dict[bytes, bytes]
    metadata: dict[str, str] | None = None
    endpoint: str = ""
    cancelled: bool = False
    answers: list[bytes] = field(default_factory=list)


class BatchProvider:
    """What it has, and how it behaves."""

    def __init__(self, *, ends_at_once: bool = True) -> None:
        self.given: list[Given] = []
        self.ends_at_once = ends_at_once
        self.ended = threading.Event()
        self.faults: dict[str, list[bytes]] = {}
        """By method and path, the raw replies to come first."""
        self.cut = 0
        """Of so many downloads only the first half comes."""
        self.answer: Answer = chat_line
        self._files: dict[str, bytes] = {}

    def end(self) -> None:
        """Let all batches be done."""
        self.ended.set()

    def __call__(self, request: Request) -> Behaviour:
        """Answer a request."""
        path = request.target.partition("?")[0]
        what = f"{request.method} {path}"
        if self.faults.get(what):
            return Behaviour(what, (Send(self.faults[what].pop(0)),))
        if path == FILES and request.method == "POST":
            return self._upload(request)
        if path.startswith(f"{FILES}/"):
            return self._download(path.split("/")[3])
        for prefix in (BATCHES, MESSAGES):
            if path == prefix or path.startswith(f"{prefix}/"):
                return self._batches(request, prefix, path.removeprefix(prefix)[1:])
        return openai.answer(request)

    def _batches(self, request: Request, prefix: str, rest: str) -> Behaviour:
        if rest:
            return self._of(request, prefix, rest)
        if request.method == "POST":
            return self._create(request, prefix)
        return _told("list", self._list(prefix))

    def _upload(self, request: Request) -> Behaviour:
        form = read_form(request.header(b"content-type") or b"", request.body)
        purpose, file = form.first("purpose"), form.first("file")
        assert purpose is not None
        assert file is not None
        assert purpose.value == b"batch"
        file_id = f"file-{len(self._files)}"
        self._files[file_id] = file.value
        return _told("upload", {"id": file_id, "object": "file"})

    def _download(self, file_id: str) -> Behaviour:
        number = int(file_id.rpartition("-")[2])
        return self._content(self.given[number])

    def _content(self, given: Given) -> Behaviour:
        if not given.answers:
            found = [self.answer(line) for line in reversed(given.lines)]
            given.answers = [msgspec.json.encode(one) for one in found if one]
        whole = reply(200, b"\n".join(given.answers), content_type="text/plain")
        if self.cut:
            self.cut -= 1
            return Behaviour("cut", (Send(whole[: len(whole) // 2]), Close()))
        return Behaviour("results", (Send(whole),))

    def _create(self, request: Request, prefix: str) -> Behaviour:
        body = request.json
        lines = body.get("requests")
        if lines is None:
            text = self._files[body["input_file_id"]]
            lines = [msgspec.json.decode(line) for line in text.splitlines()]
        given = Given(
            f"batch-{len(self.given)}",
            lines,
            datetime.now(UTC).timestamp(),
            dict(request.headers),
            body.get("metadata"),
            body.get("endpoint", ""),
        )
        self.given.append(given)
        return _told("create", self._tell(given, prefix))

    def _of(self, request: Request, prefix: str, rest: str) -> Behaviour:
        name, _, what = rest.partition("/")
        given = next((one for one in self.given if one.id == name), None)
        if given is None:
            return Behaviour("unknown", (Send(json_reply(404, {"error": {}})),))
        if what == "results":
            return self._content(given)
        if what == "cancel":
            given.cancelled = True
        return _told(f"{request.method} batch", self._tell(given, prefix))

    def _list(self, prefix: str) -> dict[str, Any]:
        data = [self._tell(given, prefix) for given in reversed(self.given)]
        return {"data": data, "has_more": False, "object": "list"}

    def _tell(self, given: Given, prefix: str) -> dict[str, Any]:
        over = self.ends_at_once or self.ended.is_set() or given.cancelled
        if prefix == MESSAGES:
            created = datetime.fromtimestamp(given.created, UTC).isoformat()
            return {
                "id": given.id,
                "type": "message_batch",
                "processing_status": "ended" if over else "in_progress",
                "request_counts": {"processing": len(given.lines), "succeeded": 0},
                "created_at": created,
                "results_url": "http://127.0.0.1:9/anybody" if over else None,
            }
        state = "cancelled" if given.cancelled else "completed"
        number = given.id.rpartition("-")[2]
        return {
            "id": given.id,
            "object": "batch",
            "status": state if over else "in_progress",
            "created_at": int(given.created),
            "metadata": given.metadata,
            "request_counts": {"total": len(given.lines)},
            "output_file_id": f"file-out-{number}" if over else None,
            "error_file_id": None,
        }


def chat_line(line: dict[str, Any]) -> dict[str, Any]:
    """Answer a request of either kind as the fake answers calls."""
    if "params" in line:
        return {
            "custom_id": line["custom_id"],
            "result": {"type": "succeeded", "message": message(line["params"])},
        }
    body = msgspec.json.encode(line["body"])
    value = openai.chat_value(Request(0, 0, "POST", line["url"], [], body))
    response = {"status_code": 200, "request_id": "req", "body": value}
    return {"custom_id": line["custom_id"], "response": response, "error": None}


def message(params: dict[str, Any]) -> dict[str, Any]:
    """Write Anthropic's answer to a message."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": params["model"],
        "content": [{"type": "text", "text": "Hello from a batch"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1000, "output_tokens": 100},
    }


def _told(name: str, value: dict[str, Any]) -> Behaviour:
    return Behaviour(name, (Send(json_reply(200, value)),))
