"""What is installed is what was locked, from one place; and nothing calls out."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.support.processes import ROOT

LEAST = {
    "starlette": (1, 0, 1),
    "h11": (0, 16),
    "python-multipart": (0, 0, 27),
    "aiohttp": (3, 13, 4),
    "urllib3": (2, 7, 0),
    "orjson": (3, 9, 15),
    "redis": (4, 5, 4),
}
"""Below these are faults that are known; what is not used has none."""
INDEX = "https://pypi.org/simple"
FILES = "https://files.pythonhosted.org/packages/"

WITHOUT_NETWORK = """
import importlib, pkgutil, socket, sys

def refuse(*place, **_):
    raise SystemExit(f"the network was asked for: {place}")

for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, refuse)
for name in ("getaddrinfo", "gethostbyname", "create_connection"):
    setattr(socket, name, refuse)

import posthouse
for module in pkgutil.walk_packages(posthouse.__path__, "posthouse."):
    # Alembic runs its own environment and versions.
    if not module.name.endswith("__main__") and ".migrations." not in module.name:
        importlib.import_module(module.name)
from posthouse.catalog.load import load_catalog
assert load_catalog()
print(len([name for name in sys.modules if name.startswith("posthouse")]))
"""


def locked() -> list[dict[str, Any]]:
    """Give the packages of the lock file."""
    found: list[dict[str, Any]] = tomllib.loads((ROOT / "uv.lock").read_text())[
        "package"
    ]
    return found


def test_every_package_comes_from_one_index_with_its_hash() -> None:
    """Each file of each, for every system."""
    packages = [one for one in locked() if one["name"] != "posthouse"]
    assert len(packages) > 40
    for package in packages:
        assert package["source"] == {"registry": INDEX}, package["name"]
        files = [*package.get("wheels", ()), package.get("sdist")]
        for file in filter(None, files):
            assert file["url"].startswith(FILES), file
            assert re.fullmatch(r"sha256:[0-9a-f]{64}", file["hash"]), file


def test_no_package_has_a_fault_that_is_known() -> None:
    """The versions that ended the faults of this kind of service."""
    for package in locked():
        least = LEAST.get(package["name"])
        if least is not None:
            parts = re.findall(r"\d+", package["version"])
            assert tuple(map(int, parts)) >= least, package["name"]


def test_new_versions_wait_before_they_are_taken() -> None:
    """What was published yesterday nobody has looked at."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
    assert options["exclude-newer"]


def test_the_image_installs_what_is_locked() -> None:
    """And nothing else, of no other place."""
    text = (ROOT / "Dockerfile").read_text()
    syncs = [line for line in text.splitlines() if "uv sync" in line]
    assert syncs
    assert all("--frozen" in line for line in syncs)
    installs = re.findall(r"pip install ([^\n]*)", text)
    assert installs == ["--no-cache-dir uv==0.13.8"]


@pytest.mark.parametrize("name", ["src", "src/posthouse"])
def test_nothing_runs_when_an_interpreter_starts(name: str) -> None:
    """No `.pth`, no `sitecustomize`, no second package in what is built."""
    folder = ROOT / name
    bad = [*folder.rglob("*.pth"), *folder.rglob("*customize.py")]
    assert bad == []
    assert [path.name for path in (ROOT / "src").iterdir() if path.is_dir()] == [
        "posthouse"
    ]


def test_nothing_is_asked_of_the_network_at_import(tmp_path: Path) -> None:
    """Every module is imported and the catalogue is read, with no network there."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NETWORK],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 80
