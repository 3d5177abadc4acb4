"""Batches at providers that have batches, through the running program and the SDKs.

The provider journals what it is given; what its batches' lines cost is known of the
calls' records. Then SIGKILL at each instant of a part's life.
"""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import anthropic
import openai
import pytest
from tests.crash.points import OF_BATCHES, everywhere
from tests.fakes.batches import BatchProvider, chat_line
from tests.fakes.steps import json_reply
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

KEY = "sk-crash-app-0123456789abcdefghijklmnopqrstuvwxyz"
LIMITED = "sk-crash-limited-0123456789abcdefghijklmnopqrstuv"
POOR = "sk-crash-poor-0123456789abcdefghijklmnopqrstuvwxy"
CONFIGURATION = """
[[channels]]
name = "first"
provider = "openai"
base_url = "{origin}/v1"
api_key = "provider-secret"
models = [{{ public = "small", upstream = "gpt-4o-mini" }}]
weight = 1000000

[[channels]]
name = "second"
provider = "openai"
base_url = "{origin}/v1"
api_key = "other-secret"
models = [{{ public = "small", upstream = "gpt-4o-mini" }}]

[[channels]]
name = "here"
provider = "openai"
base_url = "{origin}/v1"
api_key = "provider-secret"
models = ["gpt-4o"]
batches = "here"

[[channels]]
name = "claude"
provider = "anthropic"
base_url = "{origin}"
api_key = "claude-secret"
models = ["claude-haiku-4-5"]

[[keys]]
name = "app"
key = "{key}"
balance_usd = "5"

[[keys]]
name = "limited"
key = "{limited}"
rpm = 2

[[keys]]
name = "poor"
key = "{poor}"
balance_usd = "0.0002"
"""
LINES = 30
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
ENDED = ("completed", "failed", "expired", "cancelled")
ENVIRONMENT = {"POSTHOUSE_BATCH_POLL_SECONDS": "0.2"}


