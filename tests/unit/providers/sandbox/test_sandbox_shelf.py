"""What the sandbox keeps for those who try: anything, and no more than so much."""

import json
from typing import Any

import pytest
from tests.support.cases import each

from posthouse.model.exchange import Timeouts, UpstreamRequest
from posthouse.providers.sandbox import shelf
from posthouse.providers.sandbox.refusal import RequestRefused
from posthouse.providers.sandbox.shelf import Shelf
from posthouse.wire.multipart import Form, Part, render_form


def ask(
    kept: Shelf,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    kind: bytes = b"application/json",
    mark: bytes = b"1",
) -> Any:
    """The answer's document."""
    headers = ((b"content-type", kind), (b"x-request-id", mark))
    request = UpstreamRequest(
        method, "sandbox://local", f"/v1{path}", headers, body, Timeouts()
    )
    [part] = kept.answer(request).parts
    return json.loads(part)


def test_things_are_kept_with_what_was_said_of_them() -> None:
    kept = Shelf()
    made = ask(kept, "POST", "/vector_stores", b'{"name":"x","id":"mine"}')
    assert made["name"] == "x"
    assert made["id"] != "mine"
    path = f"/vector_stores/{made['id']}"
    assert ask(kept, "GET", path) == made
    assert ask(kept, "POST", path, b'{"name":"y"}')["name"] == "y"
    below = ask(kept, "POST", f"{path}/files", b'{"file_id":"f"}')
    assert ask(kept, "GET", f"{path}/files")["data"] == [below]
    assert ask(kept, "POST", f"{path}/cancel")["status"] == "cancelled"
    assert ask(kept, "DELETE", path)["deleted"] is True
    for gone in (path, f"{path}/files", f"{path}/files/{below['id']}"):
        with pytest.raises(RequestRefused) as refused:
            ask(kept, "GET", gone)
        assert refused.value.status == 404


def test_no_two_requests_make_the_same_thing() -> None:
    kept = Shelf()
    names = {ask(kept, "POST", "/threads", mark=b"%d" % n)["id"] for n in range(10)}
    assert len(names) == 10


def test_the_oldest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "MOST_THINGS", 3)
    monkeypatch.setattr(shelf, "MOST_BYTES", 250)
    kept = Shelf()
    names = [ask(kept, "POST", "/threads", mark=b"%d" % n)["id"] for n in range(5)]
    with pytest.raises(RequestRefused):
        ask(kept, "GET", f"/threads/{names[1]}")
    assert ask(kept, "GET", f"/threads/{names[4]}")["id"] == names[4]
    form = render_form(Form((Part("file", b"x" * 100, "a.txt"),)))
    files = [
        ask(kept, "POST", "/files", form.data, kind=form.content_type, mark=b"%d" % n)[
            "id"
        ]
        for n in range(3)
    ]
    with pytest.raises(RequestRefused):
        ask(kept, "GET", f"/files/{files[0]}")
    assert ask(kept, "GET", f"/files/{files[2]}")["bytes"] == 100


@each(
    ("method", "path"),
    [
        ("POST", "/nothing"),
        ("GET", "/audio/voices"),
        ("POST", "/threads/x/messages"),
        ("PUT", "/threads"),
        ("DELETE", "/threads/x"),
        ("GET", "/files/../x"),
    ],
)
def test_what_is_not_there_is_refused(method: str, path: str) -> None:
    with pytest.raises(RequestRefused):
        ask(Shelf(), method, path)
