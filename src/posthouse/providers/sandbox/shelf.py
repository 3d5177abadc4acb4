"""What callers keep at the sandbox: files, threads, vector stores and all the rest.

It knows no kind of thing: whatever is posted to a collection is kept with what was
said of it, and can be read, listed, changed and deleted. The only part of the sandbox
that remembers anything: of one process, and no more than so much.
"""

import hashlib
from collections import OrderedDict
from typing import Any
from urllib.parse import unquote

from msgspec import Struct

from posthouse.dialects.resources.paths import ResourcePath, read_path
from posthouse.dialects.resources.routes import LISTS
from posthouse.errors import NotFound
from posthouse.model.exchange import UpstreamRequest
from posthouse.providers.sandbox.identity import CREATED
from posthouse.providers.sandbox.refusal import RequestRefused
from posthouse.providers.sandbox.reply import Reply, json_reply
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.multipart import MalformedForm, is_form, read_form

COLLECTIONS = LISTS | {"/conversations", "/threads", "/uploads"}
MOST_THINGS = 10_000
MOST_BYTES = 64 * 1024 * 1024
"""Of what has been uploaded; the oldest goes first."""
_STATES = {"cancel": "cancelled", "archive": "archived", "complete": "completed"}
_SINGULAR = {"batches": "batch", "memories": "memory"}


class Thing(Struct):
    """Something kept."""

    members: dict[str, Any]
    content: bytes = b""


class Shelf:
    """Keeps things by their paths, the newest last."""

    def __init__(self) -> None:
        """Begin empty."""
        self._things: OrderedDict[str, Thing] = OrderedDict()
        self._size = 0

    def answer(self, request: UpstreamRequest) -> Reply:
        """Answer a request; raises RequestRefused."""
        target = request.target.partition("?")[0]
        try:
            path = read_path("/v1" + target.partition("/v1")[2])
        except NotFound:
            raise _nothing(request) from None
        if not path.ids and path.template not in COLLECTIONS:
            raise _nothing(request)
        if request.method == "POST":
            return self._post(request, path)
        if request.method == "DELETE" and path.raw in self._things:
            return self._delete(path)
        if request.method == "GET":
            return self._get(path)
        raise _nothing(request)

    def _get(self, path: ResourcePath) -> Reply:
        thing = self._things.get(path.raw)
        if thing is not None:
            return json_reply(thing.members)
        above, _, last = path.raw.rpartition("/")
        held = self._things.get(above)
        if held is not None and path.is_content:
            kind = (b"content-type", b"application/octet-stream")
            return Reply(200, (kind,), (held.content,))
        if path.last == "{}" or (path.ids and self._parent(path) is None):
            raise RequestRefused(
                f"No such thing: {unquote(last)[:100]}", code="not_found", status=404
            )
        listed = [
            thing.members
            for key, thing in reversed(self._things.items())
            if key.rpartition("/")[0] == path.raw
        ]
        ends = {
            "first_id": listed[0]["id"] if listed else None,
            "last_id": listed[-1]["id"] if listed else None,
        }
        return json_reply({"object": "list", "data": listed, **ends, "has_more": False})

    def _parent(self, path: ResourcePath) -> Thing | None:
        """The thing below which a collection is."""
        return self._things.get(path.raw.rpartition("/")[0])

    def _post(self, request: UpstreamRequest, path: ResourcePath) -> Reply:
        members, content = _read(request)
        known = self._things.get(path.raw)
        if known is not None:
            known.members |= members
            return json_reply(known.members)
        above = self._parent(path)
        if above is not None and path.last in _STATES:
            above.members["status"] = _STATES[path.last]
            return json_reply(above.members)
        if path.ids and above is None:
            raise RequestRefused("No such thing.", code="not_found", status=404)
        word = path.last
        kind = _SINGULAR.get(word, word.removesuffix("s"))
        made = {
            "id": f"{kind}-{_name(request)}",
            "object": kind,
            "type": kind,
            "created_at": CREATED,
            "status": "completed",
            **members,
        }
        self._keep(f"{path.raw}/{made['id']}", Thing(made, content))
        return json_reply(made)

    def _keep(self, path: str, thing: Thing) -> None:
        self._things[path] = thing
        self._size += len(thing.content)
        while len(self._things) > MOST_THINGS or self._size > MOST_BYTES:
            _, gone = self._things.popitem(last=False)
            self._size -= len(gone.content)

    def _delete(self, path: ResourcePath) -> Reply:
        thing = self._things.pop(path.raw)
        self._size -= len(thing.content)
        for key in [key for key in self._things if key.startswith(path.raw + "/")]:
            self._size -= len(self._things.pop(key).content)
        kind = thing.members["object"]
        return json_reply(
            {
                "id": thing.members["id"],
                "object": f"{kind}.deleted",
                "type": f"{kind}_deleted",
                "deleted": True,
            }
        )


def _read(request: UpstreamRequest) -> tuple[dict[str, Any], bytes]:
    """What a body says, and the file in it."""
    kind = next((v for name, v in request.headers if name == b"content-type"), b"")
    if not is_form(kind):
        return _object(request.body), b""
    try:
        form = read_form(kind, request.body)
    except MalformedForm as error:
        raise RequestRefused(f"The form cannot be read: {error}") from None
    members: dict[str, Any] = {}
    content = b""
    for part in form.parts:
        if part.filename is None:
            members[part.name] = part.value.decode(errors="replace")
        else:
            content = part.value
            members |= {"filename": part.filename, "bytes": len(content)}
    return members, content


def _object(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        members = json.decode(body, dict[str, Any])
    except MalformedJSON:
        raise RequestRefused("The request's body is not a JSON object.") from None
    members.pop("id", None)
    return members


def _name(request: UpstreamRequest) -> str:
    """Name what a request makes: no other request has its id."""
    mark = next((v for name, v in request.headers if name == b"x-request-id"), b"")
    whole = mark + b"\n" + request.target.encode() + b"\n" + request.body
    return hashlib.blake2b(whole, digest_size=12).hexdigest()


def _nothing(request: UpstreamRequest) -> RequestRefused:
    path = request.target.partition("?")[0].partition("/v1/")[2]
    return RequestRefused(
        f"The sandbox has nothing at {request.method} {path[:100]}.",
        code="unknown_url",
        status=404,
    )
