"""An OpenTelemetry collector: takes OTLP over HTTP and keeps what it was sent."""

import gzip
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from typing_extensions import override

REQUESTS: dict[str, Any] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
}
SECONDS = 10.0


@dataclass
class Span:
    """A span as it came."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    began_ns: int
    ended_ns: int
    error: bool
    attributes: dict[str, Any]


@dataclass
class Record:
    """A log record as it came."""

    body: str
    event: str
    severity: str
    trace_id: str
    span_id: str
    attributes: dict[str, Any]


class Collector:
    """The server; `mode` says what it does with a delivery."""

    def __init__(self) -> None:
        """Take everything."""
        self.mode = "take"
        """take, refuse, or hang."""
        self.headers: list[dict[str, str]] = []
        self.deliveries: list[Any] = []
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if collector.mode == "hang":
                    collector.headers.append(dict(self.headers))
                    collector._released.wait()
                    self.close_connection = True
                    return
                if collector.mode == "refuse":
                    self._answer(400)
                    return
                message = REQUESTS[self.path]()
                message.ParseFromString(body)
                collector.headers.append(dict(self.headers))
                collector.deliveries.append(message)
                self._answer(200)

            def _answer(self, status: int) -> None:
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            @override
            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        return Handler

    # --- what was sent ----------------------------------------------------------

    def spans(self) -> list[Span]:
        """Every span."""
        return [
            Span(
                span.name,
                span.kind,
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                span.trace_state,
                span.start_time_unix_nano,
                span.end_time_unix_nano,
                span.status.code == 2,
                plain(span.attributes),
            )
            for message in self._of(ExportTraceServiceRequest)
            for resource in message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def records(self) -> list[Record]:
        """Every log record."""
        return [
            Record(
                record.body.string_value,
                record.event_name,
                record.severity_text,
                record.trace_id.hex(),
                record.span_id.hex(),
                plain(record.attributes),
            )
            for message in self._of(ExportLogsServiceRequest)
            for resource in message.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def metrics(self) -> dict[str, Any]:
        """The metrics of the last delivery by name, in the protocol's own form."""
        messages = self._of(ExportMetricsServiceRequest)
        return {
            metric.name: metric
            for message in messages[-1:]
            for resource in message.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def resource(self) -> dict[str, Any]:
        """Who sent the first trace."""
        message = self._of(ExportTraceServiceRequest)[0]
        return plain(message.resource_spans[0].resource.attributes)

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a condition holds."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, what
            time.sleep(0.02)

    def _of(self, kind: type) -> list[Any]:
        return [message for message in self.deliveries if isinstance(message, kind)]


def plain(attributes: Iterable[Any]) -> dict[str, Any]:
    """Give attributes as a dictionary."""
    return {pair.key: _value(pair.value) for pair in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "kvlist_value":
        return plain(value.kvlist_value.values)
    return None if kind is None else getattr(value, kind)
