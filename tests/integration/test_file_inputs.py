"""Files that calls name: ours are brought, a provider's own stay what they are."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from tests.conftest import StartPosthouse
from tests.support.fake import ThreadedFake

KEYS = ("sk-file-inputs-one-0123456789abcdefghijk", "sk-file-inputs-two-0123456789abc")
CONFIGURATION = """
[[channels]]
name = "fake"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = "provider-secret"
models = ["fake"]
resources = "{resources}"

[[prices]]
model = "fake"
input = "1.00"
output = "2.00"

[[keys]]
name = "one"
key = "{one}"
balance_usd = "1"

[[keys]]
name = "two"
key = "{two}"
balance_usd = "1"
"""


@pytest.fixture(scope="module")
def fake() -> Iterator[ThreadedFake]:
    """A provider."""
    with ThreadedFake() as fake:
        yield fake


def _ask(client: openai.OpenAI, fake: ThreadedFake, *names: str) -> Any:
    """Ask for a chat that names files; give what the provider was sent of it."""
    before = len(fake.served("fake"))
    parts = [{"type": "file", "file": {"file_id": name}} for name in names]
    client.chat.completions.create(
        model="fake",
        messages=[{"role": "user", "content": parts}],  # type: ignore[list-item, misc]  # a dictionary
    )
    (served,) = fake.served("fake")[before:]
    return json.loads(served.request.body)["messages"][0]["content"]


def _client(url: str, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0, timeout=20)


def test_ours_are_brought_and_others_are_nobody_s(
    start_posthouse: StartPosthouse, fake: ThreadedFake
) -> None:
    """The provider sees the content; an id that is not the caller's never leaves."""
    server = start_posthouse(
        CONFIGURATION.format(
            origin=fake.origin, resources="owned", one=KEYS[0], two=KEYS[1]
        )
    )
    one, two = (_client(server.url, key) for key in KEYS)
    with one, two:
        file = one.files.create(file=("a.pdf", b"%PDF"), purpose="user_data").id
        (part,) = _ask(one, fake, file)
        assert part == {
            "type": "file",
            "file": {
                "filename": "a.pdf",
                "file_data": "data:application/pdf;base64,JVBERg==",
            },
        }
        before = len(fake.served("fake"))
        for client, name in ((two, file), (one, "file-of-the-provider")):
            with pytest.raises(openai.BadRequestError) as refused:
                _ask(client, fake, name)
            assert refused.value.code == "file_not_found"
        with pytest.raises(openai.BadRequestError, match="at most 32"):
            _ask(one, fake, *(f"file-{n}" for n in range(33)))
        assert len(fake.served("fake")) == before


def test_where_all_is_shared_names_stay(
    start_posthouse: StartPosthouse, fake: ThreadedFake
) -> None:
    """They are the provider's."""
    server = start_posthouse(
        CONFIGURATION.format(
            origin=fake.origin, resources="shared", one=KEYS[0], two=KEYS[1]
        )
    )
    with _client(server.url, KEYS[0]) as one:
        (part,) = _ask(one, fake, "file-of-the-provider")
        assert part == {"type": "file", "file": {"file_id": "file-of-the-provider"}}
