"""Calls and log entries for an OpenTelemetry collector, over OTLP/HTTP.

Names are those of the GenAI semantic conventions 1.41.1, the last edition inside
the general conventions; what they have no name for begins with `posthouse.`. A
call is one span (kind server) that carries usage and price, with one child (kind
client) per attempt: so a sum over spans counts every token once. Of the metrics,
`gen_ai.server.*` is what our caller sees and `gen_ai.client.*` what we see of the
provider; the difference is ours.

Importing this module imports the SDK: only the process beside the server does.
The exporters read the standard variables for headers, certificates, compression
and time limits themselves, and try a failed delivery again within that limit.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Final

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from posthouse.observe.call_log import call_fields
from posthouse.observe.facts import AttemptFacts, CallFacts, LogEntry
from posthouse.observe.otlp_names import (
    DURATION_BOUNDS,
    OWN_BOUNDS,
    TOKEN_BOUNDS,
    attempt_attributes,
    call_attributes,
    metric_attributes,
)
from posthouse.observe.trace_context import TraceContext

SCHEMA: Final = "https://opentelemetry.io/schemas/1.41.1"
SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
INTERVAL_VARIABLE: Final = "OTEL_METRIC_EXPORT_INTERVAL"
INTERVAL_MS: Final = 60_000.0
CALL_EVENT: Final = "posthouse.call"
SEVERITIES: Final[Mapping[str, SeverityNumber]] = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "critical": SeverityNumber.FATAL,
}


class Collector:
    """Sends to one collector; a `Consumer`, but for the ways to it."""

    def __init__(
        self,
        endpoint: str,
        signals: Sequence[str],
        *,
        instance: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Send some of `traces`, `metrics` and `logs` to paths below `endpoint`.

        Args:
            endpoint: the collector's base URL.
            signals: what is sent.
            instance: tells this server from others of its kind.
            clock: monotonic seconds.
        """
        # What the SDK says of each delivery that failed, the reporter says once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        base = endpoint.rstrip("/")
        self._resource = _resource(instance)
        self._scope = InstrumentationScope("posthouse", version("posthouse"), SCHEMA)
        self._spans = self._logs = self._metrics = None
        if "traces" in signals:
            self._spans = OTLPSpanExporter(f"{base}/v1/traces")
        if "logs" in signals:
            self._logs = OTLPLogExporter(f"{base}/v1/logs")
        if "metrics" in signals:
            exporter = OTLPMetricExporter(f"{base}/v1/metrics")
            self._metrics = Instruments(exporter, self._resource, clock)

    def take(self, items: Sequence[CallFacts | LogEntry]) -> int:
        """Send spans and log records, and count; give how many items were lost."""
        calls = [item for item in items if isinstance(item, CallFacts)]
        delivered = True
        if self._metrics is not None:
            for call in calls:
                self._metrics.add(call)
        if self._spans is not None:
            spans = [span for call in calls for span in self._call_spans(call)]
            if spans:
                result = self._spans.export(spans)
                delivered = result is SpanExportResult.SUCCESS
        if self._logs is not None:
            records = self._logs.export([self._record(item) for item in items])
            delivered = delivered and records is LogRecordExportResult.SUCCESS
        return 0 if delivered else len(items)

    def idle(self) -> None:
        """Send the metrics if that is due."""
        if self._metrics is not None:
            self._metrics.send_if_due()

    def finish(self) -> None:
        """Send the metrics a last time."""
        if self._metrics is not None:
            self._metrics.send()

    def close(self) -> None:
        """End what waits for another try."""
        for exporter in (self._spans, self._logs, self._metrics):
            if exporter is not None:
                exporter.shutdown()

    # --- spans ------------------------------------------------------------------

    def _call_spans(self, call: CallFacts) -> Iterator[ReadableSpan]:
        """Make the spans of a call, if it is traced.

        They are made as they are exported: all of them are over.
        """
        trace = call.trace
        if trace is None or not trace.sampled:
            return
        own = _context(trace, trace.span_id)
        parent = _context(trace, trace.parent_id) if trace.parent_id else None
        attributes = call_attributes(call)
        yield ReadableSpan(
            f"{attributes['gen_ai.operation.name']} {call.requested_model}",
            own,
            parent,
            self._resource,
            attributes,
            kind=SpanKind.SERVER,
            status=_status(failed=call.failed),
            start_time=call.began_ns,
            end_time=call.ended_ns,
            instrumentation_scope=self._scope,
        )
        for attempt, span_id in _identified(trace, call.attempts):
            yield ReadableSpan(
                f"attempt {attempt.channel}",
                _context(trace, span_id),
                own,
                self._resource,
                attempt_attributes(call, attempt),
                kind=SpanKind.CLIENT,
                status=_status(failed=bool(attempt.error)),
                start_time=attempt.began_ns,
                end_time=attempt.ended_ns,
                instrumentation_scope=self._scope,
            )

    # --- log records --------------------------------------------------------------

    def _record(self, item: CallFacts | LogEntry) -> ReadableLogRecord:
        if isinstance(item, CallFacts):
            record = _call_record(item)
        else:
            record = LogRecord(
                timestamp=item.time_ns,
                severity_text=item.level.upper(),
                severity_number=SEVERITIES.get(item.level, SeverityNumber.UNSPECIFIED),
                body=item.event,
                attributes={"posthouse.component": item.component, **item.fields},
            )
        return ReadableLogRecord(record, self._resource, self._scope)


