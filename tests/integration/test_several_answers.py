"""Several answers of models that give one at a time: each is asked for and billed."""

import http.client
import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from google import genai
from google.genai import types
from tests.conftest import StartPosthouse
from tests.fakes.openai import stream_head
from tests.fakes.steps import (
    LAST_CHUNK,
    Behave,
    Behaviour,
    Close,
    Request,
    Send,
    Wait,
    chunk,
    json_reply,
)
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

KEY = "sk-several-0123456789abcdefghijklmnopqrstuvwxyzABCD"
CONFIGURATION = """
[[channels]]
name = "first"
provider = "anthropic"
base_url = "{origin}"
api_key = "sk-first"
priority = 10
models = [
  {{ public = "claude", upstream = "claude-first" }},
  {{ public = "lonely", upstream = "claude-lonely" }},
]

[[channels]]
name = "second"
provider = "anthropic"
base_url = "{origin}"
api_key = "sk-second"
models = [{{ public = "claude", upstream = "claude-second" }}]

[[channels]]
name = "groq"
provider = "groq"
base_url = "{origin}"
api_key = "sk-groq"
models = ["fast"]

[[channels]]
name = "openai"
provider = "openai-compatible"
base_url = "{origin}"
api_key = "sk-openai"
models = ["native"]

[[prices]]
model = "claude"
input = "1"
output = "2"

[[prices]]
model = "lonely"
input = "1"
output = "2"

[[prices]]
model = "fast"
input = "1"
output = "2"

[[prices]]
model = "native"
input = "1"
output = "2"

[[keys]]
name = "app"
key = "{key}"
balance_usd = "5"
"""
ASKED: Any = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 50}


def event(kind: str, **members: Any) -> bytes:
    data = json.dumps({"type": kind, **members})
    return chunk(f"event: {kind}\ndata: {data}\n\n".encode())


