"""Whatever providers of the native forms send, it is read or judged, never a crash."""

import json
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.dialects import openai_chat
from posthouse.dialects.neutral.codec import Losses
from posthouse.errors import InvalidRequest, UpstreamFault
from posthouse.model.traits import ThinkingStyle, Traits
from posthouse.relay.prepare import find_codec, find_dialect
from posthouse.wire.aws_eventstream import message

FOLDER = Path(__file__).parents[2] / "golden" / "native"
DIALECTS = (
    "bedrock_converse",
    "dashscope_text",
    "ernie_chat",
    "spark_chat",
    "tencent_chat",
)
JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 1.5, 10**30, "", "x", "\ud800", [], [1], [{}], {}, {"a": 1}]
)


def cases(dialect: str) -> list[dict[str, Any]]:
    return [
        tomllib.loads(path.read_text())
        for path in sorted((FOLDER / dialect).glob("*.toml"))
    ]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside a value."""
    found = [path] if path else []
    if isinstance(value, dict):
        for name, inner in value.items():
            found += places(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += places(inner, (*path, index))
    return found


def changed(value: Any, path: tuple[Any, ...], junk: Any) -> Any:
    """The value with something else in one place."""
    if not path:
        return junk
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[path[0]] = changed(value[path[0]], path[1:], junk)
    return copy


def encoded(value: Any) -> bytes:

    return json.dumps(value).encode()


@st.composite
def mutated(draw: st.DrawFn, recorded: list[str]) -> Any:
    """A recorded value, changed in up to three places."""
    value = msgspec.json.decode(draw(st.sampled_from(recorded)))
    for _ in range(draw(st.integers(1, 3))):
        if not isinstance(value, dict | list) or not places(value):
            break
        path = draw(st.sampled_from(places(value)))
        value = changed(value, path, draw(JUNK))
    return value


@pytest.mark.parametrize("dialect", DIALECTS)
@given(st.data())
def test_any_reply_is_read_or_judged(dialect: str, data: st.DataObject) -> None:
    recorded = [
        case["reply"]
        for case in cases(dialect)
        if "reply" in case and "\n" not in case["reply"].strip()
    ]
    codec = find_codec(dialect)
    assert codec is not None
    try:
        codec.read_reply(encoded(data.draw(mutated(recorded))))
    except UpstreamFault:
        return


def frames_of(dialect: str) -> list[str]:
    """The data of every recorded frame, under a message's name where it has one."""
    found = []
    for case in cases(dialect):
        found += [
            line.removeprefix("data:").strip()
            for line in case.get("stream", "").splitlines()
            if line.startswith("data:") and "[DONE]" not in line
        ]
        found += [
            line for line in case.get("stream", "").splitlines() if line.startswith("{")
        ]
        found += [f'{{"{name}":{data}}}' for name, data in case.get("messages", ())]
    return found


@pytest.mark.parametrize("dialect", DIALECTS)
@given(st.data())
def test_any_stream_is_read_or_judged(dialect: str, data: st.DataObject) -> None:
    recorded = frames_of(dialect)
    values = data.draw(st.lists(mutated(recorded), min_size=1, max_size=6))
    codec = find_codec(dialect)
    assert codec is not None
    decoder = codec.decoder()
    try:
        for value in values:
            body = encoded(value)
            decoder.feed(b"data: " + body + b"\n\n", body)
        decoder.close()
    except UpstreamFault:
        return


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["event", "exception", "error", "x"]),
            st.sampled_from(["messageStop", "metadata", 'a"b', ""]),
            st.binary(max_size=20) | st.just(b'{"stopReason":"end_turn"}'),
        ),
        max_size=4,
    )
)
def test_any_message_of_bedrocks_is_read_or_judged(
    messages: list[tuple[str, str, bytes]],
) -> None:
    codec = find_codec("bedrock_converse")
    assert codec is not None
    decoder = codec.decoder()
    frames = find_dialect("bedrock_converse").frames()
    try:
        for kind, name, payload in messages:
            headers = {":message-type": kind, f":{kind}-type": name}
            for raw, data in frames.feed(message(headers, payload)):
                decoder.feed(raw, data)
        decoder.close()
    except UpstreamFault:
        return


REQUESTS = [
    case["request"] for name in DIALECTS for case in cases(name) if "request" in case
]


@pytest.mark.parametrize("dialect", DIALECTS)
@given(mutated(REQUESTS), st.sampled_from(ThinkingStyle), st.booleans())
def test_any_request_is_written_or_refused(
    dialect: str, value: Any, thinking: ThinkingStyle, yes: bool
) -> None:
    codec = find_codec(dialect)
    assert codec is not None
    traits = Traits(
        model="anthropic.claude-x",
        thinking=thinking,
        schema=yes,
        json_mode=yes,
        choices=yes,
        text_parts=yes,
        forced_tools=yes,
    )
    try:
        parsed = openai_chat.DIALECT.parse_request(encoded(value))
        chat = openai_chat.CODEC.read_request(parsed)
        msgspec.json.encode(codec.write_request(chat, traits, Losses()))
    except InvalidRequest:
        return


@pytest.mark.parametrize("dialect", DIALECTS)
@given(
    st.integers(100, 599),
    st.binary(max_size=60) | mutated(['{"message":"x"}']).map(encoded),
)
def test_any_error_is_judged(dialect: str, status: int, body: bytes) -> None:
    fault = find_dialect(dialect).parse_error(status, body)
    assert isinstance(fault, UpstreamFault)
