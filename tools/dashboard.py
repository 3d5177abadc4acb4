"""Write the Grafana dashboard, deploy/grafana/posthouse.json.

Run: python tools/dashboard.py. A panel is a line here; where it stands and how it
is drawn follows from that.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent.parent / "deploy" / "grafana" / "posthouse.json"
WIDTH = 24
HEIGHT = 8
SOURCE = {"type": "prometheus", "uid": "${source}"}
HERE = 'instance=~"$instance"'
OPERATION = f'{HERE},operation=~"$operation"'


@dataclass
class Panel:
    """One panel: what it is called, what it asks, and in which unit."""

    title: str
    queries: dict[str, str]
    """Expressions by legend."""
    unit: str = "short"
    kind: str = "timeseries"
    stacked: bool = False
    help: str = ""
    width: int = 8


def rate(metric: str, by: str, where: str = HERE) -> str:
    """Ask for a counter's rate, summed."""
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


def percentiles(metric: str) -> dict[str, str]:
    """Ask for three percentiles of a histogram, over the chosen operations."""
    buckets = rate(f"{metric}_bucket", "le", OPERATION)
    return {
        f"p{percent}": f"histogram_quantile({percent / 100}, {buckets})"
        for percent in (50, 95, 99)
    }


def mean(metric: str, where: str = OPERATION) -> str:
    """Ask for the mean of what a histogram or summary counts."""
    window = f"{{{where}}}[$__rate_interval]"
    return f"sum(rate({metric}_sum{window})) / sum(rate({metric}_count{window}))"


def gauge(metric: str) -> str:
    """Ask for a gauge of each process."""
    return f"{metric}{{{HERE}}}"


ROWS: dict[str, tuple[Panel, ...]] = {
    "Calls": (
        Panel(
            "Calls by outcome",
            {"{{outcome}}": rate("posthouse_calls_total", "outcome", OPERATION)},
            "reqps",
            stacked=True,
        ),
        Panel(
            "Calls by operation and status",
            {
                "{{operation}} {{status}}": rate(
                    "posthouse_calls_total", "operation, status", OPERATION
                )
            },
            "reqps",
        ),
        Panel(
            "Share of calls served",
            {
                "served": "sum(rate(posthouse_calls_total"
                f'{{{OPERATION},outcome="served"}}[$__rate_interval]))'
                " / sum(rate(posthouse_calls_total"
                f'{{{OPERATION},outcome!~"rejected|abandoned"}}[$__rate_interval]))'
            },
            "percentunit",
            help="Of the calls whose caller was not at fault and did not leave.",
        ),
        Panel(
            "Calls that ended with an error, by code",
            {"{{code}}": rate("posthouse_call_errors_total", "code", OPERATION)},
            "reqps",
            width=12,
        ),
        Panel(
            "Error replies by code",
            {"{{code}}": rate("posthouse_error_replies_total", "code")},
            "reqps",
            help="Of all requests, also of those that never became calls.",
            width=12,
        ),
    ),
    "Time": (
        Panel("Calls", percentiles("posthouse_call_seconds"), "s", width=6),
        Panel(
            "First token of streams",
            percentiles("posthouse_first_token_seconds"),
            "s",
            width=6,
        ),
        Panel("At providers", percentiles("posthouse_upstream_seconds"), "s", width=6),
        Panel(
            "Our own part",
            percentiles("posthouse_overhead_seconds"),
            "s",
            help="No attempt was under way: admission, choice, settlement, retries.",
            width=6,
        ),
        Panel(
            "Where a call's time goes, on average",
            {
                "providers": mean("posthouse_upstream_seconds"),
                "our own": mean("posthouse_overhead_seconds"),
            },
            "s",
            stacked=True,
            width=12,
        ),
        Panel(
            "Attempts on average, by channel",
            {
                "{{channel}}": rate("posthouse_attempt_seconds_sum", "channel")
                + " / "
                + rate("posthouse_attempt_seconds_count", "channel")
            },
            "s",
            width=12,
        ),
    ),
    "Tokens and money": (
        Panel(
            "Billed units by bucket",
            {"{{bucket}}": rate("posthouse_tokens_total", "bucket", OPERATION)},
            stacked=True,
            help="Per second.",
        ),
        Panel(
            "Charged per hour, by operation",
            {
                "{{operation}}": "3600 * "
                + rate("posthouse_charged_usd_total", "operation", OPERATION)
            },
            "currencyUSD",
            stacked=True,
        ),
        Panel(
            "Supplier cost per hour, by channel",
            {
                "{{channel}}": "3600 * "
                + rate("posthouse_supplier_cost_usd_total", "channel")
            },
            "currencyUSD",
            stacked=True,
            help="As far as costs are known.",
        ),
    ),
    "Channels": (
        Panel(
            "Breakers",
            {"{{channel}}": f"max by (channel) ({gauge('posthouse_breaker_state')})"},
            kind="state-timeline",
            help="0 closed, 1 half open, 2 open; the worst of the processes.",
            width=12,
        ),
        Panel(
            "Credentials at rest",
            {
                "{{channel}}": "max by (channel) "
                f"({gauge('posthouse_credentials_resting')})"
            },
            kind="state-timeline",
            width=12,
        ),
        Panel(
            "Attempts by channel and outcome",
            {
                "{{channel}} {{outcome}}": rate(
                    "posthouse_attempts_total", "channel, outcome"
                )
            },
            "reqps",
            width=12,
        ),
        Panel(
            "Failed attempts by channel and code",
            {
                "{{channel}} {{code}}": rate(
                    "posthouse_upstream_errors_total", "channel, code"
                )
            },
            "reqps",
            width=12,
        ),
    ),
    "Processes": (
        Panel(
            "Ready",
            {"{{instance}}": gauge("posthouse_ready")},
            kind="state-timeline",
        ),
        Panel("Open holds", {"{{instance}}": gauge("posthouse_holds_open")}),
        Panel(
            "Journal's backlog",
            {"{{instance}}": gauge("posthouse_journal_backlog_segments")},
            help="Files of the journal that the ledger has still to read.",
        ),
        Panel(
            "Loop lag",
            {
                "{{instance}} worst": gauge("posthouse_loop_lag_max_seconds"),
                "{{instance}} p99.9": gauge("posthouse_loop_lag_p999_seconds"),
            },
            "s",
            help="How late the event loop runs: what every caller waits.",
        ),
        Panel(
            "Connections to providers",
            {"{{instance}}": gauge("posthouse_upstream_connections")},
        ),
        Panel(
            "Telemetry",
            {
                "dropped": rate("posthouse_telemetry_dropped_total", "instance"),
                "not taken": rate("posthouse_telemetry_failed_total", "instance"),
                "waiting": gauge("posthouse_telemetry_queued"),
            },
            help="The queue was full, or the collector refused; and what waits.",
        ),
        Panel(
            "CPU",
            {"{{instance}}": rate("process_cpu_seconds_total", "instance")},
            "percentunit",
        ),
        Panel(
            "Resident memory",
            {"{{instance}}": gauge("process_resident_memory_bytes")},
            "bytes",
        ),
        Panel(
            "Open files and sockets",
            {"{{instance}}": gauge("process_open_fds")},
        ),
    ),
}


