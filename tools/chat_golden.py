"""Recorded chats, and what they are known to become in every other dialect.

A case is a folder `tests/golden/chat/<dialect>/<case>/`:

  case.toml      source: where it was seen, or which of the vendor's types it shows;
                 model, stream: what stands in the path of dialects that have
                 them there; traits.<dialect>: where a target is unlike TRAITS;
                 differs: why the stream does not amount to the reply
  request.json   what a client sends
  reply.json     what a provider answers, whole
  stream.txt     what a provider answers, byte for byte
  expected/      neutral.request.json, neutral.reply.json and events.jsonl; for
                 every other dialect its .request.json with .request.losses, its
                 .reply.json and its .stream.txt. What is refused is told by
                 .request.refused, a reply that is an error by .reply.fault

`make golden` rewrites the expected files that exist, the command with names those
of cases whose paths hold one of them; the difference is for review. It never
writes those of a new case: `--draft CASE FOLDER` writes them elsewhere, and
somebody who knows the protocols reads them, corrects them and puts them in place.
"""

import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct, structs

from posthouse.dialects.base import Dialect, ParsedRequest
from posthouse.dialects.neutral.codec import ChatCodec, Identity, Losses
from posthouse.errors import (
    InvalidRequest,
    PosthouseError,
    UpstreamFault,
    UpstreamInterrupted,
)
from posthouse.model.chat import ChatReply, ChatRequest, Message, Role, Text
from posthouse.model.chat_events import ChatEvent, Ended
from posthouse.model.traits import Traits
from posthouse.wire import json

FOLDER = Path(__file__).parents[1] / "tests" / "golden" / "chat"
DIALECTS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini_generate")
IDENTITY = Identity("0123456789abcdef", 1_770_000_000)
TRAITS = {
    "openai_chat": Traits(
        model="gpt-x", developer=True, new_output_limit=True, custom_tools=True
    ),
    "openai_responses": Traits(model="gpt-x", developer=True, custom_tools=True),
    "anthropic_messages": Traits(model="claude-x", max_output=32_000),
    "gemini_generate": Traits(model="gemini-x", max_output=65_536),
}
"""The targets that requests are written for, if a case does not say otherwise."""

Files = dict[str, bytes]


class Spoken(Struct, frozen=True):
    """A dialect with its codec."""

    dialect: Dialect
    codec: ChatCodec


class Case(Struct, frozen=True, forbid_unknown_fields=True):
    """What `case.toml` says."""

    source: str
    model: str | None = None
    stream: bool | None = None
    traits: dict[str, dict[str, Any]] = {}
    differs: str | None = None


def spoken(*, whole: bool = True) -> dict[str, Spoken]:
    """The dialects that there are, by name; each of them has a codec.

    Unless it need not be the `whole` of them: those without one are told of then.
    """
    found = {}
    for name in DIALECTS:
        if find_spec(f"posthouse.dialects.{name}") is None:
            continue
        module = import_module(f"posthouse.dialects.{name}")
        if whole or (hasattr(module, "CODEC") and hasattr(module, "DIALECT")):
            found[name] = Spoken(module.DIALECT, module.CODEC)
        else:
            print(f"left out: {name} has no codec", file=sys.stderr)
    return found


def find_cases() -> list[Path]:
    """Every case's folder, sorted."""
    return sorted(path.parent for path in FOLDER.glob("*/*/case.toml"))


def load_case(folder: Path) -> Case:
    """Read `case.toml`."""
    return msgspec.toml.decode((folder / "case.toml").read_bytes(), type=Case)


def traits_of(case: Case, name: str) -> Traits:
    """What the target of a case is like."""
    return msgspec.convert(
        structs.asdict(TRAITS[name]) | case.traits.get(name, {}), Traits
    )


# --- reading ------------------------------------------------------------------------


def read_request(folder: Path, case: Case, spoken: Spoken) -> ChatRequest:
    """Read a case's request; raises InvalidRequest."""
    return spoken.codec.read_request(parse_request(folder, case, spoken))


