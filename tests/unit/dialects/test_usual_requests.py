"""Recorded requests are read by types as they are member by member."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from tests.support.cases import each

from posthouse.dialects.base import ParsedRequest
from posthouse.errors import InvalidRequest
from posthouse.model.chat import ChatRequest

GOLDEN = Path(__file__).parents[2] / "golden" / "chat"
DIALECTS = ("anthropic_messages", "openai_chat", "openai_responses")


def recorded() -> list[tuple[str, Path]]:
    return [
        (name, path)
        for name in DIALECTS
        for path in sorted((GOLDEN / name).glob("*/request.json"))
    ]


def read(
    reader: Callable[[ParsedRequest], ChatRequest], request: ParsedRequest
) -> ChatRequest | str:
    """What a reader gives, or of what it complains."""
    try:
        return reader(request)
    except InvalidRequest as error:
        return str(error)


@each(("name", "path"), recorded)
def test_what_clients_really_ask_is_read_alike(name: str, path: Path) -> None:
    package = f"posthouse.dialects.{name}"
    readers = import_module(f"{package}.read_request")
    try:
        request = import_module(package).DIALECT.parse_request(path.read_bytes())
    except InvalidRequest:
        # Some are recorded for being refused.
        return
    found = read(readers.read_request, request)
    assert found == read(readers._read_members, request)
