"""A chat stream's chunks."""

from msgspec import UNSET, Raw, Struct, UnsetType

from posthouse.dialects.openai.replies import UsageObject
from posthouse.dialects.openai.stream import ChoiceReading
from posthouse.wire import json


class _Function(Struct):
    name: str | None = None
    arguments: str | None = None
    input: str | None = None


class _ToolCall(Struct):
    function: _Function | None = None
    custom: _Function | None = None


class _Delta(Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None
    audio: Raw | UnsetType | None = UNSET

    def rare(self) -> ChoiceReading:
        """Read what is not plain text: tool calls, audio, other names."""
        functions = [self.function_call]
        for call in self.tool_calls or ():
            functions += (call.function, call.custom)
        texts = [self.reasoning_content or self.reasoning, self.refusal]
        for function in functions:
            if function is not None:
                texts += (function.name, function.arguments, function.input)
        text = "".join(text for text in texts if text)
        content = bool(text or self.tool_calls) or isinstance(self.audio, Raw)
        return ChoiceReading(text, content)


class _Choice(Struct):
    delta: _Delta = _Delta()
    index: int = 0
    finish_reason: str | None = None

    def read(self) -> ChoiceReading:
        """Tell what the choice carries."""
        text = self.delta.content
        if text:
            return ChoiceReading(text, True)
        return self.delta.rare()


class Chunk(Struct):
    """One frame of the stream, as far as it is acted on."""

    choices: list[_Choice] = []
    usage: UsageObject | None = None
    error: Raw | UnsetType = UNSET
    service_tier: Raw | UnsetType = UNSET


CHUNK = json.decoder(Chunk)
