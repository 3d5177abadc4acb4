"""LangChain: its models of OpenAI, Anthropic and Google."""

from typing import Any, Literal

from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI
from turns import DIALECT, HELLO, KEY, LIMIT, RESULT, URL, WEATHER, Told, run


@tool
def get_weather(city: Literal["Oslo", "Rome"]) -> str:
    """How the weather is."""
    return RESULT


def chat(model: str, limit: int) -> BaseChatModel:
    """Make the model of the dialect."""
    if DIALECT == "anthropic":
        return ChatAnthropic(
            model=model,
            base_url=URL,
            api_key=KEY,
            temperature=0,
            max_tokens=limit,
            max_retries=0,
        )
    if DIALECT == "google":
        return ChatGoogleGenerativeAI(
            model=model,
            base_url=URL,
            google_api_key=KEY,
            temperature=0,
            max_output_tokens=limit,
            max_retries=1,
        )
    return ChatOpenAI(
        model=model,
        base_url=URL + "/v1",
        api_key=KEY,
        temperature=0,
        max_tokens=limit,
        max_retries=0,
        use_responses_api=DIALECT == "openai-responses",
        stream_usage=True,
    )


def told(message: AIMessage, pieces: int = 0) -> Told:
    """Put an answer into plain values."""
    usage = message.usage_metadata
    assert usage is not None
    return {
        "text": message.text,
        "calls": [[call["name"], call["args"]] for call in message.tool_calls],
        "usage": [usage["input_tokens"], usage["output_tokens"]],
        "pieces": pieces,
    }


def said(
    runnable: Any, messages: list[Any], *, streamed: bool
) -> tuple[AIMessage, int]:
    """Send the messages; give the answer and in how many pieces it came."""
    if not streamed:
        return runnable.invoke(messages), 0
    pieces = list(runnable.stream(messages))
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    return whole, sum(bool(piece.text) for piece in pieces)


class LangChain:
    """The turns."""

    def ask(self, model: str) -> Told:
        """Invoke."""
        return told(*said(chat(model, LIMIT), [HumanMessage(HELLO)], streamed=False))

    def stream(self, model: str) -> Told:
        """Stream, and add up."""
        return told(*said(chat(model, LIMIT), [HumanMessage(HELLO)], streamed=True))

    def tools(self, model: str, *, streamed: bool) -> Told:
        """Bind a tool, run its calls, tell the results."""
        bound = chat(model, 1024).bind_tools([get_weather])
        messages: list[Any] = [HumanMessage(WEATHER)]
        first, _ = said(bound, messages, streamed=streamed)
        messages.append(first)
        for call in first.tool_calls:
            result = get_weather.invoke(call)
            assert isinstance(result, ToolMessage)
            messages.append(result)
        last, pieces = said(bound, messages, streamed=streamed)
        return {**told(first), "then": told(last, pieces)}


run(LangChain())
