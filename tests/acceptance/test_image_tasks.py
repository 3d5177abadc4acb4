"""Pictures that are made later: the maker gives a task, and its result by its id."""

from collections.abc import Iterator

import httpx2
import openai
import pytest
from tests.conftest import StartPosthouse
from tests.fakes.steps import Behaviour, Request, Send, json_reply, reply
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

KEY = "sk-tasks-0123456789abcdefghijklmnopqrstuvwxyzABCDEF"
OTHER = "sk-others-0123456789abcdefghijklmnopqrstuvwxyzABCDE"
CONFIGURATION = """
[[channels]]
name = "stability"
provider = "stability"
base_url = "{origin}"
api_key = "stability-secret"
models = ["stable-image-upscale-creative"]

[[keys]]
name = "app"
key = "{key}"
balance_usd = "50"

[[keys]]
name = "other"
key = "{other}"
balance_usd = "50"
"""
PICTURE = b"\x89PNG\r\n\x1a\n"
TASK = "3a" * 32
BEGIN = "/stability/v2beta/stable-image/upscale/creative"
RESULTS = "/v2beta/results/"


class Maker:
    """Has made the picture when it is asked for a second time."""

    def __init__(self) -> None:
        self.asked_for = 0
        self.answer: object = {"id": TASK}

    def __call__(self, request: Request) -> Behaviour:
        if request.method == "POST":
            return Behaviour("begun", (Send(json_reply(200, self.answer)),))
        self.asked_for += 1
        if self.asked_for == 1:
            told = {"id": TASK, "status": "in-progress"}
            return Behaviour("not yet", (Send(json_reply(202, told)),))
        headers = [("seed", "1"), ("finish-reason", "SUCCESS"), ("x-secret", "1")]
        made = reply(200, PICTURE, content_type="image/png", headers=headers)
        return Behaviour("made", (Send(made),))


@pytest.fixture(scope="module")
def maker() -> Maker:
    return Maker()


@pytest.fixture(scope="module")
def fake(maker: Maker) -> Iterator[ThreadedFake]:
    with ThreadedFake(maker) as fake:
        yield fake


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse, fake: ThreadedFake) -> Posthouse:
    text = CONFIGURATION.format(origin=fake.origin, key=KEY, other=OTHER)
    return start_posthouse(text)


def begin(posthouse: Posthouse) -> httpx2.Response:
    return httpx2.post(
        posthouse.url + BEGIN,
        headers={"Authorization": f"Bearer {KEY}", "Accept": "image/*"},
        files={"image": ("a.png", PICTURE, "image/png")},
        data={"prompt": "a fox"},
    )


def look(posthouse: Posthouse, path: str, key: str = KEY) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {key}", "Accept": "image/*"}
    return httpx2.get(posthouse.url + path, headers=headers)


def test_a_task_is_paid_for_once_and_its_result_is_its_owners(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    begun = begin(posthouse)
    assert (begun.status_code, begun.json()) == (200, {"id": TASK})
    assert posthouse.call(begun.headers["x-request-id"])["price_usd"] == "0.60"
    calls = len(posthouse.ask("calls", "--limit", "1000"))
    for where in (RESULTS, f"/stability{RESULTS}"):
        assert look(posthouse, where + TASK, OTHER).status_code == 404
        for name in (f"{TASK}x", "", "a/b", "%2e%2e"):
            assert look(posthouse, where + name).status_code == 404, name
    assert look(posthouse, "/stability/v1/user/balance").status_code == 404
    sent = len(fake.everything)
    early = look(posthouse, RESULTS + TASK)
    assert (early.status_code, early.json()["status"]) == (202, "in-progress")
    made = look(posthouse, f"/stability{RESULTS}{TASK}")
    assert (made.status_code, made.content) == (200, PICTURE)
    told = {name: made.headers.get(name) for name in ("content-type", "seed")}
    assert told == {"content-type": "image/png", "seed": "1"}
    assert made.headers["finish-reason"] == "SUCCESS"
    assert "x-secret" not in made.headers
    requests = [one.request for one in fake.everything[sent:]]
    assert [one.target for one in requests] == [RESULTS + TASK] * 2
    assert requests[0].header(b"authorization") == b"Bearer stability-secret"
    assert requests[0].header(b"accept") == b"image/*"
    assert len(posthouse.ask("calls", "--limit", "1000")) == calls


def test_what_begins_no_task_costs_nothing(posthouse: Posthouse, maker: Maker) -> None:
    """Nor what is called so that it could not be asked for."""
    for answer in ({}, {"id": "../../v1/user/balance"}, {"id": 7}):
        maker.answer = answer
        begun = begin(posthouse)
        assert begun.status_code == 502, answer
        assert posthouse.call(begun.headers["x-request-id"])["price"] == 0


def test_a_task_is_begun_in_its_makers_own_language_alone(posthouse: Posthouse) -> None:
    url = posthouse.url + "/v1"
    with (
        openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as sdk,
        pytest.raises(openai.BadRequestError) as caught,
    ):
        sdk.images.edit(
            model="stable-image-upscale-creative", image=PICTURE, prompt="a fox"
        )
    assert caught.value.param == "model"
