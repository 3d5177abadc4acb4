"""Recorded requests are read by types as they are member by member."""

from importlib import import_module
from pathlib import Path

from tests.support.cases import each

GOLDEN = Path(__file__).parents[2] / "golden" / "chat"
DIALECTS = ("anthropic_messages", "openai_chat")


def recorded() -> list[tuple[str, Path]]:
    return [
        (name, path)
        for name in DIALECTS
        for path in sorted((GOLDEN / name).glob("*/request.json"))
    ]


@each(("name", "path"), recorded)
def test_what_clients_really_ask_is_read_alike(name: str, path: Path) -> None:
    package = f"posthouse.dialects.{name}"
    request = import_module(package).DIALECT.parse_request(path.read_bytes())
    reader = import_module(f"{package}.read_request")
    assert reader.read_request(request) == reader._read_members(request)
