"""A legacy completion request's envelope."""

from posthouse.dialects.base import ParsedRequest, PromptSize
from posthouse.dialects.openai.envelope import (
    COUNT_LIMIT,
    beginning,
    bytes_of_entries,
    cache_key,
    count,
    count_entries,
    flag,
    model_name,
    named_models,
    optional_text,
    parse_envelope,
    read_entries,
    service_tier,
    text_of_entries,
    wants_usage,
)
from posthouse.dialects.openai.kinds import COMPLETION, check_kinds
from posthouse.model.call import Operation

BEST_OF_LIMIT = 20


def parse_request(body: bytes) -> ParsedRequest:
    """Read a completion request; raises InvalidRequest."""
    envelope = parse_envelope(body)
    check_kinds(envelope, COMPLETION)
    prompt = read_entries(envelope, "prompt")
    prompts = count_entries(prompt)
    suffix = optional_text(envelope, "suffix") or ""
    n = count(envelope, "n", highest=COUNT_LIMIT) or 1
    best_of = count(envelope, "best_of", lowest=0, highest=BEST_OF_LIMIT) or 1
    return ParsedRequest(
        operation=Operation.COMPLETION,
        envelope=envelope,
        model=model_name(envelope),
        stream=flag(envelope, "stream"),
        prompt=PromptSize(
            text_bytes=bytes_of_entries(prompt) + prompts * len(suffix.encode())
        ),
        affinity=cache_key(envelope) or beginning(envelope["prompt"]),
        # Every candidate of `best_of` is billed, shown or not.
        choices=max(n, best_of) * prompts,
        # Zero is allowed: it is how the prompt's own probabilities are asked for.
        output_limit=count(envelope, "max_tokens", lowest=0),
        include_usage=wants_usage(envelope),
        other_models=named_models(envelope),
        service_tier=service_tier(envelope),
    )


def prompt_text(request: ParsedRequest) -> str:
    """The prompt's text; tokens given as numbers have none."""
    text = text_of_entries(read_entries(request.envelope, "prompt"))
    return text + (optional_text(request.envelope, "suffix") or "")