def parse_request(folder: Path, case: Case, spoken: Spoken) -> ParsedRequest:
    """Parse a case's request, with what its path says; raises InvalidRequest."""
    body = (folder / "request.json").read_bytes()
    return spoken.dialect.parse_request(with_path(body, case))


def with_path(body: bytes, case: Case) -> bytes:
    """Add to a body what stands in the path of its dialect."""
    beside = {"model": case.model, "stream": case.stream}
    added = {name: value for name, value in beside.items() if value is not None}
    if not added:
        return body
    try:
        return json.encode(added | json.decode_envelope(body))
    except json.MalformedJSON:
        # It is refused as it stands.
        return body


def frames_of(dialect: Dialect, pieces: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Cut the pieces of a stream into frames."""
    cutter = dialect.frames()
    frames = [frame for piece in pieces for frame in cutter.feed(piece)]
    return frames + cutter.close()


class Decoded(Struct, frozen=True):
    """What a stream told, and how it ended if not well."""

    events: list[ChatEvent]
    fault: UpstreamFault | None = None


def decode(spoken: Spoken, frames: list[tuple[bytes, bytes]]) -> Decoded:
    """Decode a stream up to its end or its fault."""
    decoder = spoken.codec.decoder()
    events: list[ChatEvent] = []
    try:
        for raw, data in frames:
            events += decoder.feed(raw, data)
            if events and isinstance(events[-1], Ended):
                return Decoded(events)
        events += decoder.close()
    except UpstreamFault as fault:
        return Decoded(events, fault)
    if events and isinstance(events[-1], Ended):
        return Decoded(events)
    return Decoded(events, UpstreamInterrupted())


# --- writing ------------------------------------------------------------------------


def asked(
    chat: ChatRequest | None, client: Spoken, case: Case, *, stream: bool
) -> ChatRequest:
    """What a client of a dialect asked, that such a reply comes.

    It is what the case's own client asked, in the other's words, if it has any.
    """
    name = client.dialect.name
    plain = ChatRequest(dialect=name, model="m", messages=(_QUESTION,))
    if chat is not None:
        with suppress(InvalidRequest):
            return _as_asked(chat, client, traits_of(case, name), stream=stream)
    return _as_asked(plain, client, TRAITS[name], stream=stream)


_QUESTION = Message(Role.USER, (Text("hi"),))


def _as_asked(
    chat: ChatRequest, client: Spoken, traits: Traits, *, stream: bool
) -> ChatRequest:
    body = client.codec.write_request(chat, traits, Losses())
    whole = {"model": traits.model} | body | {"stream": stream}
    parsed = client.dialect.parse_request(json.encode(whole))
    return structs.replace(client.codec.read_request(parsed), include_usage=True)


def encode(client: Spoken, decoded: Decoded, chat: ChatRequest) -> bytes:
    """Write a stream for a client, ended as the relay ends it."""
    encoder = client.codec.encoder(chat, IDENTITY)
    out = [encoder.feed(event) for event in decoded.events]
    if decoded.fault is None:
        out.append(encoder.close())
    else:
        out.append(client.dialect.manners.error_frame(decoded.fault))
    return b"".join(out)


_NOT_OF_CHATS = b'"counted":{},"estimated":false,'
"""What a usage tells of calls that are none."""


def written(value: Any) -> bytes:
    """Write a value as chats have it."""
    return json.encode(value).replace(_NOT_OF_CHATS, b"")


def pretty(value: Any) -> bytes:
    """Write a value as a file that people compare."""
    return json.pretty(Raw(written(value))).encode() + b"\n"


def told(error: PosthouseError) -> bytes:
    """Write what is wrong as a file that people compare."""
    return f"{type(error).__name__}: {error.param}: {error.message}\n".encode()


def lines_of(decoded: Decoded) -> bytes:
    """Write events as a file that people compare."""
    lines = [written(event) for event in decoded.events]
    if decoded.fault is not None:
        fault = type(decoded.fault).__name__
        lines.append(json.encode({"fault": fault, "message": decoded.fault.message}))
    return b"".join(line + b"\n" for line in lines)


# --- a case -------------------------------------------------------------------------


def produce(folder: Path, speakers: dict[str, Spoken]) -> Files:
    """Make all expected files of a case, by name."""
    case = load_case(folder)
    name = folder.parent.name
    others = {other: found for other, found in speakers.items() if other != name}
    files: Files = {}
    chat = None
    if (folder / "request.json").exists():
        try:
            chat = read_request(folder, case, speakers[name])
        except InvalidRequest as error:
            files["neutral.request.refused"] = told(error)
        else:
            files["neutral.request.json"] = pretty(chat)
            for other, found in others.items():
                files |= _written(other, found, case, chat)
    if (folder / "reply.json").exists():
        files |= _replied(folder, case, speakers, chat)
    if (folder / "stream.txt").exists():
        wire = (folder / "stream.txt").read_bytes()
        decoded = decode(speakers[name], frames_of(speakers[name].dialect, [wire]))
        files["events.jsonl"] = lines_of(decoded)
        for other, found in others.items():
            wanted = asked(chat, found, case, stream=True)
            files[f"{other}.stream.txt"] = encode(found, decoded, wanted)
    return files


def _written(other: str, found: Spoken, case: Case, chat: ChatRequest) -> Files:
    losses = Losses()
    try:
        body = found.codec.write_request(chat, traits_of(case, other), losses)
    except InvalidRequest as error:
        return {f"{other}.request.refused": told(error)}
    return {
        f"{other}.request.json": pretty(body),
        f"{other}.request.losses": "".join(f"{x}\n" for x in losses.told).encode(),
    }


def _replied(
    folder: Path, case: Case, speakers: dict[str, Spoken], chat: ChatRequest | None
) -> Files:
    name = folder.parent.name
    try:
        reply = read_reply(folder, speakers[name])
    except UpstreamFault as fault:
        return {"neutral.reply.fault": told(fault)}
    files = {"neutral.reply.json": pretty(reply)}
    for other, found in speakers.items():
        if other == name:
            continue
        wanted = asked(chat, found, case, stream=False)
        body = found.codec.write_reply(reply, wanted, IDENTITY)
        files[f"{other}.reply.json"] = pretty(msgspec.Raw(body))
    return files


def read_reply(folder: Path, spoken: Spoken) -> ChatReply:
    """Read a case's reply; raises UpstreamFault."""
    return spoken.codec.read_reply((folder / "reply.json").read_bytes())


# --- the command --------------------------------------------------------------------


def _differing(folder: Path, files: Files) -> Iterator[tuple[Path, bytes]]:
    for name, content in files.items():
        path = folder / "expected" / name
        if path.exists() and path.read_bytes() != content:
            yield path, content


def refresh(names: list[str]) -> int:
    """Rewrite the expected files that exist; name those that do not.

    Only those of cases whose paths hold one of the `names`, if there are any.
    """
    speakers = spoken()
    new = []
    for folder in find_cases():
        if names and not any(name in str(folder) for name in names):
            continue
        files = produce(folder, speakers)
        new += [folder / "expected" / name for name in files]
        for path, content in _differing(folder, files):
            path.write_bytes(content)
            print(f"changed: {path.relative_to(FOLDER)}")
        known = folder / "expected"
        for path in sorted(known.glob("*")):
            if path.name not in files:
                print(f"of nothing any more: {path.relative_to(FOLDER)}")
    missing = [path for path in new if not path.exists()]
    for path in missing:
        print(f"draft and read this one first: {path.relative_to(FOLDER)}")
    return 1 if missing else 0


def draft(case: str, folder: str) -> int:
    """Write what a case becomes to a folder elsewhere, for reading."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for name, content in produce(Path(case).resolve(), spoken(whole=False)).items():
        (target / name).write_bytes(content)
    print(f"read, correct and move to {case}/expected: {target}")
    return 0


def main(arguments: list[str]) -> int:
    """Do what the arguments say."""
    match arguments:
        case ["--draft", case, folder]:
            return draft(case, folder)
        case ["--draft", *_]:
            print("usage: chat_golden.py [--draft CASE FOLDER]", file=sys.stderr)
            return 2
        case names:
            return refresh(names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
