"""After everything that can go wrong has, no secret stands anywhere it should not.

One server is given a canary of every class of secret and a mixed workload:
good calls, refusals, providers that repeat our own credentials, exceptions
inside the relay, wrong keys in every place, faulty configuration files. Then
its output, its data folder, its metrics, the command line's output and every
reply are searched. A customer's key may stand in DATA/keys/NAME alone, and a
prompt and its answer in the replies of their own caller.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import StartPosthouse
from tests.fakes import openai
from tests.fakes.steps import (
    LAST_CHUNK,
    Behaviour,
    Close,
    Request,
    Send,
    chunk,
    head,
    json_reply,
    reply,
)
from tests.security import canaries
from tests.security.canaries import files_with, found_in
from tests.support.cases import each
from tests.support.collector import Collector
from tests.support.fake import ThreadedFake
from tests.support.guard import Guarded
from tests.support.processes import free_port
from tests.support.raw import RawReply

INJECTED = Path(__file__).parent / "injected"
CHAT = "/v1/chat/completions"
STATUSES = (400, 401, 402, 403, 404, 409, 413, 422, 429, 500, 502, 503, 529)

CHANNEL = """
[[channels]]
name = "{name}"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = '{key}'
models = ["{name}"]
headers = {{ "X-Organisation" = "{header}" }}
"""
CHANNEL_START = '[[channels]]\nname = "a"\nprovider = "openai"\n'
REST = """
[[channels]]
name = "broken"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = "{key}"
models = ["broken-*", "good"]

[[channels]]
name = "proxied"
provider = "openai-compatible"
base_url = "{origin}/v1"
proxy = "http://operator:{password}@127.0.0.1:{port}"
models = ["proxied"]

[[keys]]
name = "customer"
key = "{customer}"

[[keys]]
name = "other"
key = "{other}"

[[keys]]
name = "made"

[[prices]]
model = "*"
input = "1.00"
output = "2.00"
"""


def confession(request: Request) -> str:
    """Write everything that a careless provider knows of a request."""
    known = b" ".join(b"%b: %b" % pair for pair in request.headers).decode("latin-1")
    key = (request.header(b"authorization") or b"").removeprefix(b"Bearer ").decode()
    host = (request.header(b"host") or b"").decode()
    return (
        f"Incorrect key {key} (also '{key}', key={key}) at http://{host}/v1?key={key} "
        f"or {host} for {known}"
    )


def confess(kind: str) -> Callable[[Request], Behaviour]:
    """Answer with the confession, in the form that `kind` names."""

    def behave(request: Request) -> Behaviour:
        text = confession(request)
        headers = [("X-Debug", text.replace("\n", " ")), ("Set-Cookie", text)]
        error = {"message": text, "type": text, "code": text, "param": text}
        events = list(openai.chat_events(request, 2, None))[:2]
        begun = [Send(openai.stream_head())]
        begun += [Send(chunk(event)) for event in events]
        told = chunk(b"data: %b\n\n" % json.dumps({"error": error}).encode())
        forms: dict[str, tuple[Any, ...]] = {
            "plain": (Send(reply(400, text.encode(), content_type="text/plain")),),
            "page": (Send(reply(400, f"<p>{text}</p>".encode())),),
            "detail": (
                Send(json_reply(422, {"detail": [{"msg": text, "loc": [text]}]})),
            ),
            "list": (Send(json_reply(400, [{"error": {"message": text}}])),),
            "text": (Send(json_reply(400, text)),),
            "long": (
                Send(json_reply(400, {"error": {"message": "é" * 500 + text * 50}})),
            ),
            "moved": (Send(json_reply(302, {}, headers=[("Location", text)])),),
            "good": (Send(json_reply(200, {"error": error})),),
            "none": (Send(reply(200, text.encode())),),
            "cut": (Send(head(200, length=10_000) + text.encode()), Close()),
            "line": (Send(f"HTTP/1.1 999 {text}\r\n{text}\r\n\r\n".encode()), Close()),
            "first": (Send(openai.stream_head()), Send(told), Send(LAST_CHUNK)),
            "later": (*begun, Send(told), Send(LAST_CHUNK)),
        }
        if kind in forms:
            return Behaviour(kind, forms[kind])
        error_reply = json_reply(int(kind), {"error": error}, headers=headers)
        return Behaviour(kind, (Send(error_reply),))

    return behave


KINDS = [
    *map(str, STATUSES),
    *("plain", "page", "detail", "list", "text", "long", "moved", "good", "none"),
    *("cut", "line", "first", "later"),
]


def answered(request: Request) -> Behaviour:
    """Answer with the canary of answers."""
    message = {"role": "assistant", "content": canaries.ANSWER}
    value = openai.chat_value(request)
    value["choices"][0]["message"] = message
    if not request.json.get("stream"):
        return Behaviour("answered", (Send(json_reply(200, value)),))
    events = [
        openai.chat_event(request, {"content": canaries.ANSWER}),
        openai.chat_event(request, {}, finish_reason="stop"),
        openai.chat_event(request, None, usage=value["usage"]),
    ]
    return Behaviour("answered", openai.stream_steps(iter(events), 0.0))


class Watched(Guarded):
    """A guarded server whose every reply is kept, under the key that asked."""

    replies: list[tuple[str, bytes]]
    collector: Collector

    def talk(self, *data: bytes, seconds: float = 10.0) -> bytes:
        """Send bytes and keep what comes back."""
        received = super().talk(*data, seconds=seconds)
        mine = canaries.CUSTOMER.encode() in b"".join(data)
        self.replies.append(("mine" if mine else "others", received))
        return received

    def chat(
        self, model: str, *, stream: bool = False, key: str | None = ""
    ) -> RawReply:
        """Ask something that is nobody else's business."""
        body = {
            "model": model,
            "messages": [{"role": "user", "content": canaries.PROMPT}],
            "stream": stream,
        }
        return self.post(CHAT, json.dumps(body).encode(), key=key)


