"""Every vendor's SDK at providers of every dialect, played by a program not ours."""

import pytest
from tests.acceptance.configuration import AIMOCK_KEY
from tests.acceptance.dialect_clients import FINISHES, SDK, SDKS
from tests.conftest import StartPosthouse
from tests.support.posthouse import Posthouse
from tests.support.processes import ServerProcess

KEY = "sk-dialects-0123456789abcdefghijklmnopqrstuvwxyzABC"
MODELS = {
    "openai_chat": ("openai", "gpt-4o", "/v1"),
    "openai_responses": ("openai", "gpt-5-codex", "/v1"),
    "anthropic_messages": ("anthropic", "claude-sonnet-4-5", ""),
    "gemini_generate": ("google", "gemini-2.5-flash", ""),
}
"""By the provider's dialect: its row, a model that it has, its base URL's path."""

CHANNEL = """
[[channels]]
name = "{dialect}"
provider = "{provider}"
base_url = "http://127.0.0.1:{port}{path}"
api_key = "{key}"
models = [{{ public = "at-{dialect}", upstream = "{model}" }}]

[[prices]]
model = "at-{dialect}"
input = "1.00"
output = "2.00"
"""


@pytest.fixture(scope="module")
def relayed(start_posthouse: StartPosthouse, aimock: ServerProcess) -> Posthouse:
    """Posthouse with a channel of each dialect."""
    port = int(aimock.url.rpartition(":")[2])
    channels = "".join(
        CHANNEL.format(
            dialect=dialect,
            provider=provider,
            port=port,
            path=path,
            key=AIMOCK_KEY,
            model=model,
        )
        for dialect, (provider, model, path) in MODELS.items()
    )
    key = f'[[keys]]\nname = "app"\nkey = "{KEY}"\nbalance_usd = "5"\n'
    return start_posthouse(channels + key)


@pytest.fixture(params=SDKS)
def dialect(request: pytest.FixtureRequest) -> str:
    """What the client speaks."""
    return str(request.param)


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    """A model whose provider speaks one of the dialects."""
    return f"at-{request.param}"


@pytest.fixture
def sdk(relayed: Posthouse, dialect: str) -> SDK:
    """The client's SDK."""
    return SDKS[dialect](relayed.url, KEY)


def test_a_whole_answer(sdk: SDK, dialect: str, model: str) -> None:
    answer = sdk.ask(model, "say hello")
    assert answer.text == "Hello from aimock, twice over."
    assert answer.finish == FINISHES[dialect][0]


def test_a_streamed_answer(sdk: SDK, dialect: str, model: str) -> None:
    answer = sdk.stream(model, "say hello")
    assert answer.text == "Hello from aimock, twice over."
    assert answer.finish == FINISHES[dialect][0]


@pytest.mark.filterwarnings("ignore:FUNCTION_CALL is not a valid")
@pytest.mark.parametrize("streamed", [False, True])
def test_two_tools_and_their_results(
    sdk: SDK, dialect: str, model: str, streamed: bool
) -> None:
    ask = sdk.stream if streamed else sdk.ask
    answer = ask(model, "weather everywhere", tools=True)
    assert answer.calls == [
        ("get_weather", {"city": "Oslo"}),
        ("get_weather", {"city": "Rome"}),
    ]
    assert answer.finish in FINISHES[dialect][1:]
    told = sdk.answer_tools(model, answer, "sunny")
    assert told.text == "It is sunny."
