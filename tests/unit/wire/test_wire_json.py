"""The door to JSON: exact where it must be, and never a crash."""

import json as standard
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.wire import json
from posthouse.wire.json import Envelope, MalformedJSON


def spliced(body: bytes) -> bytes:
    return json.encode(json.decode_envelope(body))


@each(
    "value",
    [
        b"1.10",
        b"1e400",
        b"-0.0",
        b"-0",
        b"18446744073709551617",
        b"9" * 5000,
        b"1E+2",
        rb'"\u4e2d\ud83d\ude00\/\n"',
        b'{"b":1,"a":2,"b":3}',
        b"[ 1 ,\t2\n]",
        b"[[],{},null,true,false]",
        '"\u2028\u0085\x7f"'.encode(),
    ],
)
def test_values_survive_to_the_letter(value: bytes) -> None:
    """A splice copies what it does not edit, digits, escapes and spaces included."""
    assert spliced(b'{"z":' + value + b',"a":1}') == b'{"z":' + value + b',"a":1}'


@each(
    ("body", "expected"),
    [
        (b'{"a":1,"b":2,"a":3}', b'{"a":3,"b":2}'),
        (rb'{"\u006dodel":1}', b'{"model":1}'),
        (b'\n\n {"a" : 1 } \r\n', b'{"a":1}'),
        (rb'{"\u0000":1}', rb'{"\u0000":1}'),
        (b"{}", b"{}"),
    ],
)
def test_the_top_level_is_normalised(body: bytes, expected: bytes) -> None:
    """Names lose their escapes and duplicates: we and the provider read the same."""
    assert spliced(body) == expected


MALFORMED = [
    b"",
    b" ",
    b"null",
    b"[]",
    b'"text"',
    b"1",
    b"{",
    b'{"a"',
    b'{"a":',
    b'{"a":1',
    b'{"a":1,}',
    b'{"a":1}}',
    b'{"a":1} x',
    b'{"a":1}\x00',
    b'\x00{"a":1}',
    b'\xef\xbb\xbf{"a":1}',
    b"{'a':1}",
    b"{a:1}",
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":-}',
    b'{"a":+1}',
    b'{"a":01}',
    b'{"a":.5}',
    b'{"a":1.}',
    b'{"a":1e}',
    b'{"a":0x10}',
    b'{"a":tru}',
    b'{"a":[1,]}',
    b'{"a":[1 2]}',
    b'{"a":{"b"}}',
    b'{"a":{1:2}}',
    b'{"a":"\x01"}',
    b'{"a":"\x00"}',
    b'{"a":"\n"}',
    rb'{"a":"\x41"}',
    rb'{"a":"\u12"}',
    rb'{"a":"\ud800"}',
    rb'{"a":"\ud800\u0041"}',
    rb'{"\udc00":1}',
    b'{"a":"\xff"}',
    b'{"a":["\xc3\x28"]}',
    b'{"\xed\xa0\x80":1}',
    b'{"a":"\xed\xa0\x80"}',
    b'{"a":1 // comment\n}',
    '{"a":1}'.encode("utf-16"),
    b"<html></html>",
]


@each("body", MALFORMED)
def test_what_is_no_object_is_refused(body: bytes) -> None:
    """Whatever is wrong, and wherever, there is one kind of error."""
    with pytest.raises(MalformedJSON):
        json.decode_envelope(body)


@each("depth", [2_000, 100_000, 1_000_000])
@each("opening", [b"[", b'{"a":', b'[{"a":'])
def test_depth_is_refused_in_bounded_time(opening: bytes, depth: int) -> None:
    """Nesting ends no process, closed or not, and takes no time to speak of."""
    closing = opening.translate(bytes.maketrans(b"[{", b"]}"), b'":a')[::-1]
    start = time.process_time()
    for body in (opening * depth, opening * depth + b"1" + closing * depth):
        for wrapped in (body, b'{"a":' + body + b"}"):
            with pytest.raises(MalformedJSON):
                json.decode_envelope(wrapped)
            with pytest.raises(MalformedJSON):
                json.decode(wrapped, Any)
            with pytest.raises(MalformedJSON):
                json.decode_leniently(wrapped)
    assert time.process_time() - start < 3


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)
objects = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5), values
)


