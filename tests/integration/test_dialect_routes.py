"""The routes of the newer dialects: paths, headers, shapes, counts, kept responses."""

import http.client
import json
from typing import Any, NamedTuple

import pytest
from tests.conftest import StartPosthouse
from tests.support.posthouse import Posthouse

KEY = "sk-routes-0123456789abcdefghijklmnopqrstuvwxyzABCD"
OTHER = "sk-another-0123456789abcdefghijklmnopqrstuvwxyzAB"
CONFIGURATION = f"""
[[channels]]
name = "sandbox"
provider = "sandbox"
models = ["sandbox", "sandbox-reasoning"]

[[keys]]
name = "one"
key = "{KEY}"
balance_usd = "5"

[[keys]]
name = "another"
key = "{OTHER}"
balance_usd = "5"
models = ["sandbox"]
"""
CHAT = {"model": "sandbox", "messages": [{"role": "user", "content": "Hello"}]}
CONTENTS = {"contents": [{"parts": [{"text": "Hello"}]}]}
ANSWER = "This is the Posthouse sandbox; no model was asked. You wrote: Hello"
GEMINI = "/v1beta/models/sandbox"


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: Any


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse) -> Posthouse:
    """A server over the sandbox."""
    return start_posthouse(CONFIGURATION)


def ask(
    posthouse: Posthouse,
    method: str,
    path: str,
    body: Any = None,
    *,
    key: str = KEY,
    **headers: str,
) -> Reply:
    """Ask, with the key as `x-api-key` unless another header is given."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection(posthouse.url.removeprefix("http://"))
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, named or {"x-api-key": key})
        found = connection.getresponse()
        text = found.read()
        return Reply(
            found.status,
            {name.lower(): value for name, value in found.getheaders()},
            json.loads(text) if text[:1] in b"[{" else text,
        )
    finally:
        connection.close()


# --- paths ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", CHAT | {"max_tokens": 50}),
        ("/messages", CHAT | {"max_tokens": 50}),
        ("/v1/v1/messages?beta=true", CHAT | {"max_tokens": 50}),
        ("/v1//messages/", CHAT | {"max_tokens": 50}),
        ("/v1/responses", {"model": "sandbox", "input": "Hello"}),
        ("/responses", {"model": "sandbox", "input": "Hello"}),
        (f"{GEMINI}:generateContent", CONTENTS),
        ("/v1/models/sandbox:generateContent", CONTENTS),
        ("/v1/v1beta/models/sandbox:generateContent", CONTENTS),
        (f"/v1beta{GEMINI}:generateContent", CONTENTS),
        ("/openai/deployments/sandbox/chat/completions?api-version=1", CHAT),
    ],
)
def test_one_address_in_every_spelling(
    posthouse: Posthouse, path: str, body: Any
) -> None:
    reply = ask(posthouse, "POST", path, body)
    assert reply.status == 200
    assert ANSWER in json.dumps(reply.body)


def test_azures_path_names_the_model_whatever_the_body_says(
    posthouse: Posthouse,
) -> None:
    path = "/openai/deployments/sandbox/chat/completions"
    reply = ask(posthouse, "POST", path, CHAT | {"model": "no-such-model"})
    assert reply.body["model"] == "sandbox"
    reply = ask(posthouse, "POST", path.replace("sandbox", "nothing"), CHAT)
    assert (reply.status, reply.body["error"]["code"]) == (404, "model_not_found")
    assert ask(posthouse, "POST", f"{path}/more", CHAT).status == 404


# --- errors and headers -----------------------------------------------------------


def test_errors_are_in_the_callers_shape(posthouse: Posthouse) -> None:
    message = ask(posthouse, "POST", "/v1/messages", {}, key="sk-wrong")
    assert message.status == 401
    assert message.body["type"] == "error"
    assert message.body["error"]["type"] == "authentication_error"
    google = ask(posthouse, "POST", f"{GEMINI}:generateContent", {}, key="sk-wrong")
    assert (google.status, google.body["error"]["status"]) == (401, "UNAUTHENTICATED")
    response = ask(posthouse, "POST", "/v1/responses", {}, key="sk-wrong")
    assert response.body["error"]["code"] == "invalid_api_key"
    missing = ask(posthouse, "POST", f"{GEMINI}:doSomething", CONTENTS)
    assert (missing.status, missing.body["error"]["status"]) == (404, "NOT_FOUND")


def test_anthropics_callers_find_the_requests_id(posthouse: Posthouse) -> None:
    for body in (CHAT | {"max_tokens": 9}, {}):
        reply = ask(posthouse, "POST", "/v1/messages", body)
        assert reply.headers["request-id"] == reply.headers["x-request-id"]


def test_what_a_translation_loses_is_told_and_recorded(posthouse: Posthouse) -> None:
    body = CHAT | {"max_tokens": 50, "top_k": 4}
    reply = ask(posthouse, "POST", "/v1/messages", body)
    told = reply.headers["x-posthouse-translation"]
    assert told.split()[0] == "openai_chat"
    assert "-top_k" in told.split()
    assert posthouse.call(reply.headers["x-request-id"])["translation"] == told
    plain = ask(posthouse, "POST", "/v1/chat/completions", CHAT)
    assert "x-posthouse-translation" not in plain.headers
    assert posthouse.call(plain.headers["x-request-id"])["translation"] == ""


# --- streams ----------------------------------------------------------------------


def test_a_stream_of_googles_is_an_array_unless_events_are_wanted(
    posthouse: Posthouse,
) -> None:
    path = f"{GEMINI}:streamGenerateContent"
    array = ask(posthouse, "POST", path, CONTENTS)
    assert array.headers["content-type"].startswith("application/json")
    parts = [
        part for one in array.body for part in one["candidates"][0]["content"]["parts"]
    ]
    assert "".join(part["text"] for part in parts) == ANSWER
    assert array.body[-1]["candidates"][0]["finishReason"] == "STOP"
    events = ask(posthouse, "POST", f"{path}?alt=sse", CONTENTS)
    assert events.headers["content-type"].startswith("text/event-stream")
    assert events.body.startswith(b"data: {")
    refused = ask(posthouse, "POST", path, {"contents": 1})
    assert (refused.status, refused.body["error"]["status"]) == (
        400,
        "INVALID_ARGUMENT",
    )


# --- counting ---------------------------------------------------------------------


def test_counting_costs_nothing_and_agrees(posthouse: Posthouse) -> None:
    before = posthouse.ask("key", "list")
    counted = ask(posthouse, "POST", "/v1/messages/count_tokens", CHAT)
    assert counted.status == 200
    googles = ask(posthouse, "POST", f"{GEMINI}:countTokens", CONTENTS)
    assert googles.body["totalTokens"] == counted.body["input_tokens"] > 0
    longer = CHAT | {"messages": [{"role": "user", "content": "Hello " * 500}]}
    more = ask(posthouse, "POST", "/v1/messages/count_tokens", longer)
    assert more.body["input_tokens"] > counted.body["input_tokens"] + 400
    assert posthouse.ask("key", "list") == before


def test_nobody_counts_for_a_model_that_is_not_theirs(posthouse: Posthouse) -> None:
    body = CHAT | {"model": "sandbox-reasoning"}
    path = "/v1/messages/count_tokens"
    assert ask(posthouse, "POST", path, body).status == 200
    assert ask(posthouse, "POST", path, body, key=OTHER).status == 404
    assert ask(posthouse, "POST", path, body, key="sk-wrong").status == 401


# --- models -----------------------------------------------------------------------


def test_one_list_of_models_in_three_shapes(posthouse: Posthouse) -> None:
    openai = ask(posthouse, "GET", "/v1/models").body
    assert [model["id"] for model in openai["data"]] == ["sandbox", "sandbox-reasoning"]
    assert "anthropic" in openai["data"][0]["supported_endpoint_types"]
    headers = {"x_api_key": KEY, "anthropic_version": "2023-06-01"}
    first = ask(posthouse, "GET", "/v1/models?limit=1", **headers).body
    assert (first["first_id"], first["has_more"]) == ("sandbox", True)
    second = ask(posthouse, "GET", "/v1/models?after_id=sandbox", **headers).body
    assert (second["last_id"], second["has_more"]) == ("sandbox-reasoning", False)
    before = "/v1/models?limit=1&before_id=sandbox-reasoning"
    assert ask(posthouse, "GET", before, **headers).body["first_id"] == "sandbox"
    google = ask(posthouse, "GET", "/v1/models", x_goog_api_key=KEY).body
    assert google == ask(posthouse, "GET", "/v1beta/models").body
    assert google["models"][0]["name"] == "models/sandbox"
    assert ask(posthouse, "GET", "/v1/models?limit=x", **headers).status == 400


def test_codex_finds_a_list_of_its_own_kind(posthouse: Posthouse) -> None:
    """Empty, for its entries would take the place of its own instructions."""
    found = ask(posthouse, "GET", "/v1/models?client_version=0.169.0").body
    assert found["models"] == []
    assert [model["id"] for model in found["data"]] == ["sandbox", "sandbox-reasoning"]
    assert "models" not in ask(posthouse, "GET", "/v1/models").body


def test_one_model_in_three_shapes_and_only_to_who_may_use_it(
    posthouse: Posthouse,
) -> None:
    path = "/v1/models/sandbox-reasoning"
    assert ask(posthouse, "GET", path).body["object"] == "model"
    versions = {"anthropic_version": "2023-06-01"}
    own = ask(posthouse, "GET", path, x_api_key=KEY, **versions)
    assert own.body["type"] == "model"
    google = ask(posthouse, "GET", path.replace("v1", "v1beta")).body
    assert "generateContent" in google["supportedGenerationMethods"]
    foreign = ask(posthouse, "GET", path, x_api_key=OTHER, **versions)
    assert (foreign.status, foreign.body["error"]["type"]) == (404, "not_found_error")
    assert ask(posthouse, "GET", path, key=OTHER).status == 404


# --- kept responses ---------------------------------------------------------------


def respond(posthouse: Posthouse, text: str, **members: Any) -> Any:
    """Make a response; give its object."""
    body = {"model": "sandbox", "input": text, **members}
    reply = ask(posthouse, "POST", "/v1/responses", body)
    assert reply.status == 200
    return reply.body


def test_a_kept_response_is_found_built_upon_and_deleted(posthouse: Posthouse) -> None:
    first = respond(posthouse, "Hello", instructions="be brief")
    second = respond(posthouse, "And again", previous_response_id=first["id"])
    third = respond(posthouse, "Thirdly", previous_response_id=second["id"])
    tokens = [one["usage"]["input_tokens"] for one in (first, second, third)]
    # What led to a response is asked again, all but its instructions.
    assert tokens[0] < tokens[1] < tokens[2]
    path = f"/v1/responses/{third['id']}"
    assert ask(posthouse, "GET", path).body == third
    items = ask(posthouse, "GET", f"{path}/input_items").body["data"]
    assert [item["content"][0]["text"] for item in items] == ["Thirdly"]
    assert ask(posthouse, "POST", f"{path}/cancel").status == 400
    assert ask(posthouse, "DELETE", path).body["deleted"] is True
    assert ask(posthouse, "GET", path).status == 404
    assert ask(posthouse, "DELETE", path).status == 404


def test_what_is_kept_here_is_not_streamed_again(posthouse: Posthouse) -> None:
    made = respond(posthouse, "Hello")
    found = ask(posthouse, "GET", f"/v1/responses/{made['id']}?stream=true")
    assert found.status == 400
    assert found.body["error"]["param"] == "stream"


def test_nothing_runs_in_the_background(posthouse: Posthouse) -> None:
    body = {"model": "sandbox", "input": "Hello", "background": True}
    refused = ask(posthouse, "POST", "/v1/responses", body)
    assert refused.status == 400
    assert refused.body["error"]["param"] == "background"


def test_a_kept_response_is_nobody_elses(posthouse: Posthouse) -> None:
    kept = respond(posthouse, "Hello")
    path = f"/v1/responses/{kept['id']}"
    for method, where in [
        ("GET", path),
        ("GET", f"{path}/input_items"),
        ("POST", f"{path}/cancel"),
        ("DELETE", path),
    ]:
        assert ask(posthouse, method, where, key=OTHER).status == 404
    body = {"model": "sandbox", "input": "x", "previous_response_id": kept["id"]}
    stolen = ask(posthouse, "POST", "/v1/responses", body, key=OTHER)
    absent = ask(
        posthouse, "POST", "/v1/responses", body | {"previous_response_id": "resp_x"}
    )
    assert stolen.status == absent.status == 400
    assert stolen.body["error"]["code"] == absent.body["error"]["code"]
    assert ask(posthouse, "GET", path).status == 200


def test_what_shall_not_be_kept_is_not(posthouse: Posthouse) -> None:
    passing = respond(posthouse, "Hello", store=False)
    assert ask(posthouse, "GET", f"/v1/responses/{passing['id']}").status == 404


def test_kept_words_are_not_plain_in_the_database(posthouse: Posthouse) -> None:
    secret = "a-word-that-nobody-shall-read"
    respond(posthouse, secret)
    files = [path for path in posthouse.data.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if secret.encode() in path.read_bytes()]
