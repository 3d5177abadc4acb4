"""What every provider of the catalogue is sent, and what its replies become.

Rules: `tests/golden/providers/<name>/golden.toml` is written by somebody who
has read the provider's documentation, never by the program. Every row of the
catalogue has one, without exception, and in it a call for each operation that
the row has, a stream with its usage wherever there are streams, and an error.

    source = "https://…"               # where the shapes were read, or "unverified"
    headers = { authorization = "Bearer secret" }   # beside those of every request

    stream_headers = { x-sse = "1" }   # beside those, of streams
    asked = "openai_chat"              # what clients speak, where it is not what the
                                       # provider does; `client` stands with each call
    credential = "id:secret"           # where the scheme that signs wants a form

    [channel]                          # what the operator must set, if anything
    base_url = "https://…"

    [[calls]]
    operation = "chat"
    request = '''{…}'''                # what the client sends
    url = "https://…"                  # where it goes
    sent = '''{…}'''                   # what the provider gets
    reply = '''{…}'''                  # what it answers with status 200,
    stream = '''data: …'''             # or, of a stream, its bytes
    messages = [["name", '{…}']]       # or the messages of AWS's event stream
    text = "…"                         # what was produced, thoughts included
    usage = { input = 9, output = 2 }  # what was reported; none if absent
    hidden = [4]                       # the stream's frames that the client does
                                       # not get, counted from 0
    client = '''…'''                   # what the client gets where it is neither
                                       # the reply nor the stream less `hidden`
    fault = "UpstreamRejected"         # what the answer is, where it is an error
    asked = "openai_images"            # what its client speaks
    form = [["name", "value"],         # what the client sends, if that is a form: a
      ["name", "file.png", "image/png", "…"]]      # file has a name and a type
    native = "/path"                   # which of the dialect's own paths it asks
    sent_form = [["name", "value"]]    # what the provider gets, if that is a form

    [[errors]]
    status = 400
    body = '''{…}'''
    fault = "UpstreamRejected"         # or another class of posthouse.errors
    message = "…"                      # what the client is told, if checked
    code = "…"
"""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct, structs
from tests.support.cases import each

from posthouse.billing.prices import PriceBook
from posthouse.catalog.load import load_catalog
from posthouse.dialects.base import (
    Dialect,
    MediaDialect,
    ParsedRequest,
    write_body,
)
from posthouse.dialects.openai.errors import error_code
from posthouse.dialects.openai.vendor_images import VendorImages
from posthouse.errors import UpstreamFault
from posthouse.model.catalog import StreamUsage
from posthouse.model.usage import ReportedUsage
from posthouse.relay.prepare import Prepared, find_dialect
from posthouse.relay.snapshot import Snapshot
from posthouse.routing.table import (
    ChannelDefaults,
    Member,
    RoutingTable,
    make_channel,
)
from posthouse.settings.file import ChannelSpec
from posthouse.wire.aws_eventstream import message
from posthouse.wire.multipart import JSON, Form, Part, read_form, render_form

FOLDER = Path(__file__).parents[2] / "golden" / "providers"
CATALOG = load_catalog()
SECRET = "secret"
NOW = 1_770_000_000.5
"""What time it is when a reply does not tell when it was made."""
OF_EVERY_REQUEST = {b"content-type", b"accept", b"accept-encoding", b"user-agent"}
SESSIONS = {"realtime"}
"""Operations without a request: `tests/integration/test_realtime.py` has them."""
STREAMING = {"chat", "completion"}
LIMITS = {"token_input", "dimensions"}
"""Traits of embeddings that a wrapper around the dialect sees to."""


class Call(Struct, frozen=True, forbid_unknown_fields=True):
    operation: str
    url: str
    request: str = ""
    sent: str = ""
    asked: str = ""
    form: tuple[tuple[str, ...], ...] = ()
    native: str = ""
    sent_form: tuple[tuple[str, ...], ...] = ()
    reply: str | None = None
    stream: str | None = None
    messages: tuple[tuple[str, str], ...] = ()
    text: str | None = None
    usage: dict[str, Any] | None = None
    hidden: tuple[int, ...] = ()
    client: str | None = None
    fault: str | None = None

    @property
    def wire(self) -> bytes:
        """A stream's bytes; b"" where there is none."""
        if self.messages:
            return b"".join(
                message({":message-type": "event", ":event-type": name}, data.encode())
                for name, data in self.messages
            )
        return (self.stream or "").encode()