@pytest.fixture(scope="module")
def watched(start_posthouse: StartPosthouse) -> Iterator[Watched]:
    """A server with a canary of every class."""
    with ThreadedFake(answered) as fake, Collector() as collector:
        text = "".join(
            CHANNEL.format(
                name=f"{name}-{kind}",
                origin=fake.origin,
                key=key,
                header=canaries.HEADER,
            )
            for name, key in canaries.PROVIDERS.items()
            for kind in KINDS
        )
        text += REST.format(
            origin=fake.origin,
            key=canaries.PROVIDERS["openai"],
            password=canaries.PASSWORD,
            port=free_port(),
            customer=canaries.CUSTOMER,
            other=canaries.OTHER,
        )
        environment = {
            "POSTHOUSE_SECRET": canaries.SECRET,
            "POSTHOUSE_FAILURES_PER_MINUTE": "1000",
            "POSTHOUSE_BREAKER_FAILURES": "1000000",
            "PYTHONPATH": f"{INJECTED}:{os.environ.get('PYTHONPATH', '')}",
            "INJECT_FAULTS": "1",
            "POSTHOUSE_CALL_LOG": "on",
            "POSTHOUSE_TELEMETRY_ENDPOINT": collector.url,
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-collector-key={canaries.COLLECTOR}",
        }
        for name in canaries.PROVIDERS:
            for kind in KINDS:
                fake.on(f"{name}-{kind}", confess(kind))
        posthouse = start_posthouse(text, environment)
        watched = Watched(posthouse, fake, canaries.CUSTOMER)
        watched.replies = []
        watched.collector = collector
        yield watched


@pytest.fixture(scope="module")
def after(watched: Watched) -> Watched:
    """The server when everything has happened to it."""
    good_calls(watched)
    confessions(watched)
    broken_calls(watched)
    wrong_keys(watched)
    faulty_files(watched)
    assert watched.state().holds == 0
    return watched


def good_calls(watched: Watched) -> None:
    """Calls that succeed, and one whose caller leaves."""
    for stream in (False, True):
        reply = watched.chat("good", stream=stream)
        assert reply.status == 200
        assert canaries.ANSWER.encode() in reply.body
    made = (watched.posthouse.data / "keys" / "made").read_text().strip()
    assert watched.chat("good", key=made).status == 200
    assert watched.get("/v1/models", key=canaries.OTHER).status == 200
    with suppress(TimeoutError):
        watched.half_closed(watched.head("POST", CHAT, length=900))


