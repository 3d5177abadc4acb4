"""Responses that their provider keeps: known here by owner and channel alone.

The provider is a Posthouse of its own, which speaks the dialect and keeps what it made.
"""

import openai
import pytest
from tests.conftest import StartPosthouse
from tests.support.posthouse import Posthouse

KEYS = {
    "one": "sk-native-one-0123456789abcdefghijklmnopqrstuvwxyz",
    "two": "sk-native-two-0123456789abcdefghijklmnopqrstuvwxyz",
    "first": "sk-native-first-0123456789abcdefghijklmnopqrstuvw",
    "second": "sk-native-second-0123456789abcdefghijklmnopqrstuv",
}
KEY = '[[keys]]\nname = "{name}"\nkey = "{key}"\nbalance_usd = "5"\n\n'
SANDBOX = '[[channels]]\nname = "sandbox"\nprovider = "sandbox"\n\n'
CHANNEL = """
[[channels]]
name = "{name}"
provider = "openai"
base_url = "{url}/v1"
api_key = "{key}"
models = ["sandbox"]

"""
PRICE = '[[prices]]\nmodel = "sandbox"\ninput = "1"\noutput = "1"\n'


@pytest.fixture(scope="module")
def provider(start_posthouse: StartPosthouse) -> Posthouse:
    """It has an account for each of our channels, which know nothing of each other."""
    accounts = (KEY.format(name=n, key=KEYS[n]) for n in ("first", "second"))
    return start_posthouse(SANDBOX + "".join(accounts))


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse, provider: Posthouse) -> Posthouse:
    """Two channels that are equally good, and two callers."""
    channels = (
        CHANNEL.format(name=name, url=provider.url, key=KEYS[name])
        for name in ("first", "second")
    )
    callers = (KEY.format(name=name, key=KEYS[name]) for name in ("one", "two"))
    return start_posthouse("".join((*channels, *callers)) + PRICE)


def sdk(posthouse: Posthouse, name: str) -> openai.OpenAI:
    """The SDK of one caller."""
    return openai.OpenAI(
        base_url=posthouse.url + "/v1", api_key=KEYS[name], max_retries=0
    )


def test_what_follows_a_response_goes_where_that_is(posthouse: Posthouse) -> None:
    client = sdk(posthouse, "one")
    channels: set[str] = set()
    for number in range(40):
        if len(channels) == 2:
            break
        made = client.responses.with_raw_response.create(
            model="sandbox", input=f"Question {number}"
        )
        assert "x-posthouse-translation" not in made.headers
        first = made.parse()
        followed = client.responses.with_raw_response.create(
            model="sandbox", input="And then?", previous_response_id=first.id
        )
        # At the other channel's account the provider would not know it.
        assert followed.parse().previous_response_id == first.id
        records = [
            posthouse.call(reply.headers["x-request-id"]) for reply in (made, followed)
        ]
        assert records[0]["channel"] == records[1]["channel"]
        channels.add(records[0]["channel"])
    assert channels == {"first", "second"}


def test_a_response_is_asked_for_where_it_is(posthouse: Posthouse) -> None:
    client = sdk(posthouse, "one")
    with client.responses.stream(model="sandbox", input="Hello") as stream:
        made = stream.until_done().get_final_response()
    assert client.responses.retrieve(made.id).output_text == made.output_text
    [item] = client.responses.input_items.list(made.id).data
    assert item.type == "message"
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(made.id)
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_nobody_else_reaches_it_through_us(posthouse: Posthouse) -> None:
    made = sdk(posthouse, "one").responses.create(model="sandbox", input="Hello")
    other = sdk(posthouse, "two").responses
    with pytest.raises(openai.NotFoundError):
        other.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        other.delete(made.id)
    with pytest.raises(openai.BadRequestError):
        other.create(model="sandbox", input="x", previous_response_id=made.id)
