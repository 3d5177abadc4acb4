"""What is read by types is what reading member by member gives."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.openai_responses import DIALECT
from posthouse.dialects.openai_responses.read_request import _read_members, read_request
from posthouse.dialects.openai_responses.usual_request import read_usual
from posthouse.errors import InvalidRequest
from posthouse.model.chat import ChatRequest
from posthouse.wire import json

HI = {"role": "user", "content": "Hi"}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{ }"}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "22"}


def asked(*items: Any, **members: Any) -> ParsedRequest:
    """A request of a client's, judged."""
    whole = {"model": "m", "input": list(items) or "Hi"}
    return DIALECT.parse_request(json.encode(whole | members))


def text(words: str = "Hi", **members: Any) -> dict[str, Any]:
    return {"type": "input_text", "text": words, **members}


def said(*parts: Any, role: str = "user", **members: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(parts), **members}


@each(
    "request_",
    [
        asked(),
        asked(input="", instructions=""),
        asked(HI, instructions="Be brief.", temperature=1, top_p=0.5),
        asked({"role": "developer", "content": ""}, said(text("a"), text("b"))),
        asked(HI, CALL, CALL | {"call_id": "c2"}, RESULT, RESULT, HI),
        asked(HI, CALL | {"call_id": None, "id": "fc", "arguments": None}),
        asked(RESULT | {"output": None, "name": "f", "status": "completed"}),
        asked(HI, said(text("", type="output_text", annotations=[]), role="assistant")),
        asked(HI, said(role="assistant", id="m1", status="completed"), HI),
        asked(said(text(type="text", logprobs=[])), {"role": "user"}),
        asked(max_output_tokens=3, service_tier="flex", stream=True),
    ],
)
def test_usual_words_are_read_alike(request_: ParsedRequest) -> None:
    found = read_usual(request_)
    assert found is not None
    assert found == _read_members(request_)


@each(
    "members",
    [
        {"tools": [{"type": "function", "name": "f"}], "tool_choice": "required"},
        {"include": ["reasoning.encrypted_content"], "store": False},
        {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
        {"reasoning": {"effort": "high"}, "user": "u", "novel": {"a": None}},
        {"text": {"format": {"type": "json_object"}}, "prompt_cache_key": "k"},
        {"metadata": {"a": "b"}, "truncation": "disabled"},
        {"novel": None},
    ],
)
def test_what_is_asked_beside_is_read_alike(members: dict[str, Any]) -> None:
    request = asked(**members)
    assert read_usual(request) is not None
    assert read_request(request) == _read_members(request)


@each(
    "item",
    [
        said({"type": "input_image", "image_url": "https://a/b.png"}),
        said(text(prompt_cache_breakpoint={"mode": "explicit"})),
        said(text(annotations=[{"type": "file_path"}], type="output_text")),
        said(text(), phase="commentary"),
        CALL | {"namespace": "n"},
        CALL | {"content": "a"},
        RESULT | {"output": [text()]},
        RESULT | {"output": {"content": "a", "success": False}},
        RESULT | {"role": "user"},
        HI | {"name": "Ada"},
        {"type": "reasoning", "summary": []},
        {"type": "web_search_call", "id": "w"},
    ],
)
def test_unusual_items_are_left_to_the_other_reader(item: Any) -> None:
    request = asked(item)
    assert read_usual(request) is None
    assert read_request(request) == _read_members(request)


@each(
    ("item", "place"),
    [
        ({"role": "critic", "content": "Hi"}, "input[0].role"),
        ({"type": "message", "content": "Hi"}, "input[0].role"),
        (said({"type": "input_text"}), "input[0].content[0].text"),
        ({"type": "function_call", "name": "f"}, "input[0].call_id"),
        ({"type": "function_call", "call_id": "c"}, "input[0].name"),
        ({"type": "function_call_output"}, "input[0].call_id"),
    ],
)
def test_what_is_wrong_is_told_by_its_place(item: Any, place: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_request(asked(item))
    assert caught.value.param == place


# --- whatever is said ---------------------------------------------------------------

values = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text()
)
odd: Any = (
    values | st.lists(values, max_size=2) | st.just({}) | st.just({"type": "text"})
)


def objects(needed: dict[str, Any], **further: Any) -> Any:
    """Objects that may lack members and have others, or wrong ones."""
    usual = st.fixed_dictionaries(needed, optional=further)
    more = st.dictionaries(st.sampled_from([*needed, *further, "novel"]), odd)
    return st.builds(lambda one, other: one | other, usual, st.just({}) | more)


texts = objects(
    {"type": st.sampled_from(["input_text", "output_text"]), "text": st.text()},
    annotations=st.just([]),
)
items = st.one_of(
    objects(
        {
            "role": st.sampled_from(["user", "assistant", "system", "developer"]),
            "content": st.text() | st.lists(texts, max_size=3),
        },
        type=st.just("message"),
        id=st.text(),
    ),
    objects(
        {"type": st.just("function_call"), "call_id": st.text(), "name": st.text()},
        arguments=st.text(),
    ),
    objects(
        {"type": st.just("function_call_output"), "call_id": st.text()},
        output=st.text(),
        name=st.text(),
    ),
)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
requests = objects(
    {"model": st.just("m"), "input": st.text() | st.lists(items, max_size=3)},
    instructions=st.text(),
    temperature=numbers,
    top_p=numbers,
    max_output_tokens=st.integers(1, 9),
    service_tier=st.text(),
    user=st.just("u"),
)


def read(reader: Any, request: ParsedRequest) -> ChatRequest | str | None:
    """What a reader gives, or of what it complains."""
    try:
        found: ChatRequest | None = reader(request)
    except InvalidRequest as error:
        return error.param
    return found


@given(requests)
def test_whatever_is_asked_is_read_alike(body: dict[str, Any]) -> None:
    try:
        request = DIALECT.parse_request(json.encode(body))
    except InvalidRequest:
        return
    found = read(read_request, request)
    expected = read(_read_members, request)
    if isinstance(found, str) and isinstance(expected, str):
        # Of several things that are wrong either may be told first.
        return
    assert found == expected
    # Equal numbers are not always written alike.
    assert repr(found) == repr(expected)
