"""The guide to routing: what it shows is taken as it stands."""

import re
import tomllib
from pathlib import Path

import pytest

from posthouse.settings.environment import all_settings
from posthouse.settings.file import RoutingSpec, RuleUse, RuleWhen
from posthouse.settings.loader import load_file

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "routing.md"
EXAMPLE = Path(__file__).parents[2] / "posthouse.example.toml"
BLOCKS = re.findall(r"```toml\n(.*?)```", GUIDE.read_text(), re.DOTALL)


@pytest.mark.parametrize("text", BLOCKS)
def test_every_example_of_the_guide_loads(tmp_path: Path, text: str) -> None:
    """As a file of its own."""
    path = tmp_path / "posthouse.toml"
    path.write_text(text)
    load_file(path)


def test_the_guide_names_all_that_there_is() -> None:
    """Policies, conditions, effects and settings."""
    text = GUIDE.read_text()
    policies = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert RoutingSpec.__annotations__["policy"].__args__ == tuple(policies)
    for name in (*RuleWhen.__struct_fields__, *RuleUse.__struct_fields__):
        assert f"`{name}" in text, name
    for name in re.findall(r"POSTHOUSE_(\w+)", text):
        assert name.lower() in all_settings()


def test_what_the_example_shows_in_comments_loads_too(tmp_path: Path) -> None:
    """Routing, rules, probes and groups stand there commented."""
    commented = re.sub(
        r"^# (?=\[|[a-z]+ = )", "", EXAMPLE.read_text(), flags=re.MULTILINE
    )
    tree = tomllib.loads(commented)
    assert tree["rules"][0]["use"]
    assert tree["routing"][0]["hedge"]
    assert tree["channels"][0]["probe"]
    assert tree["keys"][0]["group"]
    path = tmp_path / "posthouse.toml"
    path.write_text(commented)
    load_file(path)
