"""Embeddings: unit vectors in which texts that share words lie close together."""

import base64
import hashlib
import math
import re
import struct
from typing import Any

from posthouse.providers.sandbox import checks, completions, tokens
from posthouse.providers.sandbox.checks import Body
from posthouse.providers.sandbox.refusal import RequestRefused

DIMENSIONS = 1536
MAX_DIMENSIONS = 4096
MAX_INPUTS = 2048
MAX_INPUT_TOKENS = 8192
SPREAD = 16
"""Dimensions that one word adds to or takes from."""
WORD = re.compile(r"\w+")


def answer(body: Body) -> dict[str, Any]:
    """Answer an embedding request; raises RequestRefused."""
    model = checks.model(body)
    inputs = read_inputs(body)
    dimensions = checks.integer(body, "dimensions", 1, MAX_DIMENSIONS) or DIMENSIONS
    form = checks.option(body, "encoding_format", ("float", "base64")) or "float"
    checks.string(body, "user")
    vectors = [vector(words, dimensions) for words, _ in inputs]
    count = sum(size for _, size in inputs)
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": vector if form == "float" else packed(vector),
            }
            for index, vector in enumerate(vectors)
        ],
        "model": model,
        "usage": {"prompt_tokens": count, "total_tokens": count},
    }


def read_inputs(body: Body) -> list[tuple[list[str], int]]:
    """Read every input's words and its number of tokens."""
    value = body.get("input")
    if value is None:
        raise checks.missing("input")
    if isinstance(value, str) or completions.is_ids(value):
        values = [value]
    else:
        values = checks.array(body, "input", MAX_INPUTS) or []
    return [read_input(item) for item in values]


def read_input(value: Any) -> tuple[list[str], int]:
    """Read one input: a text, or token ids, which are words of their own."""
    if isinstance(value, str) and value:
        words, size = WORD.findall(value.lower()) or [value], tokens.count(value)
    elif completions.is_ids(value):
        words, size = [f"#{number}" for number in value], len(value)
    else:
        raise RequestRefused(
            "Invalid 'input': expected a string that is not empty, or token ids.",
            code="invalid_type",
            param="input",
        )
    if size > MAX_INPUT_TOKENS:
        raise RequestRefused(
            f"An input may have at most {MAX_INPUT_TOKENS} tokens; this has {size}.",
            code="context_length_exceeded",
            param="input",
        )
    return words, size


def vector(words: list[str], dimensions: int) -> list[float]:
    """Make a unit vector: each word adds to or takes from a few dimensions."""
    sums = [0.0] * dimensions
    for word in words:
        digest = hashlib.blake2b(word.encode(), digest_size=SPREAD * 3).digest()
        for place in range(0, SPREAD * 3, 3):
            index = (digest[place] << 8 | digest[place + 1]) % dimensions
            sums[index] += 1.0 if digest[place + 2] & 1 else -1.0
    size = math.sqrt(sum(value * value for value in sums))
    if size == 0:
        # The words cancelled out, which few dimensions make possible.
        sums[0] = size = 1.0
    return [single(value / size) for value in sums]


def single(value: float) -> float:
    """Round to what a 32-bit float holds, so that both encodings agree."""
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return rounded


def packed(values: list[float]) -> str:
    """Encode a vector as base64 of little-endian 32-bit floats."""
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
