"""A request on its way: only the declared edits, every other byte as it was."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from tests.support.cases import each
from tests.unit.dialects.asked import (
    BASES,
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    MODERATIONS,
    dump,
    edits,
    parse,
    render,
)

from posthouse.dialects.base import Dialect
from posthouse.model.catalog import Quirks, StreamUsage
from posthouse.wire.json import decode_envelope

AUTOMATIC = Quirks(stream_usage=StreamUsage.AUTOMATIC)
NONE = Quirks(stream_usage=StreamUsage.NONE)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner)
    ),
    max_leaves=8,
)
# Texts of JSON that no encoder of ours would write the same way.
oddities = st.sampled_from(
    [b"1.10", b"1e400", b"-0.0", b"[ 1 , 2 ]", rb'"\u4e2d\/"', b'{"a":1,"a":2}', b"1E5"]
)
names = st.text("abcdef_xyz", min_size=3, max_size=6).filter(
    lambda name: name not in ("echo", "stop", "user")
)
members = st.dictionaries(names, oddities | values.map(dump), max_size=6)


def text_of(dialect: Dialect, extra: dict[str, bytes], at: int, space: bytes) -> bytes:
    """A body in which the members that nobody judges stand somewhere."""
    judged = [(name, dump(value)) for name, value in BASES[dialect.name].items()]
    unjudged = list(extra.items())
    both = unjudged[:at] + judged + unjudged[at:]
    inner = b",".join(
        space + json.dumps(name).encode() + b":" + space + value for name, value in both
    )
    return b"{" + inner + space + b"}"


@given(
    st.sampled_from([CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS]),
    members,
    st.tuples(st.integers(0, 6), st.sampled_from([b"", b" ", b"\n\t"])),
    st.text(min_size=1, max_size=5),
)
def test_only_the_model_is_written_anew(
    dialect: Dialect, extra: dict[str, bytes], place: tuple[int, bytes], model: str
) -> None:
    """Whatever else a body holds: same members, same order, same bytes."""
    at, space = place
    body = text_of(dialect, extra, at, space)
    before = decode_envelope(body)
    after = decode_envelope(render(dialect, body, edits(model)))
    assert list(after) == list(before)
    assert json.loads(bytes(after.pop("model"))) == model
    before.pop("model")
    assert {name: bytes(value) for name, value in after.items()} == {
        name: bytes(value) for name, value in before.items()
    }
    for name, value in extra.items():
        assert bytes(after[name]) == value


@given(
    members,
    st.dictionaries(names, values, max_size=3),
    st.lists(names, max_size=3),
)
def test_only_the_declared_edits_are_made(
    extra: dict[str, bytes], new: dict[str, Any], gone: list[str]
) -> None:
    """Set wins over drop; what neither names is untouched."""
    body = text_of(CHAT, extra, 2, b"")
    made = decode_envelope(render(CHAT, body, edits(set=new, drop=tuple(gone))))
    expected = {name: value for name, value in extra.items() if name not in gone}
    expected |= {name: dump(value) for name, value in new.items()}
    for name in ("model", "messages"):
        made.pop(name)
    assert {name: json.loads(bytes(made[name])) for name in new} == new
    assert made.keys() == expected.keys()
    for name in expected.keys() - new.keys():
        assert bytes(made[name]) == expected[name]


def test_a_request_is_rendered_anew_for_every_channel() -> None:
    """What one channel's edits did to a body is not seen by the next."""
    request = parse(CHAT, stream=True, temperature=3)
    quirks = Quirks(clamp={"temperature": (0, 1)}, drop=("stream",))
    first = CHAT.render_request(request, edits("a", quirks, {"x": 1}))
    assert CHAT.render_request(request, edits("a", quirks, {"x": 1})) == first
    assert b'"temperature":3' in CHAT.render_request(request, edits("b"))


# (what the client wrote, the quirk, what the provider gets); None is no member.
STREAM_OPTIONS: list[tuple[bytes | None, Quirks, bytes | None]] = [
    (None, Quirks(), b'{"include_usage":true}'),
    (b"null", Quirks(), b'{"include_usage":true}'),
    (b"{}", Quirks(), b'{"include_usage":true}'),
    (b'{"include_usage":false}', Quirks(), b'{"include_usage":true}'),
    (b'{"include_usage":null}', Quirks(), b'{"include_usage":true}'),
    (
        b'{"include_obfuscation":false,"x":1.10}',
        Quirks(),
        b'{"include_obfuscation":false,"x":1.10,"include_usage":true}',
    ),
    (b'{ "include_usage" : true }', Quirks(), b'{ "include_usage" : true }'),
    (None, AUTOMATIC, None),
    (b'{"include_usage":true}', AUTOMATIC, None),
    (b'{"include_usage":false}', NONE, None),
]


