"""The vendors' SDKs for Python, with what only this tier has behind Posthouse."""

import pytest
from tests.acceptance.dialect_clients import FINISHES, SDK, SDKS, Answer
from tests.clients.providers import HELLO, KEY, SUNNY, USAGE
from tests.support.posthouse import Posthouse

pytestmark = pytest.mark.clients


@pytest.fixture(params=SDKS)
def dialect(request: pytest.FixtureRequest) -> str:
    """What the client speaks."""
    return str(request.param)


@pytest.fixture
def sdk(posthouse: Posthouse, dialect: str) -> SDK:
    """The client's SDK."""
    return SDKS[dialect](posthouse.url, KEY)


def said(sdk: SDK, model: str, text: str, *, streamed: bool, tools: bool) -> Answer:
    """Have an answer, whole or in pieces."""
    return (sdk.stream if streamed else sdk.ask)(model, text, tools=tools)


both = pytest.mark.parametrize("streamed", [False, True])


@both
@pytest.mark.parametrize("model", ["at-responses", "sandbox"])
def test_an_answer(sdk: SDK, dialect: str, model: str, streamed: bool) -> None:
    answer = said(sdk, model, "say hello", streamed=streamed, tools=False)
    assert answer.finish == FINISHES[dialect][0]
    if model == "sandbox":
        assert "You wrote: say hello" in answer.text
    else:
        assert answer.text == HELLO
        assert list(answer.tokens) == USAGE


@both
def test_tools_and_their_results(sdk: SDK, dialect: str, streamed: bool) -> None:
    """At a provider of responses alone."""
    answer = said(
        sdk, "at-responses", "weather everywhere", streamed=streamed, tools=True
    )
    assert [arguments["city"] for _, arguments in answer.calls] == ["Oslo", "Rome"]
    assert answer.finish in FINISHES[dialect][1:]
    assert sdk.answer_tools("at-responses", answer, "sunny").text == SUNNY


@both
def test_the_sandbox_calls_a_tool(sdk: SDK, streamed: bool) -> None:
    answer = said(sdk, "sandbox", "get_weather", streamed=streamed, tools=True)
    [(name, arguments)] = answer.calls
    assert (name, list(arguments)) == ("get_weather", ["city"])
    assert "sunny" in sdk.answer_tools("sandbox", answer, "sunny").text


@both
def test_noise_of_a_tiny_model(sdk: SDK, streamed: bool) -> None:
    """llama.cpp's answer, until it has talked enough."""
    answer = said(sdk, "local/tiny", "say hello", streamed=streamed, tools=False)
    assert min(answer.tokens) > 0
