"""What is read by types is what reading member by member gives."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.openai_chat import DIALECT
from posthouse.dialects.openai_chat.read_request import _read_members, read_request
from posthouse.dialects.openai_chat.usual_request import read_usual
from posthouse.errors import InvalidRequest
from posthouse.model.chat import ChatRequest
from posthouse.wire import json

HI = {"role": "user", "content": "Hi"}
CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "f", "arguments": '{ "a": 1.10}'},
}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "22"}
SILENT = {"content": None, "refusal": None, "audio": None, "function_call": None}


def asked(*messages: Any, **members: Any) -> ParsedRequest:
    """A request of a client's, judged."""
    whole = {"model": "m", "messages": list(messages) or [HI]}
    return DIALECT.parse_request(json.encode(whole | members))


def text(words: str = "Hi", **members: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **members}


def said(*parts: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(parts)}


def called(*calls: Any, **members: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": list(calls), **members}


@each(
    "request_",
    [
        asked(),
        asked({"role": "system", "content": "Be brief."}, HI | {"name": "Ada"}),
        asked({"role": "developer", "content": ""}, said(text("a"), text("b"))),
        asked(HI, called(CALL), RESULT, RESULT | {"tool_call_id": "c2"}, HI),
        asked(HI, called(CALL, **SILENT), RESULT | {"content": [text("a")]}),
        asked(HI, {"role": "assistant", "content": ""}, HI),
        asked(HI, said(text(""), text("Yes"), role="assistant")),
        asked(HI, called(), {"role": "tool", "content": "1", "name": "f"}),
        asked(said(), {"role": "user"}, HI | {"tool_calls": None}),
        asked(temperature=1, top_p=0.5, top_k=3, seed=1, stop="a", n=2),
        asked(stop=["a", "b"], presence_penalty=-1, frequency_penalty=0.5),
        asked(max_tokens=3, max_completion_tokens=None, service_tier="flex"),
    ],
)
def test_usual_words_are_read_alike(request_: ParsedRequest) -> None:
    found = read_usual(request_)
    assert found is not None
    assert found == _read_members(request_)


@each(
    "members",
    [
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"tools": [], "tool_choice": "required", "parallel_tool_calls": False},
        {"functions": [{"name": "f"}], "function_call": "auto"},
        {"reasoning_effort": "high", "user": "u", "novel": {"a": None}},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"response_format": {"type": "json_object"}, "prompt_cache_key": "k"},
        {"novel": None},
    ],
)
def test_what_is_asked_beside_is_read_alike(members: dict[str, Any]) -> None:
    request = asked(**members)
    assert read_usual(request) is not None
    assert read_request(request) == _read_members(request)


@each(
    "request_",
    [
        asked(said({"type": "image_url", "image_url": {"url": "https://a/b.png"}})),
        asked(said(text(cache_control={"type": "ephemeral"}))),
        asked(HI, called(CALL | {"id": ""})),
        asked(HI, called(CALL | {"extra_content": {"google": {}}})),
        asked(HI, called(CALL | {"function": {"name": "f", "arguments": {}}})),
        asked(HI, {"role": "assistant", "refusal": "No."}),
        asked(HI, {"role": "assistant", "content": "a", "reasoning_content": "b"}),
        asked(HI | {"tool_calls": []}),
        asked(HI | {"tool_call_id": "c1"}),
        asked(RESULT | {"tool_calls": []}),
        asked(HI | {"novel": 1}),
        asked(HI, {"role": "function", "name": "f", "content": "1"}),
        asked(logprobs=True),
        asked(logit_bias={"1": 2}),
    ],
)
def test_unusual_words_are_left_to_the_other_reader(request_: ParsedRequest) -> None:
    assert read_usual(request_) is None
    assert read_request(request_) == _read_members(request_)


@each(
    ("message", "place"),
    [
        ({"role": "critic", "content": "Hi"}, "messages[0].role"),
        (said({"type": "text"}), "messages[0].content[0].text"),
    ],
)
def test_what_is_wrong_is_told_by_its_place(message: Any, place: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_request(asked(message))
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


parts = objects({"type": st.just("text"), "text": st.text()})
functions = objects({"name": st.text(), "arguments": st.text()})
calls = objects({"id": st.text(), "type": st.just("function"), "function": functions})
turns = objects(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool"])},
    content=st.none() | st.text() | st.lists(parts, max_size=3),
    name=st.text(),
    tool_calls=st.lists(calls, max_size=2),
    tool_call_id=st.text(),
    refusal=st.none(),
)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
requests = objects(
    {"model": st.just("m"), "messages": st.lists(turns, min_size=1, max_size=3)},
    temperature=numbers,
    top_k=numbers,
    seed=numbers,
    stop=st.text() | st.lists(st.text(), max_size=2),
    max_tokens=st.integers(1, 9),
    n=st.integers(1, 3),
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
