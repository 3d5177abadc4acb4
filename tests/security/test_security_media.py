"""What was made for callers is given to whoever has its URL, and runs nowhere."""

import base64
import http.client
import json
from collections.abc import Iterator
from email.message import Message
from typing import Any

import pytest
from tests.conftest import StartPosthouse
from tests.fakes.steps import Behaviour, Request, Send, json_reply
from tests.support.cases import each
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

KEY = "sk-media-0123456789abcdefghijklmnopqrstuvwxyzABCDEF"
CONFIGURATION = """
[[channels]]
name = "maker"
provider = "openai"
base_url = "{origin}/v1"
api_key = "secret"
models = ["pictures"]

[[prices]]
model = "pictures"
image = "0.04"

[[keys]]
name = "app"
key = "{key}"
balance_usd = "5"
"""
PNG = b"\x89PNG\r\n\x1a\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><script>alert(1)</script>"


class Maker:
    """Makes whatever a test says."""

    def __init__(self) -> None:
        self.made = PNG

    def __call__(self, request: Request) -> Behaviour:
        data = [{"b64_json": base64.b64encode(self.made).decode()}]
        value = {"created": 1, "data": data}
        return Behaviour("made", (Send(json_reply(200, value)),))


@pytest.fixture(scope="module")
def maker() -> Maker:
    return Maker()


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse, maker: Maker) -> Iterator[Posthouse]:
    with ThreadedFake(maker) as fake:
        yield start_posthouse(CONFIGURATION.format(origin=fake.origin, key=KEY))


def asked(
    posthouse: Posthouse, method: str, path: str, body: Any = None
) -> tuple[int, Message, bytes]:
    connection = http.client.HTTPConnection(posthouse.url[7:], timeout=20)
    headers = {"Content-Type": "application/json"}
    if body is not None:
        headers["Authorization"] = f"Bearer {KEY}"
    try:
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def made(posthouse: Posthouse) -> dict[str, Any]:
    """One picture, asked for by URL."""
    body = {"model": "pictures", "prompt": "p", "response_format": "url"}
    status, _, data = asked(posthouse, "POST", "/v1/images/generations", body)
    assert status == 200, data
    picture: dict[str, Any] = json.loads(data)["data"][0]
    return picture


@pytest.mark.parametrize(
    ("content", "kind"), [(PNG, "image/png"), (SVG, "image/svg+xml")]
)
def test_no_browser_runs_what_is_given(
    posthouse: Posthouse, maker: Maker, content: bytes, kind: str
) -> None:
    maker.made = content
    url = made(posthouse)["url"]
    status, headers, data = asked(posthouse, "GET", url.removeprefix(posthouse.url))
    assert (status, data, headers["content-type"]) == (200, content, kind)
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "allow-scripts" not in policy
    assert headers["referrer-policy"] == "no-referrer"


def test_what_is_no_picture_gets_no_url(posthouse: Posthouse, maker: Maker) -> None:
    maker.made = HTML
    assert made(posthouse).keys() == {"b64_json"}


def test_a_url_says_nothing_of_whom_it_was_made_for(
    posthouse: Posthouse, maker: Maker
) -> None:
    maker.made = PNG
    first, second = made(posthouse)["url"], made(posthouse)["url"]
    token = first.rpartition("/")[2]
    assert len(token.partition("-")[2]) == 32
    assert token.partition("-")[2] != second.rpartition("-")[2]


@each(
    "path",
    [
        "/media/",
        "/media/x",
        "/media/0000000000-" + "A" * 32,
        "/media/ffffffffff-" + "A" * 32,
        "/media/../posthouse.db",
        "/media/%2e%2e/posthouse.db",
        "/media/..%2f..%2fsecret.key",
        "/media/ffffffffff-" + "A" * 31 + "%00",
    ],
)
def test_nothing_else_is_given(posthouse: Posthouse, path: str) -> None:
    status, _, _ = asked(posthouse, "GET", path)
    assert status == 404


def test_only_reading_is_possible(posthouse: Posthouse, maker: Maker) -> None:
    maker.made = PNG
    path = made(posthouse)["url"].removeprefix(posthouse.url)
    for method in ("PUT", "DELETE", "POST"):
        assert asked(posthouse, method, path)[0] == 405
    status, headers, data = asked(posthouse, "HEAD", path)
    assert (status, data, headers["content-length"]) == (200, b"", str(len(PNG)))
