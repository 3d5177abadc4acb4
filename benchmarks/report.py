"""What was found: budgets, JSON, and the figures in `docs/reference`."""

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.gateways import ROOT, Gateway
from benchmarks.measure import Idle, Latency, Series

PAGE = ROOT / "docs/reference/performance.md"
BEGIN = "<!-- figures: written by `python -m benchmarks --page` -->"
END = "<!-- end of figures -->"
MIB = 1024 * 1024
MOST_TOGETHER = 1.25
SHARES = (0.5, 0.95, 0.99)


@dataclass
class Budget:
    """A promise, and what was measured."""

    what: str
    found: float
    limit: float
    unit: str = ""

    @property
    def kept(self) -> bool:
        return self.found <= self.limit

    def line(self) -> str:
        """One row of a table."""
        verdict = "kept" if self.kept else "**broken**"
        unit = f" {self.unit}" if self.unit else ""
        return (
            f"| {self.what} | {self.found:,.2f}{unit} | ≤ {self.limit:g}{unit}"
            f" | {verdict} |"
        )


@dataclass
class Row:
    """All that is known of one gateway."""

    label: str
    version: str
    rounds: int = 0
    startup_seconds: float = 0.0
    restart_seconds: float = 0.0
    pss: int = 0
    rss: int = 0
    first_call: float = 0.0
    """CPU µs of a key's first call."""
    unary: Series | None = None
    chunk: Series | None = None
    latency: Latency | None = None
    idle: Idle | None = None
    loop_lag: dict[str, float] = field(default_factory=dict)
    proof: dict[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, gateway: Gateway) -> "Row":
        """The row of a gateway that was just started."""
        return cls(gateway.label, gateway.version())


Rows = dict[str, Row]


def budgets(rows: Rows) -> list[Budget]:
    """The promises of the design, for what was measured."""
    found: list[Budget] = []
    floor, ours = rows["nginx"], rows.get("posthouse")
    if ours is None:
        return found
    if ours.unary and floor.unary:
        ratio = ours.unary.median / floor.unary.median
        found.append(Budget("CPU per unary call", ratio, 6, "x nginx"))
    if ours.chunk and floor.chunk:
        ratio = ours.chunk.median / floor.chunk.median
        found.append(Budget("CPU per streamed chunk", ratio, 3, "x nginx"))
        most = max(median(ours.chunk.together), median(floor.chunk.together))
        found.append(Budget("chunks that arrive together", most, MOST_TOGETHER))
    found += _translated(rows)
    for name, what in (("posthouse-keys", "keys"), ("posthouse-channels", "channels")):
        other = rows.get(name)
        if other and other.unary and ours.unary:
            ratio = other.unary.median / ours.unary.median
            label = f"CPU per call with many {what}"
            found.append(Budget(label, ratio, 1.15, "x its own"))
    found.append(Budget("memory, 10³ keys", ours.rss / MIB, 120, "MiB"))
    if many := rows.get("posthouse-keys"):
        more = (many.rss - ours.rss) / MIB
        found.append(Budget("more memory with 10⁵ keys", more, 60, "MiB"))
    if ours.idle:
        found.append(
            Budget("memory per idle stream", ours.idle.kib_per_stream, 50, "KiB")
        )
    found.append(Budget("start-up", ours.startup_seconds, 2, "s"))
    return found


def _translated(rows: Rows) -> list[Budget]:
    """What translation may cost."""
    floor, ours = rows["nginx"], rows.get("posthouse-translated")
    found: list[Budget] = []
    if ours and ours.unary and floor.unary:
        ratio = ours.unary.median / floor.unary.median
        found.append(Budget("CPU per translated unary call", ratio, 10, "x nginx"))
    if ours and ours.chunk and floor.chunk:
        ratio = ours.chunk.median / floor.chunk.median
        found.append(Budget("CPU per translated chunk", ratio, 5, "x nginx"))
    return found


