"""SDKs and frameworks, each with a provider of every dialect behind one address.

A client's script has four turns with each model; every turn is a test.
"""

from typing import Any

import pytest
from tests.clients.conftest import RunScript, Script
from tests.clients.providers import AIMOCK, HELLO, MODELS, SUNNY, USAGE

pytestmark = pytest.mark.clients

DIALECTS = ("openai-chat", "openai-responses", "anthropic", "google")
SCRIPTS = {
    "node openai chat": Script("openai_chat.mjs"),
    "node openai responses": Script("openai_responses.mjs"),
    "node anthropic": Script("anthropic.mjs"),
    "node google-genai": Script("google.mjs"),
    **{
        f"vercel {provider}": Script("vercel.mjs", provider)
        for provider in (*DIALECTS, "openai-compatible")
    },
    **{f"langchain {one}": Script("run_langchain.py", one) for one in DIALECTS},
    **{f"pydantic-ai {one}": Script("run_pydantic_ai.py", one) for one in DIALECTS},
}
BOTH = [["get_weather", {"city": "Oslo"}], ["get_weather", {"city": "Rome"}]]
TALKATIVE = tuple(model for model in MODELS if model != "local/tiny")
"""Models that call tools: llama.cpp's talks noise."""


AIMOCK_ITSELF = {
    ("langchain anthropic", "at-anthropic", "stream"): "it leaves the prompt's tokens "
    "out of a stream's end, where LangChain reads them",
    ("vercel google", "at-gemini", "tools"): "it ends with FUNCTION_CALL, which is no "
    "end that Vercel goes on after",
    ("vercel google", "at-gemini", "streamed-tools"): "the same",
}
"""What fails in the same way with aimock alone, and is passed through as it is."""


scripts = pytest.mark.parametrize("script", SCRIPTS)
models = pytest.mark.parametrize("model", MODELS)


@pytest.fixture
def told(request: pytest.FixtureRequest, run_script: RunScript) -> Any:
    """What a client had of a turn, which must not be an error."""
    values = request.node.callspec.params
    case = (values["script"], values["model"], values["turn"])
    if case in AIMOCK_ITSELF:
        reason = f"aimock itself: {AIMOCK_ITSELF[case]}"
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    told = run_script(SCRIPTS[case[0]])[case[1]][case[2]]
    assert "error" not in told, told["error"]
    return told


@models
@scripts
@pytest.mark.parametrize("turn", ["text", "stream"])
def test_an_answer(told: Any, script: str, model: str, turn: str) -> None:
    if model in AIMOCK:
        assert told["text"] == HELLO
        assert told["usage"] == USAGE
    elif model == "sandbox":
        assert "say hello" in told["text"]
    assert told["calls"] == []
    assert min(told["usage"]) > 0
    if turn == "stream":
        assert told["pieces"] > 1


@pytest.mark.parametrize("model", TALKATIVE)
@scripts
@pytest.mark.parametrize("turn", ["tools", "streamed-tools"])
def test_tools_and_their_results(told: Any, script: str, model: str, turn: str) -> None:
    assert told["calls"] == (BOTH if model in AIMOCK else BOTH[:1])
    then = told["then"]
    assert then["calls"] == []
    assert (SUNNY if model in AIMOCK else "sunny, 21 degrees") in then["text"]