class Error(Struct, frozen=True, forbid_unknown_fields=True):
    status: int
    body: str
    fault: str
    operation: str = "chat"
    message: str | None = None
    code: str | None = None


class Golden(Struct, frozen=True, forbid_unknown_fields=True):
    source: str
    calls: tuple[Call, ...]
    errors: tuple[Error, ...]
    headers: dict[str, str] = {}
    stream_headers: dict[str, str] = {}
    asked: str = ""
    credential: str = SECRET
    channel: dict[str, Any] = {}


def read(name: str) -> Golden:
    text = (FOLDER / name / "golden.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), Golden)


@pytest.fixture(autouse=True)
def same_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies that their providers give no name have the same one here."""
    monkeypatch.setattr("posthouse.relay.prepare.urandom", bytes)


GOLDENS = {path.parent.name: read(path.parent.name) for path in FOLDER.glob("*/*.toml")}


def cases(kind: str) -> list[Any]:
    return [
        pytest.param(name, case, id=f"{name}-{index}")
        for name, golden in sorted(GOLDENS.items())
        for index, case in enumerate(getattr(golden, kind))
    ]


def prepared_for(name: str, operation: str, model: str, asked: str = "") -> Prepared:
    """What the relay prepares for a channel with nothing set but what it must."""
    golden = GOLDENS[name]
    spec = ChannelSpec(name="channel", provider=name, **golden.channel)
    signed = CATALOG[name].signing is not None
    secrets = (golden.credential,) if golden.headers or signed else ()
    channel = make_channel(spec, CATALOG[name], secrets, ChannelDefaults())
    snapshot = Snapshot(
        RoutingTable([channel], {}), PriceBook(CATALOG), wall_clock=lambda: NOW
    )
    return snapshot.prepared(Member(channel, 0, model), operation, asked)


def parsed(name: str, call: Call) -> tuple[Prepared, ParsedRequest]:
    asked = call.asked or GOLDENS[name].asked
    spoken = asked or CATALOG[name].operations[call.operation].dialect
    request = asked_in(find_dialect(spoken), call)
    return prepared_for(name, call.operation, request.model, asked), request


def asked_in(dialect: Dialect, call: Call) -> ParsedRequest:
    """What a client sends, judged: JSON or a form, at the dialect's own path or not."""
    kind, data = JSON, call.request.encode()
    if call.form:
        payload = render_form(Form(tuple(part_of(row) for row in call.form)), b"b")
        kind, data = payload.content_type, payload.data
    if call.native:
        assert isinstance(dialect, VendorImages)
        return dialect.parse_native(call.native, kind, data)
    if not call.form:
        return dialect.parse_request(data)
    assert isinstance(dialect, MediaDialect)
    return dialect.parse_form(kind, data)


def part_of(row: tuple[str, ...]) -> Part:
    name, *about, value = row
    if not about:
        return Part(name, value.encode())
    filename, kind = about
    return Part(name, value.encode(), filename, kind.encode())


def row_of(part: Part) -> tuple[str, ...]:
    about = (
        ()
        if part.filename is None
        else (part.filename, str(part.content_type, "ascii"))
    )
    return (part.name, *about, part.text)


def exact(text: str | bytes) -> Any:
    """JSON with its members in order and its numbers as they are written."""
    return json.loads(
        text,
        object_pairs_hook=lambda pairs: pairs,
        parse_int=lambda digits: ("number", digits),
        parse_float=lambda digits: ("number", digits),
    )


def counts(usage: ReportedUsage | None) -> dict[str, Any] | None:
    """The counts that say something."""
    if usage is None:
        return None
    return {name: count for name, count in structs.asdict(usage).items() if count}


# --- the catalogue ----------------------------------------------------------------


def test_every_provider_has_a_golden() -> None:
    """Of each row somebody wrote down what goes out and what comes back."""
    assert CATALOG.keys() == GOLDENS.keys()


@each("name", sorted(GOLDENS))
def test_a_golden_covers_its_row(name: str) -> None:
    """Every operation is called, streams tell their usage, an error is judged."""
    golden, row = GOLDENS[name], CATALOG[name]
    good = [call for call in golden.calls if call.fault is None]
    replied = {call.operation for call in good if call.reply}
    assert replied == row.operations.keys() - SESSIONS
    for operation in STREAMING & row.operations.keys():
        told = row.operations[operation].quirks.stream_usage is not StreamUsage.NONE
        streams = [c for c in good if c.wire and c.operation == operation]
        assert any(call.usage is not None for call in streams) == told, operation
        assert streams, operation
    assert golden.errors


@each("name", sorted(GOLDENS))
def test_where_nothing_is_declared_nothing_is_done(name: str) -> None:
    """The dialect itself reads such a provider's replies, and no wrapper around it."""
    row = CATALOG[name]
    for operation, declared in row.operations.items():
        prepared = prepared_for(name, operation, "m")
        plain = row.errors is None and declared.replies is None
        if declared.dialect == "openai_embeddings":
            plain = plain and not LIMITS & declared.traits.keys()
        assert (prepared.dialect is find_dialect(declared.dialect)) == plain


# --- requests ---------------------------------------------------------------------


@each(("name", "call"), cases("calls"))
def test_a_request_as_the_provider_gets_it(name: str, call: Call) -> None:
    """Its address, its credential and, to the letter, its body."""
    prepared, request = parsed(name, call)
    body = write_body(prepared.dialect, request, prepared.edits)
    blank = prepared.streamed if request.stream else prepared.whole
    target = blank.target
    if prepared.media is not None and prepared.media.target_of(request):
        target = prepared.base_path + prepared.media.target_of(request)
    assert blank.origin + target == call.url
    headers = {
        key.decode(): value.decode()
        for key, value in blank.headers
        if key not in OF_EVERY_REQUEST
    }
    golden = GOLDENS[name]
    added = golden.stream_headers if request.stream else {}
    assert headers == golden.headers | added
    if call.sent_form:
        form = read_form(body.content_type, body.data)
        assert tuple(map(row_of, form.parts)) == call.sent_form
    elif body.content_type != JSON:
        assert body.data.decode() == call.sent
    else:
        assert exact(body.data) == exact(call.sent)


# --- replies ----------------------------------------------------------------------


@each(("name", "call"), [case for case in cases("calls") if case.values[1].reply])
def test_a_reply(name: str, call: Call) -> None:
    """The client gets it as it came, and its usage and text are read."""
    prepared, request = parsed(name, call)
    write_body(prepared.dialect, request, prepared.edits)
    body = (call.reply or "").encode()
    if call.fault is not None:
        with pytest.raises(UpstreamFault) as caught:
            prepared.dialect.parse_reply(request, body, None)
        assert type(caught.value).__name__ == call.fault
        return
    reply = prepared.dialect.parse_reply(request, body, None)
    assert reply.body.decode() == (call.client or call.reply)
    assert counts(reply.usage) == call.usage
    if call.text is not None:
        assert reply.output_text() == call.text


def cuts(stream: bytes) -> Iterator[tuple[str, list[bytes]]]:
    yield "whole", [stream]
    yield "per line", stream.splitlines(keepends=True)
    yield "per byte", [stream[i : i + 1] for i in range(len(stream))]


@each(("name", "call"), [case for case in cases("calls") if case.values[1].wire])
def test_a_stream(name: str, call: Call) -> None:
    """The same for the client and for the meter, however it is cut."""
    for how, pieces in cuts(call.wire):
        prepared, request = parsed(name, call)
        tap = prepared.dialect.tap_stream(request, None)
        assert tap is not None
        decoder = prepared.dialect.frames()
        frames = [frame for piece in pieces for frame in decoder.feed(piece)]
        frames += decoder.close()
        wanted = [raw for i, (raw, _) in enumerate(frames) if i not in call.hidden]
        got, fault = [], None
        for raw, data in frames:
            try:
                got.append(tap.feed(raw, data))
            except UpstreamFault as error:
                fault = type(error).__name__
                break
        if fault is None and not got[-1].terminal:
            last = tap.close()
            assert last is not None, how
            got.append(last)
        assert fault == call.fault, how
        passed = b"".join(frame.raw for frame in got)
        if fault is None:
            assert passed.decode() == (call.client or b"".join(wanted).decode()), how
            assert tap.finished, how
            assert got[-1].terminal, how
        assert counts(tap.usage) == call.usage, how
        if call.text is not None:
            assert tap.output_text() == call.text, how


@each(("name", "error"), cases("errors"))
def test_an_error(name: str, error: Error) -> None:
    """It is judged, and the client is told no more than it may know."""
    prepared = prepared_for(name, error.operation, "m")
    fault = prepared.dialect.parse_error(error.status, error.body.encode())
    assert type(fault).__name__ == error.fault
    if error.message is not None:
        assert fault.message == error.message
    if error.code is not None:
        assert error_code(fault) == error.code
