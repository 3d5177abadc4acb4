"""Makers of pictures that misbehave: what their callers see, and what it costs."""

import base64
import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.conftest import StartPosthouse
from tests.fakes.steps import (
    Behaviour,
    Close,
    Request,
    Reset,
    Send,
    head,
    json_reply,
)
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

KEY = "sk-faults-0123456789abcdefghijklmnopqrstuvwxyzABCDE"
CONFIGURATION = """
[[channels]]
name = "first"
provider = "openai"
base_url = "{origin}/v1"
api_key = "secret"
priority = 1
models = ["pieces", "tokens"]

[[channels]]
name = "second"
provider = "openai"
base_url = "{origin}/second/v1"
api_key = "secret"
priority = 2
models = ["pieces", "tokens"]

[[channels]]
name = "sandbox"
provider = "sandbox"
models = ["sandbox-image", "sandbox-image-tokens"]

[[prices]]
model = "pieces"
image = "0.04"

[[prices]]
model = "tokens"
input = "5"
output = "10"
image_output = "30"

[[keys]]
name = "app"
key = "{key}"
balance_usd = "50"
"""
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
PRIVATE = "http://127.0.0.1:9/1.png"


def event(kind: str, **members: Any) -> bytes:
    data = {"type": f"image_generation.{kind}", "b64_json": PICTURE, **members}
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


class Maker:
    """Does what a test says, by the channel that asks."""

    def __init__(self) -> None:
        self.first: tuple[Any, ...] = ()
        self.second: tuple[Any, ...] = ()

    def __call__(self, request: Request) -> Behaviour:
        later = request.target.startswith("/second/")
        return Behaviour("as told", self.second if later else self.first)


GOOD = (Send(json_reply(200, {"created": 1, "data": [{"b64_json": PICTURE}]})),)


@pytest.fixture(scope="module")
def maker() -> Maker:
    return Maker()


@pytest.fixture(scope="module")
def fake(maker: Maker) -> Iterator[ThreadedFake]:
    with ThreadedFake(maker) as fake:
        yield fake


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse, fake: ThreadedFake) -> Posthouse:
    # Channels that fail on purpose shall not be out for the next test.
    patient = {"POSTHOUSE_BREAKER_FAILURES": "100000"}
    configuration = CONFIGURATION.format(origin=fake.origin, key=KEY)
    return start_posthouse(configuration, environment=patient)


def ask(posthouse: Posthouse, **body: Any) -> tuple[int, str, bytes]:
    """Status, the call's name and the body of what comes, as far as it comes."""
    connection = http.client.HTTPConnection(posthouse.url[7:], timeout=20)
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    data = json.dumps({"prompt": "a fox", **body})
    try:
        connection.request("POST", "/v1/images/generations", data, headers)
        answer = connection.getresponse()
        try:
            found = answer.read()
        except http.client.IncompleteRead as broken:
            found = broken.partial
        return answer.status, answer.headers["x-request-id"], found
    finally:
        connection.close()


def stream(*pieces: bytes) -> Send:
    return Send(head(200, content_type="text/event-stream") + b"".join(pieces))


def error(status: int) -> tuple[Send, ...]:
    value = {"error": {"message": "no", "type": "t", "param": None, "code": None}}
    return (Send(json_reply(status, value)),)


def test_a_refused_request_goes_elsewhere(posthouse: Posthouse, maker: Maker) -> None:
    maker.first, maker.second = error(429), GOOD
    status, name, _ = ask(posthouse, model="pieces")
    record = posthouse.call(name)
    assert (status, record["channel"], record["price_usd"]) == (200, "second", "0.04")


def test_what_may_have_been_made_is_not_made_twice(
    posthouse: Posthouse, maker: Maker, fake: ThreadedFake
) -> None:
    """The provider took the request and said nothing: nobody is asked again."""
    maker.first = maker.second = (Reset(),)
    before = len(fake.everything)
    status, name, _ = ask(posthouse, model="pieces")
    assert status in {502, 503}
    asked = {served.request.target for served in fake.everything[before:]}
    assert len(asked) == 1
    record = posthouse.call(name)
    # On a connection that was kept it may have been sent once more.
    assert len({attempt["channel"] for attempt in record["attempts"]}) == 1
    assert record["price_usd"] == "0.00"


