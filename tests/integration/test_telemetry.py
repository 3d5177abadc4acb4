"""What an OpenTelemetry collector is sent of calls, and what happens without one."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.steps import Behaviour, Send, reply
from tests.support import raw
from tests.support.collector import Collector, Span, plain
from tests.support.example import CACHED, CHAT, INPUT, MESSAGES, OUTPUT, key_of, shows
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{CALLER}-01"
UNSAMPLED = f"00-{TRACE}-{CALLER}-00"
SECRET = "Nobody but the model reads this: swordfish."
BROKEN = Behaviour("broken", (Send(reply(500, b'{"error":{}}')),))
SERVER, CLIENT = 2, 3
"""Kinds of spans."""

CONFIGURATION = """
[[keys]]
name = "app"
key = "{key}"
balance_usd = "100"

[[channels]]
name = "first"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = "sk-of-the-provider-0123456789"
priority = 10
models = ["plain", {{ public = "retry", upstream = "broken" }}, "broken"]

[[channels]]
name = "second"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = "sk-of-the-provider-0123456789"
models = [{{ public = "retry", upstream = "mended" }}]

[[prices]]
model = "*"
input = "2"
cached_input = "0.5"
output = "8"
"""
PRICE = f"{(INPUT * 2000 + CACHED * 500 + OUTPUT * 8000) / 1e9:.9f}"
VARIABLES = {
    "OTEL_METRIC_EXPORT_INTERVAL": "100",
    "POSTHOUSE_TELEMETRY_PROPAGATE": "on",
    "POSTHOUSE_CALL_LOG": "on",
    "POSTHOUSE_LOG_FORMAT": "json",
    "OTEL_EXPORTER_OTLP_HEADERS": "x-collector-key=of-the-collector",
    "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
}


class Relay:
    """A Posthouse, the provider behind it and the collector beside it."""

    def __init__(
        self, posthouse: Posthouse, fake: ThreadedFake, collector: Collector
    ) -> None:
        self.posthouse = posthouse
        self.fake = fake
        self.collector = collector

    def chat(self, model: str, *headers: tuple[str, str], **members: Any) -> str:
        """Make a call; give its id."""
        body = {"model": model, "messages": MESSAGES, **members}
        fields = (
            ("Content-Type", "application/json"),
            ("Authorization", f"Bearer {key_of('app')}"),
            *headers,
        )
        data = json.dumps(body).encode()
        answer = raw.send(self.posthouse.url, CHAT, data, headers=fields)
        return str(answer.header("x-request-id"))

    def spans(self, call: str) -> tuple[Span, list[Span]]:
        """Give a call's span and its attempts', once they have come."""

        def found() -> list[Span]:
            return [
                span
                for span in self.collector.spans()
                if span.attributes.get("posthouse.call.id") == call
            ]

        self.collector.wait_for(found, f"no span of {call}")
        [span] = found()
        attempts = [
            other for other in self.collector.spans() if other.parent_id == span.span_id
        ]
        return span, sorted(attempts, key=lambda attempt: attempt.began_ns)

    def scraped(self) -> dict[str, float]:
        """The metrics without labels."""
        page = raw.send(self.posthouse.url, "/metrics", method="GET").body.decode()
        return {
            name: float(value)
            for name, value in re.findall(
                r"^(posthouse_\w+) (\S+)$", page, re.MULTILINE
            )
        }


@contextmanager
def running(
    folder: Path, collector: Collector, variables: Mapping[str, str]
) -> Iterator[Relay]:
    """Run a server that sends to a collector."""
    with ThreadedFake() as fake:
        fake.on("broken", BROKEN)
        configuration = CONFIGURATION.format(origin=fake.origin, key=key_of("app"))
        with Posthouse(folder, configuration, variables) as posthouse:
            yield Relay(posthouse, fake, collector)


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """One server for all tests that only look at what it sends."""
    with Collector() as collector:
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"{collector.url}/"}
        folder = tmp_path_factory.mktemp("telemetry")
        with running(folder, collector, {**VARIABLES, **endpoint}) as relay:
            yield relay


# --- spans -------------------------------------------------------------------------


def test_a_call_is_a_span_with_usage_and_price_and_its_attempt_a_child(
    relay: Relay,
) -> None:
    before = time.time_ns()
    call = relay.chat("plain")
    span, [attempt] = relay.spans(call)
    assert (span.name, span.kind, span.parent_id) == ("chat plain", SERVER, "")
    assert not span.error
    attributes = span.attributes
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.provider.name"] == "openai-compatible"
    assert attributes["gen_ai.request.model"] == "plain"
    assert attributes["gen_ai.response.model"] == "plain"
    assert attributes["gen_ai.usage.input_tokens"] == INPUT + CACHED
    assert attributes["gen_ai.usage.cache_read.input_tokens"] == CACHED
    assert attributes["gen_ai.usage.output_tokens"] == OUTPUT
    assert attributes["http.response.status_code"] == 200
    assert attributes["posthouse.outcome"] == "served"
    assert attributes["posthouse.price_usd"] == float(PRICE)
    assert "error.type" not in attributes
    assert (attempt.name, attempt.kind) == ("attempt first", CLIENT)
    assert attempt.trace_id == span.trace_id
    assert attempt.attributes["gen_ai.provider.name"] == "openai-compatible"
    assert attempt.attributes["server.address"] == "127.0.0.1"
    assert attempt.attributes["server.port"] == int(relay.fake.origin.split(":")[2])
    assert "gen_ai.usage.output_tokens" not in attempt.attributes
    second = 1_000_000_000
    assert before - second < span.began_ns <= span.ended_ns < time.time_ns() + second
    # The record knows milliseconds, cut off; the call's end is exact.
    assert span.began_ns <= attempt.began_ns <= attempt.ended_ns
    assert attempt.ended_ns <= span.ended_ns
    own = attributes["posthouse.own_seconds"]
    upstream = attributes["posthouse.upstream_seconds"]
    assert abs(own + upstream - (span.ended_ns - span.began_ns) / 1e9) < 1e-6
    assert 0 < own < 0.5


def test_a_stream_tells_when_its_first_content_came(relay: Relay) -> None:
    call = relay.chat("plain", stream=True)
    span, [attempt] = relay.spans(call)
    assert span.attributes["gen_ai.request.stream"] is True
    assert 0 < span.attributes["gen_ai.response.time_to_first_chunk"] < 5
    assert span.attributes["gen_ai.usage.output_tokens"] == OUTPUT
    assert not attempt.error


def test_a_call_that_was_tried_twice_has_two_attempts(relay: Relay) -> None:
    call = relay.chat("retry")
    span, attempts = relay.spans(call)
    first, second = attempts
    assert (first.name, second.name) == ("attempt first", "attempt second")
    assert first.error
    assert first.attributes["error.type"] == "upstream_overloaded"
    assert first.attributes["http.response.status_code"] == 500
    assert first.attributes["gen_ai.request.model"] == "broken"
    assert not second.error
    assert second.attributes["gen_ai.request.model"] == "mended"
    assert first.ended_ns <= second.began_ns + 1_000_000
    assert not span.error
    assert span.attributes["posthouse.attempts"] == 2
    assert span.attributes["posthouse.channel"] == "second"


def test_a_call_that_nobody_could_serve_is_an_error(relay: Relay) -> None:
    span, [attempt] = relay.spans(relay.chat("broken"))
    assert span.error
    assert span.attributes["error.type"] == "upstream_overloaded"
    assert span.attributes["posthouse.outcome"] == "failed"
    assert span.attributes["gen_ai.usage.output_tokens"] == 0
    assert attempt.error


def test_the_caller_s_trace_goes_on_here_and_at_the_provider(relay: Relay) -> None:
    call = relay.chat("retry", ("traceparent", PARENT), ("tracestate", "vendor=opaque"))
    span, attempts = relay.spans(call)
    assert (span.trace_id, span.parent_id) == (TRACE, CALLER)
    assert span.state == "vendor=opaque"
    for model, attempt in zip(("broken", "mended"), attempts, strict=True):
        headers = relay.fake.served(model)[-1].headers
        told = headers[b"traceparent"].decode()
        assert told == f"00-{TRACE}-{attempt.span_id}-01"
        assert headers[b"tracestate"] == b"vendor=opaque"


def test_a_caller_that_is_not_traced_stays_so(relay: Relay) -> None:
    relay.chat("plain", ("traceparent", UNSAMPLED))
    told = relay.fake.served("plain")[-1].headers[b"traceparent"]
    assert told.endswith(b"-00")
    # What came later is there; so this one will not come.
    last = relay.chat("plain")
    relay.spans(last)
    assert not [
        span
        for span in relay.collector.spans()
        if span.parent_id == CALLER
        and span.attributes["gen_ai.request.model"] == "plain"
    ]


def test_the_sender_says_who_it_is(relay: Relay) -> None:
    relay.spans(relay.chat("plain"))
    resource = relay.collector.resource()
    assert resource["service.name"] == "posthouse"
    assert resource["service.instance.id"]
    assert resource["deployment.environment.name"] == "test"
    assert relay.collector.headers[0]["x-collector-key"] == "of-the-collector"


# --- metrics -----------------------------------------------------------------------


def test_metrics_have_the_names_of_the_conventions(relay: Relay) -> None:
    relay.spans(relay.chat("plain", stream=True))
    time.sleep(0.3)
    relay.spans(relay.chat("plain"))
    names = {
        "gen_ai.client.operation.duration",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.client.token.usage",
        "gen_ai.server.request.duration",
        "gen_ai.server.time_to_first_token",
        "posthouse.overhead",
        "posthouse.charged",
    }
    relay.collector.wait_for(
        lambda: names <= relay.collector.metrics().keys(), "metrics are missing"
    )
    metrics = relay.collector.metrics()
    usage = {
        plain(point.attributes)["gen_ai.token.type"]: point
        for point in metrics["gen_ai.client.token.usage"].histogram.data_points
        if plain(point.attributes)["gen_ai.request.model"] == "plain"
    }
    assert usage["output"].sum == usage["output"].count * OUTPUT
    assert usage["input"].sum == usage["input"].count * (INPUT + CACHED)
    for name in ("gen_ai.client.operation.duration", "gen_ai.server.request.duration"):
        [point] = [
            point
            for point in metrics[name].histogram.data_points
            if plain(point.attributes)["gen_ai.request.model"] == "plain"
        ]
        assert plain(point.attributes)["gen_ai.provider.name"] == "openai-compatible"
        assert point.explicit_bounds[:2] == [0.01, 0.02]


# --- logs --------------------------------------------------------------------------


def test_a_call_is_a_log_record_beside_its_span_and_a_line(relay: Relay) -> None:
    call = relay.chat("plain", messages=[{"role": "user", "content": SECRET}])
    span, _ = relay.spans(call)

    def records() -> list[Any]:
        return [
            record
            for record in relay.collector.records()
            if record.attributes.get("posthouse.call") == call
        ]

    relay.collector.wait_for(records, f"no record of {call}")
    [record] = records()
    assert (record.event, record.severity) == ("posthouse.call", "INFO")
    assert (record.trace_id, record.span_id) == (span.trace_id, span.span_id)
    assert record.attributes["posthouse.usage"]["output"] == OUTPUT
    log = relay.posthouse.log

    def lines() -> list[str]:
        return [line for line in log.read_text().splitlines() if call in line]

    relay.collector.wait_for(lines, f"no line of {call}")
    [line] = map(json.loads, lines())
    assert line["event"] == "call"
    assert (line["model"], line["channel"], line["status"]) == ("plain", "first", 200)
    assert line["price_usd"].startswith("0.000")
    assert line["own_ms"] > 0
    assert line["total_ms"] >= line["upstream_ms"]
    everything = b"".join(m.SerializeToString() for m in relay.collector.deliveries)
    for secret in (SECRET, "swordfish", key_of("app"), "sk-of-the-provider"):
        assert secret.encode() not in everything
        assert secret not in log.read_text()


def test_the_process_s_own_log_is_sent_too(relay: Relay) -> None:
    relay.collector.wait_for(
        lambda: [r for r in relay.collector.records() if r.body == "serving"],
        "the log is not sent",
    )
    [record] = [r for r in relay.collector.records() if r.body == "serving"]
    assert record.attributes["posthouse.component"] == "posthouse"
    assert record.attributes["url"] == relay.posthouse.url


# --- a collector that fails ----------------------------------------------------------


def test_a_collector_that_hangs_holds_up_nobody_and_what_is_dropped_is_counted(
    tmp_path: Path,
) -> None:
    with Collector() as collector:
        collector.mode = "hang"
        variables = {
            "POSTHOUSE_TELEMETRY_ENDPOINT": collector.url,
            "POSTHOUSE_TELEMETRY_SIGNALS": "traces",
            "POSTHOUSE_TELEMETRY_QUEUE": "5",
        }
        with running(tmp_path, collector, variables) as relay:
            relay.chat("plain")
            collector.wait_for(lambda: collector.headers, "nothing was sent")
            began = time.monotonic()
            for _ in range(20):
                relay.chat("plain")
            assert time.monotonic() - began < 5
            found = relay.scraped()
            assert found["posthouse_telemetry_queued"] == 5
            assert found["posthouse_telemetry_dropped_total"] == 15
            began = time.monotonic()
            assert relay.posthouse.stop() == 0
            # It ends although what it has sent is never answered.
            assert time.monotonic() - began < 10


def test_a_collector_that_refuses_costs_its_deliveries_and_is_told_of_once(
    tmp_path: Path,
) -> None:
    with Collector() as collector:
        collector.mode = "refuse"
        variables = {"POSTHOUSE_TELEMETRY_ENDPOINT": collector.url}
        with running(tmp_path, collector, variables) as relay:
            for _ in range(2):
                relay.chat("plain")
                failed = relay.scraped()["posthouse_telemetry_failed_total"]
                collector.wait_for(
                    lambda failed=failed: (
                        relay.scraped()["posthouse_telemetry_failed_total"] > failed
                    ),
                    "nothing failed",
                )
            collector.mode = "take"
            relay.spans(relay.chat("plain"))
            collector.wait_for(
                lambda: "delivered again" in relay.posthouse.output(), "not told"
            )
            assert relay.posthouse.output().count("cannot be delivered") == 1


@shows(
    "telemetry.endpoint",
    "telemetry.signals",
    "telemetry.sample",
    "telemetry.propagate",
)
def test_a_file_says_where_telemetry_goes(tmp_path: Path) -> None:
    """`[telemetry]`: one signal alone, no call sampled, nothing told to providers."""
    with Collector() as collector, ThreadedFake() as fake:
        configuration = CONFIGURATION.format(origin=fake.origin, key=key_of("app"))
        configuration += (
            f'[telemetry]\nendpoint = "{collector.url}"\n'
            'signals = ["traces", "logs"]\nsample = 0\npropagate = "off"\n'
        )
        with Posthouse(tmp_path, configuration) as posthouse:
            relay = Relay(posthouse, fake, collector)
            call = relay.chat("plain")
            collector.wait_for(
                lambda: [
                    record
                    for record in collector.records()
                    if record.attributes.get("posthouse.call") == call
                ],
                "no record",
            )
            assert not collector.spans()
            assert b"traceparent" not in fake.served("plain")[0].headers
            traced = relay.chat("plain", ("traceparent", PARENT))
            span, _ = relay.spans(traced)
            assert span.trace_id == TRACE
            assert b"traceparent" not in fake.served("plain")[1].headers
        assert not collector.metrics()


# --- off -----------------------------------------------------------------------------


@pytest.mark.parametrize("on", [False, True])
def test_a_server_never_imports_the_sdk_and_off_has_no_process_beside(
    tmp_path: Path, on: bool
) -> None:
    """What is sent is made beside the server; what is not sent, nowhere."""
    with Collector() as collector:
        variables = {"PYTHONVERBOSE": "1", "POSTHOUSE_CALL_LOG": "on"}
        if on:
            variables["POSTHOUSE_TELEMETRY_ENDPOINT"] = collector.url
        with running(tmp_path, collector, variables) as relay:
            call = relay.chat("plain")
            if on:
                relay.spans(call)
            log = relay.posthouse.log.read_text()
            threads = Path(f"/proc/{relay.posthouse.process.pid}/task")
            beside = [file.read_text() for file in threads.glob("*/children")]
    imported = set(re.findall(r"^import '([\w.]+)'", log, re.MULTILINE))
    assert "posthouse.app" in imported
    found = {name.partition(".")[0] for name in imported}
    assert not found & {"opentelemetry", "google", "requests", "urllib3"}
    assert bool("".join(beside)) is on
