"""Prometheus metrics, counted in plain dictionaries and exported when scraped.

Calls are counted many at a time (`ask_first`); names, help texts and label sets
are put together only for a scrape. A label's values come from bounded
sets: operation, channel, outcome, error code, token bucket, status class. Never
a key, a user, an address or a model as the client named it. A family that
outgrows `_SERIES` counts what is new under "other".
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import sub
from pathlib import Path
from types import MappingProxyType

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from typing_extensions import override

from posthouse.observe.histogram import Histogram
from posthouse.observe.siblings import Siblings

_SERIES = 20_000
_OTHER = "other"
_NANO = 1_000_000_000

_FIRST_TOKEN = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
_OWN = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
)
_TOTAL = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)

Labels = tuple[str, ...]
_NO_USAGE: Mapping[str, int] = MappingProxyType({})


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

    __slots__ = (
        "charged",
        "first_token",
        "number",
        "own",
        "tokens",
        "total",
        "upstream",
    )

    def __init__(self) -> None:
        """Start at zero."""
        self.number = 0
        self.total = Histogram(_TOTAL)
        self.first_token = Histogram(_FIRST_TOKEN)
        self.own = Histogram(_OWN)
        """Time of the calls in which no attempt was under way."""
        self.upstream = Histogram(_TOTAL)
        """Time in which one was."""
        self.charged = 0
        """Nano-dollars."""
        self.tokens: dict[str, int] = {}
        """Billed units by usage bucket."""


class AttemptSeries:
    """What is counted of attempts on one channel that ended in one way."""

    __slots__ = ("cost", "duration_ms", "number")

    def __init__(self) -> None:
        """Start at zero."""
        self.number = 0
        self.duration_ms = 0
        self.cost = 0
        """Nano-dollars, as far as they are known."""


class Metrics(Collector):
    """Everything that the process counts."""

    def __init__(self) -> None:
        """Start at zero, with the process's own figures beside."""
        self._calls: dict[tuple[str, str, int], CallSeries] = {}
        """By kind, see `calls`."""
        self._attempts: dict[tuple[str, str, str], AttemptSeries] = {}
        """By channel, outcome and error code."""
        self._count_rest: Callable[[], None] = _nothing_left
        self._call_errors = Counts(
            "posthouse_call_errors",
            "Calls that ended with an error, by its code.",
            ("operation", "code"),
        )
        self._error_replies = Counts(
            "posthouse_error_replies",
            "Requests of any kind that were answered with an error, by its code.",
            ("code",),
        )
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self._counters: dict[str, tuple[str, Callable[[], float]]] = {}
        self._states: list[
            tuple[str, str, str, Callable[[], Iterable[tuple[str, float]]]]
        ] = []
        self._registry = CollectorRegistry(auto_describe=False)
        self._exported = self._registry
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def ask_first(self, count_rest: Callable[[], None]) -> None:
        """Before anything is read, have `count_rest` add what it has not yet."""
        self._count_rest = count_rest

    def calls(
        self,
        kind: tuple[str, str, int],
        elapsed: Sequence[float],
        upstream: Sequence[float],
        *,
        first_tokens: Sequence[float] = (),
        charged: int = 0,
        usage: Mapping[str, int] = _NO_USAGE,
    ) -> None:
        """Count calls that have ended in one way.

        Args:
            kind: operation, outcome, and the class of the status sent: 2 for 200.
            elapsed: for each the seconds from its arrival to its end.
            upstream: those of them in which an attempt was under way.
            first_tokens: for each that had a first content, seconds to it.
            charged: nano-dollars, all together.
            usage: billed units by bucket, all together.
        """
        series = self._calls.get(kind)
        if series is None:
            series = self._calls[kind] = CallSeries()
        series.number += len(elapsed)
        series.total.add(elapsed)
        series.upstream.add(upstream)
        series.own.add(list(map(sub, elapsed, upstream)))
        series.first_token.add(first_tokens)
        series.charged += charged
        tokens = series.tokens
        for bucket, amount in usage.items():
            tokens[bucket] = tokens.get(bucket, 0) + amount

    def call_error(self, operation: str, code: str) -> None:
        """Count a call that ended with one of our errors."""
        self._call_errors.add((operation, code))

    def error_reply(self, code: str, number: int = 1) -> None:
        """Count requests, calls or not, that were answered with an error."""
        self._error_replies.add((code,), number)

    def attempts(
        self,
        channel: str,
        outcome: str,
        code: str = "",
        *,
        durations_ms: Sequence[int] = (0,),
        cost: int = 0,
    ) -> None:
        """Count tries on one channel that have ended in one way.

        Args:
            channel: its name.
            outcome: how they ended.
            code: names our error if they failed.
            durations_ms: of each, from its begin to its end.
            cost: of all together, nano-dollars to the supplier, as far as known.
        """
        key = channel, outcome, code
        series = self._attempts.get(key)
        if series is None:
            if len(self._attempts) >= _SERIES:
                key = _OTHER, _OTHER, code and _OTHER
            series = self._attempts.setdefault(key, AttemptSeries())
        series.number += len(durations_ms)
        series.duration_ms += sum(durations_ms)
        series.cost += cost

    def gauge(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        """Export what `read` gives at each scrape, e.g. holds open."""
        self._gauges[name] = (help_text, read)

    def counter(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        """Export a number that only grows, counted elsewhere; name without _total."""
        self._counters[name] = (help_text, read)

    def states(
        self,
        name: str,
        help_text: str,
        label: str,
        read: Callable[[], Iterable[tuple[str, float]]],
    ) -> None:
        """Export a gauge with one label: `read` gives its values and numbers."""
        self._states.append((name, help_text, label, read))

    @override
    def collect(self) -> Iterator[Metric]:
        """Give every family; prometheus_client calls it."""
        self._count_rest()
        yield from self._call_families()
        yield from self._attempt_families()
        yield self._call_errors.family()
        yield self._error_replies.family()
        for name, (help_text, read) in self._counters.items():
            yield CounterMetricFamily(name, help_text, value=read())
        for name, (help_text, read) in self._gauges.items():
            yield GaugeMetricFamily(name, help_text, value=read())
        for name, help_text, label, read_all in self._states:
            family = GaugeMetricFamily(name, help_text, labels=(label,))
            for value, number in read_all():
                family.add_metric((value,), number)
            yield family

    def _attempt_families(self) -> Iterator[Metric]:
        """Sum what is counted of attempts, by the labels of each family."""
        attempts = Counts(
            "posthouse_attempts", "Tries of calls on channels.", ("channel", "outcome")
        )
        errors = Counts(
            "posthouse_upstream_errors",
            "Failed attempts by error code.",
            ("channel", "code"),
        )
        channels: dict[str, AttemptSeries] = {}
        for (channel, outcome, code), series in self._attempts.items():
            attempts.add((channel, outcome), series.number)
            if code:
                errors.add((channel, code), series.number)
            whole = channels.setdefault(channel, AttemptSeries())
            whole.number += series.number
            whole.duration_ms += series.duration_ms
            whole.cost += series.cost
        yield attempts.family()
        yield errors.family()
        # Of what they took there are only sums, for channels may be many.
        seconds = SummaryMetricFamily(
            "posthouse_attempt_seconds",
            "What tries on a channel took.",
            labels=("channel",),
        )
        cost = CounterMetricFamily(
            "posthouse_supplier_cost_usd",
            "What a channel's provider charges us, where that is known.",
            labels=("channel",),
        )
        for channel, whole in channels.items():
            seconds.add_metric((channel,), whole.number, whole.duration_ms / 1000)
            cost.add_metric((channel,), whole.cost / _NANO)
        yield seconds
        yield cost

    def _call_families(self) -> Iterator[Metric]:
        """Sum what is counted of calls, by the labels of each family."""
        calls = CounterMetricFamily(
            "posthouse_calls",
            "Calls by how they ended and the class of the status sent.",
            labels=("operation", "outcome", "status"),
        )
        tokens: Counter[tuple[str, str]] = Counter()
        charged: Counter[str] = Counter()
        totals: dict[str, Histogram] = {}
        firsts: dict[str, Histogram] = {}
        own: dict[str, Histogram] = {}
        upstream: dict[str, Histogram] = {}
        for (operation, outcome, status), series in self._calls.items():
            calls.add_metric((operation, outcome, f"{status}xx"), series.number)
            for bucket, amount in series.tokens.items():
                tokens[operation, bucket] += amount
            charged[operation] += series.charged
            totals.setdefault(operation, Histogram(_TOTAL)).merge(series.total)
            own.setdefault(operation, Histogram(_OWN)).merge(series.own)
            upstream.setdefault(operation, Histogram(_TOTAL)).merge(series.upstream)
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
        money = CounterMetricFamily(
            "posthouse_charged_usd",
            "What callers were charged.",
            labels=("operation",),
        )
        for operation, amount in charged.items():
            money.add_metric((operation,), amount / _NANO)
        yield money
        yield _times(
            "posthouse_first_token_seconds",
            "From a streamed call's arrival to its first content.",
            firsts,
        )
        yield _times(
            "posthouse_call_seconds", "From a call's arrival to its end.", totals
        )
        yield _times(
            "posthouse_upstream_seconds",
            "The part of it in which an attempt was under way.",
            upstream,
        )
        yield _times(
            "posthouse_overhead_seconds",
            "The part of it in which none was, settlement included: our own.",
            own,
        )

    def share(self, folder: Path, slot: int) -> Siblings:
        """Export, from now on, the figures of all workers; see `siblings`."""
        siblings = Siblings(folder, slot, self._registry.collect)
        self._exported = CollectorRegistry(auto_describe=False)
        self._exported.register(siblings)
        return siblings

    def exposition(self, accept: str = "") -> tuple[bytes, bytes]:
        """Give content type and body of a scrape's answer."""
        encode, content_type = choose_encoder(accept)
        return content_type.encode("latin-1"), encode(self._exported)


def _nothing_left() -> None:
    """Everything is counted as it comes."""


def _times(name: str, help_text: str, by_operation: dict[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, help_text, labels=("operation",))
    for operation, histogram in by_operation.items():
        family.add_metric((operation,), histogram.cumulative(), histogram.total)
    return family
