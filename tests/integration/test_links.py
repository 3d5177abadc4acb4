"""Links in callers' words: followed for models that shall read files, and no others."""

import base64
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from tests.conftest import StartPosthouse
from tests.fakes import openai as provider
from tests.fakes.steps import Behaviour, Request, Send
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

KEY = "sk-links-0123456789abcdefghijklmnopqrstuvwxyzABCDEF"
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(20)
CONFIGURATION = """
[[channels]]
name = "up"
provider = "openai-compatible"
base_url = "{url}/v1"
models = [{{ public = "gpt-4-all", upstream = "seen", links = true }}, "plain"]

[[prices]]
model = "*"
input = "1"
output = "1"

[[keys]]
name = "app"
key = "{key}"
"""


def behave(request: Request) -> Behaviour:
    """Give files, and chats as a provider would."""
    if request.target == "/cat.png":
        head = (
            b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: %d\r\n\r\n"
        )
        return Behaviour("file", (Send(head % len(PICTURE) + PICTURE),))
    if request.target.startswith("/missing"):
        gone = b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"
        return Behaviour("file", (Send(gone),))
    return provider.answer(request)


@pytest.fixture(scope="module")
def fake() -> Iterator[ThreadedFake]:
    with ThreadedFake(behave) as fake:
        yield fake


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse, fake: ThreadedFake) -> Posthouse:
    port = fake.origin.rpartition(":")[2]
    return start_posthouse(
        CONFIGURATION.format(url=fake.origin, key=KEY),
        {
            "POSTHOUSE_EGRESS_ALLOW": "127.0.0.1/32",
            "POSTHOUSE_EGRESS_PORTS": port,
        },
    )


@pytest.fixture(scope="module")
def sdk(posthouse: Posthouse) -> Iterator[openai.OpenAI]:
    url = posthouse.url + "/v1"
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as sdk:
        yield sdk


def asked(sdk: openai.OpenAI, fake: ThreadedFake, model: str, text: str) -> Any:
    """Ask; gives the reply's header and the content that the provider has seen."""
    reply = sdk.chat.completions.with_raw_response.create(
        model=model,
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": text},
        ],
        extra_body={"unknown": {"kept": [1.10]}},
    )
    seen = fake.everything[-1].request.json
    assert seen["messages"][0] == {"role": "developer", "content": "Be brief."}
    assert seen["unknown"] == {"kept": [1.10]}
    told = reply.headers.get("x-posthouse-translation")
    return told, seen["messages"][-1]["content"]


def test_a_picture_behind_a_link_is_shown_to_the_model(
    sdk: openai.OpenAI, fake: ThreadedFake
) -> None:
    text = f"What is this? {fake.origin}/cat.png"
    told, content = asked(sdk, fake, "gpt-4-all", text)
    data = base64.b64encode(PICTURE).decode()
    assert content == [
        {"type": "text", "text": text},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
    ]
    assert told is None


@pytest.mark.parametrize(
    "link", ["{origin}/missing.png", "http://169.254.169.254/latest/key.txt"]
)
def test_a_link_that_leads_nowhere_stays_words(
    sdk: openai.OpenAI, fake: ThreadedFake, link: str
) -> None:
    """And so does one to where nobody may go; the reply says so."""
    text = "Look at " + link.format(origin=fake.origin)
    told, content = asked(sdk, fake, "gpt-4-all", text)
    assert content == text
    assert told == "openai_chat -links"


def test_other_models_links_are_words(sdk: openai.OpenAI, fake: ThreadedFake) -> None:
    text = f"What is this? {fake.origin}/cat.png"
    before = len(fake.everything)
    assert asked(sdk, fake, "plain", text) == (None, text)
    assert len(fake.everything) == before + 1
