"""The image is built from what is there, and runs as nobody's root."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGE = (ROOT / "Dockerfile").read_text()


def test_one_version_of_uv() -> None:
    """The Makefile's and the image's."""
    [version] = re.findall(
        r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    assert f"uv=={version}" in IMAGE


def test_the_image_does_not_run_as_root() -> None:
    """Its last word on users is a number above zero, as Kubernetes wants it."""
    users = re.findall(r"^USER (\d+):(\d+)$", IMAGE, re.MULTILINE)
    assert int(users[-1][0]) > 0


def test_what_is_copied_is_there_and_not_ignored() -> None:
    """And nothing else gets into the build."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.*)$", IMAGE, re.MULTILINE)
        for name in line.split()[:-1]
    }
    assert all((ROOT / name).exists() for name in copied)
    assert {f"!{name}" for name in copied} == {
        line for line in ignored if line.startswith("!")
    }


def test_the_health_check_is_a_program() -> None:
    """A list that JSON can read, whose code compiles."""
    [command] = re.findall(r"^ +CMD (\[.*\])$", IMAGE, re.MULTILINE)
    name, option, code = json.loads(command)
    assert (name, option) == ("python", "-c")
    compile(code, "healthcheck", "exec")