class Claude:
    """Answers as Anthropic does; every answer another, of as many tokens."""

    def __init__(self, *, pause: float = 0.0, cut: bool = False) -> None:
        self._numbers = itertools.count(1)
        self._pause = pause
        self._cut = cut

    def __call__(self, request: Request) -> Behaviour:
        number = next(self._numbers)
        usage = {"input_tokens": 10, "output_tokens": number}
        if request.json.get("stream"):
            return Behaviour("stream", tuple(self._stream(number)))
        value = {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "model": request.json["model"],
            "content": [{"type": "text", "text": f"Answer {number}"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": usage,
        }
        steps = (Wait(self._pause), Send(json_reply(200, value)))
        return Behaviour("whole", steps, usage)

    def _stream(self, number: int) -> Iterator[Any]:
        usage = {"input_tokens": 10, "output_tokens": 1}
        message = {"id": f"msg_{number}", "model": "m", "content": [], "usage": usage}
        block = {"type": "text", "text": ""}
        yield Send(stream_head())
        yield Send(event("message_start", message=message))
        yield Send(event("content_block_start", index=0, content_block=block))
        for text in ("Answer", f" {number}"):
            yield Wait(self._pause)
            delta = {"type": "text_delta", "text": text}
            yield Send(event("content_block_delta", index=0, delta=delta))
        if self._cut and number == 2:
            yield Close()
            return
        yield Send(event("content_block_stop", index=0))
        stopped = {"stop_reason": "end_turn", "stop_sequence": None}
        told = {"output_tokens": number}
        yield Send(event("message_delta", delta=stopped, usage=told))
        yield Send(event("message_stop") + LAST_CHUNK)


def failing(behave: Behave, *, status: int, at: int) -> Behave:
    """Refuse one of the requests."""
    numbers = itertools.count(1)

    def choose(request: Request) -> Behaviour:
        if next(numbers) == at:
            return Behaviour("refused", (Send(json_reply(status, {"error": {}})),))
        return behave(request)

    return choose


@pytest.fixture(scope="module")
def fake() -> Iterator[ThreadedFake]:
    with ThreadedFake() as fake:
        yield fake


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse, fake: ThreadedFake) -> Posthouse:
    return start_posthouse(CONFIGURATION.format(origin=fake.origin, key=KEY))


@pytest.fixture
def sdk(posthouse: Posthouse) -> Iterator[openai.OpenAI]:
    url = posthouse.url + "/v1"
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as sdk:
        yield sdk


def texts(reply: Any) -> list[tuple[int, str, str]]:
    return [
        (one.index, one.message.content, one.finish_reason) for one in reply.choices
    ]


# --- whole replies ------------------------------------------------------------------


def test_three_answers_in_one_reply(
    posthouse: Posthouse, fake: ThreadedFake, sdk: openai.OpenAI
) -> None:
    """Usage is the sum, and so is the price."""
    fake.on("claude-first", Claude())
    made = sdk.chat.completions.with_raw_response.create(
        model="claude", n=3, **ASKED, seed=7
    )
    reply = made.parse()
    assert sorted(text for _, text, _ in texts(reply)) == [
        "Answer 1",
        "Answer 2",
        "Answer 3",
    ]
    assert [(index, end) for index, _, end in texts(reply)] == [
        (0, "stop"),
        (1, "stop"),
        (2, "stop"),
    ]
    assert reply.usage is not None
    usage = (reply.usage.prompt_tokens, reply.usage.completion_tokens)
    assert usage == (30, 6)
    told = made.headers["x-posthouse-translation"].split()
    assert told == ["anthropic_messages", "~n", "-seed"]
    assert len(fake.served("claude-first")) == 3
    record = posthouse.call(made.headers["x-request-id"])
    assert record["usage"] == {"input": 30, "output": 6}
    assert record["price_usd"] == "0.000042"
    assert len(record["attempts"]) == 1
    assert record["attempts"][0]["cost"] == record["cost"]


def test_a_provider_of_the_same_dialect_that_gives_one(
    posthouse: Posthouse, fake: ThreadedFake, sdk: openai.OpenAI
) -> None:
    """With what its caller says beside, and another seed for each answer."""
    reply = sdk.chat.completions.create(
        model="fast", n=2, **ASKED, seed=7, extra_body={"odd": [1]}
    )
    assert [one.index for one in reply.choices] == [0, 1]
    sent = [served.request.json for served in fake.served("fast")]
    assert sorted(one["seed"] for one in sent) == [7, 8]
    assert all("n" not in one and one["odd"] == [1] for one in sent)
    single = sdk.chat.completions.with_raw_response.create(model="fast", n=1, **ASKED)
    assert "x-posthouse-translation" not in single.headers
    assert fake.served("fast")[-1].request.json["n"] == 1


def test_who_gives_several_is_asked_once(
    fake: ThreadedFake, sdk: openai.OpenAI
) -> None:
    sdk.chat.completions.create(model="native", n=3, **ASKED)
    assert [one.request.json["n"] for one in fake.served("native")] == [3]


def test_googles_callers_have_candidates(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    fake.on("claude-first", Claude())
    options = types.HttpOptions(base_url=posthouse.url, timeout=20_000)
    client = genai.Client(api_key=KEY, http_options=options)
    config = types.GenerateContentConfig(candidate_count=2, max_output_tokens=50)
    reply = client.models.generate_content(
        model="claude", contents="Hello", config=config
    )
    assert len(reply.candidates or ()) == 2
    assert reply.usage_metadata is not None
    assert reply.usage_metadata.prompt_token_count == 20


def test_too_many_are_refused(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.chat.completions.create(model="claude", n=17, **ASKED)
    assert caught.value.param == "n"


# --- failures -----------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_one_that_fails_sends_all_elsewhere(
    posthouse: Posthouse, fake: ThreadedFake, sdk: openai.OpenAI, stream: bool
) -> None:
    """What the first channel had begun is nobody's."""
    fake.on("claude-first", failing(Claude(pause=1.0), status=529, at=2))
    fake.on("claude-second", Claude())
    made: Any = sdk.chat.completions.with_raw_response.create(
        model="claude", n=3, stream=stream, **ASKED
    )
    if stream:
        assert len({one.index for part in made.parse() for one in part.choices}) == 3
    else:
        assert len(made.parse().choices) == 3
    record = posthouse.call(made.headers["x-request-id"])
    assert [one["channel"] for one in record["attempts"]] == ["first", "second"]
    assert record["attempts"][0]["cost"] is None
    assert (record["channel"], record["usage"]) == (
        "second",
        {"input": 30, "output": 6},
    )


@pytest.mark.parametrize("stream", [False, True])
def test_one_that_fails_everywhere_costs_nothing(
    posthouse: Posthouse, fake: ThreadedFake, sdk: openai.OpenAI, stream: bool
) -> None:
    fake.on("claude-lonely", failing(Claude(), status=400, at=3))
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.chat.completions.create(model="lonely", n=3, stream=stream, **ASKED)
    record = posthouse.call(caught.value.response.headers["x-request-id"])
    assert (record["price"], record["usage"]) == (0, {})


def test_a_stream_that_breaks_off_ends_with_an_error(
    posthouse: Posthouse, fake: ThreadedFake, sdk: openai.OpenAI
) -> None:
    """What had been delivered is charged, by our own count."""
    fake.on("claude-first", Claude(pause=0.1, cut=True))
    made = sdk.chat.completions.with_raw_response.create(
        model="claude", n=3, stream=True, **ASKED
    )
    with pytest.raises(openai.APIError):
        for _ in made.parse():
            pass
    record = posthouse.call(made.headers["x-request-id"])
    assert record["outcome"] == "interrupted"
    assert record["usage"]["input"] == 30
    assert 1 <= record["usage"]["output"] <= 9


# --- streams ------------------------------------------------------------------------


@pytest.mark.parametrize("pause", [0.0, 0.1])
def test_three_streams_in_one(
    posthouse: Posthouse, fake: ThreadedFake, sdk: openai.OpenAI, pause: float
) -> None:
    """They are read side by side: all begin before the first one ends."""
    fake.on("claude-first", Claude(pause=pause))
    made = sdk.chat.completions.with_raw_response.create(
        model="claude",
        n=3,
        stream=True,
        stream_options={"include_usage": True},
        **ASKED,
    )
    said = {0: "", 1: "", 2: ""}
    ends, order, usage = {}, [], None
    for part in made.parse():
        for one in part.choices:
            said[one.index] += one.delta.content or ""
            if one.delta.content:
                order.append(one.index)
            if one.finish_reason:
                ends[one.index] = one.finish_reason
        usage = part.usage or usage
    assert sorted(said.values()) == ["Answer 1", "Answer 2", "Answer 3"]
    assert ends == {0: "stop", 1: "stop", 2: "stop"}
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (30, 6)
    if pause:
        assert set(order[:3]) == {0, 1, 2}
    record = posthouse.call(made.headers["x-request-id"])
    assert record["usage"] == {"input": 30, "output": 6}
    assert record["price_usd"] == "0.000042"


def leaves(posthouse: Posthouse, *, stream: bool, after: Callable[[Any], None]) -> Any:
    """Ask for three answers, go away, and give the call's record."""
    known = {one["id"] for one in posthouse.ask("calls", "--limit", "1000")}
    connection = http.client.HTTPConnection(posthouse.url.removeprefix("http://"))
    body = json.dumps({"model": "lonely", "n": 3, "stream": stream, **ASKED})
    headers = {"authorization": f"Bearer {KEY}"}
    connection.request("POST", "/v1/chat/completions", body, headers)
    after(connection)
    connection.sock.close()
    connection.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        calls = posthouse.ask("calls", "--limit", "1000")
        found = [one for one in calls if one["id"] not in known]
        if found:
            return found[0]
    pytest.fail("there is no record of the call")


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_all(
    posthouse: Posthouse, fake: ThreadedFake, stream: bool
) -> None:
    """None of the requests is left to run, and all their prompts are charged."""
    fake.on("claude-lonely", Claude(pause=30.0))
    before = len(fake.served("claude-lonely"))

    def after(_: Any) -> None:
        deadline = time.monotonic() + 10
        while len(fake.served("claude-lonely")) < before + 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.2)

    record = leaves(posthouse, stream=stream, after=after)
    assert record["outcome"] == "abandoned"
    assert record["usage"]["input"] % 3 == 0
    assert record["total_ms"] < 10_000
    if stream:
        # Their providers had told.
        assert record["usage"]["input"] == 30


def test_a_client_that_leaves_in_the_middle_pays_for_what_it_had(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    fake.on("claude-lonely", Claude(pause=1.0))

    def after(connection: Any) -> None:
        reply = connection.getresponse()
        while b"Answer" not in (line := reply.readline()):
            assert line, "it ended before an answer began"
        reply.close()

    record = leaves(posthouse, stream=True, after=after)
    assert (record["outcome"], record["status"]) == ("abandoned", 499)
    assert record["usage"]["input"] == 30
    assert 1 <= record["usage"]["output"] <= 9
