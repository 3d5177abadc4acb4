"""Reading requests of nothing but words, as most are, for another dialect.

They are read by types in one go, for a tenth of what reading member by member costs.
"""

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.gemini_generate.asked import (
    Asked,
    Config,
    Content,
    read_asked,
)
from posthouse.dialects.gemini_generate.signatures import NAME
from posthouse.model.chat import ChatRequest, Message, Role, Sampling, Text
from posthouse.wire import json

_SYSTEM, _USER, _ASSISTANT = Role.SYSTEM, Role.USER, Role.ASSISTANT
_NO_CONFIG = Config()


def read_usual(request: ParsedRequest) -> ChatRequest | None:
    """Read a whole request; None if something else than words stands there."""
    asked: Asked | None = request.asked
    if asked is None:
        envelope = request.envelope
        asked = read_asked(json.encode(envelope), envelope)
    if asked is None:
        return None
    config = asked.generation_config or _NO_CONFIG
    messages = _read_contents(asked.contents)
    system = asked.system_instruction
    if system is not None:
        messages.insert(0, Message(_SYSTEM, _texts(system)))
    return ChatRequest(
        dialect=NAME,
        model=request.model,
        messages=tuple(messages),
        sampling=Sampling(
            temperature=config.temperature,
            top_p=config.top_p,
            top_k=config.top_k,
            frequency_penalty=config.frequency_penalty,
            presence_penalty=config.presence_penalty,
            seed=config.seed,
            stop=config.stop_sequences or (),
        ),
        output_limit=request.output_limit,
        choices=config.candidate_count,
        stream=request.stream,
        include_usage=True,
    )


def _read_contents(contents: list[Content]) -> list[Message]:
    """Read turn by turn: pieces of the model's that follow one another are one."""
    messages: list[Message] = []
    said: list[str] | None = None
    for content in contents:
        if content.role == "model":
            pieces = [part.text for part in content.parts]
            said = pieces if said is None else said + pieces
            continue
        if said is not None:
            messages.append(_answer(said))
            said = None
        messages.append(Message(_USER, _texts(content)))
    if said is not None:
        messages.append(_answer(said))
    return messages


def _texts(content: Content) -> tuple[Text, ...]:
    return tuple([Text(part.text) for part in content.parts])


def _answer(said: list[str]) -> Message:
    text = "".join(said)
    return Message(_ASSISTANT, (Text(text),) if text else ())
