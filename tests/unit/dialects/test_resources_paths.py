"""Words, ids and costs of paths, held to the path templates of the SDKs."""

import re
from collections.abc import Iterator
from pathlib import Path

import anthropic
import openai
import pytest
from tests.support.cases import each

from posthouse.dialects.resources.paths import read_path
from posthouse.dialects.resources.routes import (
    BEGINNINGS,
    LISTS,
    Cost,
    cost_of,
    is_known,
    made_by,
)
from posthouse.dialects.resources.words import (
    ADMINISTRATION,
    FIRST,
    WHOLE_ACCOUNT,
    WORDS,
)
from posthouse.errors import NotFound

_CALL = re.compile(
    r"self\._(get|post|put|patch|delete|get_api_list)\(\s*"
    r'(?:path_template\(\s*)?f?"(/[^"]*)"'
)
_HOLE = re.compile(r"\{[^}]*\}")
OURS = frozenset(
    """
    /audio/speech /audio/transcriptions /audio/translations /chat/completions
    /completions /embeddings /images/edits /images/generations /images/variations
    /messages /messages/count_tokens /models /moderations /responses
    """.split()  # noqa: SIM905 - a list of words
)
"""Paths that are treated, whole."""
READ_BY_NAME = {"/webhook_event_types"}


def templates() -> list[tuple[str, str]]:
    """Every method and path template of both SDKs, behind the version."""
    return sorted(set(_found()))


def _found() -> Iterator[tuple[str, str]]:
    for package in (openai, anthropic):
        folder = Path(package.__file__).parent / "resources"
        for file in folder.rglob("*.py"):
            for method, path in _CALL.findall(file.read_text()):
                plain = path.partition("?")[0].removeprefix("/v1")
                kind = "GET" if method == "get_api_list" else method.upper()
                yield kind, plain


TEMPLATES = templates()
RELAYED = [
    (method, path)
    for method, path in TEMPLATES
    if path.split("/")[1] not in ADMINISTRATION and path not in OURS
]


def filled(template: str) -> str:
    """A path with ids in the holes."""
    return _HOLE.sub("thing_0123456789", template)


def test_there_are_many() -> None:
    assert len(RELAYED) > 280


def test_every_word_is_known_and_none_is_too_much() -> None:
    words = {
        word
        for _, path in TEMPLATES
        if path.split("/")[1] not in ADMINISTRATION
        for word in path.split("/")[1:]
        if not word.startswith("{")
    }
    assert words <= WORDS
    # Found only by following `results_url`.
    assert WORDS - words == {"results"}
    assert {path.split("/")[1] for _, path in RELAYED} <= FIRST


@each(("method", "template"), RELAYED)
def test_every_hole_is_an_id_and_nothing_else(method: str, template: str) -> None:
    path = read_path("/v1" + filled(template))
    holes = _HOLE.findall(template)
    numbers = template.count("/versions/{")
    assert len(path.ids) == len(holes) - numbers
    assert path.template == _HOLE.sub("{}", template)
    assert path.is_whole_account == (template.split("/")[1] in WHOLE_ACCOUNT)
    if not path.is_whole_account:
        assert is_known(path) or method == "GET", (method, template)


def test_every_list_of_all_is_one_of_ours_or_known() -> None:
    lists = {
        path
        for method, path in RELAYED
        if method == "GET" and "{" not in path and not path.startswith("/webhook_")
    }
    assert lists - {"/chat/completions"} <= LISTS
    assert lists | {"/chat/completions"} >= LISTS


def test_things_are_made_where_they_are_listed() -> None:
    for method, template in RELAYED:
        if method == "POST" and template in LISTS:
            assert made_by("POST", read_path(template)) == template
    assert made_by("POST", read_path("/v1/videos/a-1/remix")) == "/videos"
    assert made_by("GET", read_path("/v1/files")) == ""


FREE_OF_CHARGE = {"cancel", "complete", "archive", "pause", "hangup", "reject"}


@each(("method", "template"), RELAYED)
def test_only_what_costs_nothing_is_free(method: str, template: str) -> None:
    path = read_path(filled(template))
    cost = cost_of(method, path)
    if method in ("GET", "DELETE") or path.last in FREE_OF_CHARGE:
        assert cost is Cost.FREE
    for dear in (
        "/runs",
        "/fine_tuning/jobs",
        "/containers",
        "/vector_stores",
        "/search",
        "/batches",
        "/videos",
        "/client_secrets",
        "/file_batches",
    ):
        if method == "POST" and path.template.endswith(dear):
            assert cost is Cost.UNPRICED, template


def test_what_nobody_knows_has_no_price() -> None:
    assert cost_of("POST", read_path("/v1/something/new")) is Cost.UNPRICED
    assert cost_of("PATCH", read_path("/v1/something/new")) is Cost.UNPRICED
    assert not is_known(read_path("/v1/something/new"))
    assert not is_known(read_path("/v1/chat"))
    assert BEGINNINGS > LISTS


@each(
    "path",
    [
        "/v1/files/..",
        "/v1/files/../organization/users",
        "/v1/files/%2e%2e/organization",
        "/v1/files/%252e%252e/organization",
        "/v1/files/..%2forganization",
        "/v1/files/a%5cb",
        "/v1/files/a%00b",
        "/v1/files/%25252525252e",
        "/v1/files//../x",
        "/v1",
        "/",
    ],
)
def test_steps_to_elsewhere_are_no_paths(path: str) -> None:
    with pytest.raises(NotFound):
        read_path(path)


@each(
    ("raw", "plain"),
    [
        ("/v1/files/a-1", "/files/a-1"),
        ("/files/a-1/", "/files/a-1"),
        ("/v1/v1/files//a-1", "/files/a-1"),
        ("/v1/files/v1", "/files/v1"),
        ("/v1/files/a%20b", "/files/a%20b"),
    ],
)
def test_paths_have_one_spelling(raw: str, plain: str) -> None:
    assert read_path(raw).raw == plain


def test_escaped_administration_is_told() -> None:
    for first in ("organization", "%6frganization", "Organization", "ORGANIZATIONS"):
        assert read_path(f"/v1/{first}/users").is_administration


def test_what_everybody_may_use_is_no_id() -> None:
    path = read_path("/v1/skills/pptx/versions/latest")
    assert path.ids == ()
    assert path.names_things
    assert read_path("/v1/skills/skill_1/versions/3").ids == ("skill_1",)
