"""Whose things are: two tenants, several channels, several credentials."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx2
import openai
import pytest
from tests.conftest import StartPosthouse
from tests.support.fake import ThreadedFake
from tests.support.kept import Kept
from tests.support.posthouse import Posthouse

KEYS = {
    name: f"sk-resources-{name}-{'0123456789' * 4}"
    for name in ("one", "two", "limited", "poor", "quick", "trial")
}
CHANNEL = """
[[channels]]
name = "{name}"
provider = "{provider}"
base_url = "{base}"
api_key = {keys}
models = {models}
{more}
"""
REST = """
[[channels]]
name = "sandbox"
provider = "sandbox"

[[keys]]
name = "one"
key = "{one}"
balance_usd = "5"

[[keys]]
name = "two"
key = "{two}"
balance_usd = "5"

[[keys]]
name = "limited"
key = "{limited}"
models = ["m-one"]

[[keys]]
name = "poor"
key = "{poor}"
balance_usd = "0.000001"

[[keys]]
name = "quick"
key = "{quick}"
rpm = 2

[[keys]]
name = "trial"
key = "{trial}"
sandbox = true

[[prices]]
model = "m-*"
input = "10"
output = "20"

[[prices]]
model = "alias"
input = "10"
output = "20"
"""


class World(NamedTuple):
    """A server and the provider behind it."""

    posthouse: Posthouse
    kept: Kept

    def ask(
        self, key: str, method: str, path: str, body: Any = None, **more: Any
    ) -> httpx2.Response:
        """Ask as one of the callers."""
        headers = {"authorization": f"Bearer {KEYS[key]}", **more.pop("headers", {})}
        return httpx2.request(
            method,
            f"{self.posthouse.url}/v1{path}",
            headers=headers,
            json=body,
            timeout=30,
            **more,
        )

    def make(self, key: str, path: str, body: Any = None, **more: Any) -> str:
        """Make something; give its id."""
        made = self.ask(key, "POST", path, body or {}, **more)
        assert made.status_code == 200, made.text
        return str(made.json()["id"])

    def sdk(self, key: str) -> openai.OpenAI:
        """OpenAI's client of one caller."""
        url = f"{self.posthouse.url}/v1"
        return openai.OpenAI(base_url=url, api_key=KEYS[key], max_retries=0)


def configuration(origin: str) -> str:
    """Three accounts at two channels of one API, and one of the other."""
    base = f"{origin}/v1"
    return (
        CHANNEL.format(
            name="first",
            provider="openai",
            base=base,
            keys='["sk-up-first-a", "sk-up-first-b"]',
            models='["m-one", { public = "alias", upstream = "m-real" }]',
            more="priority = 10",
        )
        + CHANNEL.format(
            name="second",
            provider="openai",
            base=base,
            keys='"sk-up-second"',
            models='["m-two"]',
            more="",
        )
        + CHANNEL.format(
            name="claude",
            provider="anthropic",
            base=origin,
            keys='"sk-up-claude"',
            models='["m-claude"]',
            more="",
        )
        + REST.format(**KEYS)
    )


@pytest.fixture(scope="module")
def kept() -> Kept:
    """What the provider keeps."""
    return Kept()


@pytest.fixture(scope="module")
def provider(kept: Kept) -> Iterator[ThreadedFake]:
    """The provider."""
    with ThreadedFake(kept) as fake:
        yield fake


@pytest.fixture(scope="module")
def world(start_posthouse: StartPosthouse, provider: ThreadedFake, kept: Kept) -> World:
    """Where the operator allows what has no price."""
    found = start_posthouse(
        configuration(provider.origin), {"POSTHOUSE_UNPRICED_ROUTES": "allow"}
    )
    return World(found, kept)


@pytest.fixture(scope="module")
def strict(
    start_posthouse: StartPosthouse, provider: ThreadedFake, kept: Kept
) -> World:
    """Where the operator does not."""
    return World(start_posthouse(configuration(provider.origin)), kept)


# --- whose ---------------------------------------------------------------

