"""The page of metrics, from what a process really exports."""

import asyncio
import tempfile
from pathlib import Path

from prometheus_client.core import Metric

import markdown
from posthouse.app import Application
from posthouse.cli.installation import open_installation
from posthouse.settings.environment import load_settings
from posthouse.settings.loader import load_file

INTRODUCTION = """\
# Metrics

Generated from the running program by `make docs`.

`GET /metrics` answers in the format of Prometheus. No label holds a key, a user,
an address or a model as a client named it: labels are bounded, whatever is asked.
"""


async def families() -> list[Metric]:
    """Start an application in a folder of its own and give what it exports."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(data=Path(folder))
        file = Path(folder) / "posthouse.toml"
        file.write_text('[[channels]]\nname = "channel"\nprovider = "sandbox"\n')
        async with open_installation(settings) as installation:
            await installation.apply(load_file(file))
            application = Application(
                settings,
                installation.database,
                box=installation.box,
                pepper=installation.pepper,
            )
            await application.start()
            try:
                metrics = application.metrics
                metrics.calls(
                    ("chat", "served", 2),
                    [0.001],
                    [0.001],
                    first_tokens=[0.001],
                    usage={"input": 1},
                )
                metrics.call_error("chat", "upstream_timeout")
                metrics.error_reply("invalid_api_key")
                metrics.attempts("channel", "failed", "upstream_timeout")
                return list(metrics.collect())
            finally:
                await application.close()


def labels_of(family: Metric) -> str:
    """Name a family's labels."""
    names = dict.fromkeys(
        name for sample in family.samples for name in sample.labels if name != "le"
    )
    return ", ".join(f"`{name}`" for name in names)


def name_of(family: Metric) -> str:
    """Give the name under which a family is asked for."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def page() -> str:
    """Write the page."""
    found = [
        (f"`{name_of(f)}`", f.type, labels_of(f), f.documentation)
        for f in asyncio.run(families())
    ]
    head = ("Name", "Type", "Labels", "Meaning")
    return markdown.page(
        INTRODUCTION,
        markdown.table(head, found),
        "Beside them stand the process's own figures (`process_*`, `python_*`).",
    )