def machine() -> str:
    """The machine and the day, in one line."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    day = datetime.now(UTC).date().isoformat()
    return (
        f"{day}; {os.cpu_count()} x {model}, {memory:.0f} GiB,"
        f" Linux {platform.release()}, Python {platform.python_version()}"
    )


def cost(series: Series | None, floor: Series | None) -> str:
    """Median and ratio, as two cells."""
    if series is None:
        return "- | -"
    ratio = f"{series.median / floor.median:,.2f}" if floor else "-"
    return f"{series.median:,.1f} | {ratio}"


def cpu_table(rows: Rows) -> list[str]:
    floor = rows["nginx"]
    lines = [
        "| gateway | µs per unary call | x nginx | µs per chunk | x nginx |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in rows.values():
        if row.unary:
            unary = cost(row.unary, floor.unary)
            lines.append(f"| {row.label} | {unary} | {cost(row.chunk, floor.chunk)} |")
    return lines


def paced_cost(row: Row, floor: Row) -> str:
    """What a call costs at the fixed rate, and the ratio at the same rate."""
    ours, least = row.latency, floor.latency
    assert ours is not None
    assert least is not None
    cost = median(ours.costs)
    ratio = f"{cost / median(least.costs):.2f}" if ours.rate == least.rate else "-"
    return f"{cost:,.0f} | {ratio}"


def latency_table(rows: Rows) -> list[str]:
    names = ("gateway", "calls/s", *(f"added p{s * 100:g}, ms" for s in SHARES))
    more = ("µs of CPU per call", "x nginx")
    lines = [f"| {' | '.join([*names, *more])} |", "|---|" + "---:|" * 6]
    direct = rows["direct"].latency
    assert direct is not None
    floor = {share: direct.quantile(share) * 1e3 for share in SHARES}
    for row in rows.values():
        if row.latency and row.latency is not direct:
            added = [
                f"{row.latency.quantile(share) * 1e3 - floor[share]:.2f}"
                for share in SHARES
            ]
            lines.append(
                f"| {row.label} | {row.latency.rate} | {' | '.join(added)}"
                f" | {paced_cost(row, rows['nginx'])} |"
            )
    values = " / ".join(f"{value:.2f}" for value in floor.values())
    return [*lines, "", f"Direct to the upstream: {values} ms."]


def size_table(rows: Rows) -> list[str]:
    names = ("gateway", "start-up, s", "PSS, MiB", "RSS, MiB", "KiB per idle stream")
    more = ("CPU of idle streams", "µs of a key's first call")
    lines = [f"| {' | '.join([*names, *more])} |", "|---|" + "---:|" * 6]
    for name, row in rows.items():
        if name == "direct":
            continue
        idle = "- | -"
        if row.idle:
            share = f"{row.idle.cpu_share:.2%} of a core for {row.idle.streams:,}"
            idle = f"{row.idle.kib_per_stream:.1f} | {share}"
        lines.append(
            f"| {row.label} | {row.startup_seconds:.2f} | {row.pss / MIB:.1f}"
            f" | {row.rss / MIB:.1f} | {idle} | {row.first_call:,.0f} |"
        )
    return lines


def extras(rows: Rows) -> list[str]:
    """Restart, loop lag and the proof of each of our rows."""
    lines = []
    for row in rows.values():
        if not row.proof:
            continue
        proof = ", ".join(f"{key} {value}" for key, value in row.proof.items())
        lines.append(f"- {row.label}: {proof}; restart {row.restart_seconds:.2f} s.")
    for row in rows.values():
        if row.unary and any(row.unary.beside):
            beside = median(row.unary.beside)
            lines.append(
                f"- {row.label}: PostgreSQL and Valkey spend {beside:,.0f} µs more"
                " on each call."
            )
    for row in rows.values():
        lines += [f"- `{name}` {value:g}" for name, value in row.loop_lag.items()]
    return lines


def markdown(rows: Rows, facts: str) -> str:
    """All figures as Markdown."""
    versions = ", ".join(
        f"{row.label} {row.version}" for row in rows.values() if row.version != "-"
    )
    found = budgets(rows)
    parts = [[f"Measured {facts}.", "", f"Versions: {versions}."], cpu_table(rows)]
    if found:
        head = ["| budget | found | limit | |", "|---|---:|---:|---|"]
        parts.append(head + [budget.line() for budget in found])
    parts += [latency_table(rows), size_table(rows)]
    if more := extras(rows):
        parts.append(more)
    return "\n\n".join("\n".join(part) for part in parts)


def as_json(rows: Rows, facts: str) -> str:
    """All figures for a script; latencies as quantiles in seconds."""
    content: dict[str, Any] = {"machine": facts, "rows": {}}
    for name, row in rows.items():
        values = asdict(row)
        if latency := row.latency:
            values["latency"] = {
                "rate": latency.rate,
                **{f"p{share * 100:g}": latency.quantile(share) for share in SHARES},
            }
        for series, kind in ((row.unary, "unary"), (row.chunk, "chunk")):
            if series:
                values[kind]["median"] = series.median
        content["rows"][name] = values
    content["budgets"] = [
        {**asdict(budget), "kept": budget.kept} for budget in budgets(rows)
    ]
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def refresh(page: Path, figures: str) -> None:
    """Put the figures between the page's two marks."""
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page}: the marks around the figures are missing")
    page.write_text(f"{before}{begin}\n\n{figures}\n\n{end}{after}")
