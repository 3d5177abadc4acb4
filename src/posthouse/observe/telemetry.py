"""What tells of calls, as the operator has asked: nothing, a log, a collector.

`Reporter` keeps it off the calls' way; what goes to a collector is made in a
process beside the server's (`otlp_process`), which alone imports the SDK.
"""

import logging
import os
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from posthouse.observe import call_log
from posthouse.observe.logs import ShippedLog, logger
from posthouse.observe.metrics import Metrics
from posthouse.observe.otlp_process import CollectorProcess
from posthouse.observe.reporter import COMPONENT, Describe, Reporter
from posthouse.observe.trace_context import Tracing

DISABLED: Final = "OTEL_SDK_DISABLED"
PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
_SPOKEN: Final = "http/protobuf"
_UNSENT: Final = frozenset(
    {COMPONENT, call_log.COMPONENT, "opentelemetry", "requests", "urllib3"}
)
"""Whose log entries are not sent: they tell of the sending, or are sent already."""


class TelemetryOptions(Struct, frozen=True):
    """What the operator has asked for."""

    endpoint: str | None = None
    """The collector's base URL; None: nothing is sent."""
    signals: Sequence[str] = ()
    """Of traces, metrics and logs, those that are sent."""
    sample: float = 1.0
    """Share of the calls that are traced where callers do not say."""
    propagate: bool = False
    """Whether providers are told of traces."""
    call_log: bool = False
    """Whether each call has a line in the log."""
    queue: int = 4096
    """Most items that wait."""

    @property
    def sends(self) -> bool:
        """Whether anything goes to a collector."""
        if os.environ.get(DISABLED, "").strip().lower() == "true":
            return False
        return self.endpoint is not None and bool(self.signals)


class Telemetry:
    """All of it, of one process."""

    def __init__(
        self, options: TelemetryOptions, describe: Describe, metrics: Metrics
    ) -> None:
        """Prepare; `describe` makes facts of what is put into the reporters."""
        self._options = options
        self._describe = describe
        self._shipped: ShippedLog | None = None
        self.reporters: tuple[Reporter, ...] = ()
        """Who is to be told of each call that has ended; none when all is off."""
        self._export(metrics)

    @property
    def tracing(self) -> Tracing | None:
        """How traces begin; None when there are none."""
        options = self._options
        if not options.sends or "traces" not in options.signals:
            return None
        return Tracing(options.sample, options.propagate)

    def start(self) -> None:
        """Begin, before the first call."""
        options = self._options
        if options.call_log:
            self._tell(Reporter(call_log.CallLog(), self._describe, most=options.queue))
        if not options.sends or options.endpoint is None:
            return
        collector = CollectorProcess(options.endpoint, options.signals)
        sender = Reporter(collector, self._describe, most=options.queue)
        self._tell(sender)
        if "logs" in options.signals:
            self._shipped = ShippedLog(sender.put, _UNSENT)
            logging.getLogger().addHandler(self._shipped)
        protocol = os.environ.get(PROTOCOL, _SPOKEN)
        if protocol != _SPOKEN:
            logger(COMPONENT).warning(
                "telemetry is sent in another protocol than the environment asks for",
                asked=protocol,
                sent=_SPOKEN,
            )

    def close(self) -> None:
        """Send what waits, a few seconds at most; blocks: call it in a thread."""
        if self._shipped is not None:
            logging.getLogger().removeHandler(self._shipped)
        for reporter in self.reporters:
            reporter.close()

    def _tell(self, reporter: Reporter) -> None:
        self.reporters = (*self.reporters, reporter)
        reporter.start()

    def _export(self, metrics: Metrics) -> None:
        metrics.counter(
            "posthouse_telemetry_dropped",
            "Calls and log entries not told of, for too many were waiting.",
            lambda: sum(reporter.dropped for reporter in self.reporters),
        )
        metrics.counter(
            "posthouse_telemetry_failed",
            "Calls and log entries that a collector did not take.",
            lambda: sum(reporter.failed for reporter in self.reporters),
        )
        metrics.gauge(
            "posthouse_telemetry_queued",
            "Calls and log entries that wait to be told of.",
            lambda: sum(reporter.queued for reporter in self.reporters),
        )
