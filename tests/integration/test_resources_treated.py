"""Things that chats and responses name and leave: the same owners, the same places."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.conftest import StartPosthouse
from tests.integration.test_resources import World, configuration
from tests.support.fake import ThreadedFake
from tests.support.kept import Kept

RESPONSES = "/responses"
CHATS = "/chat/completions"


@pytest.fixture(scope="module")
def world(start_posthouse: StartPosthouse) -> Iterator[World]:
    """Three accounts at two channels."""
    kept = Kept()
    with ThreadedFake(kept) as provider:
        yield World(start_posthouse(configuration(provider.origin)), kept)


def named(name: str) -> list[dict[str, Any]]:
    """Bodies of responses that name a thing, each in another place."""
    return [
        {"conversation": name},
        {"conversation": {"id": name}},
        {"prompt": {"id": name}},
        {"input": [{"type": "item_reference", "id": name}]},
        # A reference need not say that it is one.
        {"input": [{"id": name}]},
        {"input": [{"type": None, "id": name}]},
        {"input": [{"type": "image_generation_call", "id": name}]},
        {"input": [{"type": "code_interpreter_call", "container_id": name}]},
    ]


@pytest.mark.parametrize("place", range(8))
def test_anothers_thing_and_an_unknown_one_are_not_there(
    world: World, place: int
) -> None:
    theirs = world.make("two", "/conversations")
    for name in (theirs, "conv_unknown_0001"):
        before = len(world.kept.requests)
        body = {"model": "m-one", "input": "Hello", **named(name)[place]}
        answer = world.ask("one", "POST", RESPONSES, body)
        assert answer.status_code == 404, answer.text
        assert len(world.kept.requests) == before
    own = world.make("one", "/conversations")
    body = {"model": "m-one", "input": "Hello", **named(own)[place]}
    answer = world.ask("one", "POST", RESPONSES, body)
    assert answer.status_code == 200, answer.text


def test_what_is_sent_once_more_names_nothing(world: World) -> None:
    """A message or a picture that stands there whole has an id all the same."""
    said = [{"type": "output_text", "text": "Hello", "annotations": []}]
    items = [
        {"type": "message", "id": "msg_0001", "role": "assistant", "content": said},
        {"id": "msg_0002", "role": "assistant", "content": said},
        {"type": "image_generation_call", "id": "ig_0001", "result": "AAAA"},
    ]
    body = {"model": "m-one", "input": items}
    answer = world.ask("one", "POST", RESPONSES, body)
    assert answer.status_code == 200, answer.text


def test_escapes_hide_nothing(world: World) -> None:
    theirs = world.make("two", "/conversations")
    for member in (
        '"conv\\u0065rsation":"%s"',
        '"conversation":{"\\u0069d":"%s"}',
        '"input":[{"type":"item\\u005freference","id":"%s"}]',
        '"input":[{"\\u0069d":"%s"}]',
        '"input":[{"content":[{"type":"input_file","file\\u005fid":"%s"}]}]',
    ):
        before = len(world.kept.requests)
        answer = world.ask(
            "one",
            "POST",
            RESPONSES,
            content='{"model":"m-one","input":"x",' + member % theirs + "}",
        )
        assert answer.status_code in (400, 404), member
        assert len(world.kept.requests) == before


def test_a_call_goes_where_its_things_are(world: World) -> None:
    """Also to the one credential that reaches them."""
    own = world.make("one", "/conversations")
    made_by = Kept.account(world.kept.requests[-1])
    for _ in range(4):
        body = {"model": "m-one", "input": "Hello", "conversation": own}
        assert world.ask("one", "POST", RESPONSES, body).status_code == 200
        assert Kept.account(world.kept.requests[-1]) == made_by


def test_things_on_two_channels_are_told_apart(world: World) -> None:
    first = world.make("one", "/conversations")
    second = world.make(
        "one", "/conversations", headers={"x-posthouse-channel": "second"}
    )
    body = {"model": "m-one", "input": "x", "conversation": first}
    body["prompt"] = {"id": second}
    answer = world.ask("one", "POST", RESPONSES, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "objects_on_several_channels"


def test_a_model_must_be_where_the_things_are(world: World) -> None:
    there = {"x-posthouse-channel": "second"}
    second = world.make("one", "/conversations", headers=there)
    before = len(world.kept.requests)
    body = {"model": "m-one", "input": "x", "conversation": second}
    answer = world.ask("one", "POST", RESPONSES, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "objects_on_several_channels"
    assert answer.json()["error"]["param"] == "model"
    assert len(world.kept.requests) == before


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_response_leaves_is_its_callers(world: World, stream: bool) -> None:
    own = world.make("one", "/conversations")
    body = {"model": "m-one", "input": "x", "conversation": own, "stream": stream}
    answer = world.ask("one", "POST", RESPONSES, body)
    assert answer.status_code == 200
    container = [path for _, path in world.kept.things if "/containers/" in path][-1]
    assert world.ask("one", "GET", container).status_code == 200
    assert world.ask("two", "GET", container).status_code == 404
    listed = world.ask("one", "GET", "/containers").json()["data"]
    assert container.rpartition("/")[2] in [one["id"] for one in listed]


@pytest.mark.parametrize("stream", [False, True])
def test_chats_that_are_stored_are_listed(world: World, stream: bool) -> None:
    messages = [{"role": "user", "content": "Hello"}]
    body = {"model": "m-one", "messages": messages, "store": True, "stream": stream}
    answer = world.ask("one", "POST", CHATS, body)
    assert answer.status_code == 200, answer.text
    path = [path for _, path in world.kept.things if path.startswith(CHATS)][-1]
    name = path.rpartition("/")[2]
    assert name in answer.text
    assert world.ask("one", "GET", path).json()["id"] == name
    assert world.ask("two", "GET", path).status_code == 404
    listed = world.ask("one", "GET", CHATS).json()["data"]
    assert name in [one["id"] for one in listed]
    changed = world.ask("one", "POST", path, {"metadata": {"a": "b"}})
    assert changed.status_code == 200
    assert world.ask("one", "DELETE", path).status_code == 200
    assert world.ask("one", "GET", path).status_code == 404


def test_a_response_is_asked_for_with_the_credential_that_made_it(
    world: World,
) -> None:
    for number in range(6):
        body = {"model": "m-one", "input": f"Hello {number}"}
        session = {"x-session-id": f"session-{number}"}
        made = world.ask("one", "POST", RESPONSES, body, headers=session)
        made_by = Kept.account(world.kept.requests[-1])
        name = made.json()["id"]
        assert world.ask("one", "GET", f"{RESPONSES}/{name}").status_code == 200
        assert Kept.account(world.kept.requests[-1]) == made_by
        body["previous_response_id"] = name
        follows = world.ask("one", "POST", RESPONSES, body)
        assert follows.status_code == 200
        assert Kept.account(world.kept.requests[-1]) == made_by
