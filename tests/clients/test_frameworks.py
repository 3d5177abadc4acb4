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


@pytest.fixture(params=SCRIPTS)
def script(request: pytest.FixtureRequest) -> Script:
    """One client's script."""
    return SCRIPTS[request.param]


def turn(run_script: RunScript, script: Script, model: str, name: str) -> Any:
    """Give what a turn brought, which must not be an error."""
    told = run_script(script)[model][name]
    assert "error" not in told, told["error"]
    return told


def check_text(told: Any, model: str) -> None:
    """See that it is the model's answer, and was counted."""
    if model in AIMOCK:
        assert told["text"] == HELLO
        assert told["usage"] == USAGE
    elif model == "sandbox":
        assert "say hello" in told["text"]
    assert told["calls"] == []
    assert told["usage"][0] > 0
    assert told["usage"][1] > 0


@pytest.mark.parametrize("model", MODELS)
def test_a_whole_answer(run_script: RunScript, script: Script, model: str) -> None:
    check_text(turn(run_script, script, model, "text"), model)


@pytest.mark.parametrize("model", MODELS)
def test_a_streamed_answer(run_script: RunScript, script: Script, model: str) -> None:
    told = turn(run_script, script, model, "stream")
    check_text(told, model)
    assert told["pieces"] > 1


@pytest.mark.parametrize("turn_name", ["tools", "streamed-tools"])
@pytest.mark.parametrize("model", TALKATIVE)
def test_tools_and_their_results(
    run_script: RunScript, script: Script, model: str, turn_name: str
) -> None:
    told = turn(run_script, script, model, turn_name)
    assert told["calls"] == (BOTH if model in AIMOCK else BOTH[:1])
    then = told["then"]
    assert then["calls"] == []
    assert (SUNNY if model in AIMOCK else "sunny, 21 degrees") in then["text"]