class Shop:
    """A provider, a server before it, and its callers."""

    def __init__(self, folder: Path) -> None:
        self.provider = BatchProvider()
        self.fake = ThreadedFake(self.provider)
        self._folder = folder
        self._clients: dict[tuple[str, str], openai.OpenAI] = {}
        self._talkers: list[anthropic.Anthropic] = []
        self.server: Posthouse

    def __enter__(self) -> Self:
        self.fake.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for client in (*self._clients.values(), *self._talkers):
            client.close()
        self.fake.__exit__()

    def start(self, **environment: str) -> Posthouse:
        """Start a server, on what the last one left."""
        text = CONFIGURATION.format(
            origin=self.fake.origin, key=KEY, poor=POOR, limited=LIMITED
        )
        self.server = Posthouse(
            self._folder, text, {**ENVIRONMENT, **environment}
        ).__enter__()
        return self.server

    def client(self, key: str = KEY) -> openai.OpenAI:
        """Give a caller of OpenAI's API."""
        url = self.server.url + "/v1"
        if (url, key) not in self._clients:
            self._clients[url, key] = openai.OpenAI(
                base_url=url, api_key=key, max_retries=0, timeout=20
            )
        return self._clients[url, key]

    def talker(self) -> anthropic.Anthropic:
        """Give a caller of Anthropic's API."""
        client = anthropic.Anthropic(
            base_url=self.server.url, api_key=KEY, max_retries=0, timeout=20
        )
        self._talkers.append(client)
        return client

    def begin(
        self, count: int, model: str = "small", key: str = KEY, url: str = CHAT
    ) -> str:
        """Make a batch of so many chats."""
        messages = [{"role": "user", "content": "Hello"}]
        body = {"model": model, "messages": messages, "max_tokens": 8}
        lines = [
            {"custom_id": f"line {n}", "method": "POST", "url": url, "body": body}
            for n in range(count)
        ]
        client = self.client(key)
        content = "\n".join(map(json.dumps, lines)).encode()
        file = client.files.create(file=("input.jsonl", content), purpose="batch")
        made = client.batches.create(
            input_file_id=file.id,
            endpoint=url,  # type: ignore[arg-type]
            completion_window="24h",
        )
        return made.id

    def finished(self, name: str, key: str = KEY) -> Any:
        """Wait for a batch's end."""
        deadline = time.monotonic() + 60
        while (batch := self.client(key).batches.retrieve(name)).status not in ENDED:
            assert time.monotonic() < deadline, batch
            time.sleep(0.05)
        return batch

    def lines(self, file_id: str | None, key: str = KEY) -> list[Any]:
        """Read a file of results."""
        if file_id is None:
            return []
        text = self.client(key).files.content(file_id).text
        return [json.loads(line) for line in text.splitlines()]

    def calls(self, name: str) -> list[dict[str, Any]]:
        """Give the records of a batch's calls."""
        records = self.server.ask("calls", "--limit", "1000")
        return [one for one in records if one["id"].startswith(name)]

    def judge(
        self, name: str, count: int, *, channel: str = "first", key: str = KEY
    ) -> None:
        """Every line has one answer, and was charged once, for that."""
        batch = self.finished(name, key)
        assert batch.status == "completed", batch
        counts = batch.request_counts
        assert (counts.total, counts.completed, counts.failed) == (count, count, 0)
        output = self.lines(batch.output_file_id, key)
        assert {one["custom_id"] for one in output} == {
            f"line {n}" for n in range(count)
        }
        told = {one["response"]["request_id"] for one in output}
        assert len(output) == len(told) == count
        charged = [one for one in self.calls(name) if one["price"]]
        assert {one["id"] for one in charged} == told
        assert {one["channel"] for one in charged} == {channel}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One for all that nobody dies of."""
    with Shop(tmp_path_factory.mktemp("shop")) as shop, shop.start():
        yield shop


@pytest.fixture(autouse=True)
def _provider(request: pytest.FixtureRequest) -> None:
    """Let the shop's provider be a good one again."""
    if "shop" in request.fixturenames:
        provider = request.getfixturevalue("shop").provider
        provider.given.clear()
        provider.faults.clear()
        provider.ends_at_once, provider.answer = True, chat_line


def _asked_one_by_one(shop: Shop) -> int:
    return sum(one.request.target == CHAT for one in shop.fake.everything)


