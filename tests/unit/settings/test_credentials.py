"""Credentials by reference are read when applied, and never shown."""

from pathlib import Path

import pytest
from tests.support.cases import each

from posthouse.settings.credentials import resolve


def test_literal_stands_for_itself(tmp_path: Path) -> None:
    """What is no reference is the credential."""
    assert resolve("sk-abc", tmp_path, {}) == "sk-abc"


def test_variable_is_read_without_its_line_end(tmp_path: Path) -> None:
    """A variable set from a file often ends with a line end."""
    assert resolve("env:NAME", tmp_path, {"NAME": "sk-abc\n"}) == "sk-abc"


@each("environment", [{}, {"NAME": ""}, {"NAME": " \n"}])
def test_missing_variable_is_named(tmp_path: Path, environment: dict[str, str]) -> None:
    """Unset and empty are the same mistake."""
    with pytest.raises(ValueError, match="variable NAME is not set"):
        resolve("env:NAME", tmp_path, environment)


def test_file_is_found_beside_the_configuration(tmp_path: Path) -> None:
    """A relative path begins at the configuration file's folder."""
    (tmp_path / "key").write_text("sk-abc\n")
    assert resolve("file:key", tmp_path, {}) == "sk-abc"
    assert resolve(f"file:{tmp_path}/key", Path("/elsewhere"), {}) == "sk-abc"


@each(
    ("content", "reason"),
    [
        (None, "cannot read"),
        (b"", "is empty"),
        (b"\xffcanary", "ASCII"),
        (b"canary" * 5000, "too large"),
    ],
)
def test_bad_file_is_named_but_not_shown(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    """Each way in which a file holds no credential has its reason."""
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ValueError, match=reason) as caught:
        resolve("file:key", tmp_path, {})
    assert "canary" not in str(caught.value)
