"""Absurd numbers in the fields that money is held by."""

import pytest
from tests.support.cases import each
from tests.unit.dialects.asked import (
    CHAT,
    COMPLETIONS,
    parse,
    with_member,
)

from posthouse.dialects.base import Dialect, ParsedRequest
from posthouse.errors import InvalidRequest

BIG = 2**53 - 1
# (what stands there, whether it is refused as another type or as out of bounds).
ABSURD: dict[bytes, str] = {
    b"-1": "invalid_value",
    b"-9223372036854775808": "invalid_value",
    b"-0.0": "invalid_type",
    b"0.1": "invalid_type",
    b"1.0": "invalid_type",
    b"1e3": "invalid_type",
    b"1e308": "invalid_type",
    b"1e400": "invalid_type",
    b"9223372036854775808": "invalid_value",
    b"18446744073709551615": "invalid_value",
    b"9" * 400: "invalid_value",
    b"9" * 5000: "invalid_type",
    b'"1e9"': "invalid_type",
    b'"100"': "invalid_type",
    b'"' + b"9" * 5000 + b'"': "invalid_type",
    b"true": "invalid_type",
    b"false": "invalid_type",
    b"[1]": "invalid_type",
    b'{"value":1}': "invalid_type",
}
FIELDS: dict[tuple[str, str], tuple[int, int]] = {
    # (dialect, field): lowest and highest that are taken.
    ("openai_chat", "n"): (1, 128),
    ("openai_chat", "max_tokens"): (1, BIG),
    ("openai_chat", "max_completion_tokens"): (1, BIG),
    ("openai_completions", "n"): (1, 128),
    ("openai_completions", "max_tokens"): (0, BIG),
    ("openai_completions", "best_of"): (0, 20),
}
DIALECTS = {dialect.name: dialect for dialect in (CHAT, COMPLETIONS)}


def read(dialect: str, field: str, value: bytes) -> ParsedRequest:
    found: Dialect = DIALECTS[dialect]
    return found.parse_request(with_member(found, field, value))


@each("field", FIELDS)
@each("value", ABSURD)
def test_an_absurd_number_is_refused(field: tuple[str, str], value: bytes) -> None:
    """Neither zero nor less nor more than exists is ever held for."""
    with pytest.raises(InvalidRequest) as caught:
        read(*field, value)
    assert caught.value.param == field[1]
    assert caught.value.exact_code == ABSURD[value]
    assert len(caught.value.message) < 200


@each("field", FIELDS)
def test_the_bounds_are_taken_and_nothing_beyond(field: tuple[str, str]) -> None:
    """The lowest and the highest number, not the next ones."""
    lowest, highest = FIELDS[field]
    for number in (lowest, highest, min(2**31, highest)):
        request = read(*field, b"%d" % number)
        assert request.choices >= 1
        assert request.output_limit is None or request.output_limit >= 0
    for number in (lowest - 1, highest + 1):
        with pytest.raises(InvalidRequest):
            read(*field, b"%d" % number)


@each("field", FIELDS)
def test_null_is_as_good_as_absent(field: tuple[str, str]) -> None:
    """As OpenAI's SDKs send it."""
    request = read(*field, b"null")
    assert (request.choices, request.output_limit) == (1, None)


@each("text", [b"NaN", b"Infinity", b"-Infinity", b"0x10", b"1_000"])
@each("field", FIELDS)
def test_what_is_no_json_number_is_no_json(field: tuple[str, str], text: bytes) -> None:
    """Python's own parser would take some of these."""
    with pytest.raises(InvalidRequest) as caught:
        read(*field, text)
    assert caught.value.exact_code == "invalid_json"


def test_of_both_names_the_higher_limit_is_held_for() -> None:
    """Providers obey one or the other."""
    assert parse(CHAT, max_tokens=5, max_completion_tokens=9).output_limit == 9
    assert parse(CHAT, max_tokens=9, max_completion_tokens=5).output_limit == 9
    assert parse(CHAT, max_tokens=9, max_completion_tokens=None).output_limit == 9
    assert parse(CHAT, max_completion_tokens=5).output_limit == 5


def test_every_answer_is_counted() -> None:
    """Those for each of several prompts, and those that are never shown."""
    assert parse(COMPLETIONS, n=2, best_of=5).choices == 5
    assert parse(COMPLETIONS, prompt=["a", "b", "c"], n=2).choices == 6
    assert parse(COMPLETIONS, prompt=[[1], [2]], best_of=0).choices == 2
    assert parse(COMPLETIONS, prompt=[1, 2, 3]).choices == 1
