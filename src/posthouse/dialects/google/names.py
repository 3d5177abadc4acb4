"""The names of members: Google writes `camelCase` and also reads `snake_case`.

Readers see one spelling. Only the names that a reader acts on are turned, and
only where the protocol has members: what users name themselves (arguments,
schemas, labels) is never looked at. One name in both spellings is refused, for
servers would differ in which of them counts.

Source: the protocol buffers' JSON mapping, https://protobuf.dev/programming-guides/json
(2026-11), and the field names in google-genai 3.4.0, `google/genai/types.py`.
"""

import re
from typing import Any

from posthouse.dialects.neutral.members import Members, Wrong
from posthouse.model.chat import Extras

_NAMES = """
allowedFunctionNames avgLogprobs batchEmbedContents blockReason blockReasonMessage
cachedContent cachedContentTokenCount candidateCount candidatesTokenCount
candidatesTokensDetails chosenCandidates citationMetadata citationSources
codeExecution codeExecutionResult computerUse createTime displayName
embedContentConfig endIndex enterpriseWebSearch excludeDomains executableCode
exaAiSearch fileData fileSearch fileUri finishMessage finishReason
frequencyPenalty functionCall functionCallingConfig functionDeclarations
functionResponse generateContentRequest generationConfig googleMaps googleSearch
googleSearchRetrieval groundingChunkIndices groundingChunks groundingMetadata
groundingSupports imageConfig includeThoughts inlineData jsonSchema logProbability
logprobsResult maxOutputTokens mcpServers mediaResolution mimeType modelVersion
outputDimensionality parallelAiSearch parametersJsonSchema partIndex partMetadata
prebuiltVoiceConfig presencePenalty promptFeedback promptTokenCount
promptTokensDetails responseFormat responseId responseJsonSchema responseLogprobs
responseMimeType responseModalities responseSchema routingConfig safetySettings
serviceTier speechConfig startIndex stopSequences systemInstruction taskType
thinkingBudget thinkingConfig thinkingLevel thoughtSignature thoughtsTokenCount
tokenCount toolCall toolConfig toolResponse toolUsePromptTokenCount topCandidates
topK topP totalTokenCount urlContext usageMetadata videoMetadata voiceConfig
voiceName webSearchQueries willContinue
"""


def _snake(name: str) -> str:
    return re.sub("[A-Z]", lambda match: "_" + match[0].lower(), name)


_CAMEL = {_snake(name): name for name in _NAMES.split()}


def camel(name: str) -> str:
    """A known name as Google writes it; any other one as it stands."""
    return _CAMEL.get(name, name)


def canonical(value: Extras, place: str, wrong: Wrong) -> Extras:
    """Give an object its known names as Google writes them, in their order."""
    if _CAMEL.keys().isdisjoint(value):
        return value
    found: Extras = {}
    for name, member in value.items():
        written = camel(name)
        if written in found or (written != name and written in value):
            raise wrong(f"{place}.{name}" if place else name, "only one spelling")
        found[written] = member
    return found


def members_of(value: Any, place: str, wrong: Wrong) -> Members:
    """Begin to read an object, whose known names have one spelling."""
    if isinstance(value, dict):
        value = canonical(value, place, wrong)
    return Members(value, place, wrong)


def inner(members: Members, name: str, wrong: Wrong) -> Members | None:
    """Take an object to be read in its turn; None if it is absent."""
    value = members.take(name)
    return None if value is None else members_of(value, members.at(name), wrong)


def each(members: Members, name: str, wrong: Wrong) -> list[Members]:
    """Take a list of objects to be read in their turn.

    One object may stand for a list of one, as Google's own examples have it.
    """
    value = members.peek(name)
    if isinstance(value, dict):
        members.take(name)
        return [members_of(value, members.at(name), wrong)]
    return [
        members_of(entry, f"{members.at(name)}[{index}]", wrong)
        for index, entry in enumerate(members.array(name))
    ]