class Instruments:
    """The metrics."""

    def __init__(
        self,
        exporter: OTLPMetricExporter,
        resource: Resource,
        clock: Callable[[], float],
    ) -> None:
        """Send through `exporter` as often as the standard variable says."""
        self._clock = clock
        self._interval = _interval()
        self._due = clock() + self._interval
        self._exporter = exporter
        # It has no thread of its own: the reporter's asks it to collect.
        self._reader = PeriodicExportingMetricReader(exporter, math.inf)
        self._provider = MeterProvider(
            (self._reader,), resource, shutdown_on_exit=False
        )
        meter = self._provider.get_meter(
            "posthouse", version("posthouse"), schema_url=SCHEMA
        )

        def seconds(name: str, description: str) -> None:
            bounds = OWN_BOUNDS if name == "posthouse.overhead" else DURATION_BOUNDS
            self._seconds[name] = meter.create_histogram(
                name, "s", description, explicit_bucket_boundaries_advisory=bounds
            ).record

        self._seconds: dict[str, Callable[[float, Mapping[str, str]], None]] = {}
        seconds("gen_ai.client.operation.duration", "What providers took.")
        seconds(
            "gen_ai.client.operation.time_to_first_chunk",
            "What a provider took to the first content of a stream.",
        )
        seconds("gen_ai.server.request.duration", "What callers waited in all.")
        seconds(
            "gen_ai.server.time_to_first_token",
            "What callers waited for the first content of a stream.",
        )
        seconds("posthouse.overhead", "Our own part of a call.")
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Billed tokens.",
            explicit_bucket_boundaries_advisory=TOKEN_BOUNDS,
        ).record
        self._charged = meter.create_counter(
            "posthouse.charged", "USD", "What callers were charged."
        ).add

    def add(self, call: CallFacts) -> None:
        """Count a call."""
        labels = metric_attributes(call)
        record = self._seconds
        ended = (call.ended_ns - call.began_ns) / 1e9
        record["gen_ai.server.request.duration"](ended, labels)
        record["posthouse.overhead"](call.own_seconds, labels)
        if call.attempts:
            name = "gen_ai.client.operation.duration"
            record[name](call.upstream_seconds, labels)
        if call.streamed and call.first_token_ms:
            name = "gen_ai.server.time_to_first_token"
            record[name](call.first_token_ms / 1e3, labels)
            name = "gen_ai.client.operation.time_to_first_chunk"
            record[name](call.upstream_first_ms / 1e3, labels)
        for kind, number in (
            ("input", call.input_tokens),
            ("output", call.output_tokens),
        ):
            if number:
                self._tokens(number, {**labels, "gen_ai.token.type": kind})
        self._charged(float(call.price_usd), labels)

    def send_if_due(self) -> None:
        """Send what is counted once per interval."""
        if self._clock() >= self._due:
            self.send()

    def send(self) -> None:
        """Send what is counted."""
        self._due = self._clock() + self._interval
        self._reader.collect()

    def shutdown(self) -> None:
        """End what waits for another try."""
        self._exporter.shutdown()


def _interval() -> float:
    """Give the seconds between two deliveries of metrics."""
    try:
        milliseconds = float(os.environ.get(INTERVAL_VARIABLE) or INTERVAL_MS)
    except ValueError:
        milliseconds = INTERVAL_MS
    return max(milliseconds, 100.0) / 1000


def _resource(instance: str) -> Resource:
    """Say who sends; the standard variables win."""
    given = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    attributes = {"service.version": version("posthouse")}
    if "service.name=" not in given and not os.environ.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = "posthouse"
    if instance and "service.instance.id=" not in given:
        attributes["service.instance.id"] = instance
    return Resource.create(attributes, SCHEMA)


def _context(trace: TraceContext, span_id: str) -> SpanContext:
    """Give a span's place; only the caller's span is not ours."""
    state = TraceState.from_header([trace.state])
    remote = span_id == trace.parent_id
    return SpanContext(
        int(trace.trace_id, 16), int(span_id, 16), remote, SAMPLED, state
    )


def _identified(
    trace: TraceContext, attempts: Sequence[AttemptFacts]
) -> Iterator[tuple[AttemptFacts, str]]:
    """Give attempts with the ids of their spans.

    Where a request was sent again, the last one has the id that was told.
    """
    left: dict[tuple[str, int], int] = {}
    for attempt in attempts:
        place = attempt.channel, attempt.credential
        left[place] = left.get(place, 0) + 1
    for attempt in attempts:
        place = attempt.channel, attempt.credential
        left[place] -= 1
        yield attempt, trace.attempt_id(*place, left[place])


def _status(*, failed: bool) -> Status:
    return Status(StatusCode.ERROR if failed else StatusCode.UNSET)


def _call_record(call: CallFacts) -> LogRecord:
    """Write a call as an event, joined to its span."""
    context = None
    if call.trace is not None and call.trace.sampled:
        place = _context(call.trace, call.trace.span_id)
        context = set_span_in_context(NonRecordingSpan(place))
    level = "warning" if call.failed else "info"
    attributes = {
        f"posthouse.{name}": value
        for name, value in call_fields(call).items()
        if value is not None
    }
    return LogRecord(
        timestamp=call.ended_ns,
        context=context,
        severity_text=level.upper(),
        severity_number=SEVERITIES[level],
        body="call",
        attributes=attributes,  # type: ignore[arg-type]  # texts, numbers and one map of numbers
        event_name=CALL_EVENT,
    )
