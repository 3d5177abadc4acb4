"""Errors through the official SDK: each raises the class that its user expects."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from tests.acceptance.configuration import KEYS, MAX_BODY_BYTES
from tests.fakes import openai as provider
from tests.fakes.steps import Behaviour, Close, Request
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]


class Counter:
    """Counts the requests that an SDK really sends."""

    def __init__(self) -> None:
        self.sent = 0

    def __call__(self, _: Any) -> None:
        self.sent += 1


@pytest.fixture
def counter() -> Counter:
    """Counts what `counted` sends."""
    return Counter()


@pytest.fixture
def counted(posthouse: Posthouse, counter: Counter) -> Iterator[openai.OpenAI]:
    """The SDK with its usual two retries, every request counted."""
    transport = openai.DefaultHttpxClient(event_hooks={"request": [counter]})
    with openai.OpenAI(
        base_url=posthouse.url + "/v1",
        api_key=KEYS["app"],
        http_client=transport,
        timeout=20,
    ) as client:
        yield client


def refused(client: openai.OpenAI, model: str = "sandbox", **body: Any) -> Any:
    """Make a call that must fail, and give its exception."""
    with pytest.raises(openai.APIError) as caught:
        client.chat.completions.create(**{"model": model, "messages": HELLO, **body})
    return caught.value


class Expected(NamedTuple):
    """What a caller sees of a provider's fault."""

    model: str
    kind: type[openai.APIStatusError]
    status: int
    code: str | None


REFUSALS = [
    Expected("fault-error-400", openai.BadRequestError, 400, "invalid_value"),
    Expected("fault-error-404", openai.NotFoundError, 404, "model_not_found"),
    Expected("fault-error-422", openai.UnprocessableEntityError, 422, None),
    Expected("fault-error-429", openai.RateLimitError, 429, "rate_limit_exceeded"),
    Expected("fault-html", openai.InternalServerError, 502, "upstream_bad_response"),
    Expected("fault-reset", openai.InternalServerError, 502, "upstream_unavailable"),
    Expected("fault-error-500", openai.InternalServerError, 503, "upstream_overloaded"),
    Expected("fault-error-503", openai.InternalServerError, 503, "upstream_overloaded"),
    Expected(
        "fault-error-401", openai.InternalServerError, 503, "upstream_unavailable"
    ),
    Expected("fault-insufficient-quota", openai.InternalServerError, 503, None),
    Expected("fault-hang", openai.InternalServerError, 504, "upstream_timeout"),
]
TRUNCATED = Expected(
    "fault-truncate", openai.InternalServerError, 502, "upstream_bad_response"
)


@pytest.mark.parametrize("expected", [*REFUSALS, TRUNCATED], ids=lambda e: e.model)
def test_what_a_provider_does_is_the_class_expected(
    relayed: openai.OpenAI, expected: Expected
) -> None:
    error = refused(relayed, expected.model)
    assert (type(error), error.status_code) == (expected.kind, expected.status)
    assert expected.code is None or error.code == expected.code
    assert error.request_id
    assert "sandbox://" not in str(error)


@pytest.mark.parametrize("expected", REFUSALS, ids=lambda e: e.model)
def test_the_same_before_a_stream_has_begun(
    relayed: openai.OpenAI, expected: Expected
) -> None:
    error = refused(relayed, expected.model, stream=True)
    assert (type(error), error.status_code) == (expected.kind, expected.status)
    assert expected.code is None or error.code == expected.code


def test_a_wrong_request_names_the_field(relayed: openai.OpenAI) -> None:
    error = refused(relayed, n=0)
    assert type(error) is openai.BadRequestError
    assert error.type == "invalid_request_error"
    assert error.param == "n"


@pytest.mark.parametrize("key", ["sk-wrong", KEYS["expired"], KEYS["app"] + "x"])
def test_every_bad_key_gets_the_same_answer(posthouse: Posthouse, key: str) -> None:
    with openai.OpenAI(
        base_url=posthouse.url + "/v1", api_key=key, max_retries=0
    ) as client:
        error = refused(client)
    assert type(error) is openai.AuthenticationError
    assert error.code == "invalid_api_key"
    assert "Incorrect API key provided" in error.message
    assert key not in error.message


def test_a_good_key_from_a_wrong_address(relayed: openai.OpenAI) -> None:
    error = refused(relayed.with_options(api_key=KEYS["foreign"]))
    assert type(error) is openai.PermissionDeniedError


def test_a_model_that_is_not_there_or_not_for_this_key(
    relayed: openai.OpenAI,
) -> None:
    unknown = refused(relayed, "no-such-model")
    assert type(unknown) is openai.NotFoundError
    assert unknown.code == "model_not_found"
    forbidden = refused(relayed.with_options(api_key=KEYS["narrow"]), "fake-any")
    assert type(forbidden) is openai.NotFoundError
    assert forbidden.code == "model_not_found"


