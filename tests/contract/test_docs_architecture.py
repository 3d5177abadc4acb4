"""ARCHITECTURE.md says of layers, words and folders what is so."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
SOURCE = ROOT / "src" / "posthouse"


def section(title: str) -> str:
    """Give a section's text."""
    return TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]


def documented_layers() -> list[set[str]]:
    """Give the layers of the document, highest first."""
    block = section("Layers").split("```")[1]
    lines = [line for line in block.splitlines() if line.strip()]
    return [set(re.split(r" {2,}", line)[0].split(" | ")) for line in lines]


def test_the_layers_are_those_that_are_checked() -> None:
    """What import-linter holds, leaving out layers that are not there yet."""
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = configuration["tool"]["importlinter"]["contracts"]
    [contract] = [each for each in contracts if each["type"] == "layers"]
    checked = []
    for layer in contract["layers"]:
        present = {
            name
            for name in map(str.strip, layer.split("|"))
            if not name.startswith("(") or _exists(name.strip("()"))
        }
        if present:
            checked.append({name.strip("()") for name in present})
    assert documented_layers() == checked


def _exists(name: str) -> bool:
    return (SOURCE / name).is_dir() or (SOURCE / f"{name}.py").exists()


def test_every_package_is_in_a_layer() -> None:
    """Nothing of the source is left out of the picture."""
    named = set().union(*documented_layers())
    found = {
        path.stem
        for path in SOURCE.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert found - {"__init__", "__main__"} == named


def test_the_map_names_folders_that_are_there() -> None:
    """Every path in the map exists, and every code folder of the root is in it."""
    table = section("The map")
    first_cells = re.findall(r"^\| (.*?) \|", table, re.MULTILINE)
    paths = [path for cell in first_cells for path in re.findall(r"`([^`]+/)`", cell)]
    assert paths
    missing = [path for path in paths if not (ROOT / path).is_dir()]
    assert not missing
    named = {
        part for path in re.findall(r"`([a-z/]+)/`", table) for part in path.split("/")
    }
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/*.py")}
    assert folders <= named


def test_packages_named_in_one_calls_way_exist() -> None:
    """The walk from first byte to last leads through real modules."""
    for name in re.findall(r"\*\*`([a-z_/]+)`\*\*", section("One call")):
        path = SOURCE / name
        assert path.is_dir() or path.with_suffix(".py").exists(), name
