"""Recorded chats with something wrong in them: refused, or read for what they are.

Somewhere in a request, a reply or a chunk another value is put. Whatever it is, a
client's request is refused as one and a provider's reply is a provider's fault;
what is read can be written in every dialect.
"""

import json
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.golden.test_chat_properties import CASES, speakers
from tools.chat_golden import (
    DIALECTS,
    TRAITS,
    Spoken,
    asked,
    decode,
    encode,
    frames_of,
    load_case,
    with_path,
)

from posthouse.dialects.neutral.codec import Identity, Losses
from posthouse.dialects.neutral.collect import collect
from posthouse.errors import InvalidRequest, UpstreamFault, UpstreamInterrupted
from posthouse.wire.json import encode as encode_json
from posthouse.wire.sse import data_frame, with_data

WEIRD = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        -1,
        1.5,
        2**70,
        "",
        "x",
        "\ud83d",
        "auto",
        "text",
        [],
        [[]],
        [None],
        [{}],
        [1],
        ["x"],
        {},
        {"": {}},
        {"type": "text"},
        {"type": "x", "x": {}},
        {"type": None},
    ]
)
IDENTITY = Identity("f", 1)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside a JSON value."""
    found = [path] if path else []
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for name, entry in inner:
        found += places(entry, (*path, name))
    return found


def replaced(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """A copy with another value at a path."""
    copy = json.loads(json.dumps(value))
    at = copy
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = other
    return copy


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


@cache
def inputs(name: str, file: str) -> list[tuple[Any, Any]]:
    """What was recorded in a dialect, with its cases."""
    found = []
    for folder in CASES:
        path = folder / file
        if folder.parent.name == name and path.exists():
            data = path.read_bytes()
            value = data if file == "stream.txt" else json.loads(data)
            found.append((load_case(folder), value))
    return found


def quick(examples: int) -> Any:
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


each_dialect = pytest.mark.parametrize("name", DIALECTS)


@each_dialect
@quick(80)
@given(data=st.data())
def test_a_strange_request_is_refused_or_read(name: str, data: st.DataObject) -> None:
    """And then refused or written, in every dialect."""
    case, value = data.draw(st.sampled_from(inputs(name, "request.json")))
    path = data.draw(st.sampled_from(places(value)))
    body = dumped(replaced(value, path, data.draw(WEIRD)))
    speaker = speakers()[name]
    try:
        parsed = speaker.dialect.parse_request(with_path(body, case))
        chat = speaker.codec.read_request(parsed)
    except InvalidRequest:
        return
    for other, found in speakers().items():
        with suppress(InvalidRequest):
            encode_json(found.codec.write_request(chat, TRAITS[other], Losses()))


@each_dialect
@quick(80)
@given(data=st.data())
def test_a_strange_reply_is_a_fault_or_read(name: str, data: st.DataObject) -> None:
    """And then written for clients of every dialect, whole and as a stream."""
    _, value = data.draw(st.sampled_from(inputs(name, "reply.json")))
    path = data.draw(st.sampled_from(places(value)))
    body = dumped(replaced(value, path, data.draw(WEIRD)))
    try:
        reply = speakers()[name].codec.read_reply(body)
    except UpstreamFault:
        return
    for found in speakers().values():
        chat = plain_question(found)
        assert json.loads(found.codec.write_reply(reply, chat, IDENTITY))


@cache
def plain_question(speaker: Spoken) -> Any:
    return asked(None, speaker, load_case(CASES[0]), stream=True)


@each_dialect
@quick(80)
@given(data=st.data())
def test_a_strange_chunk_is_a_fault_or_read(name: str, data: st.DataObject) -> None:
    """And what was told before it is written for clients of every dialect."""
    _, wire = data.draw(st.sampled_from(inputs(name, "stream.txt")))
    speaker = speakers()[name]
    frames = frames_of(speaker.dialect, [wire])
    with_values = [
        index for index, (_, chunk) in enumerate(frames) if chunk[:1] == b"{"
    ]
    at = data.draw(st.sampled_from(with_values))
    raw, chunk = frames[at]
    value = json.loads(chunk)
    path = data.draw(st.sampled_from(places(value)))
    strange = dumped(replaced(value, path, data.draw(WEIRD)))
    framed = with_data(raw, strange) if raw.lstrip()[:1] in b"de" else strange
    frames = [*frames[:at], (framed, strange), *frames[at + 1 :]]
    decoded = decode(speaker, frames)
    assert decoded.fault is None or isinstance(
        decoded.fault, UpstreamFault | UpstreamInterrupted
    )
    collect(decoded.events)
    for found in speakers().values():
        encode(found, decoded, plain_question(found))


@each_dialect
@quick(50)
@given(junk=st.binary(max_size=40))
def test_junk_is_a_fault(name: str, junk: bytes) -> None:
    """In place of a reply or a chunk, and never anything else."""
    speaker = speakers()[name]
    with suppress(UpstreamFault):
        speaker.codec.read_reply(junk)
    decoded = decode(speaker, [(data_frame(junk), junk)])
    assert decoded.fault is not None
