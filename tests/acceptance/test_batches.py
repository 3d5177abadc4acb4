"""Batches, by the SDKs of those whose APIs they are."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from openai.types import Batch
from tests.acceptance.configuration import KEYS
from tests.conftest import StartPosthouse
from tests.support.posthouse import Posthouse

TIMEOUT = 20.0
SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 0.64
"""Between two looks at a batch; each is twice as long as the one before."""
CHAT = "/v1/chat/completions"
PICTURE = {
    "image_url": "data:image/gif;base64,"
    "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
}
ENDED = ("completed", "failed", "expired", "cancelled")
CONFIGURATION = f"""
[[channels]]
name = "sandbox"
provider = "sandbox"

[[channels]]
name = "openai"
provider = "openai"
base_url = "{{origin}}/v1"
api_key = "provider-secret"
models = ["gpt-4o-mini"]

[[channels]]
name = "failing"
provider = "sandbox"
models = [{{{{ public = "failing", upstream = "sandbox:error-500" }}}}]

[[prices]]
model = "failing"
input = "1"
output = "1"

[[keys]]
name = "app"
key = "{KEYS["app"]}"
balance_usd = "5"

[[keys]]
name = "poor"
key = "{KEYS["poor"]}"
balance_usd = "0.00001"

[[keys]]
name = "limited"
key = "{KEYS["limited"]}"
concurrency = 1

[[keys]]
name = "narrow"
key = "{KEYS["narrow"]}"
models = ["sandbox"]
"""


@pytest.fixture(scope="module")
def server(start_posthouse: StartPosthouse, fake: Any) -> Posthouse:
    """A Posthouse that works on batches."""
    return start_posthouse(CONFIGURATION.format(origin=fake.origin))


@pytest.fixture
def client(server: Posthouse) -> Iterator[Callable[[str], openai.OpenAI]]:
    """Callers, by the names of their keys."""
    made = []

    def make(key: str) -> openai.OpenAI:
        made.append(
            openai.OpenAI(
                base_url=server.url + "/v1",
                api_key=KEYS[key],
                max_retries=0,
                timeout=TIMEOUT,
            )
        )
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def app(client: Callable[[str], openai.OpenAI]) -> openai.OpenAI:
    """One of them."""
    return client("app")


@pytest.fixture
def claude(server: Posthouse) -> Iterator[anthropic.Anthropic]:
    """The same, by Anthropic's SDK."""
    with anthropic.Anthropic(
        base_url=server.url, api_key=KEYS["app"], max_retries=0, timeout=TIMEOUT
    ) as client:
        yield client


def line(name: str, body: dict[str, Any], url: str = CHAT) -> dict[str, Any]:
    """A line of a batch's input."""
    return {"custom_id": name, "method": "POST", "url": url, "body": body}


def chat(model: str = "sandbox", text: str = "Hello", **more: Any) -> dict[str, Any]:
    """A request for a chat."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def begin(
    client: openai.OpenAI, lines: list[Any], endpoint: str = CHAT, **more: Any
) -> Batch:
    """Make a batch of lines, which are texts or become JSON."""
    texts = [one if isinstance(one, str) else json.dumps(one) for one in lines]
    file = client.files.create(
        file=("input.jsonl", "\n".join(texts).encode()), purpose="batch"
    )
    return client.batches.create(
        input_file_id=file.id,
        endpoint=endpoint,  # type: ignore[arg-type]  # some are not to be
        completion_window="24h",
        **more,
    )


def finished(client: openai.OpenAI, batch: Batch, seconds: float = 60) -> Batch:
    """Wait until a batch has ended."""
    deadline = time.monotonic() + seconds
    pause = SHORTEST_PAUSE
    while batch.status not in ENDED:
        assert time.monotonic() < deadline, batch
        time.sleep(pause)
        # Who looks all the time takes the processor from who works.
        pause = min(2 * pause, LONGEST_PAUSE)
        batch = client.batches.retrieve(batch.id)
    return batch


def read(client: openai.OpenAI, file: str | None) -> dict[str, Any]:
    """Read a batch's output by custom_id."""
    if file is None:
        return {}
    texts = client.files.content(file).text.splitlines()
    return {one["custom_id"]: one for one in map(json.loads, texts)}


