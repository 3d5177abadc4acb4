"""Completions: the older way, a text for every prompt."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from msgspec import Struct

from posthouse.providers.sandbox import checks, tokens
from posthouse.providers.sandbox.chat import CONTEXT, FILLER, MAX_OUTPUT
from posthouse.providers.sandbox.checks import Body
from posthouse.providers.sandbox.directives import Directives, from_prompt
from posthouse.providers.sandbox.identity import (
    CREATED,
    FINGERPRINT,
    Identity,
    logprob,
)
from posthouse.providers.sandbox.refusal import RequestRefused

DEFAULT_LIMIT = 16
MAX_CHOICES = 128

Document = dict[str, Any]


class Text(Struct, frozen=True):
    """One choice."""

    text: str
    finish: str
    tokens: int
    """Those that were made, an echoed prompt not among them."""


class Completion(Struct, frozen=True):
    """A request, read and answered."""

    model: str
    texts: list[Text]
    prompt_tokens: int
    discarded_tokens: int
    """Of the candidates that `best_of` made and did not choose."""
    top_logprobs: int
    include_usage: bool


def answer(body: Body, directives: Directives) -> Completion:
    """Answer a completion; raises RequestRefused."""
    model = checks.model(body)
    prompts = read_prompts(body.get("prompt"))
    checks.sampling(body)
    count = checks.integer(body, "n", 1, MAX_CHOICES) or 1
    best = checks.integer(body, "best_of", 1, 20) or count
    if best < count:
        raise RequestRefused("'best_of' must be at least 'n'.", param="best_of")
    if len(prompts) * count > MAX_CHOICES:
        raise RequestRefused(
            f"At most {MAX_CHOICES} choices can be asked for.", param="prompt"
        )
    limit = checks.integer(body, "max_tokens", 0, MAX_OUTPUT)
    limit = DEFAULT_LIMIT if limit is None else limit
    echo = checks.boolean(body, "echo") or False
    suffix = checks.string(body, "suffix") or ""
    top = checks.integer(body, "logprobs", 0, 5)
    prompt_tokens = sum(size for _, size in prompts) + tokens.count(suffix)
    if prompt_tokens > CONTEXT:
        raise checks.too_long("prompt", prompt_tokens, CONTEXT)
    texts = []
    for prompt, _ in prompts:
        for index in range(count):
            said = write(prompt, suffix, index, directives)
            made = limited(said, checks.stops(body), limit)
            texts.append(
                Text(prompt + made.text, made.finish, made.tokens) if echo else made
            )
    size = sum(tokens.count(text.text) for text in texts)
    checks.reply_size(size * (1 + (top or 0)))
    return Completion(
        model=model,
        texts=texts,
        prompt_tokens=prompt_tokens,
        discarded_tokens=(best - count) * sum(text.tokens for text in texts[::count]),
        top_logprobs=-1 if top is None else top,
        include_usage=checks.include_usage(body),
    )


def read_prompts(prompt: Any) -> list[tuple[str, int]]:
    """Read every prompt's text and its number of tokens.

    A prompt is a string, or token ids that the sandbox cannot read back.
    """
    if prompt is None:
        raise checks.missing("prompt")
    if isinstance(prompt, str):
        return [(prompt, tokens.count(prompt))]
    if not isinstance(prompt, list) or not prompt:
        raise checks.wrong_type("prompt", "a string or an array", prompt)
    if is_ids(prompt):
        return [(f"{len(prompt)} token ids", len(prompt))]
    found = []
    for index, item in enumerate(prompt):
        if isinstance(item, str):
            found.append((item, tokens.count(item)))
        elif is_ids(item):
            found.append((f"{len(item)} token ids", len(item)))
        else:
            raise checks.wrong_type(f"prompt[{index}]", "a string", item)
    return found


def is_ids(value: Any) -> bool:
    """Whether a value is a list of token ids."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(type(item) is int and item >= 0 for item in value)
    )


def write(prompt: str, suffix: str, index: int, directives: Directives) -> str:
    """Write what follows a prompt."""
    _, prompt = from_prompt(prompt, Directives())
    if directives.length is not None:
        size = directives.length * tokens.TOKEN_CHARACTERS
        return (FILLER * (size // len(FILLER) + 1))[:size]
    if "echo" in directives.behaviours:
        return prompt
    before = f", before: {suffix[:80]}" if suffix else ""
    number = f" (choice {index})" if index else ""
    return f" This is the sandbox, after: {prompt[-80:]}{before}{number}"


def limited(text: str, stops: tuple[str, ...], limit: int) -> Text:
    """Apply stop sequences and the limit on tokens."""
    places = [text.find(stop) for stop in stops if stop in text]
    whole = text[: min(places)] if places else text
    kept = tokens.cut(whole, limit)
    finish = "stop" if kept == whole else "length"
    return Text(kept, finish, tokens.count(kept))


def usage(completion: Completion) -> Document:
    """Say what the completion consumed."""
    output = sum(text.tokens for text in completion.texts)
    output += completion.discarded_tokens
    return {
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": output,
        "total_tokens": completion.prompt_tokens + output,
    }


def envelope(completion: Completion, identity: Identity) -> Document:
    """Write what the document and every chunk have in common."""
    return {
        "id": identity.make("cmpl-"),
        "object": "text_completion",
        "created": CREATED,
        "model": completion.model,
        "system_fingerprint": FINGERPRINT,
    }


def document(completion: Completion, identity: Identity) -> Document:
    """Write the completion as one document."""
    choices = [
        choice(completion, index, text.text, text.finish)
        for index, text in enumerate(completion.texts)
    ]
    return {
        **envelope(completion, identity),
        "choices": choices,
        "usage": usage(completion),
    }


def choice(
    completion: Completion, index: int, text: str, finish: str | None, *, first: int = 0
) -> Document:
    """Write one choice or a part of it; `first` is the place of its first token."""
    return {
        "text": text,
        "index": index,
        "logprobs": logprobs(text, completion.top_logprobs, first),
        "finish_reason": finish,
    }


def logprobs(text: str, top: int, first: int) -> Document | None:
    """Write a text's log probabilities in the older form."""
    if top < 0:
        return None
    pieces = tokens.split(text)
    places = range(first, first + len(pieces))
    return {
        "tokens": pieces,
        "token_logprobs": [logprob(place) for place in places],
        "top_logprobs": [
            {
                token if rank == 0 else f"~{rank}": logprob(place, rank)
                for rank in range(top)
            }
            for place, token in zip(places, pieces, strict=True)
        ],
        "text_offset": [place * tokens.TOKEN_CHARACTERS for place in places],
    }


def chunks(completion: Completion, identity: Identity) -> Iterator[Document]:
    """Write the completion as chunks; the choices' chunks take turns."""
    frame = envelope(completion, identity)
    if completion.include_usage:
        frame["usage"] = None
    streams = [
        choice_chunks(completion, index, text)
        for index, text in enumerate(completion.texts)
    ]
    for turn in zip_longest(*streams):
        for part in turn:
            if part is not None:
                yield {**frame, "choices": [part]}
    if completion.include_usage:
        yield {**frame, "choices": [], "usage": usage(completion)}


def choice_chunks(completion: Completion, index: int, text: Text) -> Iterator[Document]:
    """Write one choice as its chunks."""
    for place, token in enumerate(tokens.split(text.text)):
        yield choice(completion, index, token, None, first=place)
    yield choice(completion, index, "", text.finish)
