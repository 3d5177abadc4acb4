"""Requests of words alone are judged and read as they are member by member."""

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.support.cases import each
from tests.unit.dialects.asked import in_common

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.gemini_generate import request as judging
from posthouse.dialects.gemini_generate.read_request import (
    _read_members,
    read_request,
)
from posthouse.dialects.gemini_generate.usual_request import read_usual
from posthouse.dialects.google.envelope import parse_envelope
from posthouse.dialects.resources.treated import may_leave_things, may_name_things
from posthouse.errors import InvalidRequest
from posthouse.wire import json

GOLDEN = Path(__file__).parents[2] / "golden" / "chat" / "gemini_generate"


def part(text: str = "Hi") -> dict[str, Any]:
    return {"text": text}


def said(*texts: str, role: str | None = "user") -> dict[str, Any]:
    return {"role": role, "parts": [part(text) for text in texts]}


def asked(*contents: Any, **members: Any) -> bytes:
    return json.encode({"contents": list(contents) or [said("Hi")], **members})


def judged(body: bytes) -> ParsedRequest:
    return judging.parse_request_for(body, "m", stream=True)


def by_members(body: bytes) -> ParsedRequest:
    return judging._parse(parse_envelope(body), "m", stream=True)


def found(reader: Any, given: Any) -> Any:
    """What a reader gives, or of what it complains."""
    try:
        return reader(given)
    except InvalidRequest as error:
        return f"{error} {error.param}"


def check_judged_alike(body: bytes) -> None:
    one, other = found(judged, body), found(by_members, body)
    if isinstance(one, ParsedRequest) and isinstance(other, ParsedRequest):
        one = structs.replace(one, judged=None, plain=False, affinity=in_common(one))
    assert one == other


def check_read_alike(body: bytes) -> None:
    try:
        request = judged(body)
    except InvalidRequest:
        return
    one, other = found(read_request, request), found(_read_members, request)
    assert one == other
    # Equal numbers are not always written alike.
    assert repr(one) == repr(other)


@each(
    "body",
    [
        asked(),
        asked(said(), said("", "a"), said("b", role=None)),
        asked({"parts": [part()]}, systemInstruction={"parts": []}),
        asked(systemInstruction=said("Be", "brief.", role=None)),
        asked(said("Hi"), said("a", "", role="model"), said("b", role="model"), said()),
        asked(said("Hi"), said("", role="model"), said(), said("x", role="model")),
        asked(generationConfig={}),
        asked(generationConfig={"temperature": 1, "topP": 0.5, "topK": 40, "seed": 7}),
        asked(generationConfig={"stopSequences": ["a"], "candidateCount": 2}),
        asked(generationConfig={"maxOutputTokens": 9, "frequencyPenalty": None}),
        asked(said("a" * 20_000), systemInstruction=said("b" * 20_000)),
    ],
)
def test_words_alone_are_judged_and_read_at_once(body: bytes) -> None:
    request = judged(body)
    assert request.plain
    assert read_usual(request) is not None
    assert not may_name_things(request, "gemini_generate")
    assert not may_leave_things(request, "gemini_generate")
    check_judged_alike(body)
    check_read_alike(body)


@each(
    "body",
    [
        asked(tools=[{"functionDeclarations": [{"name": "f"}]}]),
        asked(cachedContent="cachedContents/a"),
        asked(system_instruction=said("a")),
        asked(systemInstruction="a"),
        asked({"role": "user", "parts": part()}),
        asked({"role": "user", "parts": [part() | {"thought": True}]}),
        asked({"role": "user", "parts": [{"functionResponse": {"name": "f"}}]}),
        asked({"role": "user", "parts": [{"inlineData": {"data": "aGk="}}]}),
        asked({"role": "critic", "parts": [part()]}),
        asked(generationConfig={"top_p": 0.5}),
        asked(generationConfig={"top_p": 0.5, "topP": 0.5}),
        asked(generationConfig={"thinkingConfig": {"thinkingBudget": 0}}),
        asked(generationConfig={"routingConfig": {}}),
        asked(generationConfig={"maxOutputTokens": 0}),
        asked(generationConfig={"candidateCount": 129}),
        asked(model="models/x"),
        b'{"contents":[]}',
        b'{"contents":[{"parts":[{"text":"\\ud800"}]}]}',
    ],
)
def test_whatever_else_is_there_is_looked_at(body: bytes) -> None:
    request = found(judged, body)
    assert isinstance(request, str) or not request.plain
    check_judged_alike(body)
    check_read_alike(body)


@each(
    "body",
    [
        asked()[:-1] + b',"generationConfig":{ "topK": 1, "topK":2, "seed" : 3 }}',
        asked(said("b"))[:-1] + b',"contents":[{"parts":[{"text":"a","text":"b"}]}]}',
    ],
)
def test_names_that_stand_there_twice_are_judged_alike(body: bytes) -> None:
    assert judged(body).plain
    check_judged_alike(body)
    check_read_alike(body)


def test_what_was_judged_is_not_taken_for_what_has_its_place() -> None:
    """Somebody may have put other contents into a request since."""
    request = judged(asked())
    other = request.envelope | {"contents": json.raw([said("Ho")])}
    changed = structs.replace(request, envelope=other)
    assert read_request(changed) == _read_members(changed)
    assert read_request(changed) != read_request(request)


@each("path", lambda: sorted(GOLDEN.glob("*/request.json")))
def test_what_clients_really_ask_is_read_alike(path: Path) -> None:
    check_judged_alike(path.read_bytes())
    check_read_alike(path.read_bytes())


# --- whatever is said ---------------------------------------------------------------

numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.none()
odd: Any = numbers | st.text() | st.lists(st.text(), max_size=2) | st.just({})
parts = st.fixed_dictionaries(
    {"text": st.text()}, optional={"thought": st.booleans(), "novel": odd}
)
contents = st.fixed_dictionaries(
    {"parts": st.lists(parts, max_size=3) | parts},
    optional={"role": st.sampled_from(["user", "model", "function", "", "x", None])},
)
usual_contents = st.builds(
    lambda texts, role: said(*texts, role=role),
    st.lists(st.text(max_size=3), max_size=3),
    st.sampled_from(["user", "model", None]),
)
configs = st.fixed_dictionaries(
    {},
    optional={
        "temperature": numbers,
        "topP": numbers,
        "topK": numbers,
        "seed": numbers,
        "presencePenalty": numbers,
        "stopSequences": st.lists(st.text(), max_size=2) | odd,
        "candidateCount": st.integers(0, 130),
        "maxOutputTokens": st.integers(-1, 2**54),
        "responseMimeType": st.just("application/json"),
    },
)
bodies = st.fixed_dictionaries(
    {"contents": st.lists(usual_contents, min_size=1, max_size=6)},
    optional={"systemInstruction": usual_contents, "generationConfig": configs},
)
further = st.fixed_dictionaries(
    {},
    optional={
        "contents": st.lists(contents, max_size=3) | odd,
        "systemInstruction": contents | odd,
        "labels": odd,
    },
)


@given(bodies, st.just({}) | further)
def test_whatever_is_asked_is_judged_and_read_alike(
    body: dict[str, Any], more: dict[str, Any]
) -> None:
    whole = json.encode(body | more)
    check_judged_alike(whole)
    check_read_alike(whole)