def test_a_body_that_is_too_large(relayed: openai.OpenAI) -> None:
    large: list[Any] = [{"role": "user", "content": "a" * (MAX_BODY_BYTES + 1)}]
    error = refused(relayed, messages=large)
    assert isinstance(error, openai.APIStatusError)
    assert error.status_code == 413
    assert error.code == "payload_too_large"


def test_a_keys_own_rate_limit(relayed: openai.OpenAI) -> None:
    limited = relayed.with_options(api_key=KEYS["limited"])
    limited.chat.completions.create(model="sandbox", messages=HELLO)
    error = refused(limited)
    assert type(error) is openai.RateLimitError
    assert error.code == "rate_limit_exceeded"
    assert 1 <= float(error.response.headers["retry-after"]) <= 60
    assert error.response.headers["x-ratelimit-limit-requests"] == "1"
    assert error.response.headers["x-ratelimit-remaining-requests"] == "0"


def test_an_empty_balance_is_not_tried_again(
    counted: openai.OpenAI, counter: Counter
) -> None:
    error = refused(counted.with_options(api_key=KEYS["poor"]))
    assert type(error) is openai.RateLimitError
    assert error.code == "insufficient_quota"
    assert error.response.headers["x-should-retry"] == "false"
    assert counter.sent == 1


def test_the_sdk_retries_what_may_pass(
    counted: openai.OpenAI, counter: Counter
) -> None:
    error = refused(counted.with_options(max_retries=1), "fault-reset")
    assert error.status_code == 502
    assert counter.sent == 2


def test_the_sdk_does_not_retry_a_wrong_request(
    counted: openai.OpenAI, counter: Counter
) -> None:
    refused(counted, n=0)
    assert counter.sent == 1


def test_a_provider_that_recovers_is_never_noticed(
    counted: openai.OpenAI, counter: Counter, fake: ThreadedFake
) -> None:
    """Posthouse asks another channel where a provider closed without a word."""
    closing = iter([True])

    def behave(request: Request) -> Behaviour:
        if next(closing, False):
            return Behaviour("closes", (Close(),))
        return provider.answer(request)

    fake.on("fake-recovers", behave)
    reply = counted.chat.completions.create(model="fake-recovers", messages=HELLO)
    assert reply.choices[0].message.content
    assert counter.sent == 1
    assert len(fake.served("fake-recovers")) == 2


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("fault-reset-mid-stream", "upstream_interrupted"),
        ("fault-truncate", "upstream_interrupted"),
        ("fault-eof", "upstream_interrupted"),
        ("fault-error-in-stream", None),
        ("fault-stall", None),
    ],
)
def test_a_stream_that_breaks_off_raises(
    relayed: openai.OpenAI, model: str, code: str | None
) -> None:
    texts: list[str] = []
    stream = relayed.chat.completions.create(model=model, messages=HELLO, stream=True)
    with pytest.raises(openai.APIError) as caught:
        texts.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "".join(texts).startswith("This is the ")
    assert not isinstance(caught.value, openai.APIStatusError)
    assert code is None or caught.value.code == code


def test_an_error_as_the_first_event_is_an_http_error(relayed: openai.OpenAI) -> None:
    error = refused(relayed, "fault-error-first", stream=True)
    assert isinstance(error, openai.InternalServerError)


async def drain(stream: openai.AsyncStream[Any]) -> None:
    """Read a stream to its end."""
    async for _ in stream:
        pass


async def test_the_asynchronous_client_raises_the_same(posthouse: Posthouse) -> None:
    async with openai.AsyncOpenAI(
        base_url=posthouse.url + "/v1", api_key=KEYS["app"], max_retries=0
    ) as client:
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="no-model", messages=HELLO)
        stream = await client.chat.completions.create(
            model="fault-reset-mid-stream", messages=HELLO, stream=True
        )
        with pytest.raises(openai.APIError):
            await drain(stream)


def test_a_callers_timeout_is_its_own(relayed: openai.OpenAI) -> None:
    began = time.monotonic()
    with pytest.raises(openai.APITimeoutError):
        relayed.with_options(timeout=0.4).chat.completions.create(
            model="sandbox:delay-2s", messages=HELLO
        )
    assert time.monotonic() - began < 2


def test_a_trial_key_reaches_only_the_sandbox(relayed: openai.OpenAI) -> None:
    trial = relayed.with_options(api_key=KEYS["trial"])
    assert trial.chat.completions.create(model="sandbox", messages=HELLO).choices
    assert type(refused(trial, "fake-any")) is openai.NotFoundError
