"""What is read by types is what reading member by member gives."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.support.cases import each

from posthouse.dialects.anthropic_messages import DIALECT
from posthouse.dialects.anthropic_messages.read_request import (
    _read_members,
    read_request,
)
from posthouse.dialects.anthropic_messages.usual_request import read_usual
from posthouse.dialects.base import ParsedRequest
from posthouse.errors import InvalidRequest
from posthouse.model.chat import ChatRequest, Message, Role, Text
from posthouse.wire import json

HI = {"role": "user", "content": "Hi"}
MARK = {"type": "ephemeral", "ttl": "1h"}
CALL = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1.10, "b": None}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "22"}


def asked(*messages: Any, **members: Any) -> ParsedRequest:
    """A request of a client's, judged."""
    whole = {"model": "m", "max_tokens": 9, "messages": list(messages) or [HI]}
    return DIALECT.parse_request(json.encode(whole | members))


def said(*blocks: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(blocks)}


def text(words: str = "Hi", **members: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **members}


@each(
    "request_",
    [
        asked(),
        asked(system="Be brief."),
        asked(system=""),
        asked(system=[]),
        asked(system=None, stream=True, temperature=1, top_p=0.5, top_k=3),
        asked(system=[text(cache_control=MARK), text(cache_control={})]),
        asked(said(text("a"), text("b", citations=None), text("c", citations=[]))),
        asked(HI, said(text("Yes"), CALL, role="assistant"), said(RESULT)),
        asked(HI, said(RESULT, text("And?"), RESULT | {"is_error": True})),
        asked(said(RESULT | {"content": [text("a")]}, RESULT | {"content": None})),
        asked(said({"type": "tool_use", "id": "t1", "name": "f"}, role="assistant")),
        asked(
            HI,
            said(
                {"type": "thinking", "thinking": "Hm", "signature": "sig"},
                {"type": "thinking", "thinking": "", "signature": "posthouse.x.y"},
                {"type": "redacted_thinking", "data": "secret"},
                role="assistant",
            ),
        ),
        asked(HI, {"role": "system", "content": "Now."}),
        asked(said()),
        asked(stop_sequences=["a", "b"], service_tier="auto"),
        asked(stop_sequences=None, service_tier=None, temperature=None),
    ],
)
def test_usual_words_are_read_alike(request_: ParsedRequest) -> None:
    found = read_usual(request_)
    assert found is not None
    assert found == _read_members(request_)


@each(
    "members",
    [
        {"tools": [{"name": "f", "input_schema": {"type": "object"}}]},
        {"tools": [], "tool_choice": {"type": "any"}},
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"metadata": {"user_id": "u", "more": 1}, "novel": {"a": None}},
        {"output_config": {"effort": "high"}, "context_management": {"edits": []}},
        {"novel": None},
    ],
)
def test_what_is_asked_beside_is_read_alike(members: dict[str, Any]) -> None:
    request = asked(**members)
    assert read_usual(request) is not None
    assert read_request(request) == _read_members(request)


@each(
    "message",
    [
        said({"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}),
        said(text(novel=1)),
        said(text(citations=[{"type": "novel"}])),
        said(text(cache_control={"type": "novel"})),
        said(text(cache_control=MARK | {"novel": 1})),
        said(CALL | {"input": None}, role="assistant"),
        said(CALL | {"caller": {"type": "direct"}}, role="assistant"),
        said(RESULT | {"content": [{"type": "novel"}]}),
        said({"type": "novel"}),
        HI | {"novel": 1},
    ],
)
def test_unusual_words_are_left_to_the_other_reader(message: Any) -> None:
    request = asked(message)
    assert read_usual(request) is None
    assert read_request(request) == _read_members(request)


@each(
    ("message", "place"),
    [
        ({"role": "tool", "content": "Hi"}, "messages[0].role"),
        (said({"type": "text"}), "messages[0].content[0].text"),
        (said(CALL | {"input": "{}"}), "messages[0].content[0].input"),
    ],
)
def test_what_is_wrong_is_told_by_its_place(message: Any, place: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_request(asked(message))
    assert caught.value.param == place


def test_arguments_stay_to_the_letter() -> None:
    body = (
        b'{"model":"m","messages":[{"role":"assistant","content":[{"type":"tool_use",'
        b'"id":"t","name":"f","input":{ "a": 1.10, "a":1e400}}]}]}'
    )
    chat = read_usual(DIALECT.parse_request(body))
    assert chat is not None
    assert chat.messages[0].parts[0].arguments == '{ "a": 1.10, "a":1e400}'  # type: ignore[union-attr]  # a call


def test_what_was_judged_is_not_taken_for_what_has_its_place() -> None:
    """Somebody may have put other messages into a request since."""
    request = asked()
    assert request.judged is not None
    other = request.envelope | {"messages": json.raw([HI | {"content": "Ho"}])}
    found = read_request(structs.replace(request, envelope=other))
    assert found.messages == (Message(Role.USER, (Text("Ho"),)),)


# --- whatever is said ---------------------------------------------------------------

values = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text()
)
odd: Any = (
    values | st.lists(values, max_size=2) | st.just({}) | st.just({"type": "text"})
)
marks = st.sampled_from([MARK, {"type": "ephemeral"}, {"type": "x"}, {}, None])


def objects(needed: dict[str, Any], **further: Any) -> Any:
    """Objects that may lack members and have others, or wrong ones."""
    usual = st.fixed_dictionaries(needed, optional=further)
    more = st.dictionaries(st.sampled_from([*needed, *further, "novel"]), odd)
    return st.builds(lambda one, other: one | other, usual, st.just({}) | more)


texts = objects({"type": st.just("text"), "text": st.text()}, cache_control=marks)
blocks = st.one_of(
    texts,
    objects(
        {"type": st.just("tool_use"), "id": st.text(), "name": st.text()},
        input=st.dictionaries(st.text(), values),
        cache_control=marks,
    ),
    objects(
        {"type": st.just("tool_result"), "tool_use_id": st.text()},
        content=st.text() | st.lists(texts, max_size=2),
        is_error=st.booleans(),
    ),
    objects({"type": st.just("thinking"), "thinking": st.text()}, signature=st.text()),
    objects({"type": st.just("redacted_thinking")}, data=st.text()),
)
turns = objects(
    {
        "role": st.sampled_from(["user", "assistant", "system"]),
        "content": st.text() | st.lists(blocks, max_size=3),
    }
)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
requests = objects(
    {"model": st.just("m"), "messages": st.lists(turns, min_size=1, max_size=3)},
    system=st.text() | st.lists(texts, max_size=2),
    temperature=numbers,
    top_k=numbers,
    max_tokens=st.integers(0, 9),
    stop_sequences=st.lists(st.text(), max_size=2),
    service_tier=st.text(),
    metadata=st.just({"user_id": "u"}),
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
    assert found == expected
    # Equal numbers are not always written alike.
    assert repr(found) == repr(expected)
