"""What a translation loses has one name in every dialect, which the guide explains."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.cases import each
from tools.chat_golden import FOLDER, find_cases

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "posthouse" / "dialects"
GUIDE = ROOT / "docs" / "guide" / "dialects.md"
WRITERS = (
    "anthropic_messages/*.py",
    "bedrock_converse/*.py",
    "dashscope_text/*.py",
    "ernie_chat/*.py",
    "gemini_generate/*.py",
    "neutral/several.py",
    "neutral/translation.py",
    "openai/reshaped.py",
    "openai_chat/*.py",
    "openai_responses/*.py",
    "spark_chat/*.py",
    "tencent_chat/*.py",
)
PLACES = (
    "messages",
    "messages.content",
    "thinking",
    "tools",
    "tool_choice",
    "tool_calls",
    "tool_result",
)
CONTENT = {"CONTENT", "_CONTENT", "_PLACE"}
"""What modules call the place `messages.content`."""


def explained() -> set[str]:
    """The names in the guide's table."""
    text = GUIDE.read_text().partition("| Name | What it is |")[2]
    table = text.partition("\n\n")[0]
    names = [
        line.split("|")[1] for line in table.splitlines() if line.startswith("| `")
    ]
    return set(re.findall(r"`([a-z_.]+)`", " ".join(names)))


def told() -> Iterator[tuple[str, str]]:
    """Where a writer tells a loss, and by which name; `*` is what it finds."""
    for pattern in WRITERS:
        for file in sorted(SOURCE.glob(pattern)):
            for node in ast.walk(ast.parse(file.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in ("drop", "change")
                    and node.args
                ):
                    where = f"{file.parent.name}/{file.name}:{node.lineno}"
                    yield where, _name(node.args[0])


def _name(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(map(_name, values))
        case ast.FormattedValue(value=ast.Name(id=name)) if name in CONTENT:
            return "messages.content"
    return "*"


def is_explained(name: str, known: set[str]) -> bool:
    """Whether it stands in the table, or is a member's own name in a place."""
    place, _, own = name.rpartition(".")
    return name in known or (bool(own) and place in PLACES)


def test_the_table_is_found() -> None:
    assert {"thinking", "n", "tool_result.is_error"} <= explained()


def test_writers_tell_what_the_guide_explains() -> None:
    known = explained()
    found = list(told())
    assert len(found) > 100
    # What a loop finds is looked for in the recorded cases below.
    unknown = [
        (where, name)
        for where, name in found
        if name not in ("*", "*.*") and not is_explained(name, known)
    ]
    assert unknown == []


def test_every_name_of_the_table_may_be_told() -> None:
    """Names in loops are those of the SDKs' own members."""
    names = {name for _, name in told()} | {"response_format.strict"}
    text = "".join(
        file.read_text() for pattern in WRITERS for file in SOURCE.glob(pattern)
    )
    assert [
        name
        for name in explained() - names
        if f'"{name.rpartition(".")[2]}"' not in text
    ] == []


@each("folder", find_cases(), ids=lambda folder: str(folder.relative_to(FOLDER)))
def test_what_is_told_of_a_case_is_explained(folder: Path) -> None:
    """Or is the caller's own word, as it stands in the request."""
    request = folder / "request.json"
    body = json.loads(request.read_text()) if request.exists() else {}
    own = {_plain(name) for name in body}
    known = explained()
    for file in folder.glob("expected/*.losses"):
        for line in file.read_text().split():
            name = line[1:]
            first = name.partition(".")[0]
            assert is_explained(name, known) or _plain(first) in own - {"messages"}, (
                line
            )


def _plain(name: str) -> str:
    """Google's members have two spellings."""
    return name.replace("_", "").lower()
