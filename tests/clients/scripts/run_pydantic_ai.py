"""pydantic-ai: its models of OpenAI, Anthropic and Google, each with an agent."""

from typing import Any, Literal

from anthropic import AsyncAnthropic
from google import genai
from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings
from turns import DIALECT, HELLO, KEY, LIMIT, RESULT, URL, WEATHER, Told, run

SHORT = ModelSettings(max_tokens=LIMIT, temperature=0)


def get_weather(city: Literal["Oslo", "Rome"]) -> str:
    """How the weather is."""
    return RESULT


def model_of(name: str) -> Model:
    """Make the model of the dialect."""
    if DIALECT == "anthropic":
        claude = AsyncAnthropic(base_url=URL, api_key=KEY, max_retries=0)
        return AnthropicModel(name, provider=AnthropicProvider(anthropic_client=claude))
    if DIALECT == "google":
        client = genai.Client(api_key=KEY, http_options={"base_url": URL})
        return GoogleModel(name, provider=GoogleProvider(client=client))
    openai = AsyncOpenAI(base_url=URL + "/v1", api_key=KEY, max_retries=0)
    made = OpenAIChatModel if DIALECT == "openai-chat" else OpenAIResponsesModel
    return made(name, provider=OpenAIProvider(openai_client=openai))


def told(response: ModelResponse, pieces: int = 0) -> Told:
    """Put an answer into plain values."""
    texts = [part.content for part in response.parts if isinstance(part, TextPart)]
    calls = [part for part in response.parts if isinstance(part, ToolCallPart)]
    return {
        "text": "".join(texts),
        "calls": [[call.tool_name, call.args_as_dict()] for call in calls],
        "finish": response.finish_reason,
        "usage": [response.usage.input_tokens, response.usage.output_tokens],
        "pieces": pieces,
    }


def answers(agent: Agent, prompt: str, *, streamed: bool) -> tuple[list[Any], int]:
    """Run an agent; give what the model answered, and in how many pieces."""
    if not streamed:
        result = agent.run_sync(prompt)
        pieces = 0
    else:
        result = agent.run_stream_sync(prompt)
        pieces = sum(1 for _ in result.stream_text(delta=True, debounce_by=None))
    messages = result.all_messages()
    return [each for each in messages if isinstance(each, ModelResponse)], pieces


class PydanticAI:
    """The turns."""

    def _ask(self, model: str, *, streamed: bool) -> Told:
        agent = Agent(model_of(model), model_settings=SHORT)
        [response], pieces = answers(agent, HELLO, streamed=streamed)
        return told(response, pieces)

    def ask(self, model: str) -> Told:
        """Run an agent without tools."""
        return self._ask(model, streamed=False)

    def stream(self, model: str) -> Told:
        """The same, streamed."""
        return self._ask(model, streamed=True)

    def tools(self, model: str, *, streamed: bool) -> Told:
        """Run an agent with a tool, which it calls by itself."""
        agent = Agent(model_of(model), tools=[get_weather])
        (first, last), pieces = answers(agent, WEATHER, streamed=streamed)
        return {**told(first), "then": told(last, pieces)}


run(PydanticAI())