PLACES: list[tuple[str, str, Any, dict[str, Any]]] = [
    ("GET", "/assistants/{id}", None, {}),
    ("POST", "/assistants/{id}", {"name": "x"}, {}),
    ("DELETE", "/assistants/{id}", None, {}),
    ("POST", "/assistants/{id}/cancel", {}, {}),
    ("GET", "/threads/{own}/messages?after={id}", None, {}),
    ("GET", "/threads/{own}/messages?before={id}", None, {}),
    ("GET", "/threads/{own}/messages?run_id={id}", None, {}),
    ("GET", "/threads/{own}/messages?filter[run_ids][]={id}", None, {}),
    ("GET", "/assistants?after={id}", None, {}),
    ("POST", "/threads/{own}/runs", {"assistant_id": "{id}"}, {}),
    ("POST", "/threads/{own}/runs", {"Assistant_ID": "{id}"}, {}),
    ("POST", "/threads", {"messages": [{"attachments": [{"file_id": "{id}"}]}]}, {}),
    ("POST", "/threads", {"tool_resources": {"a": {"vector_store_ids": ["{id}"]}}}, {}),
    ("POST", "/threads", {"conversation": "{id}"}, {}),
    ("POST", "/threads", {"conversation": {"id": "{id}"}}, {}),
    ("POST", "/threads", {"prompt": {"id": "{id}"}}, {}),
    ("POST", "/threads", {"container": "{id}"}, {}),
    ("POST", "/threads", {"previous_response_id": "{id}"}, {}),
    ("POST", "/fine_tuning/jobs", {"model": "m-one", "training_file": "{id}"}, {}),
    ("POST", "/batches", {"input_file_id": "{id}", "endpoint": "/v1/responses"}, {}),
]
KNOWN_ONLY: list[tuple[str, str, Any]] = [
    ("POST", "/threads", {"metadata": {"note": "{id}"}}),
    ("POST", "/threads", {"anything": ["{id}"]}),
    ("POST", "/threads", {"model": "{id}"}),
]
"""Places where an id is only one if it is somebody's."""


def _filled(value: Any, **names: str) -> Any:
    text = json.dumps(value)
    for name, given in names.items():
        text = text.replace("{" + name + "}", given)
    return json.loads(text)


@pytest.mark.parametrize("place", range(len(PLACES)))
def test_anothers_thing_and_an_unknown_one_are_not_there(
    world: World, place: int
) -> None:
    method, path, body, more = PLACES[place]
    theirs = world.make("two", "/assistants", {"model": "m-one"})
    own = world.make("one", "/threads")
    for name in (theirs, "asst_unknown_0001"):
        before = len(world.kept.requests)
        there = path.replace("{id}", name).replace("{own}", own)
        if path.startswith("/batches"):
            continue
        answer = world.ask("one", method, there, _filled(body, id=name), **more)
        assert answer.status_code == 404, (there, answer.text)
        assert answer.json()["error"]["code"] in ("not_found", "model_not_found")
        assert len(world.kept.requests) == before
    if method == "GET" and path == "/assistants/{id}":
        assert world.ask("two", "GET", f"/assistants/{theirs}").status_code == 200


@pytest.mark.parametrize(("method", "path", "body"), KNOWN_ONLY)
def test_anothers_thing_passes_nowhere(
    world: World, method: str, path: str, body: Any
) -> None:
    theirs = world.make("two", "/assistants", {"model": "m-one"})
    answer = world.ask("one", method, path, _filled(body, id=theirs))
    assert answer.status_code == 404
    if "model" not in body:
        other = _filled(body, id="asst_unknown_0001")
        assert world.ask("one", method, path, other).status_code == 200


def test_the_same_name_twice_hides_nothing(world: World) -> None:
    theirs = world.make("two", "/assistants")
    own = world.make("one", "/assistants")
    thread = world.make("one", "/threads")
    for first, last in ((own, theirs), (theirs, own)):
        body = f'{{"assistant_id":"{first}","assistant_id":"{last}"}}'
        for kind in ("application/json", "text/plain", ""):
            answer = httpx2.post(
                f"{world.posthouse.url}/v1/threads/{thread}/runs",
                headers={
                    "authorization": f"Bearer {KEYS['one']}",
                    "content-type": kind,
                },
                content=body,
            )
            assert answer.status_code == 404, kind


@pytest.mark.parametrize(
    "field", ["file_id", "file_ids[]", "a[b][file_id]", "FILE_ID", "session"]
)
def test_forms_name_things_as_well(world: World, field: str) -> None:
    theirs = world.make("two", "/assistants")
    own = world.make("one", "/assistants")
    for name, status in ((theirs, 404), (own, 200)):
        value = f'{{"x":{{"file_id":"{name}"}}}}' if field == "session" else name
        answer = httpx2.post(
            f"{world.posthouse.url}/v1/containers",
            headers={"authorization": f"Bearer {KEYS['one']}"},
            files={field: (None, value), "file": ("a.txt", b"\x00\xff")},
        )
        assert answer.status_code == status, answer.text


