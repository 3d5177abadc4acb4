"""A request of words alone is judged at once as it is member by member."""

from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.support.cases import each
from tests.unit.dialects.asked import in_common

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.openai.envelope import decode_body
from posthouse.dialects.resources.treated import may_leave_things, may_name_things
from posthouse.errors import InvalidRequest
from posthouse.wire import json

DIALECTS = ("anthropic_messages", "openai_chat")
GOLDEN = Path(__file__).parents[2] / "golden" / "chat"
HI = {"role": "user", "content": "Hi"}
USUAL: dict[str, Any] = {"model": "m", "messages": [HI], "max_tokens": 9}


def module(dialect: str) -> Any:
    return import_module(f"posthouse.dialects.{dialect}.request")


def both(dialect: str, body: bytes) -> tuple[ParsedRequest | str, ParsedRequest | str]:
    """What is found at once and member by member, or what is complained of."""
    request = module(dialect)
    readers = (
        request.parse_request,
        lambda body: request._judge_members(decode_body(body)),
    )
    found: list[ParsedRequest | str] = []
    for reader in readers:
        try:
            judged = reader(body)
        except InvalidRequest as error:
            found.append(f"{error} {error.param}")
        else:
            common = in_common(judged)
            found.append(
                structs.replace(judged, judged=None, plain=False, affinity=common)
            )
    return found[0], found[1]


def is_plain(dialect: str, **members: Any) -> bool:
    judged: ParsedRequest = module(dialect).parse_request(json.encode(USUAL | members))
    return judged.plain


OPTIONS = {
    "anthropic_messages": {"system": "Be brief.", "stop_sequences": ["a"]},
    "openai_chat": {
        "stop": ["a"],
        "seed": 1,
        "user": "u\\\u2028",
        "max_completion_tokens": 3,
        "presence_penalty": 1,
        "frequency_penalty": 0.5,
    },
}


@each("dialect", DIALECTS)
def test_words_alone_are_plain(dialect: str) -> None:
    assert is_plain(dialect)
    assert is_plain(dialect, messages=[HI, HI | {"role": "assistant"}, HI])
    shared = {"stream": True, "temperature": 0.2, "top_p": None, "top_k": 3}
    assert is_plain(dialect, **shared, **OPTIONS[dialect])


@each("dialect", DIALECTS)
def test_what_is_plain_names_and_leaves_nothing(dialect: str) -> None:
    shared = {"stream": True, "temperature": 0.2, "top_p": None, "top_k": 3}
    whole = json.encode(USUAL | shared | OPTIONS[dialect])
    request = module(dialect).parse_request(whole)
    assert request.plain
    assert not may_name_things(request, dialect)
    assert not may_leave_things(request, dialect)
    assert not request.prompt.has_media
    priced_apart = (request.searches, request.counted, request.other_models)
    assert not any(priced_apart)


@each("dialect", DIALECTS)
@each(
    "members",
    [
        {"tools": []},
        {"service_tier": "flex"},
        {"store": True},
        {"metadata": {}},
        {"container": "c"},
        {"novel": 1},
        {"Model": "n"},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]},
        {"messages": [HI | {"novel": 1}]},
        {"messages": [HI | {"audio": None}]},
        {"stop": {}, "stop_sequences": [1]},
    ],
)
def test_whatever_else_is_there_is_looked_at(
    dialect: str, members: dict[str, Any]
) -> None:
    whole = json.encode(USUAL | members)
    with suppress(InvalidRequest):
        assert not module(dialect).parse_request(whole).plain


@each("dialect", DIALECTS)
@each(
    "body",
    [
        b'{"model":"a","messages":[],"model":"b","messages":[%b]}' % json.encode(HI),
        b'{"model":"a","messages":[{"role":"user","content":"a"}],"model":null}',
        b'{"model":"a","messages":[{"role":"user","content":"a","content":"b"}]}',
        b'{"\\u006dodel":"a","messages":[{"role":"user","content":"a"}]}',
        b'{"model":"a","messages":[{"role":"user","content":"a"}],"temperature":1e999}',
        b'{"model":"a","messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"model":"a","messages":[{"role":"user","content":"a"}],"max_tokens":1.0}',
        b'{"model":"a\\n","messages":[{"role":"user","content":"a"}]}',
        b'{"model":"a","messages":[{"role":"user","content":"a"}]} x',
        json.encode(USUAL | {"model": "\u00e4" * 256}),
        json.encode(USUAL | {"model": "\u00e4" * 257}),
    ],
)
def test_odd_texts_are_judged_alike(dialect: str, body: bytes) -> None:
    one, other = both(dialect, body)
    assert one == other


def test_a_long_request_is_not_kept_as_it_was_decoded() -> None:
    for dialect in DIALECTS:
        parse = module(dialect).parse_request
        long = USUAL | {"messages": [HI | {"content": "a" * 20_000}]}
        assert parse(json.encode(long)).asked is None
        assert parse(json.encode(USUAL)).asked is not None


def recorded() -> list[Path]:
    return [
        path for name in DIALECTS for path in (GOLDEN / name).glob("*/request.json")
    ]


@each("path", recorded)
def test_what_clients_really_ask_is_judged_alike(path: Path) -> None:
    one, other = both(path.parts[-3], path.read_bytes())
    assert one == other


# --- whatever is asked --------------------------------------------------------------

numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.none()
odd: Any = st.one_of(
    numbers, st.booleans(), st.text(), st.lists(st.text(), max_size=2), st.just({})
)
turns = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant", "system", "developer", "tool"]),
        "content": st.text() | odd,
    },
    optional={"name": odd, "novel": odd},
)
usual = st.fixed_dictionaries(
    {
        "model": st.text(max_size=9),
        "messages": st.lists(turns, min_size=1, max_size=3),
    },
    optional={
        "max_tokens": st.integers(-1, 2**53),
        "stream": st.booleans(),
        "temperature": numbers,
        "top_k": numbers,
        "system": st.text() | odd,
        "stop": st.text() | st.lists(st.text(), max_size=2),
        "max_completion_tokens": st.integers(-1, 2**54) | st.none(),
        "user": st.text(st.sampled_from("ab\\\r\n\0\u2028"), max_size=3),
        "stop_sequences": st.lists(st.text(), max_size=2),
    },
)
further = st.dictionaries(
    st.sampled_from(["model", "messages", "system", "max_tokens", "stream", "seed"]),
    odd,
    max_size=1,
)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(body=usual, more=further)
def test_whatever_is_asked_is_judged_alike(
    dialect: str, body: dict[str, Any], more: dict[str, Any]
) -> None:
    one, other = both(dialect, json.encode(body | more))
    assert one == other
