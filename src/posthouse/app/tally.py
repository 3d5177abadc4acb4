"""Calls that have ended, on their way to the metrics.

Counting a call by itself costs more than many together, so they gather here. They
are counted when they are many, and before anything reads the metrics.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from posthouse.model.call import AttemptRecord, CallRecord
from posthouse.observe.metrics import Metrics

BATCH: Final = 64
"""Calls that are counted together; that is over before it is noticed."""

Ended = tuple[CallRecord, float, float]
"""A call's record; what it took in seconds, and how much of that at providers."""


class Tally:
    """Counts calls by batches."""

    def __init__(self, metrics: Metrics) -> None:
        """Count into `metrics`, which say when they are read."""
        self._metrics = metrics
        self._ended: list[Ended] = []
        metrics.ask_first(self.count)

    def add(self, record: CallRecord, elapsed: float, upstream: float) -> None:
        """Take a call that took `elapsed` seconds, `upstream` of them at providers."""
        ended = self._ended
        ended.append((record, elapsed, upstream))
        if len(ended) >= BATCH:
            self.count()

    def count(self) -> None:
        """Count what has come."""
        ended, self._ended = self._ended, []
        calls: defaultdict[tuple[str, str, int], list[Ended]] = defaultdict(list)
        tries: defaultdict[tuple[str, str, str], list[AttemptRecord]]
        tries = defaultdict(list)
        for one in ended:
            record = one[0]
            calls[record.operation, record.outcome, record.status // 100].append(one)
            for attempt in record.attempts:
                tries[attempt.channel, attempt.outcome, attempt.error_code].append(
                    attempt
                )
            if record.error_code:
                self._metrics.call_error(record.operation, record.error_code)
        for kind, alike in calls.items():
            self._count_calls(kind, alike)
        for (channel, outcome, code), attempts in tries.items():
            self._metrics.attempts(
                channel,
                outcome,
                code,
                durations_ms=[attempt.duration_ms for attempt in attempts],
                cost=sum([attempt.cost or 0 for attempt in attempts]),
            )

    def _count_calls(self, kind: tuple[str, str, int], ended: Sequence[Ended]) -> None:
        """Count calls of one operation that ended in one way."""
        records, elapsed, upstream = zip(*ended, strict=True)
        usage: defaultdict[str, int] = defaultdict(int)
        for record in records:
            for bucket, amount in record.usage.items():
                usage[bucket] += amount
        self._metrics.calls(
            kind,
            elapsed,
            upstream,
            first_tokens=[
                record.first_token_ms / 1000
                for record in records
                if record.streamed and record.first_token_ms
            ],
            charged=sum([record.price for record in records]),
            usage=usage,
        )
