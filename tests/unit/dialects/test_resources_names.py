"""What requests name, and what answers tell."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.dialects.resources.answers import (
    read_answer,
    read_location,
    with_names,
    with_own_addresses,
)
from posthouse.dialects.resources.files import made_file, purpose_at
from posthouse.dialects.resources.names import Named, read_body, read_query
from posthouse.dialects.resources.pages import matches, read_wanted, render_page
from posthouse.errors import InvalidRequest
from posthouse.wire.multipart import Form, Part, render_form

JSON = b"application/json"


def names_in(value: Any, *, stored: bool = True) -> Named:
    """What a JSON body names."""
    named = Named()
    read_body(JSON, json.dumps(value).encode(), named, stored=stored)
    return named


@each(
    ("value", "ids"),
    [
        ({"file_id": "a"}, {"a"}),
        ({"File_ID": "a"}, {"a"}),
        ({"file_ids": ["a", "b"]}, {"a", "b"}),
        ({"x": [{"y": {"vector_store_ids": ["a"]}}]}, {"a"}),
        ({"conversation": {"id": "a"}}, {"a"}),
        ({"conversation": "a"}, {"a"}),
        ({"container": "a"}, {"a"}),
        ({"container": {"type": "auto", "file_ids": ["a"]}}, {"a"}),
        ({"prompt": {"id": "a", "version": "2"}}, {"a"}),
        ({"previous_response_id": "a"}, {"a"}),
        ({"input_file_id": "a", "training_file": "b"}, {"a", "b"}),
        ({"skills": [{"type": "anthropic", "skill_id": "pptx"}]}, set()),
        ({"skills": [{"type": "custom", "skill_id": "a"}]}, {"a"}),
        ({"skills": [{"type": "anthropic", "TYPE": "x", "skill_id": "p"}]}, {"p"}),
        ({"tool_call_id": "a", "call_id": "b", "custom_id": "c"}, set()),
        ({"metadata": {"file_id": "a"}}, set()),
        ({"tools": [{"parameters": {"properties": {"x_id": "a"}}}]}, set()),
        ({"type": "tool_use", "input": {"file_id": "a"}}, set()),
        ({"input": [{"content": [{"file_id": "a"}]}]}, {"a"}),
        ({"file_id": 5, "other_id": None, "a_id": ""}, set()),
    ],
)
def test_names_that_hold_ids_count_wherever_they_are(value: Any, ids: set[str]) -> None:
    assert names_in(value).ids == ids


def test_of_a_name_that_stands_twice_both_count() -> None:
    named = Named()
    read_body(JSON, b'{"file_id":"a","x":{"id":"c","id":"d"},"file_id":"b"}', named)
    assert named.ids == {"a", "b", "c", "d"}
    named = Named()
    skill = b'{"type":"anthropic","type":"custom","skill_id":"a"}'
    read_body(JSON, skill, named)
    assert named.ids == {"a"}


def test_messages_that_are_sent_again_tell_their_own_ids() -> None:
    item = {"type": "message", "id": "msg_1"}
    reference = {"type": "item_reference", "id": "msg_2"}
    assert names_in({"items": [item]}).ids == {"msg_1"}
    untyped, whole = {"id": "msg_3"}, {"id": "msg_4", "content": "Hello"}
    again = {"input": [item, reference, untyped, whole], "other": [{"id": "x"}]}
    assert names_in(again, stored=False).ids == {"msg_2", "msg_3"}


def test_models_are_told_but_not_those_of_callers_own_words() -> None:
    value = {"model": "a", "x": [{"model": "b"}], "model_id": "c", "model_x": "d"}
    assert names_in(value).models == ["a", "b"]


def test_what_looks_like_an_id_is_told_apart() -> None:
    named = names_in({"note": "file-abc123def", "text": "a file and 3 words", "n": 3})
    assert named.texts == {"file-abc123def"}
    assert named.ids == set()


@each("kind", [JSON, b"application/vnd.api+json; charset=utf-8"])
@each("body", [b"{", b'{"a":1} x', b"\xff\xfe{}", b"[" * 500])
def test_what_cannot_be_read_is_refused(kind: bytes, body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_body(kind, body, Named())


@each("kind", [None, b"", b"text/plain", b"application/x-ndjson"])
def test_json_is_read_whatever_it_is_called(kind: bytes | None) -> None:
    named = Named()
    read_body(kind, b'\n {"file_id":"a"}', named)
    assert named.ids == {"a"}


def test_forms_and_queries() -> None:
    parts = (
        Part("file_ids[]", b"a"),
        Part("x[y][file_id]", b"b"),
        Part("model", b"m"),
        Part("session", b'{"prompt":{"id":"c"}}', None, JSON),
        Part("metadata[file_id]", b"not-an-id-0"),
        Part("file", b'{"file_id":"content"}' * 50, "a.jsonl"),
    )
    payload = render_form(Form(parts))
    named = Named()
    read_body(payload.content_type, payload.data, named)
    assert named.ids == {"a", "b", "c"}
    assert named.models == ["m"]
    read_body(b"application/x-www-form-urlencoded", b"file_id=d&x=1", named)
    read_query("after=e&before=&order=asc&ids%5B%5D=f&run_id=g", named)
    assert named.ids == {"a", "b", "c", "d", "e", "f", "g"}


def test_answers_tell_of_what_providers_made_and_not_of_what_callers_wrote() -> None:
    value = {
        "id": "batch_1",
        "output_file_id": "file-2",
        "metadata": {"some_id": "file-3"},
        "data": [{"id": "x_4", "tool_call_id": "call_5", "custom_id": "c"}],
        "tools": [{"parameters": {"x_id": "y_6"}}],
        "result_files": ["file-7"],
        "usage": {"input_tokens": 1},
        "model": "m",
    }
    told = read_answer(json.dumps(value).encode())
    assert told is not None
    assert told.ids == {
        "batch_1": "",
        "file-2": "/files",
        "x_4": "",
        "file-7": "/files",
    }
    assert (told.top, told.model, told.usage) == ("batch_1", "m", {"input_tokens": 1})
    assert read_answer(b"no JSON") is None


@given(st.dictionaries(st.text(), st.integers() | st.text(), max_size=5))
def test_whatever_an_answer_is_it_is_read(value: dict[str, Any]) -> None:
    assert read_answer(json.dumps([value]).encode()) is not None


def test_a_request_can_teach_nothing_that_it_may_not_name() -> None:
    """The two rules are one: what an answer repeats has been judged before."""
    for name in ("x_id", "id", "file_ids", "container", "result_files"):
        value = {"deep": [{name: "thing-0001"}]}
        told = read_answer(json.dumps(value).encode())
        assert told is not None
        assert set(told.ids) == names_in(value).ids


def test_pages_filter_by_what_things_are() -> None:
    thing = {"purpose": "x", "n": 5, "ok": True, "metadata": {"a": "1"}, "tags": ["t"]}
    thing["created_at"] = "2026-02-01T00:00:00Z"
    for query, found in (
        ("purpose=x&limit=3", True),
        ("purpose=y", False),
        ("n=5&ok=true", True),
        ("ok=false", False),
        ("metadata[a]=1", True),
        ("metadata[a]=2", False),
        ("metadata[b]=1", False),
        ("tags[]=t", True),
        ("tags[]=u", False),
        ("n[gte]=5&n[lt]=6", True),
        ("n[gt]=5", False),
        ("created_at[gte]=2026-01-01T00:00:00Z", True),
        ("created_at[lte]=2026-01-01T00:00:00Z", False),
        ("include[]=x&beta=true", True),
        ("missing=1", False),
    ):
        assert matches(thing, read_wanted(query)) is found, query
    archived = {**thing, "archived_at": "2026-01-01"}
    assert not matches(archived, read_wanted(""))
    assert matches(archived, read_wanted("include_archived=true"))


@each("query", ["limit=0", "limit=x", "limit=-1", "order=up"])
def test_odd_pages_are_refused(query: str) -> None:
    with pytest.raises(InvalidRequest):
        read_wanted(query)


def test_a_page_tells_how_to_go_on() -> None:
    page = json.loads(render_page([("a", b'{"id":"a","n":1.10}')], more=True))
    assert page["last_id"] == page["next"] == page["next_page"] == "a"
    assert b"1.10" in render_page([("a", b'{"n":1.10}')], more=False)
    empty = json.loads(render_page([], more=False))
    assert (empty["data"], empty["has_more"], empty["next"]) == ([], False, None)


def test_a_place_tells_of_what_is_there() -> None:
    told = read_location("/v1/threads/thread_1/messages/msg_1?x=1")
    assert told is not None
    assert (set(told.ids), told.top) == ({"thread_1", "msg_1"}, "msg_1")
    for path in ("/v1/files/file_1/content", "/", "", "/v1/../x", "/v1/threads"):
        assert read_location(path) is None, path


def test_only_the_results_of_batches_are_fetched_here() -> None:
    other = b'{"url":"https://api.example/v1/messages/batches/b/results","n": 1.0}'
    assert with_own_addresses(other) == other
    path = b"/v1/messages/batches/b_1/results"
    body = b'{ "results_url" : "https://api.example%b", "url":"https://x"}' % path
    own = b'{ "results_url" : "%b", "url":"https://x"}' % path
    assert with_own_addresses(body) == own


def test_things_are_called_otherwise_only_where_a_text_is_their_name() -> None:
    body = b'{"id": "file_1", "text": "file_1 and \\"file_1\\"", "x": ["file_12"]}'
    assert with_names(body, {"file_1": "file-ours"}) == body.replace(
        b'"id": "file_1"', b'"id": "file-ours"'
    )


def test_files_are_for_what_a_route_demands() -> None:
    for first, purpose, kind, expected in (
        ("vector_stores", "assistants", "text/plain", "assistants"),
        ("vector_stores", "user_data", "text/plain", "user_data"),
        ("containers", "batch", "image/png", "assistants"),
        ("fine_tuning", "user_data", "text/plain", "fine-tune"),
        ("evals", "assistants", "text/plain", "evals"),
        ("threads", "user_data", "image/png", "user_data"),
        ("threads", "batch", "image/png", "vision"),
        ("threads", "batch", "text/plain", "assistants"),
    ):
        assert purpose_at(first, purpose, kind) == expected, (first, purpose)
    assert made_file(b'{"id":"file_1"}') == "file_1"
    for answer in (b"", b"[]", b"{}", b'{"id":5}', b'{"id":""}', b'{"id":"a\\n"}'):
        assert made_file(answer) is None