@given(objects, st.booleans(), st.sampled_from([None, 1]))
def test_a_splice_without_edits_changes_no_member(
    value: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    """Names, their order, and every member's own bytes stay."""
    body = standard.dumps(value, ensure_ascii=ascii_only, indent=indent).encode(
        errors="replace"
    )
    envelope = json.decode_envelope(body)
    assert list(envelope) == list(value)
    for member in envelope.values():
        assert bytes(member) in body
    assert json.decode_envelope(json.encode(envelope)) == envelope
    assert standard.loads(json.encode(envelope)) == standard.loads(body)


mutated = st.builds(
    lambda body, at, cut, put: body[:at] + put + body[at + cut :],
    st.sampled_from(
        [
            b'{"model":"m","messages":[{"role":"user","content":"\\u4e2d"}],"n":1.5e3}',
            b'{"a":{"b":[true,false,null,-0.1]},"c":"\xe4\xb8\xad"}',
        ]
    ),
    st.integers(0, 75),
    st.integers(0, 3),
    st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"]", b"\\", b",", b"0"]),
)


@given(mutated | st.binary(max_size=20))
def test_nothing_malformed_is_taken_for_json(body: bytes) -> None:
    """What we pass on, every strict parser reads; and nothing else is raised."""
    try:
        envelope: Envelope | None = json.decode_envelope(body)
    except MalformedJSON:
        envelope = None
    if envelope is not None:
        assert isinstance(standard.loads(body.decode()), dict)
        assert standard.loads(json.encode(envelope)) == standard.loads(body)


@given(st.binary(max_size=50) | mutated | st.sampled_from(MALFORMED))
def test_no_decoder_raises_anything_else(body: bytes) -> None:
    """Every way through the door ends in a value or in MalformedJSON."""
    for decode in (
        lambda: json.decode(body, Any),
        lambda: json.decode(body, int),
        lambda: json.decode_leniently(body),
        lambda: json.encode_leniently(json.decode_leniently(body)),
    ):
        try:
            decode()
        except MalformedJSON:
            continue


def test_numbers_beyond_every_type_are_refused_where_they_are_read() -> None:
    """A number is judged only where somebody needs its value."""
    for text in (b"1e400", b"9" * 5000, b"1.0", b"true", b'"1"'):
        with pytest.raises(MalformedJSON):
            json.decode(text, int)
    assert json.decode(b"18446744073709551617", int) == 2**64 + 1
    for text in (b"1e400", b"9" * 5000):
        with pytest.raises(MalformedJSON):
            json.decode(text, float)


def test_the_lenient_pair_reads_what_sloppy_servers_write() -> None:
    """Halves of surrogate pairs stay, broken UTF-8 becomes U+FFFD."""
    value = json.decode_leniently(b'{"a":"\\ud83d","b":"\xff","c":1e400,"d":NaN}')
    assert value["a"] == "\ud83d"
    assert value["b"] == "\ufffd"
    assert json.encode_leniently({"a": value["a"]}) == rb'{"a":"\ud83d"}'
    with pytest.raises(MalformedJSON):
        json.decode_leniently(b"<html>")
    with pytest.raises(MalformedJSON):
        json.decode_leniently(b"1" * 5000)


def test_converting_tells_of_a_wrong_shape() -> None:
    """A value of another shape is refused like text of another shape."""
    assert json.convert([1], list[int]) == [1]
    with pytest.raises(MalformedJSON):
        json.convert(["1"], list[int])


def test_the_first_byte_tells_what_a_value_is() -> None:
    """Spaces before a value are none of it."""
    envelope = json.decode_envelope(b'{"a":  [1], "b" : "x"}')
    assert json.opens_with(envelope["a"], b"[")
    assert not json.opens_with(envelope["b"], b"[")
