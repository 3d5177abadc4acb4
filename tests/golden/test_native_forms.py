"""Languages that only providers speak, held to OpenAI's chat.

A case is `tests/golden/native/<dialect>/<case>.toml`:

    source = "https://…"          # or which of the vendor's types it shows
    traits = { … }                # of the target, where it is unlike any other
    request = '''{…}'''           # what a client of OpenAI's chat sends,
    sent = '''{…}'''              # what the provider gets of it,
    losses = ["-seed"]            # and what it is not told;
    refused = "…"                 # or why it is refused
    reply = '''{…}'''             # what the provider answers, whole,
    client = '''{…}'''            # and what the client gets;
    fault = "UpstreamRejected"    # or what the answer is, where it is an error
    stream = '''…'''              # its stream, byte for byte,
    messages = [["name", '{…}']]  # or the messages of AWS's event stream,
    client_stream = '''…'''       # and what the client gets, up to a fault
    stream_fault = "UpstreamRateLimited"
    differs = "…"                 # why the stream does not amount to the reply

Somebody who knows the protocols has read what is expected.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct, structs
from tests.support.cases import Decorator, each
from tests.support.vendor_types import check_reply, check_stream
from tools.chat_golden import IDENTITY, Decoded, Spoken, encode
from tools.chat_golden import decode as decode_frames
from tools.golden import cuts

from posthouse.dialects import openai_chat
from posthouse.dialects.neutral.codec import ChatCodec, Losses
from posthouse.dialects.neutral.collect import collect
from posthouse.errors import InvalidRequest, UpstreamFault
from posthouse.model.chat import ChatRequest, Message, Role, Text
from posthouse.model.traits import Traits
from posthouse.relay.prepare import find_codec, find_dialect
from posthouse.wire.aws_eventstream import message

FOLDER = Path(__file__).parent / "native"
DIALECTS = (
    "bedrock_converse",
    "dashscope_text",
    "ernie_chat",
    "spark_chat",
    "tencent_chat",
)
LEAST_CASES = 10
CLIENT = Spoken(openai_chat.DIALECT, openai_chat.CODEC)
TRAITS: dict[str, dict[str, Any]] = {
    "bedrock_converse": {
        "model": "anthropic.claude-x",
        "max_output": 8_000,
        "image_urls": False,
        "choices": False,
    },
    "dashscope_text": {
        "model": "qwen-x",
        "schema": False,
        "thinking": "flag",
        "text_parts": False,
    },
    "ernie_chat": {
        "model": "completions",
        "schema": False,
        "json_mode": False,
        "choices": False,
        "thinking": "none",
        "text_parts": False,
    },
    "spark_chat": {
        "model": "generalv3.5",
        "schema": False,
        "json_mode": False,
        "choices": False,
        "thinking": "none",
        "text_parts": False,
    },
    "tencent_chat": {
        "model": "hunyuan-x",
        "schema": False,
        "json_mode": False,
        "choices": False,
        "thinking": "flag",
    },
}
"""The targets, as their rows in the catalogue have them."""


class Case(Struct, frozen=True, forbid_unknown_fields=True):
    source: str
    traits: dict[str, Any] = {}
    request: str | None = None
    sent: str | None = None
    losses: tuple[str, ...] = ()
    refused: str | None = None
    reply: str | None = None
    client: str | None = None
    fault: str | None = None
    stream: str | None = None
    messages: tuple[tuple[str, str], ...] = ()
    client_stream: str | None = None
    stream_fault: str | None = None
    differs: str | None = None

    @property
    def wire(self) -> bytes:
        """The stream's bytes; b"" where there is none."""
        if self.stream is not None:
            return self.stream.encode()
        return b"".join(
            message({f":{kind}-type": name, ":message-type": kind}, data.encode())
            for name, data in self.messages
            for kind in ("exception" if name.endswith("Exception") else "event",)
        )


CASES = {
    f"{path.parent.name}/{path.stem}": msgspec.toml.decode(path.read_bytes(), type=Case)
    for path in sorted(FOLDER.glob("*/*.toml"))
}


def speaker(name: str) -> Spoken:
    dialect = name.partition("/")[0]
    codec = find_codec(dialect)
    assert codec is not None
    return Spoken(find_dialect(dialect), codec)


