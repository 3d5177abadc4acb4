"""Depth and number of values are told exactly, without decoding, in linear time."""

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.wire import json_shape
from posthouse.wire.json_shape import BadShape, check_shape

DEPTH, VALUES = 6, 40
TEXTS = st.text(alphabet='"\\,[]{}:ab\n\u00e9\u4e2d', max_size=12)
VALUE = st.recursive(
    st.one_of(st.none(), st.integers(), TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=6), st.dictionaries(TEXTS, inner, max_size=6)
    ),
    max_leaves=30,
)


def depth(value: Any) -> int:
    """Count levels of lists and objects."""
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(depth, inner), default=0)


def size(value: Any) -> int:
    """Count commas, and two for each list or object."""
    if not isinstance(value, dict | list):
        return 0
    inner = list(value.values()) if isinstance(value, dict) else value
    return 2 + max(0, len(inner) - 1) + sum(map(size, inner))


@pytest.fixture
def low_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that small values meet, and steps that cut them anywhere."""
    monkeypatch.setattr(json_shape, "DEPTH_LIMIT", DEPTH)
    monkeypatch.setattr(json_shape, "VALUES_LIMIT", VALUES)
    monkeypatch.setattr(json_shape, "_SMALL", VALUES)


@pytest.mark.usefixtures("low_limits")
@each("step", [1, 2, 3, 7, 1000])
def test_the_verdict_is_that_of_a_real_parser(
    monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Whatever stands in strings, in any spelling."""
    monkeypatch.setattr(json_shape, "_STEP", step)

    @given(VALUE, st.booleans(), st.booleans())
    def judge(value: Any, ascii_only: bool, spaced: bool) -> None:
        text = json.dumps(
            value, ensure_ascii=ascii_only, indent=1 if spaced else None
        ).encode()
        bad = depth(value) > DEPTH or size(value) > VALUES
        if not bad:
            check_shape(text)
            return
        with pytest.raises(BadShape):
            json_shape._look_closely(text)
        if depth(value) > DEPTH or len(text) > VALUES:
            with pytest.raises(BadShape):
                check_shape(text)

    judge()


@each("opening", [b"[", b'{"a":', b'[{"a":'])
@each("close", [True, False])
def test_one_level_too_many_is_refused(opening: bytes, close: bool) -> None:
    """Whether it is closed or not, and the deepest allowed is taken."""
    levels = opening.count(b"[") + opening.count(b"{")
    ending = {b"[": b"]", b'{"a":': b"}", b'[{"a":': b"}]"}[opening]
    most = json_shape.DEPTH_LIMIT // levels
    check_shape(opening * most + b"1" + ending * most)
    with pytest.raises(BadShape, match="deep"):
        check_shape(opening * (most + 1) + b"1" + ending * (most + 1) * close)


@each("piece", [b"0,", b"[],", b'"",', b"{},", b'"":0,', b"[[0]],"])
def test_too_many_values_are_refused(piece: bytes) -> None:
    """However small each of them is."""
    weight = piece.count(b",") + 2 * (piece.count(b"[") + piece.count(b"{"))
    most = (json_shape.VALUES_LIMIT - 2) // weight
    check_shape(b"[" + piece * most + b"]")
    with pytest.raises(BadShape, match="many"):
        check_shape(b"[" + piece * (most + 1) + b"]")


@each(
    "piece",
    [
        b"a",
        b",",
        b"[{",
        b'\\"',
        b"\\\\",
        b"\\n,",
        b'\\\\\\"',
        "é,".encode(),
        b"\\u002c[",
    ],
)
def test_a_long_text_holds_one_value(piece: bytes) -> None:
    """Commas and brackets of a text are letters."""
    check_shape(b'{"a":"' + piece * 600_000 + b'"}')


@each("data", [b"", b'"', b'["', b"]]]]", b"}{" * 500, b'\\"[' * 50, b"\\" * 9])
def test_what_is_no_json_may_pass(data: bytes) -> None:
    """The parser refuses it; here it only must not hurt."""
    check_shape(data)


@each("piece", [b"[", b"]", b"[]", b'"', b"\\", b'"[",', b"[{]}"])
def test_time_is_linear(piece: bytes) -> None:
    """Ten times as much takes at most some tens of times as long."""

    def seconds(count: int) -> float:
        data = piece * count
        best = 1.0
        for _ in range(3):
            began = time.perf_counter()
            with suppress(BadShape):
                check_shape(data)
            best = min(best, time.perf_counter() - began)
        return best

    assert seconds(1_000_000) < 0.2 + 40 * seconds(100_000)
