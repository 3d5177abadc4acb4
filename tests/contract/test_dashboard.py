"""The Grafana dashboard asks only for what the program exports."""

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.cases import each

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import dashboard  # noqa: E402 - a tool, found by the path above
import reference_metrics  # noqa: E402 - likewise

DASHBOARD = json.loads((ROOT / "deploy/grafana/posthouse.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
FROM_THE_SCRAPE = {"instance", "job"}


@cache
def exported() -> dict[str, set[str]]:
    """Give the labels of every series that a process exports, by its name."""
    found: dict[str, set[str]] = {}
    for family in asyncio.run(reference_metrics.families()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions() -> Iterator[str]:
    """Give everything that is asked of Prometheus."""
    for panel in PANELS:
        for target in panel.get("targets", []):
            yield target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]


@each("expression", sorted(set(expressions())))
def test_an_expression_asks_for_series_and_labels_that_exist(expression: str) -> None:
    names = set(re.findall(r"\b(?:posthouse|process|python)_\w+", expression))
    assert names, expression
    process = {name for name in names if name.startswith(("process_", "python_"))}
    assert process <= {
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_resident_memory_bytes",
    }
    assert names - process <= exported().keys()
    asked = set(re.findall(r"([a-z_]+)(?:=~|!~|!=|=)\"", expression))
    for group in re.findall(r"by \(([^)]*)\)", expression):
        asked.update(label.strip() for label in group.split(","))
    for name in names - process:
        assert asked <= exported()[name] | FROM_THE_SCRAPE, name


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_file_is_what_the_tool_writes() -> None:
    assert dashboard.FILE.read_text() == dashboard.text()
