"""Pictures as their caller wants them, whatever the provider gave."""

import base64
import json
from typing import Any

import pytest
from tests.support.cases import each
from tests.unit.relay.test_media_store import PUBLIC, Clock, Memory

from posthouse.dialects.base import ParsedRequest, PromptSize
from posthouse.errors import URLNotAllowed
from posthouse.model.call import Operation
from posthouse.relay.delivery import ImageDelivery
from posthouse.relay.media_store import MediaStore
from posthouse.relay.served import Completion, Served
from posthouse.upstream.egress import Fetch, Fetched
from posthouse.wire.sse import SSEDecoder

PNG = b"\x89PNG\r\n\x1a\n picture"
TEXT = base64.b64encode(PNG).decode()
THERE = "https://files.example/1.png"


class Web:
    """What is fetched, and what for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.body = PNG
        self.status = 200
        self.refused = False

    async def __call__(self, wanted: Fetch) -> Fetched:
        self.asked.append(wanted.url)
        if self.refused:
            raise URLNotAllowed
        return Fetched(self.status, wanted.url, "text/html", self.body)


class World:
    """One delivery, and what it works with."""

    def __init__(self, *, rehost: bool = False, quota: int = 1000) -> None:
        self.web = Web()
        self.memory = Memory()
        self.store = MediaStore(
            self.memory,
            public_url=PUBLIC,
            seconds=100,
            quota_bytes=quota,
            clock=Clock(),
        )
        self.delivery = ImageDelivery(self.web, self.store, rehost=rehost)

    async def given(
        self, reply: Any, wanted: bool | None, *, native: bool = False
    ) -> Any:
        """What a client gets of a reply."""
        served = Served(
            None,  # type: ignore[arg-type]  # nobody asks whom it came from
            Completion.WHOLE,
            None,
            None,
            str,
            body=json.dumps(reply).encode(),
        )
        incoming: Any = _Incoming(wanted)
        chosen = self.delivery.as_given if native else self.delivery.chosen
        deliver = (await chosen(incoming)).deliver
        if deliver is not None:
            served = await deliver(None, served)  # type: ignore[arg-type]
        return json.loads(served.body)


def _Incoming(wanted: bool | None, *, stream: bool = False) -> Any:  # noqa: N802 - stands for the class
    from posthouse.relay.call import Incoming

    request = ParsedRequest(
        operation=Operation.IMAGE,
        envelope={},
        model="m",
        stream=stream,
        prompt=PromptSize(),
        affinity=b"",
        wants_base64=wanted,
    )
    nobody: Any = None
    return Incoming("id", nobody, nobody, request, None)


def reply(**picture: Any) -> Any:
    return {"created": 1, "data": [picture], "kept": 1.0}


async def test_a_url_becomes_base64() -> None:
    world = World()
    found = await world.given(reply(url=THERE, revised_prompt="p"), wanted=True)
    assert found == {
        "created": 1,
        "data": [{"b64_json": TEXT, "revised_prompt": "p"}],
        "kept": 1.0,
    }
    assert world.web.asked == [THERE]


async def test_base64_becomes_a_url_of_ours() -> None:
    world = World()
    found = await world.given(reply(b64_json=TEXT), wanted=False)
    (picture,) = found["data"]
    token = picture["url"].removeprefix(f"{PUBLIC}media/")
    assert picture.keys() == {"url"}
    assert world.memory.held[token] == PNG


async def test_a_data_url_becomes_what_is_wanted() -> None:
    world = World()
    data = f"data:image/png;base64,{TEXT}"
    assert (await world.given(reply(url=data), wanted=True))["data"] == [
        {"b64_json": TEXT}
    ]
    found = await world.given(reply(url=data), wanted=False)
    assert found["data"][0]["url"].startswith(PUBLIC)
    assert world.web.asked == []


@pytest.mark.parametrize("wanted", [None, False])
async def test_a_providers_url_stays_unless_it_is_to_be_kept(
    wanted: bool | None,
) -> None:
    world = World()
    assert await world.given(reply(url=THERE), wanted) == reply(url=THERE)
    assert world.web.asked == []
    keeping = World(rehost=True)
    found = await keeping.given(reply(url=THERE), wanted)
    assert found["data"][0]["url"].startswith(PUBLIC)


async def test_a_makers_own_reply_is_kept_in_its_own_shape() -> None:
    keeping = World(rehost=True)
    made = {"credits": 1, "image": {"image_id": "i", "url": THERE}}
    found = await keeping.given(made, wanted=None, native=True)
    assert found["image"]["url"].startswith(PUBLIC)
    assert await World().given(made, wanted=None, native=True) == made


@each("trouble", ["refused", "status", "html"])
async def test_what_cannot_be_turned_stays_as_it_came(trouble: str) -> None:
    """It has been paid for: its caller shall have at least what there is."""
    world = World(rehost=True)
    world.web.refused = trouble == "refused"
    world.web.status = 404 if trouble == "status" else 200
    world.web.body = b"<html><script>" if trouble == "html" else PNG
    for wanted in (True, None):
        assert await world.given(reply(url=THERE), wanted) == reply(url=THERE)
    assert world.memory.held == {}


async def test_without_room_base64_stays() -> None:
    world = World(quota=3)
    assert await world.given(reply(b64_json=TEXT), wanted=False) == reply(b64_json=TEXT)


async def test_the_events_of_a_whole_reply_have_base64() -> None:
    world = World()
    events = [{"type": "image_generation.completed", "url": THERE, "kept": 1}]
    events.append({"type": "image_generation.completed", "b64_json": TEXT})
    body = b"".join(
        b"event: x\ndata: %b\n\n" % json.dumps(event).encode() for event in events
    )
    nobody: Any = None
    served = Served(
        nobody, Completion.WHOLE, None, None, str, body=body, content_type=b"text/x"
    )
    chosen = await world.delivery.chosen(_Incoming(wanted=None, stream=True))
    assert chosen.deliver is not None
    found = (await chosen.deliver(nobody, served)).body
    first, second = SSEDecoder().feed(found)
    turned = {"type": events[0]["type"], "kept": 1, "b64_json": TEXT}
    assert json.loads(first[1]) == turned
    assert first[0].startswith(b"event: x\n")
    assert json.loads(second[1]) == events[1]


@each(
    "odd",
    [
        [],
        {"data": "x"},
        {"data": [1]},
        {"data": [{"url": 5}]},
        {"data": [{"b64_json": "!"}]},
    ],
)
async def test_odd_replies_pass(odd: Any) -> None:
    world = World(rehost=True)
    for wanted in (True, False, None):
        assert await world.given(odd, wanted) == odd
