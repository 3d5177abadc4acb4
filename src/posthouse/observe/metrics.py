"""Prometheus metrics, counted in plain dictionaries and exported when scraped.

The hot path adds integers under tuples of labels; names, help texts and label
sets are put together only for a scrape. A label's values come from bounded
sets: operation, channel, outcome, error code, token bucket, status class. Never
a key, a user, an address or a model as the client named it. A family that
outgrows `_SERIES` counts what is new under "other".
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from typing_extensions import override

from posthouse.observe.histogram import Histogram

_SERIES = 20_000
_OTHER = "other"

_FIRST_TOKEN = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
_TOTAL = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)

Labels = tuple[str, ...]


class Counts:
    """One counter family."""

    __slots__ = ("help", "labels", "name", "values")

    def __init__(self, name: str, help_text: str, labels: Labels) -> None:
        """Name the family and its labels."""
        self.name = name
        self.help = help_text
        self.labels = labels
        self.values: dict[Labels, int] = {}

    def add(self, values: Labels, amount: int = 1) -> None:
        """Count `amount` more under label values in the order of `labels`."""
        try:
            self.values[values] += amount
        except KeyError:
            if len(self.values) >= _SERIES:
                values = (_OTHER,) * len(self.labels)
            self.values[values] = self.values.get(values, 0) + amount

    def family(self) -> Metric:
        """Give it as a scrape wants it."""
        family = CounterMetricFamily(self.name, self.help, labels=self.labels)
        for values, count in self.values.items():
            family.add_metric(values, count)
        return family


class CallSeries:
    """What is counted of the calls of one operation that ended in one way."""

    __slots__ = ("first_token", "number", "tokens", "total")

    def __init__(self) -> None:
        """Start at zero."""
        self.number = 0
        self.total = Histogram(_TOTAL)
        self.first_token = Histogram(_FIRST_TOKEN)
        self.tokens: dict[str, int] = {}
        """Billed units by usage bucket."""


class Metrics(Collector):
    """Everything that the process counts."""

    def __init__(self) -> None:
        """Start at zero, with the process's own figures beside."""
        self._calls: dict[tuple[str, str, int], CallSeries] = {}
        """By operation, outcome and the class of the status."""
        self._attempts = Counts(
            "posthouse_attempts",
            "Tries of calls on channels.",
            ("channel", "outcome"),
        )
        self._upstream_errors = Counts(
            "posthouse_upstream_errors",
            "Failed attempts by error code.",
            ("channel", "code"),
        )
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def call(
        self,
        labels: tuple[str, str],
        status: int,
        *,
        usage: Mapping[str, int],
        total_ms: int,
        first_token_ms: int = 0,
    ) -> None:
        """Count a call that has ended.

        Args:
            labels: operation and outcome.
            status: HTTP status sent to the client.
            usage: billed units by bucket.
            total_ms: from its arrival to its end.
            first_token_ms: from its arrival to the first content; 0 is none.
        """
        key = (*labels, status // 100)
        series = self._calls.get(key)
        if series is None:
            series = self._calls[key] = CallSeries()
        series.number += 1
        series.total.add(total_ms / 1000)
        if first_token_ms:
            series.first_token.add(first_token_ms / 1000)
        tokens = series.tokens
        for bucket, amount in usage.items():
            tokens[bucket] = tokens.get(bucket, 0) + amount

    def attempt(self, channel: str, outcome: str, code: str = "") -> None:
        """Count a try; `code` names our error if it failed."""
        self._attempts.add((channel, outcome))
        if code:
            self._upstream_errors.add((channel, code))

    def gauge(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        """Export what `read` gives at each scrape, e.g. holds open."""
        self._gauges[name] = (help_text, read)

    @override
    def collect(self) -> Iterator[Metric]:
        """Give every family; prometheus_client calls it."""
        yield from self._call_families()
        yield self._attempts.family()
        yield self._upstream_errors.family()
        for name, (help_text, read) in self._gauges.items():
            yield GaugeMetricFamily(name, help_text, value=read())

    def _call_families(self) -> Iterator[Metric]:
        """Sum what is counted of calls, by the labels of each family."""
        calls = CounterMetricFamily(
            "posthouse_calls",
            "Calls by how they ended and the class of the status sent.",
            labels=("operation", "outcome", "status"),
        )
        tokens: Counter[tuple[str, str]] = Counter()
        totals: dict[str, Histogram] = {}
        firsts: dict[str, Histogram] = {}
        for (operation, outcome, status), series in self._calls.items():
            calls.add_metric((operation, outcome, f"{status}xx"), series.number)
            for bucket, amount in series.tokens.items():
                tokens[operation, bucket] += amount
            totals.setdefault(operation, Histogram(_TOTAL)).merge(series.total)
            if series.first_token.is_used:
                first = firsts.setdefault(operation, Histogram(_FIRST_TOKEN))
                first.merge(series.first_token)
        yield calls
        billed = CounterMetricFamily(
            "posthouse_tokens",
            "Billed units by usage bucket.",
            labels=("operation", "bucket"),
        )
        for labels, amount in tokens.items():
            if amount:
                billed.add_metric(labels, amount)
        yield billed
        yield _times(
            "posthouse_first_token_seconds",
            "From a streamed call's arrival to its first content.",
            firsts,
        )
        yield _times(
            "posthouse_call_seconds", "From a call's arrival to its end.", totals
        )

    def exposition(self, accept: str = "") -> tuple[bytes, bytes]:
        """Give content type and body of a scrape's answer."""
        encode, content_type = choose_encoder(accept)
        return content_type.encode("latin-1"), encode(self._registry)


def _times(name: str, help_text: str, by_operation: dict[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, help_text, labels=("operation",))
    for operation, histogram in by_operation.items():
        family.add_metric((operation,), histogram.cumulative(), histogram.total)
    return family