def test_a_batch_is_the_providers(shop: Shop) -> None:
    """Under its own names and our credential; it costs both sides what batches do.

    The key's limits are of requests by the minute, of which there are none.
    """
    before = _asked_one_by_one(shop)
    name = shop.begin(LINES, key=LIMITED)
    shop.judge(name, LINES, key=LIMITED)
    (given,) = shop.provider.given
    assert given.endpoint == CHAT
    assert given.metadata == {"posthouse": f"{name}-p1"}
    assert given.headers[b"authorization"] == b"Bearer provider-secret"
    assert len(given.lines) == LINES
    for number, line in enumerate(given.lines, 1):
        assert line["custom_id"] == f"{name}-p1-{number}"
        assert line["url"] == CHAT
        assert line["body"]["model"] == "gpt-4o-mini"
        assert LIMITED not in json.dumps(line)
    calls = shop.calls(name)
    lines = [one for one in calls if one["operation"] == "chat"]
    # 2 tokens of input, as many of the cache; 8 of output; half of the usual price.
    usage = lines[0]["usage"]
    usual = usage.get("input", 0) * 150 + usage.get("cached_input", 0) * 75
    usual += usage["output"] * 600
    assert {one["price"] for one in lines} == {-(-usual // 2)}
    assert {one["cost"] for one in lines} == {-(-usual // 2)}
    (part,) = [one for one in calls if one["operation"] == "batch"]
    assert (part["price"], part["channel"]) == (0, "first")
    assert _asked_one_by_one(shop) == before
    told = next(one for one in shop.server.ask("batches") if one["id"] == name)
    assert (told["key"], told["state"], told["completed"]) == (
        "limited",
        "completed",
        LINES,
    )
    (listed,) = told["parts"]
    assert (listed["channel"], listed["remote_id"]) == ("first", given.id)
    assert (listed["state"], listed["lines"]) == ("over", LINES)
    assert given.id in shop.server.run("batches")[1]
    output = shop.lines(shop.finished(name, LIMITED).output_file_id, LIMITED)
    assert output[0]["response"]["body"]["model"] == "small"


def _begin_messages(shop: Shop) -> tuple[anthropic.Anthropic, str]:
    client = shop.talker()
    params: Any = {
        "model": "claude-haiku-4-5",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "Hello"}],
    }
    requests: Any = [{"custom_id": f"m{n}", "params": params} for n in range(5)]
    return client, client.messages.batches.create(requests=requests).id


def _judge_messages(shop: Shop, client: anthropic.Anthropic, name: str) -> None:
    deadline = time.monotonic() + 60
    while client.messages.batches.retrieve(name).processing_status != "ended":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    results = list(client.messages.batches.results(name))
    assert sorted(one.custom_id for one in results) == [f"m{n}" for n in range(5)]
    assert {one.result.type for one in results} == {"succeeded"}
    charged = [one for one in shop.calls(name) if one["price"]]
    # A dollar and five for a million tokens, and half of that.
    assert [one["price"] for one in charged] == [750_000] * 5
    assert [one["cost"] for one in charged] == [750_000] * 5


def test_messages_go_to_anthropic(shop: Shop) -> None:
    """Whose batches take the requests themselves; no address of theirs is followed."""
    _judge_messages(shop, *_begin_messages(shop))
    (given,) = shop.provider.given
    assert given.headers[b"x-api-key"] == b"claude-secret"
    assert given.headers[b"anthropic-version"]
    assert given.lines[0]["params"]["model"] == "claude-haiku-4-5"


def test_what_is_not_the_providers_runs_here(shop: Shop) -> None:
    """A channel that shall not, another dialect, and an account without the money."""
    shop.judge(shop.begin(2, "gpt-4o"), 2, channel="here")
    translated = shop.finished(shop.begin(1, "claude-haiku-4-5"))
    assert translated.request_counts.failed == 1, "the fake knows no messages"
    poor = shop.begin(60, key=POOR)
    assert shop.finished(poor, POOR).request_counts.completed == 60
    assert shop.provider.given == []


def test_another_channel_is_asked_where_one_takes_no_batch(shop: Shop) -> None:
    """And who cannot say whether it has it is not taken at its word."""
    refusal = json_reply(429, {"error": {"message": "too many", "type": "requests"}})
    shop.provider.faults = {"POST /v1/batches": [refusal]}
    name = shop.begin(3)
    shop.judge(name, 3, channel="second")
    (given,) = shop.provider.given
    assert given.headers[b"authorization"] == b"Bearer other-secret"
    shop.provider.given.clear()
    broken = json_reply(500, {"error": {"message": "oh"}})
    shop.provider.faults = {"POST /v1/batches": [broken]}
    name = shop.begin(3)
    shop.judge(name, 3)
    (given,) = shop.provider.given
    assert given.metadata == {"posthouse": f"{name}-p2"}


def test_faulty_results_are_nobodys(shop: Shop) -> None:
    """A line's error, one that is missing, absurd usage, no JSON, a file that ends."""

    def answer(line: dict[str, Any]) -> dict[str, Any] | None:
        number = int(line["custom_id"].rpartition("-")[2])
        good = chat_line(line)
        if number == 1:
            error = {"error": {"message": "bad", "type": "invalid_request_error"}}
            return {**good, "response": {"status_code": 400, "body": error}}
        if number == 2:
            return None
        if number == 3:
            return {"custom_id": "somebody's", "response": {}}
        if number == 4:
            return {**good, "response": {"status_code": 200, "body": "no object"}}
        if number == 5:
            good["response"]["body"]["usage"]["prompt_tokens"] = 10**30
        return good

    shop.provider.answer = answer
    shop.provider.cut = 1
    shop.provider.faults = {
        "GET /v1/batches/batch-0": [json_reply(503, {}), json_reply(200, [])]
    }
    name = shop.begin(12)
    batch = shop.finished(name)
    assert batch.status == "completed"
    (failed,) = shop.lines(batch.error_file_id)
    assert failed["response"]["status_code"] == 400
    output = shop.lines(batch.output_file_id)
    assert len(output) == 11
    prices = {one["id"]: one["price"] for one in shop.calls(name)}
    charged = {one["response"]["request_id"] for one in output}
    assert {key for key, price in prices.items() if price} == charged
    assert max(prices.values()) < 10**6
    assert len(shop.provider.given) == 1


def test_what_an_account_has_not_is_the_houses(shop: Shop) -> None:
    """A provider that tells of far more than was set aside: nothing is owed for it."""

    def answer(line: dict[str, Any]) -> dict[str, Any]:
        good = chat_line(line)
        good["response"]["body"]["usage"]["prompt_tokens"] = 120_000
        return good

    shop.provider.answer = answer
    name = shop.begin(3, key=POOR)
    assert shop.finished(name, POOR).request_counts.completed == 3
    assert len(shop.provider.given) == 1
    assert len([one for one in shop.calls(name) if one["price"] > 10**6]) == 3
    (key,) = [one for one in shop.server.ask("key", "list") if one["name"] == "poor"]
    assert float(key["balance_usd"]) == 0


def test_a_cancelled_batch_is_cancelled_there(shop: Shop) -> None:
    """And what was done there by then is charged."""
    shop.provider.ends_at_once = False
    shop.provider.answer = lambda line: (
        chat_line(line) if line["custom_id"].endswith("1") else None
    )
    name = shop.begin(4)
    deadline = time.monotonic() + 30
    while not shop.provider.given:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    shop.client().batches.cancel(name)
    batch = shop.finished(name)
    assert batch.status == "cancelled"
    assert batch.request_counts.completed == 1
    assert len([one for one in shop.calls(name) if one["price"]]) == 1
    errors = shop.lines(batch.error_file_id)
    assert {one["error"]["code"] for one in errors} == {"batch_cancelled"}


POINTS = ("batch.after_creation", "settle.after_record:12")
"""Of all instants, those at which the suite kills."""


def test_every_instant_is_killed_at() -> None:
    """Of those that only parts of batches reach."""
    reached = {name for name in everywhere() if name.startswith(OF_BATCHES)}
    assert reached == {
        name for name in (*POINTS, *MORE_POINTS) if name.startswith(OF_BATCHES)
    }


def test_a_kill_in_the_life_of_a_part(tmp_path: Path) -> None:
    """What the provider was given it is given once, and every line is charged once."""
    _kill_at(POINTS, tmp_path)


MORE_POINTS = (
    "batch.after_intention",
    "batch.after_record",
    "batch.before_results",
    "batch.after_results",
    "settle.before_record:12",
    "drain.before_commit:1",
    "before_terminal:12",
)


@pytest.mark.slow
def test_more_kills_in_the_life_of_a_part(tmp_path: Path) -> None:
    """At the other instants."""
    _kill_at(MORE_POINTS, tmp_path)


def _kill_at(points: tuple[str, ...], folder: Path) -> None:
    with Shop(folder) as shop:
        for number, point in enumerate(points, 1):
            server = shop.start(POSTHOUSE_KILL_POINT=point)
            name = shop.begin(LINES)
            assert server.process.wait(60) == -signal.SIGKILL, point
            with shop.start():
                shop.judge(name, LINES)
            assert len(shop.provider.given) == number, point


def test_a_batch_without_a_mark_is_known_by_its_results(tmp_path: Path) -> None:
    """Where a provider takes no notes, who died once it was created has it found."""
    with Shop(tmp_path) as shop:
        server = shop.start(POSTHOUSE_KILL_POINT="batch.after_creation")
        _, name = _begin_messages(shop)
        assert server.process.wait(60) == -signal.SIGKILL
        with shop.start():
            _judge_messages(shop, shop.talker(), name)
        assert len(shop.provider.given) == 1
