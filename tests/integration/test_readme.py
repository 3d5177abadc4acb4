"""The README's file, snippet and curl line do what it says."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.posthouse import Posthouse
from tests.support.processes import ROOT

README = (ROOT / "README.md").read_text()
CLIENTS = (ROOT / "docs" / "guide" / "clients.md").read_text()
ADDRESS = "http://127.0.0.1:3000"
SANDBOX = '\n[[channels]]\nname = "sandbox"\nprovider = "sandbox"\n'


def block(kind: str, holds: str, page: str = README) -> str:
    """Give the fenced block of a kind that holds a text."""
    found: list[str] = re.findall(
        rf"^```{kind}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL
    )
    [one] = [text for text in found if holds in text]
    return one


@pytest.fixture(scope="module")
def posthouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Posthouse]:
    """A server of the README's file, and the sandbox."""
    folder = tmp_path_factory.mktemp("readme")
    text = block("toml", "openai-main") + SANDBOX
    environment = {"OPENAI_API_KEY": "sk-of-nobody"}
    with Posthouse(folder, text, environment) as posthouse:
        yield posthouse


@pytest.fixture
def key(posthouse: Posthouse) -> str:
    """The key that was made for the application."""
    return (posthouse.data / "keys" / "app").read_text().strip()


def test_the_file_is_served(posthouse: Posthouse) -> None:
    """Both channels, and the key with its money and limit."""
    channels = {each["name"]: each for each in posthouse.ask("channel", "list")}
    assert set(channels) == {"openai-main", "local", "sandbox"}
    assert channels["local"]["models"] == ["gpt-4o-mini=qwen3-8b"]
    [app] = posthouse.ask("key", "list")
    assert (app["name"], app["balance_usd"], app["rpm"]) == ("app", "25.00", 600)


def test_the_python_snippet_runs(posthouse: Posthouse, key: str) -> None:
    """With only the address and the key changed."""
    code = block("python", "base_url").replace(ADDRESS, posthouse.url)
    done = subprocess.run(
        [sys.executable, "-c", code.replace("sk-…", key)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("This is the Posthouse sandbox")


@pytest.mark.parametrize("page", [README, CLIENTS], ids=["README", "clients"])
def test_the_curl_line_runs(
    posthouse: Posthouse, key: str, page: str, tmp_path: Path
) -> None:
    """In a shell, as it stands."""
    command = block("sh", "curl", page).replace(ADDRESS, posthouse.url)
    variables = f"KEY={key} OPENAI_API_KEY={key} OPENAI_BASE_URL={posthouse.url}/v1"
    done = subprocess.run(
        ["sh", "-c", f"{variables}; {command}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert '"model":"sandbox"' in done.stdout, done.stderr


def test_the_guides_file_is_served(tmp_path: Path) -> None:
    """Prices of a server of one's own, with one model free."""
    guide = (ROOT / "docs" / "guide" / "configuration.md").read_text()
    with Posthouse(tmp_path, block("toml", "house/*", guide)) as posthouse:
        assert "house/draft" not in posthouse.output()