@pytest.mark.parametrize("model", ["pieces", "tokens"])
def test_an_answer_without_a_picture_costs_nothing(
    posthouse: Posthouse, maker: Maker, model: str
) -> None:
    for body in ({"created": 1, "data": []}, {"data": [{}]}, ["x"]):
        maker.first = maker.second = (Send(json_reply(200, body)),)
        status, name, _ = ask(posthouse, model=model)
        assert status == 502, body
        assert posthouse.call(name)["price_usd"] == "0.00"


def test_a_stream_that_breaks_off_costs_what_has_come(
    posthouse: Posthouse, maker: Maker
) -> None:
    partial = event("partial_image", partial_image_index=0)
    maker.first = maker.second = (stream(partial, partial), Close())
    for model, least, most in (("pieces", 0, 0), ("tokens", 6_000, 6_200)):
        status, name, found = ask(posthouse, model=model, stream=True, partial_images=3)
        assert status == 200
        assert found.startswith(partial)
        assert b"image_generation.completed" not in found
        assert b'"error"' in found
        record = posthouse.call(name)
        assert record["outcome"] == "interrupted"
        price = round(float(record["price_usd"]) * 1_000_000)
        assert least <= price <= most, model


def test_the_last_picture_waits_for_its_settlement(
    posthouse: Posthouse, maker: Maker
) -> None:
    """Nothing follows it that anybody waits for."""
    usage = {"input_tokens": 2, "output_tokens": 4160, "total_tokens": 4162}
    maker.first = maker.second = (stream(event("completed", usage=usage)), Close())
    status, name, found = ask(posthouse, model="tokens", stream=True)
    assert (status, found) == (200, event("completed", usage=usage))
    assert posthouse.call(name)["price_usd"] == "0.12481"


def test_without_usage_tokens_are_charged_as_they_were_held_for(
    posthouse: Posthouse, maker: Maker
) -> None:
    maker.first = maker.second = GOOD
    _, name, _ = ask(posthouse, model="tokens", quality="low", size="1024x1024")
    record = posthouse.call(name)
    assert record["usage_source"] == "estimated"
    assert 0.002 < float(record["price_usd"]) < 0.03


@pytest.mark.parametrize(
    ("usage", "charged"),
    [
        ({"input_tokens": -5, "output_tokens": -5}, "estimated"),
        ({"input_tokens": 1.5, "output_tokens": "x"}, "estimated"),
        ({"input_tokens": 2, "output_tokens": 10**15}, "estimated"),
    ],
)
def test_usage_that_cannot_be_true_is_not_charged(
    posthouse: Posthouse, maker: Maker, usage: Any, charged: str
) -> None:
    body = {"created": 1, "data": [{"b64_json": PICTURE}], "usage": usage}
    maker.first = maker.second = (Send(json_reply(200, body)),)
    _, name, _ = ask(posthouse, model="tokens", quality="low", size="1024x1024")
    record = posthouse.call(name)
    assert record["usage_source"] == charged
    assert 0 < float(record["price_usd"]) < 0.03


def test_a_providers_private_url_leads_nowhere(
    posthouse: Posthouse, maker: Maker
) -> None:
    """It is not fetched, and its caller is told no more than the provider said."""
    body = {"created": 1, "data": [{"url": PRIVATE}]}
    maker.first = maker.second = (Send(json_reply(200, body)),)
    status, _, found = ask(posthouse, model="pieces", response_format="b64_json")
    assert (status, json.loads(found)["data"]) == (200, [{"url": PRIVATE}])


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [
        ("error-400", {400}),
        ("error-500", {503}),
        ("html", {502}),
        ("invalid-json", {502}),
        ("empty", {502}),
        ("reset", {502, 503}),
        ("truncate", {502}),
        ("content-filter", {400}),
    ],
)
@pytest.mark.parametrize("model", ["sandbox-image", "sandbox-image-tokens"])
def test_the_sandbox_misbehaves_with_pictures_too(
    posthouse: Posthouse, model: str, fault: str, statuses: set[int]
) -> None:
    prompt = f"sandbox:{fault} a fox"
    status, name, _ = ask(posthouse, model=model, prompt=prompt)
    assert status in statuses
    assert posthouse.call(name)["price_usd"] == "0.00"
