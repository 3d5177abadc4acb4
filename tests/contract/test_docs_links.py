"""Every link of the documents leads somewhere, every command in them exists."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import CycloptsError
from tests.support.cases import each

from posthouse.cli import make_app
from posthouse.settings.environment import all_settings, variable

ROOT = Path(__file__).parents[2]
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")})
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> Iterator[tuple[Path, str]]:
    """Give the fenced blocks of a kind."""
    for page in PAGES:
        for found, text in FENCE.findall(page.read_text()):
            if found == kind:
                yield page, text


def anchors(page: Path) -> set[str]:
    """Give the names that a page's headings have on GitHub."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(plain.replace(" ", "-"))
    return found


@each("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Files and headings; addresses outside are not visited."""
    text = FENCE.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(path), f"{page}: {target}"


def commands() -> list[str]:
    """Give the lines of shell blocks that call posthouse."""
    found = []
    for _, text in blocks("sh"):
        joined = text.replace("\\\n", " ")
        for line in joined.splitlines():
            words = shlex.split(line, comments=True)
            for index, word in enumerate(words):
                if word.endswith("bin/posthouse") or (
                    word == "posthouse" and index == _first(words)
                ):
                    found.append(shlex.join(words[index + 1 :]))
    return sorted(set(found))


def _first(words: list[str]) -> int:
    """Give the place of the command behind its variables, or in a container."""
    if words[:2] == ["docker", "exec"]:
        return 3
    return next(index for index, word in enumerate(words) if "=" not in word)


@each("command", commands())
def test_commands_in_the_documents_exist(command: str) -> None:
    """With the options that they are shown with."""
    try:
        make_app().parse_args(shlex.split(command), exit_on_error=False)
    except CycloptsError as error:
        pytest.fail(f"posthouse {command}: {error}")


def test_commands_were_found() -> None:
    """The test above is not about nothing."""
    assert len(commands()) > 10


def test_variables_in_the_documents_exist() -> None:
    """A setting that is named is a setting."""
    known = {variable(name) for name in all_settings()}
    files = [*PAGES, ROOT / "Dockerfile", ROOT / "posthouse.example.toml"]
    for page in files:
        named = set(re.findall(r"\bPOSTHOUSE_[A-Z_]+[A-Z]\b", page.read_text()))
        assert named <= known, page
