"""What the files of deploy/ say, held to what the program knows."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from posthouse.cli import make_app
from posthouse.settings.environment import all_settings, unknown_variables, variable

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SETTLE_SECONDS = 5.0
"""What a stop takes at most beyond its two limits."""


def documents(text: str) -> list[dict[str, Any]]:
    """Read YAML documents; a key that stands twice is an error."""
    return [found for found in yaml.load_all(text, Loader=_Strict) if found]


class _Strict(yaml.SafeLoader):
    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        assert len(set(names)) == len(names), f"twice in {node.start_mark}: {names}"
        return super().construct_mapping(node, deep)


def check_environment(environment: Mapping[str, str | None]) -> None:
    """See that every variable is a setting and takes its value; None is any value."""
    assert unknown_variables(environment) == []
    for name, setting in all_settings().items():
        value = environment.get(variable(name))
        if value is not None and not value.startswith("file:"):
            setting.read(value)


def check_command(words: list[str]) -> None:
    """See that a command line of posthouse, without its name, can be read."""
    make_app().parse_args(shlex.join(words), exit_on_error=False)


def stop_seconds(environment: Mapping[str, str | None]) -> float:
    """Give how long a server with this environment takes to stop at most."""
    settings = all_settings()
    names = ("drain_grace_seconds", "drain_seconds")
    return SETTLE_SECONDS + sum(
        float(environment.get(variable(name)) or settings[name].default)
        for name in names
    )
