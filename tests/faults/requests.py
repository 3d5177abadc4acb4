"""What the tests ask for, and what it amounts to."""

from typing import Any

from posthouse.billing.tokenizer import count_tokens

PROMPT = (
    "The horses are changed at every station on the long road to the north, and "
    "nobody waits for more than a quarter of an hour."
)
PATHS = {
    "chat": "/v1/chat/completions",
    "completion": "/v1/completions",
    "embedding": "/v1/embeddings",
    "moderation": "/v1/moderations",
}


def body_of(
    operation: str, model: str, *, stream: bool = False, **more: Any
) -> dict[str, Any]:
    """A request's body."""
    value: dict[str, Any] = {"model": model}
    if operation == "chat":
        value["messages"] = [{"role": "user", "content": PROMPT}]
    else:
        value["prompt" if operation == "completion" else "input"] = PROMPT
    if operation in ("chat", "completion"):
        value["max_tokens"] = 16
    if stream:
        value["stream"] = True
    return {**value, **more}


def counted_prompt(model: str, text: str = PROMPT) -> int:
    """What the prompt is counted as where the provider does not tell."""
    return count_tokens(text, model)
