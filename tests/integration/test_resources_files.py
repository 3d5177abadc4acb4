"""Files of ours in what only a provider does: they are put there, under one name."""

import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from tests.conftest import StartPosthouse
from tests.fakes.steps import Request
from tests.integration.test_resources import KEYS, World, configuration
from tests.support.fake import ThreadedFake
from tests.support.kept import Kept

SECOND = {"x-posthouse-channel": "second"}
PATIENCE = 60.0
"""Seconds for what is done behind an answer."""


@pytest.fixture(scope="module")
def world(start_posthouse: StartPosthouse) -> Iterator[World]:
    """Three accounts at two channels."""
    kept = Kept()
    with ThreadedFake(kept) as provider:
        found = start_posthouse(
            configuration(provider.origin), {"POSTHOUSE_UNPRICED_ROUTES": "allow"}
        )
        yield World(found, kept)


def store(world: World, key: str, content: str, purpose: str = "user_data") -> str:
    """Store a file here; give its id."""
    before = len(world.kept.requests)
    made = httpx2.post(
        f"{world.posthouse.url}/v1/files",
        headers={"authorization": f"Bearer {KEYS[key]}"},
        files={"file": ('an "odd" n\xe4me.txt', content), "purpose": (None, purpose)},
        timeout=30,
    )
    assert made.status_code == 200, made.text
    assert len(world.kept.requests) == before
    return str(made.json()["id"])


def copies(world: World, content: str) -> list[tuple[str, str, str]]:
    """Account, id and purpose of each file with this content at the provider."""
    return [
        (account, thing["id"], thing["purpose"])
        for (account, path), thing in world.kept.things.items()
        if path.startswith("/files/") and thing["content"] == content
    ]


def uploads(requests: list[Request]) -> int:
    """How many of some requests bring a file."""
    return sum(one.target == "/v1/files" for one in requests)


def test_a_vector_store_is_made_of_ones_own_files(world: World) -> None:
    file = store(world, "one", "to be searched")
    before = len(world.kept.requests)
    body: dict[str, Any] = {"file_ids": [file], "metadata": {"of": file}, "n": 1.10}
    made = world.ask("one", "POST", "/vector_stores", body)
    assert made.status_code == 200, made.text
    assert made.json()["file_ids"] == [file]
    assert made.json()["metadata"] == {"of": file}
    [(account, there, purpose)] = copies(world, "to be searched")
    assert purpose == "user_data"
    upload, creation = world.kept.requests[before:]
    assert (upload.target, upload.method) == ("/v1/files", "POST")
    assert Kept.account(upload) == Kept.account(creation) == account
    assert creation.json == {**body, "file_ids": [there]}
    # Again, wherever: it is there already, and has one name.
    before = len(world.kept.requests)
    within = f"/vector_stores/{made.json()['id']}/files"
    added = world.ask("one", "POST", within, {"file_id": file}).json()
    assert (added["id"], added["file_id"]) == (file, file)
    listed = world.ask("one", "GET", within).json()["data"]
    assert [one["id"] for one in listed] == [file]
    assert world.ask("one", "GET", f"{within}?after={file}").status_code == 200
    assert world.kept.requests[-1].target.endswith(f"?after={there}")
    for method in ("GET", "DELETE"):
        answer = world.ask("one", method, f"{within}/{file}")
        assert (answer.status_code, answer.json()["id"]) == (200, file)
        assert world.kept.requests[-1].target.endswith(f"/{there}")
    for _ in range(3):
        again = world.ask("one", "POST", "/vector_stores", {"file_ids": [file]})
        assert again.json()["file_ids"] == [file]
    assert uploads(world.kept.requests[before:]) == 0
    assert len(copies(world, "to be searched")) == 1
    # What has never been told of is not looked for.
    new = store(world, "one", "never there")
    assert world.ask("one", "GET", f"{within}/{new}").status_code == 404
    assert copies(world, "never there") == []


def test_files_of_others_are_put_nowhere(world: World) -> None:
    theirs = store(world, "two", "a secret")
    before = len(world.kept.requests)
    for name in (theirs, "file-" + 24 * "0"):
        answer = world.ask("one", "POST", "/vector_stores", {"file_ids": [name]})
        assert answer.status_code == 404
    assert len(world.kept.requests) == before
    # Nor are those known that only the provider names.
    made = world.ask("two", "POST", "/vector_stores", {"file_ids": [theirs]})
    assert made.status_code == 200
    [(_, there, _)] = copies(world, "a secret")
    answer = world.ask("one", "POST", "/vector_stores", {"file_ids": [there]})
    assert answer.status_code == 404


def test_each_channel_has_its_own_and_each_purpose(world: World) -> None:
    file = store(world, "one", "for many", "user_data")
    body = {"file_ids": [file]}
    assert world.ask("one", "POST", "/vector_stores", body).status_code == 200
    there = world.ask("one", "POST", "/vector_stores", body, headers=SECOND)
    assert there.json()["file_ids"] == [file]
    tuning = {"model": "m-two", "training_file": file}
    tuned = world.ask("one", "POST", "/fine_tuning/jobs", tuning, headers=SECOND)
    assert tuned.json()["training_file"] == file
    assert [
        (account.startswith("sk-up-first"), purpose)
        for account, _, purpose in copies(world, "for many")
    ] == [(True, "user_data"), (False, "user_data"), (False, "fine-tune")]
    listed = world.ask("one", "GET", "/fine_tuning/jobs").json()["data"]
    assert listed[0]["training_file"] == file


def test_events_tell_ones_own_names(world: World) -> None:
    file = store(world, "one", "for a run")
    thread = world.make("one", "/threads")
    body = {"stream": True, "file_ids": [file]}
    answer = world.ask("one", "POST", f"/threads/{thread}/runs", body)
    assert answer.status_code == 200
    [(_, there, _)] = copies(world, "for a run")
    assert there not in answer.text
    assert answer.text.count(f'"{file}"') == 2
    assert answer.text.endswith("event: done\ndata: [DONE]\n\n")


def test_who_does_not_take_a_file_says_why(world: World) -> None:
    file = store(world, "one", "refused")
    world.kept.fails["/files"] = 413
    before = len(world.kept.requests)
    answer = world.ask("one", "POST", "/vector_stores", {"file_ids": [file]})
    del world.kept.fails["/files"]
    assert answer.status_code == 413, answer.text
    assert answer.json()["error"]["message"].startswith("key ")
    assert "sk-up" not in answer.text
    assert len(world.kept.requests) == before + 1


def test_what_is_deleted_here_is_deleted_there(world: World) -> None:
    file = store(world, "one", "forgotten")
    for headers in ({}, SECOND):
        made = world.ask(
            "one", "POST", "/vector_stores", {"file_ids": [file]}, headers=headers
        )
        assert made.status_code == 200
    assert len(copies(world, "forgotten")) == 2
    [_, (_, there, _)] = copies(world, "forgotten")
    # One of them is deleted by hand.
    gone = world.ask("one", "DELETE", f"/files/{file}", headers=SECOND)
    assert (gone.status_code, gone.json()["id"]) == (200, file)
    assert there not in [name for _, name, _ in copies(world, "forgotten")]
    assert world.ask("one", "DELETE", f"/files/{file}").status_code == 200
    until = time.monotonic() + PATIENCE
    while copies(world, "forgotten") and time.monotonic() < until:
        time.sleep(0.05)
    assert copies(world, "forgotten") == []
    answer = world.ask("one", "POST", "/vector_stores", {"file_ids": [file]})
    assert answer.status_code == 404
