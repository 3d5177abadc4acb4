"""A legacy completion request's envelope."""

from msgspec import Raw

from posthouse.dialects.base import ParsedRequest, PromptSize
from posthouse.dialects.openai.envelope import (
    AFFINITY_LIMIT,
    COUNT_LIMIT,
    cache_key,
    count,
    flag,
    judged,
    model_name,
    named_models,
    parse_envelope,
    service_tier,
    wants_usage,
)
from posthouse.errors import InvalidRequest
from posthouse.model.call import Operation
from posthouse.wire import json
from posthouse.wire.json import Envelope

BEST_OF_LIMIT = 20
BYTES_PER_TOKEN = 4
"""What a token given as a number stands for in the size of a prompt."""

Prompt = str | list[str | int | list[int]]
_prompt = json.decoder(Prompt | None)


def parse_request(body: bytes) -> ParsedRequest:
    """Read a completion request; raises InvalidRequest."""
    envelope = parse_envelope(body)
    prompt = _read_prompt(envelope)
    prompts = _count_prompts(prompt)
    n = count(envelope, "n", COUNT_LIMIT) or 1
    best_of = count(envelope, "best_of", BEST_OF_LIMIT) or 1
    return ParsedRequest(
        operation=Operation.COMPLETION,
        envelope=envelope,
        model=model_name(envelope),
        stream=flag(envelope, "stream"),
        prompt=PromptSize(text_bytes=_text_bytes(envelope, prompt)),
        affinity=cache_key(envelope) or _raw_prompt(envelope)[:AFFINITY_LIMIT],
        # Every candidate of `best_of` is billed, shown or not.
        choices=max(n, best_of) * prompts,
        output_limit=count(envelope, "max_tokens"),
        include_usage=wants_usage(envelope),
        other_models=named_models(envelope),
        service_tier=service_tier(envelope),
    )


def _read_prompt(envelope: Envelope) -> Prompt:
    value = envelope.get("prompt")
    prompt: Prompt | None = None if value is None else judged(value, "prompt", _prompt)
    if prompt is None or prompt == []:
        raise InvalidRequest(
            "Missing required parameter: 'prompt'",
            param="prompt",
            code="missing_required_parameter",
        )
    return prompt


def _count_prompts(prompt: Prompt) -> int:
    """How many prompts a prompt is: a list of numbers is one."""
    if isinstance(prompt, str) or isinstance(prompt[0], int):
        return 1
    return len(prompt)


def _text_bytes(envelope: Envelope, prompt: Prompt) -> int:
    """The prompt's size; tokens count as BYTES_PER_TOKEN each."""
    if isinstance(prompt, str):
        return len(_raw_prompt(envelope))
    return sum(
        len(entry.encode())
        if isinstance(entry, str)
        else BYTES_PER_TOKEN * (1 if isinstance(entry, int) else len(entry))
        for entry in prompt
    )


def _raw_prompt(envelope: Envelope) -> bytes:
    return bytes(envelope.get("prompt", Raw(b"")))


def prompt_text(request: ParsedRequest) -> str:
    """The prompt's text; tokens given as numbers have none."""
    prompt = _read_prompt(request.envelope)
    if isinstance(prompt, str):
        return prompt
    return "\n".join(entry for entry in prompt if isinstance(entry, str))