def confessions(watched: Watched) -> None:
    """Providers that repeat what they were told, in every form."""
    for name in canaries.PROVIDERS:
        for kind in KINDS:
            for stream in (False, True):
                reply = watched.chat(f"{name}-{kind}", stream=stream)
                assert reply.status >= 400 or stream
    assert watched.chat("proxied").status == 502


def broken_calls(watched: Watched) -> None:
    """Exceptions of our own, with secrets in their texts and frames."""
    for place in ("plan", "render", "reply"):
        reply = watched.chat(f"broken-{place}")
        assert reply.status == 500
        assert b"internal_error" in reply.body
        watched.chat(f"broken-{place}", stream=True)


def wrong_keys(watched: Watched) -> None:
    """Good and bad keys where they do not belong."""
    for key in (canaries.WRONG, canaries.CUSTOMER):
        text = key.encode()
        for path in ("/v1/nothing", f"/v1/{key}", f"/v1/models/{key}", "/metrics"):
            watched.get(path, key=key)
        watched.get(f"/v1/models?key={canaries.IN_QUERY}", key=None)
        watched.get(f"/v1/nothing?key={key}&api_key={key}#", key=None)
        for header in (b"X-Api-Key", b"Api-Key", b"X-Goog-Api-Key", b"Cookie"):
            watched.get("/v1/models", header + b": " + text, key=None)
        watched.get("/v1/models", b"Authorization: Basic " + text, key=None)
        watched.get("/v1/models", b"Authorization: " + text, key=None)
        watched.chat(key, key=canaries.OTHER)
        watched.post(CHAT, b'{"' + text + b'":', key=canaries.OTHER)
        watched.post(CHAT, text, key=canaries.OTHER)
        watched.post(CHAT, b'{"model":"good","tools":[{"type":"%b"}]}' % text)
        watched.talk(b"GET /" + text + b" HTTP/9.9\r\nX: " + text + b"\r\n\r\n")
        watched.talk(text + b"\r\n\r\n")
        watched.get("/" + key * 1000, key=None)
    watched.chat("good", key=canaries.WRONG)


def faulty_files(watched: Watched) -> None:
    """Configuration files with secrets beside each kind of fault."""
    path = watched.posthouse.configuration
    good = path.read_text()
    key = canaries.IN_FILE
    faults: list[str | bytes] = [
        f'[[keys]]\nname = "a"\nkey = "{key}',
        f'[[keys]]\nname = "a"\nkey = {key}\n',
        f'[[keys]]\nname = "a"\nkeys = "{key}"\n',
        f'[[keys]]\nname = "{key}"\nkey = "{key}"\nbalance_usd = "{key}"\n',
        f'[[keys]]\nname = "a"\nkey = ["{key}"]\n',
        f'[[keys]]\nname = "a"\nkey = "{key}"\nips = ["{key}"]\n',
        f'[[keys]]\nname = "a"\nkey = "{key}"\n[[keys]]\nname = "b"\nkey = "{key}"\n',
        f'[[channels]]\nname = "a"\nprovider = "{key}"\napi_key = "{key}"\n',
        f'{CHANNEL_START}api_key = "env:{key}"\n',
        f'{CHANNEL_START}api_key = "file:/{key}"\n',
        f'{CHANNEL_START}proxy = "ftp://u:{key}@h"\n',
        f'{CHANNEL_START}base_url = "{key}"\n',
        f'{CHANNEL_START}base_url = "https://u:{key}@h/v1"\napi_key = "x"\n',
        f'{CHANNEL_START}headers = {{ "{key}" = 1 }}\n',
        f'{CHANNEL_START}headers = {{ "X" = "{key}\\r\\nY: 1" }}\n',
        f'[[prices]]\nmodel = "{key}"\ninput = "{key}"\n',
        f'{key} = "{key}"\n',
        b"\xff\xfe" + key.encode(),
        b"\0" * 100,
    ]
    for number, fault in enumerate(faults, 1):
        data = fault if isinstance(fault, bytes) else (good + fault).encode()
        path.write_bytes(data)
        watched.posthouse.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while refusals(watched) < number:
            assert time.monotonic() < deadline, f"fault {number} went unnoticed"
            time.sleep(0.01)
    path.unlink()
    watched.posthouse.process.send_signal(signal.SIGHUP)
    path.write_text(good)
    assert watched.chat("good").status == 200


