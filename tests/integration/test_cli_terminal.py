"""What a person sees: tables, colours, lines as wide as the terminal."""

import re
from pathlib import Path

import pytest
from tests.support.posthouse import COMMAND
from tests.support.terminal import run_on_terminal

ESCAPE = "\x1b["


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation, made on a terminal."""
    data = tmp_path_factory.mktemp("terminal") / "data"
    code, text = run_on_terminal([COMMAND, "init", "--data", data])
    assert code == 0, text
    assert ESCAPE in text
    return data


def test_a_table_is_drawn_within_the_terminal(data: Path) -> None:
    """Columns that find no room are named, not squeezed."""
    code, text = run_on_terminal(
        [COMMAND, "channel", "list", "--data", data], columns=60
    )
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    assert code == 0
    assert "┃ name" in plain
    assert "│ sandbox │" in plain
    assert "A wider terminal shows" in plain
    assert all(len(line) <= 60 for line in plain.splitlines())
    assert "\x1b[32menabled" in text


def test_colours_can_be_refused(data: Path) -> None:
    """NO_COLOR is obeyed, as everywhere."""
    command = [COMMAND, "channel", "list", "--data", data]
    _, text = run_on_terminal(command, environment={"NO_COLOR": "1"})
    assert "[32m" not in text


def test_json_is_the_same_on_a_terminal(data: Path) -> None:
    """No colour, no table."""
    code, text = run_on_terminal([COMMAND, "key", "list", "--json", "--data", data])
    assert code == 0
    assert text.startswith("[\r\n")
    assert ESCAPE not in text


def test_errors_are_a_line_in_colour(data: Path) -> None:
    """And still a line."""
    code, text = run_on_terminal([COMMAND, "key", "revoke", "nobody", "--data", data])
    assert code == 2
    assert "posthouse: key: there is no key 'nobody'" in text
    assert "\x1b[31m" in text
    assert len(text.splitlines()) == 1