def test_every_line_is_answered(app: openai.OpenAI, server: Posthouse) -> None:
    """In the output what went well, in the error file what did not."""
    lines = [line(f"line-{n}", chat(text=f"Hello {n}")) for n in range(30)]
    lines[7]["body"]["n"] = -1
    batch = begin(app, lines, metadata={"for": "a test"})
    assert batch.status == "validating"
    done = finished(app, batch)
    assert done.status == "completed"
    assert done.metadata == {"for": "a test"}
    assert done.request_counts is not None
    counts = done.request_counts
    assert (counts.total, counts.completed, counts.failed) == (30, 29, 1)
    output, errors = read(app, done.output_file_id), read(app, done.error_file_id)
    assert list(errors) == ["line-7"]
    assert errors["line-7"]["response"]["status_code"] == 400
    assert errors["line-7"]["response"]["body"]["error"]["param"] == "n"
    assert len(output) == 29
    for name, one in output.items():
        assert one["error"] is None
        number = name.removeprefix("line-")
        answer = one["response"]["body"]["choices"][0]["message"]["content"]
        assert answer.endswith(f"Hello {number}")
        record = server.call(one["response"]["request_id"])
        assert record["outcome"] == "served"
        assert record["operation"] == "chat"
    assert done.usage is not None
    told = [one["response"]["body"]["usage"] for one in output.values()]
    assert done.usage.total_tokens == sum(usage["total_tokens"] for usage in told)
    described = app.files.retrieve(done.output_file_id or "")
    assert described.purpose == "batch_output"
    assert batch.id in [one.id for one in app.batches.list(limit=1)]


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/embeddings", {"model": "sandbox-embedding", "input": "a text"}),
        ("/v1/moderations", {"model": "sandbox-moderation", "input": "a text"}),
        ("/v1/responses", {"model": "sandbox", "input": "a text"}),
        ("/v1/completions", {"model": "sandbox-instruct", "prompt": "a text"}),
        ("/v1/images/generations", {"model": "sandbox-image", "prompt": "a cat"}),
        (
            "/v1/images/edits",
            {"model": "sandbox-image", "prompt": "a cat", "images": [PICTURE]},
        ),
        (
            "/v1/translations",
            {"model": "sandbox", "text": "a", "target_language": "de"},
        ),
        (
            "/v1/rerank",
            {"model": "sandbox-rerank", "query": "a", "documents": ["a", "b"]},
        ),
    ],
)
def test_batches_of_every_operation(
    endpoint: str, body: dict[str, Any], app: openai.OpenAI
) -> None:
    """What is asked one by one may be asked in a batch."""
    names = {model.id for model in app.models.list()}
    if body["model"] not in names:
        body = {**body, "model": "sandbox"}
    done = finished(app, begin(app, [line("one", body, endpoint)], endpoint))
    assert done.status == "completed", done
    errors = read(app, done.error_file_id)
    assert errors == {}
    assert read(app, done.output_file_id)["one"]["response"]["status_code"] == 200


def test_an_input_that_is_not_right_is_refused_whole(
    client: Callable[[str], openai.OpenAI], server: Posthouse
) -> None:
    """With each line's number and reason; nothing of it is run."""
    narrow = client("narrow")
    before = len(server.ask("calls", "--limit", "1000"))
    lines = [
        line("good", chat()),
        "{not json",
        line("good", chat()),
        line("elsewhere", chat(), "/v1/embeddings"),
        line("foreign", chat("failing")),
        {"method": "POST", "url": CHAT, "body": chat()},
        {**line("put", chat()), "method": "PUT"},
        line("stream", chat(stream=True)),
        {"custom_id": "empty", "method": "POST", "url": CHAT},
    ]
    done = finished(narrow, begin(narrow, lines))
    assert done.status == "failed"
    assert done.errors is not None
    assert [(one.line, one.code) for one in done.errors.data or []] == [
        (2, "invalid_json_line"),
        (3, "duplicate_custom_id"),
        (4, "mismatched_url"),
        (5, "model_not_found"),
        (6, "missing_required_parameter"),
        (7, "invalid_method"),
        (8, "invalid_request"),
        (9, "missing_required_parameter"),
    ]
    assert done.output_file_id is None
    assert len(server.ask("calls", "--limit", "1000")) == before