def refusals(watched: Watched) -> int:
    """Count the refused files in the log."""
    return watched.posthouse.log.read_text().count('refused"')


def test_the_workload_was_one(after: Watched) -> None:
    """Replies of every class of status, and a provider that knew our secrets."""
    statuses = {int(data[9:12]) for _, data in after.replies if data}
    assert {200, 400, 401, 404, 409, 422, 429, 500, 502, 503} <= statuses
    told = b"".join(
        confession(served.request).encode() for served in after.fake.everything
    )
    secrets = [*canaries.PROVIDERS.values(), canaries.HEADER]
    assert found_in(told, secrets) == secrets
    assert "request failed unexpectedly" in after.posthouse.log.read_text()


def test_the_output_holds_no_secret(after: Watched) -> None:
    """Neither standard output nor the log."""
    data = after.posthouse.log.read_bytes()
    assert data.count(b"\n") > 10
    assert found_in(data, canaries.ALL) == []


def test_the_data_folder_holds_no_secret(after: Watched) -> None:
    """Database, write-ahead log, journals and all."""
    assert files_with(after.posthouse.data, canaries.ALL) == {}
    made = (after.posthouse.data / "keys" / "made").read_text().strip().encode()
    holders = [
        path
        for path in after.posthouse.data.rglob("*")
        if path.is_file() and made in path.read_bytes()
    ]
    assert holders == [after.posthouse.data / "keys" / "made"]
    assert holders[0].stat().st_mode & 0o777 == 0o600


def test_the_metrics_hold_no_secret(after: Watched) -> None:
    """In no label, whatever callers asked for."""
    page = after.get("/metrics", key=None).body
    assert b"posthouse_calls_total" in page
    assert found_in(page, canaries.ALL) == []


def test_telemetry_holds_no_secret(after: Watched) -> None:
    """Neither traces nor metrics nor the log that is shipped."""
    kinds = {type(delivery).__name__ for delivery in after.collector.deliveries}
    assert len(kinds) == 3, kinds
    spans = after.collector.spans()
    assert len(spans) > len(canaries.PROVIDERS) * len(KINDS)
    data = b"".join(
        delivery.SerializeToString() for delivery in after.collector.deliveries
    )
    assert found_in(data, canaries.ALL) == []
    told = [headers["x-collector-key"] for headers in after.collector.headers]
    assert set(told) == {canaries.COLLECTOR}


def test_no_caller_sees_what_is_the_operators(after: Watched) -> None:
    """However a provider puts it, and however much of it there is."""
    host = after.fake.origin.removeprefix("http://").encode()
    for _, data in after.replies:
        assert found_in(data, canaries.PROVIDER_SIDE) == [], data
        assert host not in data
        assert canaries.PASSWORD.encode()[:12] not in data


def test_no_reply_repeats_a_key(after: Watched) -> None:
    """Not even to whom it belongs; a name of a model that was asked for is text."""
    secrets = [canaries.CUSTOMER, canaries.WRONG, canaries.IN_QUERY, canaries.SECRET]
    for _, data in after.replies:
        if b"model_not_found" not in data.lower() and b"'tools'" not in data:
            assert found_in(data, secrets) == [], data


def test_prompts_and_answers_go_to_their_caller_only(after: Watched) -> None:
    """Another key's replies hold nothing of them."""
    secrets = [canaries.PROMPT, canaries.ANSWER]
    seen = {found for who, data in after.replies for found in found_in(data, secrets)}
    assert canaries.ANSWER in seen
    for who, data in after.replies:
        if who == "others" and b'"good"' not in data:
            assert found_in(data, secrets) == []


@each(
    "command",
    [
        "channel list --json",
        "key list",
        "calls --limit 1000 --json",
        "ledger",
        "doctor",
    ],
)
def test_the_command_line_shows_no_secret(after: Watched, command: str) -> None:
    """For people and for programs."""
    _, output = after.posthouse.run(*command.split())
    assert len(output) > 100
    assert found_in(output.encode(), canaries.ALL) == []
