"""What a collector is sent: names of the conventions, and nothing by accident."""

import logging
import subprocess
import sys
from typing import Any

import pytest
from msgspec.structs import replace
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

from posthouse.catalog.load import load_catalog
from posthouse.observe import logs, otlp, otlp_names
from posthouse.observe.facts import AttemptFacts, CallFacts, LogEntry
from posthouse.observe.metrics import Metrics
from posthouse.observe.telemetry import Telemetry, TelemetryOptions
from posthouse.observe.trace_context import Tracing

ATTEMPT = AttemptFacts(
    channel="main",
    credential=0,
    provider="mistral",
    origin="https://api.mistral.example",
    model="large",
    began_ns=1_000_000,
    ended_ns=9_000_000,
    outcome="served",
    error="",
    status=200,
)
CALL = CallFacts(
    id="req_1",
    key_id="key_1",
    operation="embedding",
    dialect="openai_embeddings",
    streamed=True,
    requested_model="fast",
    channel="main",
    provider="mistral",
    upstream_model="large",
    status=200,
    outcome="served",
    failed=False,
    error="",
    began_ns=0,
    ended_ns=10_000_000,
    first_token_ms=5,
    upstream_first_ms=4,
    own_seconds=0.002,
    upstream_seconds=0.008,
    usage={"input": 7, "cached_input": 4, "output": 10, "reasoning": 6},
    input_tokens=11,
    cached_tokens=4,
    cache_written_tokens=1,
    output_tokens=16,
    reasoning_tokens=6,
    usage_source="provider",
    price_usd="0.000000001",
    cost_usd=None,
    attempts=(ATTEMPT,),
    trace=Tracing(1.0, pass_on=False).begin("req_1", {}),
)
FAILED = replace(CALL, error="upstream_timeout", failed=True, outcome="failed")


def names(module: Any) -> set[str]:
    """Give the names that a module of the conventions defines."""
    return {value for value in vars(module).values() if isinstance(value, str)}


def test_every_name_of_the_conventions_is_one() -> None:
    attempt = replace(ATTEMPT, error="upstream_timeout")
    used = {
        *otlp_names.call_attributes(FAILED),
        *otlp_names.attempt_attributes(FAILED, attempt),
        *otlp_names.metric_attributes(FAILED),
        "gen_ai.token.type",
    }
    ours = {name for name in used if name.startswith("posthouse.")}
    general = {
        "error.type",
        "http.response.status_code",
        "server.address",
        "server.port",
    }
    assert used - ours - general <= names(gen_ai_attributes)
    assert general <= used


def test_providers_and_operations_have_the_names_of_the_conventions() -> None:
    found = otlp_names.call_attributes(CALL)
    assert found["gen_ai.operation.name"] == "embeddings"
    providers = {item.value for item in gen_ai_attributes.GenAiProviderNameValues}
    named = {row.telemetry_name for row in load_catalog().values()} - {""}
    assert named
    assert named <= providers
    operations = {item.value for item in gen_ai_attributes.GenAiOperationNameValues}
    assert set(otlp_names.OPERATIONS.values()) <= operations


def test_metrics_have_names_and_bounds_of_the_conventions() -> None:
    collector = otlp.Collector("http://127.0.0.1:9", ["metrics"])
    instruments = collector._metrics
    assert instruments is not None
    instruments.add(FAILED)
    sent: list[Any] = []
    instruments._exporter.export = lambda data, **_: sent.append(data)
    instruments.send()
    found = {
        metric.name: metric
        for resource in sent[0].resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    ours = {name for name in found if name.startswith("posthouse.")}
    assert found.keys() - ours <= names(gen_ai_metrics)
    assert "gen_ai.server.time_to_first_token" in found
    [point] = found["gen_ai.client.operation.duration"].data.data_points
    assert point.sum == 0.008
    assert point.explicit_bounds == otlp_names.DURATION_BOUNDS
    assert point.attributes["error.type"] == "upstream_timeout"
    tokens = found["gen_ai.client.token.usage"].data.data_points
    assert tokens[0].explicit_bounds == otlp_names.TOKEN_BOUNDS
    assert {p.attributes["gen_ai.token.type"]: p.sum for p in tokens} == {
        "input": 11,
        "output": 16,
    }
    collector.close()


def test_metrics_are_sent_once_per_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "2000")
    now = 100.0
    collector = otlp.Collector("http://127.0.0.1:9", ["metrics"], clock=lambda: now)
    instruments = collector._metrics
    assert instruments is not None
    sent: list[Any] = []
    instruments._exporter.export = lambda data, **_: sent.append(data)
    instruments.add(CALL)
    for now, count in ((101.0, 0), (102.0, 1), (103.9, 1), (104.0, 2)):  # noqa: B007 - the clock reads it
        collector.idle()
        assert len(sent) == count
    collector.finish()
    assert len(sent) == 3
    collector.close()


def test_a_request_that_was_sent_again_has_two_spans_and_the_last_was_told() -> None:
    trace = CALL.trace
    assert trace is not None
    other = replace(ATTEMPT, channel="other")
    told = [span for _, span in otlp._identified(trace, (ATTEMPT, ATTEMPT, other))]
    assert len(set(told)) == 3
    assert told[1] == trace.attempt_id("main", 0)
    assert told[2] == trace.attempt_id("other", 0)


def test_what_the_process_logs_is_passed_on_redacted_and_as_fields() -> None:
    kept: list[LogEntry] = []
    handler = logs.ShippedLog(
        kept.append, frozenset({"posthouse.telemetry", "urllib3"})
    )
    root = logging.getLogger()
    logs.configure("info")
    root.addHandler(handler)
    try:
        logs.logger("posthouse.test").warning(
            "it failed", api_key="sk-0123456789abcdef", count=3, items=["a"]
        )
        logs.logger("posthouse.telemetry").warning("about the sending")
        logging.getLogger("urllib3.connectionpool").warning("about the sending")
        logging.getLogger("dependency").error("with Bearer abcdefghijklmnop")
    finally:
        root.removeHandler(handler)
    ours, theirs = kept
    assert (ours.level, ours.component, ours.event) == (
        "warning",
        "posthouse.test",
        "it failed",
    )
    assert ours.fields == {"api_key": "[redacted]", "count": 3, "items": "['a']"}
    assert (theirs.component, theirs.level) == ("dependency", "error")
    assert "abcdefghijklmnop" not in theirs.event


def test_the_standard_switch_turns_all_off(monkeypatch: pytest.MonkeyPatch) -> None:
    options = TelemetryOptions("http://127.0.0.1:9", ("traces",))
    assert options.sends
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not options.sends
    telemetry = Telemetry(options, lambda item: item, Metrics())
    telemetry.start()
    assert telemetry.reporters == ()
    assert telemetry.tracing is None


def test_without_traces_nothing_is_traced() -> None:
    options = TelemetryOptions("http://127.0.0.1:9", ("metrics",))
    assert Telemetry(options, lambda item: item, Metrics()).tracing is None


def test_a_process_that_sends_nothing_imports_no_sdk() -> None:
    code = (
        "import sys, posthouse.cli, posthouse.app;"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