@each("dialect", [CHAT, COMPLETIONS])
@each(("given_options", "quirks", "expected"), STREAM_OPTIONS)
def test_usage_is_asked_for_where_the_provider_knows_the_option(
    dialect: Dialect,
    given_options: bytes | None,
    quirks: Quirks,
    expected: bytes | None,
) -> None:
    """Merged into what the client wrote, and left out for providers without it."""
    body = dump({**BASES[dialect.name], "stream": True})[:-1]
    if given_options is not None:
        body += b',"stream_options":' + given_options
    made = decode_envelope(render(dialect, body + b"}", edits(quirks=quirks)))
    options = made.get("stream_options")
    assert (None if options is None else bytes(options)) == expected


def test_a_whole_reply_needs_no_stream_options() -> None:
    """What the client wrote is the provider's to judge."""
    assert b"stream_options" not in render(CHAT, dump(BASES["openai_chat"]))
    body = dump({**BASES["openai_chat"], "stream_options": {"include_usage": True}})
    assert render(CHAT, body) == body


RENAME = Quirks(rename={"max_completion_tokens": "max_tokens"})
CLAMP = Quirks(clamp={"temperature": (0.01, 1.0), "top_p": (0.0, 0.9999)})
DEFAULT = Quirks(default={"do_sample": Raw(b"true")})
# (further members, quirks, how they leave).
QUIRKS: list[tuple[bytes, Quirks, bytes]] = [
    (b'"max_completion_tokens":7', RENAME, b'"max_tokens":7'),
    (b'"max_tokens":5', RENAME, b'"max_tokens":5'),
    (b'"max_tokens":5,"max_completion_tokens":7', RENAME, b'"max_tokens":5'),
    (b'"max_tokens":null,"max_completion_tokens":7', RENAME, b'"max_tokens":7'),
    (b'"max_tokens":5,"max_completion_tokens":null', RENAME, b'"max_tokens":5'),
    (b'"max_completion_tokens":null', RENAME, b'"max_tokens":null'),
    (b'"user":"u","x":1.10', Quirks(drop=("user", "seed")), b'"x":1.10'),
    (b'"x":1', DEFAULT, b'"x":1,"do_sample":true'),
    (b'"do_sample":false', DEFAULT, b'"do_sample":false'),
    (b'"temperature":0', CLAMP, b'"temperature":0.01'),
    (b'"temperature":-1e300', CLAMP, b'"temperature":0.01'),
    (b'"temperature":1.0000001', CLAMP, b'"temperature":1'),
    (b'"temperature":0.70', CLAMP, b'"temperature":0.70'),
    (b'"temperature":1', CLAMP, b'"temperature":1'),
    (b'"top_p":1,"temperature":2', CLAMP, b'"top_p":0.9999,"temperature":1'),
    (b'"temperature":null', CLAMP, b'"temperature":null'),
    (b'"temperature":1e400', CLAMP, b'"temperature":1e400'),
    (b'"top_p":-0.0', CLAMP, b'"top_p":-0.0'),
]


@each(("written", "quirks", "expected"), QUIRKS)
def test_quirks(written: bytes, quirks: Quirks, expected: bytes) -> None:
    """Renamed, dropped, defaulted, clamped; all else to the letter."""
    base = dump(BASES["openai_chat"])[:-1] + b","
    assert render(CHAT, base + written + b"}", edits(quirks=quirks)) == (
        base + expected + b"}"
    )


def test_the_operators_edits_come_after_the_quirks() -> None:
    """And neither can give the call another model."""
    quirks = Quirks(rename={"a": "b"}, default={"c": Raw(b"1")})
    made = render(
        CHAT,
        dump({**BASES["openai_chat"], "a": 1, "metadata": {}}),
        edits("up", quirks, {"b": 2, "model": "other"}, ("metadata", "c")),
    )
    assert json.loads(made) == {**BASES["openai_chat"], "model": "up", "b": 2}