def having(*members: str) -> Decorator:
    """The cases that have all of some members."""
    return each(
        "name",
        [
            name
            for name, case in CASES.items()
            if all(getattr(case, member) for member in members)
        ],
    )


def request_of(case: Case) -> ChatRequest | None:
    if case.request is None:
        return None
    parsed = CLIENT.dialect.parse_request(case.request.encode())
    return CLIENT.codec.read_request(parsed)


def asked(case: Case, *, stream: bool) -> ChatRequest:
    """What a client asked, that such a reply comes."""
    question = Message(Role.USER, (Text("hi"),))
    chat = request_of(case) or ChatRequest(
        dialect="openai_chat", model="m", messages=(question,)
    )
    return structs.replace(chat, stream=stream, include_usage=True, extras={})


def written(name: str, case: Case, chat: ChatRequest) -> tuple[bytes, tuple[str, ...]]:
    """What a provider gets, and what it is not told."""
    known = TRAITS[name.partition("/")[0]] | case.traits
    losses = Losses()
    codec: ChatCodec = speaker(name).codec
    body = codec.write_request(chat, msgspec.convert(known, Traits), losses)
    return msgspec.json.encode(body), losses.told


def decoded(name: str, pieces: list[bytes]) -> Decoded:
    """What a stream tells; also where its bytes are broken."""
    spoken = speaker(name)
    cutter = spoken.dialect.frames()
    frames = [frame for piece in pieces for frame in cutter.feed(piece)]
    return decode_frames(spoken, frames + cutter.close())


def streamed(case: Case, found: Decoded) -> str:
    """What the client gets of a stream, up to a fault."""
    wanted = asked(case, stream=True)
    if found.fault is None:
        return encode(CLIENT, found, wanted).decode()
    encoder = CLIENT.codec.encoder(wanted, IDENTITY)
    return b"".join(encoder.feed(event) for event in found.events).decode()


@having("sent")
def test_a_request(name: str) -> None:
    """As the provider gets it, its members in order."""
    case = CASES[name]
    chat = request_of(case)
    assert chat is not None
    body, told = written(name, case, chat)
    assert json.loads(body) == json.loads(case.sent or "")
    assert told == case.losses


@having("refused")
def test_a_request_that_cannot_be_written(name: str) -> None:
    case = CASES[name]
    chat = request_of(case)
    assert chat is not None
    with pytest.raises(InvalidRequest) as refused:
        written(name, case, chat)
    assert refused.value.message == case.refused


@having("client")
def test_a_reply(name: str) -> None:
    case = CASES[name]
    reply = speaker(name).codec.read_reply((case.reply or "").encode())
    wanted = asked(case, stream=False)
    body = CLIENT.codec.write_reply(reply, wanted, IDENTITY)
    assert json.loads(body) == json.loads(case.client or "")
    check_reply("openai_chat", body)


@having("fault")
def test_a_reply_that_is_an_error(name: str) -> None:
    case = CASES[name]
    with pytest.raises(UpstreamFault) as told:
        speaker(name).codec.read_reply((case.reply or "").encode())
    assert type(told.value).__name__ == case.fault


@having("client_stream")
def test_a_stream(name: str) -> None:
    """The same however it is cut."""
    case = CASES[name]
    for how, pieces in cuts(case.wire):
        found = decoded(name, pieces)
        fault = None if found.fault is None else type(found.fault).__name__
        assert fault == case.stream_fault, how
        assert streamed(case, found) == case.client_stream, how
    if case.stream_fault is None:
        check_stream("openai_chat", (case.client_stream or "").encode())


@having("client_stream", "client")
def test_a_stream_amounts_to_the_whole_reply(name: str) -> None:
    """Where both were recorded, unless the case says why they differ."""
    case = CASES[name]
    events = decoded(name, [case.wire]).events
    whole = speaker(name).codec.read_reply((case.reply or "").encode())
    assert (collect(events) == whole) == (case.differs is None)


@each("dialect", DIALECTS)
def test_there_are_cases(dialect: str) -> None:
    found = [name for name in CASES if name.startswith(f"{dialect}/")]
    assert len(found) >= LEAST_CASES


@each("name", CASES)
def test_a_case_expects_something_of_all_that_it_has(name: str) -> None:
    case = CASES[name]
    assert (case.request is None) or case.sent or case.refused
    assert (case.reply is None) or case.client or case.fault
    assert not case.wire or case.client_stream is not None