def test_a_body_that_cannot_be_judged_is_refused(world: World) -> None:
    for kind, body in (
        ("application/json", b'{"file_id":'),
        ("application/json", b'{"file_id":"a"} trailing'),
        ("multipart/form-data; boundary=x", b"--x\r\nbroken"),
    ):
        answer = httpx2.post(
            f"{world.posthouse.url}/v1/threads",
            headers={"authorization": f"Bearer {KEYS['one']}", "content-type": kind},
            content=body,
        )
        assert answer.status_code == 400, body


def test_what_only_a_place_tells_of_is_its_callers(world: World) -> None:
    made = world.ask("one", "POST", "/evals", {"located": True})
    assert made.status_code == 201
    path = made.headers["location"]
    assert path.startswith("/v1/evals/")
    path = path.removeprefix("/v1")
    assert world.ask("two", "GET", path).status_code == 404
    assert world.ask("one", "GET", path).status_code == 200
    listed = world.ask("one", "GET", "/evals").json()["data"]
    assert path.rpartition("/")[2] in [one["id"] for one in listed]


# --- lists ---------------------------------------------------------------


def test_lists_show_ones_own_in_pages(world: World) -> None:
    mine = [world.make("limited", "/evals", {"n": n}) for n in range(7)]
    world.make("two", "/evals")
    with world.sdk("limited") as client:
        evals = client.evals
        assert [one.id for one in evals.list(limit=3)] == mine[::-1]
        assert [one.id for one in evals.list(limit=2, order="asc")] == mine
    page = world.ask("limited", "GET", f"/evals?limit=2&after={mine[3]}").json()
    assert [one["id"] for one in page["data"]] == [mine[2], mine[1]]
    assert page["has_more"] is True
    assert (page["first_id"], page["last_id"]) == (mine[2], mine[1])
    assert page["data"][0]["odd"] == "never_seen"
    back = world.ask("limited", "GET", f"/evals?limit=2&before={mine[3]}").json()
    assert [one["id"] for one in back["data"]] == [mine[5], mine[4]]
    some = world.ask("limited", "GET", "/evals?n=4").json()["data"]
    assert [one["id"] for one in some] == [mine[4]]
    assert world.ask("limited", "GET", "/evals?limit=0").status_code == 400


def test_lists_filter_by_metadata(world: World) -> None:
    one = world.make("one", "/evals", {"metadata": {"a": "1"}})
    world.make("one", "/evals", {"metadata": {"a": "2"}})
    found = world.ask("one", "GET", "/evals?metadata[a]=1").json()["data"]
    assert [thing["id"] for thing in found] == [one]


def test_what_is_deleted_is_forgotten(world: World) -> None:
    name = world.make("one", "/conversations")
    assert world.ask("one", "DELETE", f"/conversations/{name}").status_code == 200
    assert world.ask("one", "GET", f"/conversations/{name}").status_code == 404


def test_lists_below_an_own_thing_pass(world: World) -> None:
    thread = world.make("one", "/threads")
    message = world.make("one", f"/threads/{thread}/messages")
    listed = world.ask("one", "GET", f"/threads/{thread}/messages").json()
    assert [one["id"] for one in listed["data"]] == [message]
    one = world.ask("one", "GET", f"/threads/{thread}/messages/{message}")
    assert one.status_code == 200


def test_lists_of_what_nobody_knows_are_not_there(world: World) -> None:
    for path in ("/webhook_endpoints", "/safety/alerts/x", "/whatever", "/chatkit"):
        assert world.ask("one", "GET", path).status_code == 404


# --- where ---------------------------------------------------------------


def channel_of(world: World, answer: httpx2.Response) -> str:
    """Which channel has answered."""
    record = world.posthouse.call(answer.headers["x-request-id"])
    assert record["operation"] == "resource"
    return str(record["channel"])


def test_the_owner_decides_then_the_model_then_the_caller(world: World) -> None:
    plain = world.ask("one", "POST", "/threads", {})
    assert channel_of(world, plain) == "first"
    named = world.ask(
        "one", "POST", "/threads", {}, headers={"x-posthouse-channel": "second"}
    )
    assert channel_of(world, named) == "second"
    model = world.ask("one", "POST", "/assistants", {"model": "m-two"})
    assert channel_of(world, model) == "second"
    thread = named.json()["id"]
    follows = world.ask("one", "POST", f"/threads/{thread}/messages", {})
    assert channel_of(world, follows) == "second"
    mixed = world.ask(
        "one",
        "POST",
        f"/threads/{thread}/runs",
        {"assistant_id": world.make("one", "/assistants")},
    )
    assert mixed.status_code == 400
    assert mixed.json()["error"]["code"] == "objects_on_several_channels"
    wrong = world.ask("one", "GET", "/threads/x", headers={"x-posthouse-channel": "no"})
    assert wrong.status_code == 400


