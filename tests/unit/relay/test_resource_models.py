"""Bodies as a channel must have them: models and files by its names, all else as is."""

import json
from types import SimpleNamespace
from typing import Any

from posthouse.relay.resources.models import body_for
from posthouse.wire.multipart import Form, Part, read_form, render_form

OURS, THEIRS = "file-0123456789abcdef01234567", "file_up"
CHANNEL: Any = SimpleNamespace(name="main")


def renamed(body: bytes, kind: bytes = b"application/json") -> bytes:
    """The body, of a channel that calls one file otherwise."""
    return body_for(CHANNEL, kind, body, models=[], things={OURS: THEIRS})


def test_files_are_renamed_where_ids_stand_and_nowhere_else() -> None:
    told = {
        "file_ids": [OURS, "file-other"],
        "tool_resources": {"code": {"file_ids": [OURS]}},
        "source": {"type": "file_id", "id": OURS},
        "training_file": OURS,
        "metadata": {"file_id": OURS},
        "text": OURS,
        "texts": [OURS],
    }
    found = json.loads(renamed(json.dumps(told).encode()))
    assert found == {
        **told,
        "file_ids": [THEIRS, "file-other"],
        "tool_resources": {"code": {"file_ids": [THEIRS]}},
        "source": {"type": "file_id", "id": THEIRS},
        "training_file": THEIRS,
    }


def test_escapes_and_numbers_are_no_matter() -> None:
    escaped = OURS.replace("-", "\\u002d")
    body = f'{{"File_ID": "{escaped}", "n": 1.10, "big": 1e400}}'
    written = renamed(body.encode())
    assert json.loads(written)["File_ID"] == THEIRS
    assert b"1.10" in written
    assert b"1e400" in written
    assert renamed(b"no JSON") == b"no JSON"
    assert renamed(b"") == b""


def test_forms_are_renamed_part_by_part() -> None:
    parts = (
        Part("file_id", OURS.encode()),
        Part("file_ids[]", OURS.encode()),
        Part("session", json.dumps({"file_id": OURS}).encode()),
        Part("note", OURS.encode()),
        Part("file", OURS.encode(), "a.txt", b"text/plain"),
    )
    form = render_form(Form(parts), b"mark")
    found = read_form(form.content_type, renamed(form.data, form.content_type)).parts
    assert [part.value.decode() for part in found] == [
        THEIRS,
        THEIRS,
        f'{{"file_id":"{THEIRS}"}}',
        OURS,
        OURS,
    ]


def test_where_nothing_is_called_otherwise_every_byte_stays() -> None:
    body = b'{ "file_id" : "x",  "n": 1.0 }'
    assert body_for(CHANNEL, None, body, models=[], things={}) is body
