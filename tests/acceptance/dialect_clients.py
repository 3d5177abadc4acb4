"""The vendors' own SDKs, each made to do the same four things.

What comes back is put into plain values, so that one test serves all of them.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import anthropic
import openai
from google import genai
from google.genai import types as google

CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
LIMIT = 200
TIMEOUT = 20.0


class Answer(NamedTuple):
    """What an SDK gave."""

    text: str
    calls: list[tuple[str, dict[str, Any]]]
    """Names of tools with their arguments."""
    finish: str
    tokens: tuple[int, int]
    """Of the prompt and of the answer."""
    history: list[Any]
    """The conversation so far, as the SDK takes it again."""


class SDK(Protocol):
    """One vendor's way to chat."""

    def ask(self, model: str, text: str, *, tools: bool = False) -> Answer:
        """Say something; have the whole answer."""

    def stream(self, model: str, text: str, *, tools: bool = False) -> Answer:
        """Say something; have the answer in pieces."""

    def answer_tools(self, model: str, answer: Answer, result: str) -> Answer:
        """Give every tool call of an answer this result."""


class OpenAIChat:
    """The openai SDK, chat completions."""

    def __init__(self, url: str, key: str) -> None:
        self._client = openai.OpenAI(
            base_url=url + "/v1", api_key=key, max_retries=0, timeout=TIMEOUT
        )

    def _request(
        self, model: str, messages: list[Any], *, tools: bool
    ) -> dict[str, Any]:
        request: dict[str, Any] = {"model": model, "messages": messages}
        if tools:
            function = {"name": "get_weather", "parameters": CITY}
            request["tools"] = [{"type": "function", "function": function}]
        return request

    def _answer(self, messages: list[Any], completion: Any) -> Answer:
        choice = completion.choices[0]
        calls = choice.message.tool_calls or []
        return Answer(
            choice.message.content or "",
            [(c.function.name, json.loads(c.function.arguments)) for c in calls],
            choice.finish_reason,
            (completion.usage.prompt_tokens, completion.usage.completion_tokens),
            [*messages, choice.message.model_dump(exclude_none=True)],
        )

    def ask(self, model: str, text: str, *, tools: bool = False) -> Answer:
        messages = [{"role": "user", "content": text}]
        request = self._request(model, messages, tools=tools)
        return self._answer(messages, self._client.chat.completions.create(**request))

    def stream(self, model: str, text: str, *, tools: bool = False) -> Answer:
        messages = [{"role": "user", "content": text}]
        request = self._request(model, messages, tools=tools)
        with self._client.chat.completions.stream(
            **request, stream_options={"include_usage": True}
        ) as stream:
            return self._answer(messages, stream.get_final_completion())

    def answer_tools(self, model: str, answer: Answer, result: str) -> Answer:
        messages = [
            *answer.history,
            *(
                {"role": "tool", "tool_call_id": call["id"], "content": result}
                for call in answer.history[-1]["tool_calls"]
            ),
        ]
        request = self._request(model, messages, tools=True)
        return self._answer(messages, self._client.chat.completions.create(**request))


class OpenAIResponses:
    """The openai SDK, responses."""

    def __init__(self, url: str, key: str) -> None:
        self._client = openai.OpenAI(
            base_url=url + "/v1", api_key=key, max_retries=0, timeout=TIMEOUT
        )

    def _request(self, model: str, items: list[Any], *, tools: bool) -> dict[str, Any]:
        request: dict[str, Any] = {"model": model, "input": items, "store": False}
        if tools:
            tool = {"type": "function", "name": "get_weather", "parameters": CITY}
            request["tools"] = [{**tool, "strict": False}]
        return request

    def _answer(self, items: list[Any], response: Any) -> Answer:
        calls = [item for item in response.output if item.type == "function_call"]
        return Answer(
            response.output_text,
            [(call.name, json.loads(call.arguments)) for call in calls],
            response.status,
            (response.usage.input_tokens, response.usage.output_tokens),
            [
                *items,
                *(item.model_dump(exclude_none=True) for item in response.output),
            ],
        )

    def ask(self, model: str, text: str, *, tools: bool = False) -> Answer:
        items = [{"role": "user", "content": text}]
        request = self._request(model, items, tools=tools)
        return self._answer(items, self._client.responses.create(**request))

    def stream(self, model: str, text: str, *, tools: bool = False) -> Answer:
        items = [{"role": "user", "content": text}]
        request = self._request(model, items, tools=tools)
        with self._client.responses.stream(**request) as stream:
            return self._answer(items, stream.get_final_response())

    def answer_tools(self, model: str, answer: Answer, result: str) -> Answer:
        items = [
            *answer.history,
            *(
                {
                    "type": "function_call_output",
                    "call_id": item["call_id"],
                    "output": result,
                }
                for item in answer.history
                if item.get("type") == "function_call"
            ),
        ]
        request = self._request(model, items, tools=True)
        return self._answer(items, self._client.responses.create(**request))