def test_there_are_batches_of_calls_in_json_alone(app: openai.OpenAI) -> None:
    """Not of forms, of sound, or of what costs nothing and tells something."""
    file = app.files.create(file=("a.jsonl", b"{}"), purpose="batch").id
    for endpoint in (
        "/v1/audio/speech",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/images/variations",
        "/v1/messages/count_tokens",
        "/api/trans/vip/translate",
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            app.batches.create(
                input_file_id=file,
                endpoint=endpoint,  # type: ignore[arg-type]  # none of them is
                completion_window="24h",
            )
        assert refused.value.param == "endpoint"
        assert endpoint in refused.value.message


def test_a_batch_that_cannot_be_made_is_refused_at_once(
    app: openai.OpenAI, client: Callable[[str], openai.OpenAI]
) -> None:
    """An endpoint, a file, a window or a note that is not right."""
    good = app.files.create(file=("a.jsonl", b"{}"), purpose="batch").id
    other = app.files.create(file=("a.jsonl", b"{}"), purpose="user_data").id
    wrong: list[dict[str, Any]] = [
        {"endpoint": "/v1/files"},
        {"endpoint": "/v1/batches"},
        {"endpoint": "/v1/nothing"},
        {"completion_window": "1h"},
        {"input_file_id": other},
        {"metadata": {"a": "b" * 600}},
        {"output_expires_after": {"anchor": "created_at", "seconds": 1}},
    ]
    usual = {"endpoint": CHAT, "completion_window": "24h", "input_file_id": good}
    for one in wrong:
        with pytest.raises(openai.BadRequestError):
            app.batches.create(**{**usual, **one})
    with pytest.raises(openai.NotFoundError):
        client("poor").batches.create(**usual)  # type: ignore[arg-type]  # a dictionary


def test_to_everybody_else_a_batch_does_not_exist(
    app: openai.OpenAI, client: Callable[[str], openai.OpenAI]
) -> None:
    """Nor do its files."""
    done = finished(app, begin(app, [line("one", chat())]))
    other = client("poor")
    for ask in (other.batches.retrieve, other.batches.cancel):
        with pytest.raises(openai.NotFoundError):
            ask(done.id)
    with pytest.raises(openai.NotFoundError):
        other.files.content(done.output_file_id or "")
    assert done.id not in [one.id for one in other.batches.list()]


def test_a_line_without_money_is_told_so(
    client: Callable[[str], openai.OpenAI],
) -> None:
    """The batch ends all the same."""
    poor = client("poor")
    done = finished(poor, begin(poor, [line("one", chat(text="x" * 4000))]))
    assert done.status == "completed"
    error = read(poor, done.error_file_id)["one"]
    assert error["response"]["status_code"] == 429
    assert error["response"]["body"]["error"]["code"] == "insufficient_quota"


def test_a_batch_spends_no_more_than_there_is(server: Posthouse) -> None:
    """Many lines at a time, and money for some of them."""
    made = server.ask("key", "create", "some", "--balance", "0.0002")
    with openai.OpenAI(
        base_url=server.url + "/v1", api_key=made["key"], max_retries=0
    ) as some:
        lines = [line(f"line-{n}", chat(max_tokens=50)) for n in range(200)]
        done = finished(some, begin(some, lines))
        assert done.status == "completed"
        output = read(some, done.output_file_id)
        errors = read(some, done.error_file_id)
    assert output
    assert errors
    assert len(output) + len(errors) == 200
    told = {one["response"]["body"]["error"]["code"] for one in errors.values()}
    assert told == {"insufficient_quota"}
    paid = {one["response"]["request_id"] for one in output.values()}
    server.call(max(paid))
    prices = {
        call["id"]: call["price"]
        for call in server.ask("calls", "--limit", "1000")
        if call["id"].startswith(done.id) and call["price"]
    }
    assert prices.keys() == paid
    assert 0 < sum(prices.values()) <= 200_000


def test_a_line_that_keeps_failing_is_given_up(app: openai.OpenAI) -> None:
    """After a few tries, none of which costs anything."""
    done = finished(app, begin(app, [line("one", chat("failing"))]))
    assert done.status == "completed"
    assert read(app, done.error_file_id)["one"]["response"]["status_code"] >= 500


def test_a_key_s_limits_make_a_batch_wait(
    client: Callable[[str], openai.OpenAI],
) -> None:
    """No line fails for want of room."""
    limited = client("limited")
    lines = [line(f"line-{n}", chat(text=f"Hello {n}")) for n in range(12)]
    done = finished(limited, begin(limited, lines))
    assert done.status == "completed"
    assert done.error_file_id is None
    assert len(read(limited, done.output_file_id)) == 12


def test_a_batch_costs_what_batches_cost(app: openai.OpenAI, server: Posthouse) -> None:
    """The price's own tier for batches; what the supplier is paid is the usual."""
    body = chat("gpt-4o-mini", "A prompt")
    usual = app.chat.completions.with_raw_response.create(**body)
    done = finished(app, begin(app, [line("one", body)]))
    found = read(app, done.output_file_id)
    off_peak = server.call(found["one"]["response"]["request_id"])
    single = server.call(usual.headers["x-request-id"])
    assert off_peak["usage"] == single["usage"]
    assert off_peak["price"] == -(-single["price"] // 2)
    assert off_peak["cost"] == single["cost"] == single["price"]


def test_a_batch_can_be_cancelled(app: openai.OpenAI) -> None:
    """What was answered by then is given, what was not is told."""
    lines = [line(f"line-{n}", chat(text=f"Hello {n}")) for n in range(3000)]
    batch = begin(app, lines)
    while app.batches.retrieve(batch.id).status == "validating":
        time.sleep(0.05)
    with pytest.raises(openai.BadRequestError) as refused:
        app.files.delete(batch.input_file_id)
    assert refused.value.code == "file_in_use"
    assert app.batches.cancel(batch.id).status in ("cancelling", "cancelled")
    done = finished(app, batch)
    assert done.status == "cancelled"
    assert done.cancelled_at is not None
    assert done.request_counts is not None
    output, errors = read(app, done.output_file_id), read(app, done.error_file_id)
    assert len(output) == done.request_counts.completed < 3000
    assert len(output) + len(errors) == 3000
    assert {one["error"]["code"] for one in errors.values()} == {"batch_cancelled"}
    app.files.delete(batch.input_file_id)
    with pytest.raises(openai.BadRequestError):
        app.batches.cancel(batch.id)


def test_messages_in_batches(claude: anthropic.Anthropic) -> None:
    """Each request's result by its custom_id; the batch can be deleted."""
    requests: list[Any] = [
        {
            "custom_id": f"message-{n}",
            "params": {
                "model": "nothing" if n == 3 else "sandbox",
                "max_tokens": 100,
                "messages": [{"role": "user", "content": f"Hello {n}"}],
            },
        }
        for n in range(8)
    ]
    batch = claude.messages.batches.create(requests=requests)
    assert batch.request_counts.processing == 8
    deadline = time.monotonic() + 60
    while batch.processing_status != "ended":
        assert time.monotonic() < deadline
        time.sleep(0.05)
        batch = claude.messages.batches.retrieve(batch.id)
    counts = batch.request_counts
    assert (counts.succeeded, counts.errored, counts.processing) == (7, 1, 0)
    results = {one.custom_id: one for one in claude.messages.batches.results(batch.id)}
    assert set(results) == {f"message-{n}" for n in range(8)}
    failed = results["message-3"].result
    assert failed.type == "errored"
    assert failed.error.error.type == "not_found_error"
    good = results["message-5"].result
    assert good.type == "succeeded"
    block = good.message.content[0]
    assert block.type == "text"
    assert "Hello 5" in block.text
    assert batch.id in [one.id for one in claude.messages.batches.list(limit=1)]
    claude.messages.batches.delete(batch.id)
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.batches.retrieve(batch.id)


def test_messages_can_be_cancelled(claude: anthropic.Anthropic) -> None:
    """Every request has a result then, too."""
    requests: list[Any] = [
        {
            "custom_id": f"message-{n}",
            "params": {
                "model": "sandbox",
                "max_tokens": 10,
                "messages": [{"role": "user", "content": "Hello"}],
            },
        }
        for n in range(1000)
    ]
    batch = claude.messages.batches.create(requests=requests)
    with pytest.raises(anthropic.BadRequestError):
        claude.messages.batches.delete(batch.id)
    batch = claude.messages.batches.cancel(batch.id)
    deadline = time.monotonic() + 60
    while batch.processing_status != "ended":
        assert time.monotonic() < deadline
        time.sleep(0.05)
        batch = claude.messages.batches.retrieve(batch.id)
    assert batch.cancel_initiated_at is not None
    kinds = [one.result.type for one in claude.messages.batches.results(batch.id)]
    assert len(kinds) == 1000
    assert kinds.count("canceled") == batch.request_counts.canceled > 0
    assert kinds.count("succeeded") == batch.request_counts.succeeded


@pytest.mark.parametrize(
    "requests",
    [
        [],
        [{"custom_id": "a b", "params": {}}],
        [{"custom_id": "a", "params": {}}, {"custom_id": "a", "params": {}}],
        [{"custom_id": "a", "params": []}],
        [{"custom_id": "a"}],
    ],
)
def test_requests_that_are_not_right_are_refused(
    requests: Any, claude: anthropic.Anthropic
) -> None:
    """At once, and all together."""
    with pytest.raises(anthropic.BadRequestError):
        claude.messages.batches.create(requests=requests)