def test_the_credential_that_made_a_thing_is_asked_for_it(world: World) -> None:
    names = ["sk-up-first-a", "sk-up-first-b"]
    made: dict[str, str] = {}
    for name in names:
        thing = f"thre_{name[-1]}_0000000{len(made)}"
        made[name] = thing
    for key in KEYS:
        if key in ("poor", "quick", "trial"):
            continue
        thing = world.make(key, "/threads")
        made_by = Kept.account(world.kept.requests[-1])
        for _ in range(3):
            assert world.ask(key, "GET", f"/threads/{thing}").status_code == 200
            assert Kept.account(world.kept.requests[-1]) == made_by


def test_files_are_at_the_provider_for_who_names_a_channel(world: World) -> None:
    """Whatever else is asked about them, they are their owner's."""
    there = {"x-posthouse-channel": "second"}
    file = world.make("one", "/files", {"purpose": "x"}, headers=there)
    assert Kept.account(world.kept.requests[-1]) == "sk-up-second"
    store = world.ask("one", "POST", "/vector_stores", {"file_ids": [file]})
    assert channel_of(world, store) == "second"
    other = world.ask("two", "POST", "/vector_stores", {"file_ids": [file]})
    assert other.status_code == 404
    listed = world.ask("one", "GET", "/files", headers=there).json()["data"]
    assert [one["id"] for one in listed] == [file]
    assert world.ask("two", "GET", "/files", headers=there).json()["data"] == []
    hidden = world.ask("two", "GET", f"/files/{file}", headers=there)
    assert hidden.status_code == 404
    before = len(world.kept.requests)
    world.ask("one", "GET", "/files")
    world.ask("one", "POST", "/batches", {"input_file_id": file}, headers=there)
    assert len(world.kept.requests) == before


def test_models_have_the_names_of_their_channel(world: World) -> None:
    body = '{"a": 1.10, "model": "alias", "tools": [{"model": "alias"}], "z":1e400}'
    answer = httpx2.post(
        f"{world.posthouse.url}/v1/assistants",
        headers={
            "authorization": f"Bearer {KEYS['one']}",
            "content-type": "application/json",
        },
        content=body,
    )
    assert answer.status_code == 200
    sent = world.kept.requests[-1].body.decode()
    assert '"model":"m-real"' in sent.replace('": "', '":"')
    assert "alias" not in sent
    assert "1.10" in sent
    assert "1e400" in sent


def test_a_key_names_only_its_models(world: World) -> None:
    for body in ({"model": "m-two"}, {"agent_config": {"model": "m-two"}}):
        answer = world.ask("limited", "POST", "/assistants", body)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "model_not_found"
    assert world.make("limited", "/assistants", {"model": "m-one"})
    assert world.ask("one", "POST", "/assistants", {"model": "no"}).status_code == 404


def test_a_sandbox_key_reaches_only_the_sandbox(world: World) -> None:
    before = len(world.kept.requests)
    thread = world.make("trial", "/threads")
    assert world.ask("trial", "GET", f"/threads/{thread}").status_code == 200
    assert world.ask("one", "GET", f"/threads/{thread}").status_code == 404
    other = world.make("one", "/threads")
    assert world.ask("trial", "GET", f"/threads/{other}").status_code == 404
    assert len(world.kept.requests) == before + 1


def test_anthropics_things_go_to_anthropics_channel(world: World) -> None:
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "skills-1"}
    made = world.ask("one", "POST", "/skills", {}, headers=headers)
    assert channel_of(world, made) == "claude"
    sent = world.kept.requests[-1]
    assert sent.header(b"anthropic-beta") == b"skills-1"
    assert sent.header(b"x-api-key") == b"sk-up-claude"
    name = made.json()["id"]
    error = world.ask("two", "GET", f"/skills/{name}", headers=headers)
    assert error.status_code == 404
    assert error.json()["type"] == "error"
    listed = world.ask("one", "GET", "/skills", headers=headers).json()
    assert [one["id"] for one in listed["data"]] == [name]
    version = world.ask("one", "GET", f"/skills/{name}/versions/17", headers=headers)
    assert version.status_code in (200, 404)
    assert world.kept.requests[-1].target.endswith("/versions/17")
