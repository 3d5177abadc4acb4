"""A provider that keeps things: each account its own, as a real one does."""

import itertools
import json
import secrets
import threading
from typing import Any
from urllib.parse import parse_qs, unquote

from tests.fakes.steps import Behaviour, Request, Send, reply

from posthouse.wire.multipart import is_form, read_form

USAGE = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
STREAM = "text/event-stream"
EMBEDDED = {
    "object": "list",
    "model": "m",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
    "usage": {"prompt_tokens": 1, "total_tokens": 1},
}
_PREFIXES = {"/audio/voices": "voice"}


class Kept:
    """Things by account and path; thread-safe."""

    def __init__(self) -> None:
        """Begin empty."""
        self.things: dict[tuple[str, str], dict[str, Any]] = {}
        self.requests: list[Request] = []
        self.fails: dict[str, int] = {}
        """Statuses that paths are answered with."""
        self._lock = threading.Lock()
        self._numbers = itertools.count(1_700_000_000)

    def __call__(self, request: Request) -> Behaviour:
        """Answer a request."""
        with self._lock:
            self.requests.append(request)
            return self._answer(request)

    @staticmethod
    def account(request: Request) -> str:
        """Whose key it is."""
        bearer = request.header(b"authorization") or request.header(b"x-api-key")
        return (bearer or b"").decode().removeprefix("Bearer ")

    def _answer(self, request: Request) -> Behaviour:
        path, _, query = request.target.partition("?")
        path = unquote(path.removeprefix("/v1"))
        account = self.account(request)
        if path in self.fails:
            return _json(self.fails[path], {"error": {"message": f"key {account}"}})
        if request.method == "GET":
            return self._get(account, path, parse_qs(query))
        if request.method == "DELETE":
            if self.things.pop((account, path), None) is None:
                return _missing(path)
            return _json(200, {"id": path.rpartition("/")[2], "deleted": True})
        return self._post(account, path, request)

    def _get(self, account: str, path: str, query: dict[str, list[str]]) -> Behaviour:
        thing = self.things.get((account, path))
        if thing is not None:
            return _json(200, thing)
        above, _, last = path.rpartition("/")
        if last == "content" and (account, above) in self.things:
            body = self.things[account, above].get("content", "").encode()
            return Behaviour("content", (Send(reply(200, body)),))
        if above and (account, above) not in self.things and not _is_list(path):
            return _missing(path)
        listed = [
            thing
            for (whose, where), thing in self.things.items()
            if whose == account and where.rpartition("/")[0] == path
        ]
        return _json(200, {"object": "list", "data": listed, "has_more": False})

    def _post(self, account: str, path: str, request: Request) -> Behaviour:
        if path == "/files" and is_form(request.header(b"content-type")):
            return self._store(account, request)
        if path == "/audio/speech":
            sound = reply(200, bytes(4800), content_type="audio/pcm")
            return Behaviour("speech", (Send(sound),))
        body = request.json
        if path == "/responses":
            return self._response(account, body)
        if path == "/chat/completions":
            return self._chat(account, body)
        if path == "/embeddings":
            return _json(200, EMBEDDED)
        return self._named(account, path, request)

    def _named(self, account: str, path: str, request: Request) -> Behaviour:
        unknown = self._unknown(account, request.json)
        return _missing(unknown[0]) if unknown else self._make(account, path, request)

    def _store(self, account: str, request: Request) -> Behaviour:
        """A file, which comes in a form."""
        kind = request.header(b"content-type") or b""
        form = read_form(kind, request.body)
        file = next(part for part in form.parts if part.name == "file")
        purpose = next((p.text for p in form.parts if p.name == "purpose"), None)
        made = {
            "id": f"file-{secrets.token_hex(8)}Up",
            "object": "file",
            "created_at": next(self._numbers),
            "purpose": purpose,
            "filename": file.filename,
            "content": file.value.decode(),
        }
        self.things[account, f"/files/{made['id']}"] = made
        return _json(200, {k: v for k, v in made.items() if k != "content"})

    def _unknown(self, account: str, body: dict[str, Any]) -> list[str]:
        """Files that a body names and that are not there."""
        named = [*body.get("file_ids", ()), body.get("training_file")]
        named.append(body.get("file_id"))
        return [
            name
            for name in filter(None, named)
            if str(name).startswith("file-")
            and (account, f"/files/{name}") not in self.things
        ]

    def _make(self, account: str, path: str, request: Request) -> Behaviour:
        body = request.json
        known = self.things.get((account, path))
        if known is not None:
            known.update(body)
            return _json(200, known)
        above = self.things.get((account, path.rpartition("/")[0]))
        parts = path.strip("/").split("/")
        if len(parts) > 2 and above is None:
            return _missing(path)
        if parts[-1] == "cancel" and above is not None:
            above["status"] = "cancelled"
            return _json(200, above)
        made = {
            "id": f"{_PREFIXES.get(path, parts[-1][:4])}_{secrets.token_hex(6)}",
            "object": parts[-1],
            "created_at": next(self._numbers),
            "odd": "never_seen",
            **{name: value for name, value in body.items() if name != "id"},
        }
        if parts[-1] in ("runs", "compact"):
            made["usage"] = USAGE
        if parts[-1] == "files" and "file_id" in body:
            # In a store a file has its own name.
            made["id"] = body["file_id"]
        self.things[account, f"{path}/{made['id']}"] = made
        if body.get("stream"):
            return _stream(made)
        if body.get("located"):
            where = f"https://provider.example/v1{path}/{made['id']}"
            return _located(where)
        return _json(200, made)

    def _response(self, account: str, body: dict[str, Any]) -> Behaviour:
        """A response that has worked in a container, and left a file there."""
        container = f"cntr_{secrets.token_hex(6)}"
        self.things[account, f"/containers/{container}"] = {"id": container}
        made = {
            "id": f"resp_{secrets.token_hex(6)}",
            "object": "response",
            "status": "completed",
            "model": body["model"],
            "output": [
                {
                    "type": "code_interpreter_call",
                    "id": f"ci_{secrets.token_hex(6)}",
                    "container_id": container,
                    "status": "completed",
                },
                {
                    "type": "message",
                    "id": f"msg_{secrets.token_hex(6)}",
                    "role": "assistant",
                    "status": "completed",
                    "content": [
                        {"type": "output_text", "text": "Done", "annotations": []}
                    ],
                },
            ],
            "usage": USAGE,
        }
        self.things[account, f"/responses/{made['id']}"] = made
        if not body.get("stream"):
            return _json(200, made)
        event = {"type": "response.completed", "response": made}
        delta = {"type": "response.output_text.delta", "delta": "Done"}
        frames = b"".join(
            f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode()
            for one in (delta, event)
        )
        return Behaviour("stream", (Send(reply(200, frames, content_type=STREAM)),))

    def _chat(self, account: str, body: dict[str, Any]) -> Behaviour:
        """A chat that can be asked for again."""
        chat = f"chatcmpl-{secrets.token_hex(6)}"
        head = {"id": chat, "created": 1, "model": body["model"]}
        usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
        choice = {"index": 0, "finish_reason": "stop"}
        message: dict[str, Any] = {"role": "assistant", "content": "Hi"}
        if "audio" in body:
            name = f"audio_{secrets.token_hex(6)}"
            message["audio"] = {"id": name, "data": "AAAA", "transcript": "Hi"}
        made = {
            **head,
            "object": "chat.completion",
            "choices": [{**choice, "message": message}],
            "usage": usage,
        }
        self.things[account, f"/chat/completions/{chat}"] = made
        if not body.get("stream"):
            return _json(200, made)
        chunk = {**head, "object": "chat.completion.chunk", "usage": usage}
        chunk["choices"] = [{**choice, "delta": message}]
        data = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()
        return Behaviour("stream", (Send(reply(200, data, content_type=STREAM)),))


def _is_list(path: str) -> bool:
    return path.count("/") == 1 or path in ("/fine_tuning/jobs", "/chat/completions")


def _json(status: int, value: Any) -> Behaviour:
    return Behaviour("kept", (Send(reply(status, json.dumps(value).encode())),))


def _located(where: str) -> Behaviour:
    """Tells of what was made by its place alone."""
    data = reply(201, b"made", content_type="text/plain", headers=[("location", where)])
    return Behaviour("located", (Send(data),))


def _missing(path: str) -> Behaviour:
    return _json(404, {"error": {"message": f"No such object: {path}"}})


def _stream(made: dict[str, Any]) -> Behaviour:
    step = {"id": f"step_{secrets.token_hex(6)}", "object": "thread.run.step"}
    events = [
        ("thread.run.created", {**made, "usage": None}),
        ("thread.run.step.completed", {**step, "usage": {"prompt_tokens": 1}}),
        ("thread.run.completed", made),
    ]
    body = b"".join(
        f"event: {name}\ndata: {json.dumps(data)}\n\n".encode() for name, data in events
    )
    body += b"event: done\ndata: [DONE]\n\n"
    return Behaviour("stream", (Send(reply(200, body, content_type=STREAM)),))