class Anthropic:
    """The anthropic SDK."""

    def __init__(self, url: str, key: str) -> None:
        self._client = anthropic.Anthropic(
            base_url=url, api_key=key, max_retries=0, timeout=TIMEOUT
        )

    def _request(
        self, model: str, messages: list[Any], *, tools: bool
    ) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": model,
            "messages": messages,
            "max_tokens": LIMIT,
        }
        if tools:
            request["tools"] = [{"name": "get_weather", "input_schema": CITY}]
        return request

    def _answer(self, messages: list[Any], message: Any) -> Answer:
        content = [block.model_dump(exclude_none=True) for block in message.content]
        return Answer(
            "".join(block["text"] for block in content if block["type"] == "text"),
            [
                (block["name"], block["input"])
                for block in content
                if block["type"] == "tool_use"
            ],
            message.stop_reason,
            (message.usage.input_tokens, message.usage.output_tokens),
            [*messages, {"role": "assistant", "content": content}],
        )

    def ask(self, model: str, text: str, *, tools: bool = False) -> Answer:
        messages = [{"role": "user", "content": text}]
        request = self._request(model, messages, tools=tools)
        return self._answer(messages, self._client.messages.create(**request))

    def stream(self, model: str, text: str, *, tools: bool = False) -> Answer:
        messages = [{"role": "user", "content": text}]
        request = self._request(model, messages, tools=tools)
        with self._client.messages.stream(**request) as stream:
            return self._answer(messages, stream.get_final_message())

    def answer_tools(self, model: str, answer: Answer, result: str) -> Answer:
        results = [
            {"type": "tool_result", "tool_use_id": block["id"], "content": result}
            for block in answer.history[-1]["content"]
            if block["type"] == "tool_use"
        ]
        messages = [*answer.history, {"role": "user", "content": results}]
        request = self._request(model, messages, tools=True)
        return self._answer(messages, self._client.messages.create(**request))


class Google:
    """The google-genai SDK."""

    def __init__(self, url: str, key: str) -> None:
        self._client = genai.Client(
            api_key=key,
            http_options=google.HttpOptions(base_url=url, timeout=int(TIMEOUT * 1000)),
        )

    def _config(self, *, tools: bool) -> google.GenerateContentConfig:
        if not tools:
            return google.GenerateContentConfig()
        declaration = google.FunctionDeclaration(
            name="get_weather", parameters_json_schema=CITY
        )
        return google.GenerateContentConfig(
            tools=[google.Tool(function_declarations=[declaration])],
            automatic_function_calling=google.AutomaticFunctionCallingConfig(
                disable=True
            ),
        )

    def _answer(self, contents: list[Any], replies: list[Any]) -> Answer:
        parts = [
            part
            for reply in replies
            for part in (reply.candidates[0].content.parts or [])
            if reply.candidates and reply.candidates[0].content
        ]
        usage = replies[-1].usage_metadata
        return Answer(
            "".join(part.text for part in parts if part.text and not part.thought),
            [
                (part.function_call.name, part.function_call.args)
                for part in parts
                if part.function_call
            ],
            replies[-1].candidates[0].finish_reason.value,
            (usage.prompt_token_count, usage.candidates_token_count or 0),
            [*contents, google.Content(role="model", parts=parts)],
        )

    def ask(self, model: str, text: str, *, tools: bool = False) -> Answer:
        contents = [google.Content(role="user", parts=[google.Part(text=text)])]
        reply = self._client.models.generate_content(
            model=model, contents=contents, config=self._config(tools=tools)
        )
        return self._answer(contents, [reply])

    def stream(self, model: str, text: str, *, tools: bool = False) -> Answer:
        contents = [google.Content(role="user", parts=[google.Part(text=text)])]
        replies: Iterator[Any] = self._client.models.generate_content_stream(
            model=model, contents=contents, config=self._config(tools=tools)
        )
        return self._answer(contents, list(replies))

    def answer_tools(self, model: str, answer: Answer, result: str) -> Answer:
        results = [
            google.Part(
                function_response=google.FunctionResponse(
                    id=part.function_call.id,
                    name=part.function_call.name,
                    response={"result": result},
                )
            )
            for part in answer.history[-1].parts
            if part.function_call
        ]
        contents = [*answer.history, google.Content(role="user", parts=results)]
        reply = self._client.models.generate_content(
            model=model, contents=contents, config=self._config(tools=True)
        )
        return self._answer(contents, [reply])


SDKS = {
    "openai_chat": OpenAIChat,
    "openai_responses": OpenAIResponses,
    "anthropic_messages": Anthropic,
    "gemini_generate": Google,
}
FINISHES = {
    "openai_chat": ("stop", "tool_calls"),
    "openai_responses": ("completed", "completed"),
    "anthropic_messages": ("end_turn", "tool_use"),
    "gemini_generate": ("STOP", "STOP", "FUNCTION_CALL"),
}
"""How an answer ends that is whole, then how one may that calls tools."""
