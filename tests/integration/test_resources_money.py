"""What relayed answers teach, what they cost, and what goes wrong."""

import json
from pathlib import Path

import pytest
from tests.integration.test_resources import (
    World,
    configuration,
    kept,
    provider,
    strict,
    world,
)
from tests.support.fake import ThreadedFake
from tests.support.kept import USAGE, Kept
from tests.support.posthouse import Posthouse

__all__ = ["kept", "provider", "strict", "world"]


# --- what is learnt ---------------------------------------------------------------


def test_events_tell_of_things(world: World) -> None:
    thread = world.make("one", "/threads")
    assistant = world.make("one", "/assistants", {"model": "m-one"})
    body = {"assistant_id": assistant, "stream": True, "model": "m-one"}
    answer = world.ask("one", "POST", f"/threads/{thread}/runs", body)
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.text.endswith("[DONE]\n\n")
    events = [
        json.loads(line[6:])
        for line in answer.text.split("\n")
        if line.startswith("data: {")
    ]
    run, step = events[0]["id"], events[1]["id"]
    assert world.ask("one", "GET", f"/threads/{thread}/runs/{run}").status_code == 200
    other = world.ask("two", "POST", "/threads", {"a_id": step})
    assert other.status_code == 404
    assert world.ask("one", "POST", "/threads", {"a_id": step}).status_code == 200


def test_what_a_caller_stores_makes_nothing_his(world: World) -> None:
    """Neither the content of a file nor metadata can claim another's thing."""
    victim = "file-made-elsewhere-0001"
    world.make("one", "/threads", {"metadata": {"x_id": victim}})
    own = world.make("one", "/conversations", {"content": json.dumps({"id": victim})})
    content = world.ask("one", "GET", f"/conversations/{own}/content")
    assert content.status_code == 200
    assert content.json() == {"id": victim}
    asked = world.ask("one", "POST", "/threads", {"file_id": victim})
    assert asked.status_code == 404


# --- money and limits ---------------------------------------------------------------


def test_usage_in_an_answer_is_charged(world: World) -> None:
    thread = world.make("one", "/threads")
    for stream in (False, True):
        body = {"model": "m-one", "stream": stream}
        answer = world.ask("one", "POST", f"/threads/{thread}/runs", body)
        record = world.posthouse.call(answer.headers["x-request-id"])
        assert record["usage"] == {"input": 100, "output": 10}, stream
        assert record["price_usd"] == "0.0012"
        assert record["operation"] == "resource"
        assert record["requested_model"] == "m-one"
    reading = world.ask("one", "GET", f"/threads/{thread}/runs/{answer_id(world)}")
    record = world.posthouse.call(reading.headers["x-request-id"])
    assert float(record["price_usd"]) == 0
    assert USAGE["input_tokens"] == 100


def answer_id(world: World) -> str:
    """The run that was made last."""
    names = [path for _, path in world.kept.things if "/runs/" in path]
    return names[-1].rpartition("/")[2]


def test_what_has_no_price_is_refused(strict: World) -> None:
    thread = strict.make("one", "/threads")
    for path, body in (
        (f"/threads/{thread}/runs", {"model": "m-one"}),
        ("/containers", {}),
        ("/vector_stores", {}),
        ("/fine_tuning/jobs", {"model": "m-one"}),
        ("/new_thing", {}),
        ("/videos", {"model": "m-one"}),
    ):
        answer = strict.ask("one", "POST", path, body)
        if path == "/new_thing":
            assert answer.status_code == 404
            continue
        assert answer.status_code == 403, path
        assert answer.json()["error"]["code"] == "route_not_priced"
    assert strict.ask("trial", "POST", "/containers", {}).status_code == 200


def test_what_is_paid_by_usage_needs_a_price_and_money(strict: World) -> None:
    path = "/responses/compact"
    paid = strict.ask("one", "POST", path, {"model": "m-one", "input": "Hello"})
    assert paid.status_code == 200
    record = strict.posthouse.call(paid.headers["x-request-id"])
    assert record["price_usd"] == "0.0012"
    poor = strict.ask("poor", "POST", path, {"model": "m-one", "input": "Hello"})
    assert poor.status_code == 429
    assert poor.json()["error"]["code"] == "insufficient_quota"
    free = strict.ask("poor", "POST", "/threads", {})
    assert free.status_code == 200
    none = strict.ask("one", "POST", path, {"input": "Hello"})
    assert none.status_code == 503
    assert none.json()["error"]["code"] == "price_missing"


def test_the_keys_limits_hold(world: World) -> None:
    statuses = [world.ask("quick", "GET", "/assistants").status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


# --- faults ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "shown"), [(400, 400), (404, 404), (409, 409), (429, 429), (500, 500)]
)
def test_the_providers_errors_pass(world: World, status: int, shown: int) -> None:
    thread = world.make("one", "/threads")
    path = f"/threads/{thread}"
    world.kept.fails[path] = status
    answer = world.ask("one", "POST", path, {})
    assert answer.status_code == shown
    assert "sk-up" not in answer.text
    assert "[removed]" in answer.text
    del world.kept.fails[path]


@pytest.mark.parametrize("status", [401, 402, 403])
def test_our_accounts_troubles_are_not_the_callers(world: World, status: int) -> None:
    thread = world.make("one", "/evals")
    path = f"/evals/{thread}"
    world.kept.fails[path] = status
    for _ in range(6):
        answer = world.ask("one", "GET", path)
        assert answer.status_code == 503
        assert "sk-up" not in answer.text
        listed = world.ask("one", "GET", "/evals")
        assert listed.status_code == 503
    del world.kept.fails[path]
    # Nor does it take the credential from anybody.
    assert world.ask("one", "GET", path).status_code == 200


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_route_that_fails_takes_the_channel_from_nobody(
    world: World, status: int
) -> None:
    thread = world.make("one", "/threads")
    path = f"/threads/{thread}"
    world.kept.fails[path] = status
    for _ in range(8):
        assert world.ask("one", "GET", path).status_code == status
    assert world.make("two", "/threads")
    del world.kept.fails[path]


def test_what_was_learnt_outlives_a_restart(
    tmp_path: Path, provider: ThreadedFake, kept: Kept
) -> None:
    text = configuration(provider.origin)
    with Posthouse(tmp_path, text) as first:
        thread = World(first, kept).make("one", "/threads")
    with Posthouse(tmp_path, text) as second:
        world = World(second, kept)
        assert world.ask("one", "GET", f"/threads/{thread}").status_code == 200
        assert world.ask("two", "GET", f"/threads/{thread}").status_code == 404