def dashboard() -> dict[str, Any]:
    """Give the dashboard as Grafana imports it."""
    return {
        "uid": "posthouse",
        "title": "Posthouse",
        "tags": ["posthouse"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": list(variables())},
        "panels": list(panels()),
    }


def variables() -> Iterator[dict[str, Any]]:
    """Give what is chosen at the dashboard's top."""
    yield {
        "name": "source",
        "label": "Source",
        "type": "datasource",
        "query": "prometheus",
    }
    for name, metric in (
        ("instance", "posthouse_ready"),
        ("operation", "posthouse_calls_total"),
    ):
        yield {
            "name": name,
            "label": name.capitalize(),
            "type": "query",
            "datasource": SOURCE,
            "query": f"label_values({metric}, {name})",
            "refresh": 2,
            "includeAll": True,
            "allValue": ".*",
            "multi": True,
            "current": {"text": "All", "value": "$__all"},
        }


def panels() -> Iterator[dict[str, Any]]:
    """Give the rows and their panels, each in its place."""
    number = top = 0
    for title, row in ROWS.items():
        number += 1
        place = {"x": 0, "y": top, "w": WIDTH, "h": 1}
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "gridPos": place,
            "panels": [],
        }
        top += 1
        left = 0
        for panel in row:
            if left + panel.width > WIDTH:
                left, top = 0, top + HEIGHT
            number += 1
            place = {"x": left, "y": top, "w": panel.width, "h": HEIGHT}
            yield drawn(panel, number, place)
            left += panel.width
        top += HEIGHT


def drawn(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    """Give one panel."""
    custom: dict[str, Any] = {}
    if panel.kind == "timeseries":
        custom = {"fillOpacity": 20 if panel.stacked else 0, "showPoints": "never"}
        if panel.stacked:
            custom["stacking"] = {"mode": "normal", "group": "A"}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.help,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "custom": custom},
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": SOURCE,
                "expr": query,
                "legendFormat": legend,
            }
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def text() -> str:
    """Give the file's content."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text())
