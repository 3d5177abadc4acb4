"""The figures of several workers as one: each writes its own, a scrape adds them.

Every worker leaves what it counts in a file of the run's folder, once a second,
whole or not at all. Whoever is scraped adds its own, as they are now, to those
of the others, which are a second old at most. A worker that takes over a dead
one's place goes on from its last counters, so a sum never falls; what was counted
between the last writing and the death is missing.

Counters and histograms are added. So are gauges, but for those that tell of one
thing that all see: of these the greatest or least counts.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from typing_extensions import override

PUBLISH_SECONDS: Final = 1.0
_PREFIX: Final = "metrics-"
_GROWING: Final = frozenset({"counter", "histogram", "summary"})
_LEAST: Final = frozenset(
    {"posthouse_ready", "posthouse_limits_shared", "process_start_time_seconds"}
)
_GREATEST: Final = frozenset(
    {
        "posthouse_loop_lag_max_seconds",
        "posthouse_loop_lag_p999_seconds",
        "process_max_fds",
    }
)

Labels = tuple[tuple[str, str], ...]


class Family(Struct):
    """What is exported under one name."""

    name: str
    kind: str
    help: str
    samples: dict[tuple[str, Labels], float]
    """By the sample's own name and its labels."""


_encode = msgspec.msgpack.Encoder().encode
_Left = list[tuple[str, str, str, list[tuple[str, Labels, float]]]]
_decode = msgspec.msgpack.Decoder(_Left).decode


def families(metrics: Iterable[Metric]) -> dict[str, Family]:
    """Take what a collector gives."""
    return {
        metric.name: Family(
            metric.name,
            metric.type,
            metric.documentation,
            {
                (sample.name, tuple(sorted(sample.labels.items()))): float(sample.value)
                for sample in metric.samples
            },
        )
        for metric in metrics
    }


def joined(name: str, kind: str, labels: Labels) -> Callable[[float, float], float]:
    """How a sample of two workers becomes one."""
    if name in _LEAST:
        return min
    tells_of_channels = kind == "gauge" and any(key == "channel" for key, _ in labels)
    if name in _GREATEST or kind == "info" or tells_of_channels:
        return max
    return float.__add__


def add(total: dict[str, Family], more: dict[str, Family]) -> None:
    """Add the figures of a worker to others', in place."""
    for name, family in more.items():
        known = total.get(name)
        if known is None:
            known = Family(family.name, family.kind, family.help, {})
            total[name] = known
        for key, value in family.samples.items():
            if key in known.samples:
                join = joined(name, family.kind, key[1])
                known.samples[key] = join(known.samples[key], value)
            else:
                known.samples[key] = value


class Siblings(Collector):
    """One worker's way to the figures of all."""

    def __init__(
        self, folder: Path, slot: int, own: Callable[[], Iterable[Metric]]
    ) -> None:
        """Take up the place of whoever had it before.

        Args:
            folder: of the run; it is there.
            slot: the worker's place.
            own: gives what this worker counts.
        """
        self._folder = folder
        self._path = folder / f"{_PREFIX}{slot}"
        self._writing = threading.Lock()
        self._closed = False
        self._own = own
        self._before = {
            name: family
            for name, family in _read(self._path).items()
            if family.kind in _GROWING
        }

    def figures(self) -> bytes:
        """This worker's figures, for `write`."""
        content = [
            (
                f.name,
                f.kind,
                f.help,
                [(*key, value) for key, value in f.samples.items()],
            )
            for f in self._figures().values()
        ]
        return _encode(content)

    def write(self, figures: bytes, *, last: bool = False) -> None:
        """Leave this worker's figures for the others.

        In a thread: a disk may take its time. Behind the `last` ones no others
        are written, whatever threads still wait.
        """
        with self._writing:
            if self._closed:
                return
            self._closed = last
            whole = self._path.with_suffix(".new")
            whole.write_bytes(figures)
            whole.replace(self._path)

    @override
    def collect(self) -> Iterator[Metric]:
        """Give every family, all workers together."""
        total = self._figures()
        for path in self._folder.glob(f"{_PREFIX}*"):
            if path != self._path and not path.suffix:
                add(total, _read(path))
        for family in total.values():
            metric = Metric(family.name, family.help, family.kind)
            metric.samples = [
                Sample(name, dict(labels), value)
                for (name, labels), value in family.samples.items()
            ]
            yield metric

    def _figures(self) -> dict[str, Family]:
        found = families(self._own())
        add(found, self._before)
        return found


def forget_figures(folder: Path) -> None:
    """Remove what the workers of an earlier run have left."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.glob(f"{_PREFIX}*"):
        path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Family]:
    """Give what a worker has left; nothing if it is not there or damaged."""
    with suppress(OSError, msgspec.MsgspecError):
        return {
            name: Family(
                name,
                kind,
                help_text,
                {(own, labels): value for own, labels, value in samples},
            )
            for name, kind, help_text, samples in _decode(path.read_bytes())
        }
    return {}
