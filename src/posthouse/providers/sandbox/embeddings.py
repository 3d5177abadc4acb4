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

DIMENSIONS = 256
MAX_DIMENSIONS = 3072
MAX_INPUTS = 2048
MAX_INPUT_TOKENS = 8192
MAX_REQUEST_TOKENS = 100_000
MAX_NUMBERS = 600_000
SPREAD = 8
"""Dimensions that one word adds to or takes from."""
MAX_WORDS = 64
"""Different words of a text that its vector is made from, the first ones."""
WORD = re.compile(r"\w+")

Vector = dict[int, float]
"""The numbers that are not zero, by dimension."""


def answer(body: Body) -> dict[str, Any]:
    """Answer an embedding request; raises RequestRefused."""
    model = checks.model(body)
    inputs = read_inputs(body)
    dimensions = checks.integer(body, "dimensions", 1, MAX_DIMENSIONS) or DIMENSIONS
    form = checks.option(body, "encoding_format", ("float", "base64")) or "float"
    checks.string(body, "user")
    count = sum(size for _, size in inputs)
    if count > MAX_REQUEST_TOKENS or len(inputs) * dimensions > MAX_NUMBERS:
        raise RequestRefused(
            f"The sandbox takes at most {MAX_REQUEST_TOKENS} tokens and gives at most "
            f"{MAX_NUMBERS} numbers at once.",
            code="invalid_value",
            param="input",
        )
    write = floats if form == "float" else packed
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": write(vector(words, dimensions), dimensions),
            }
            for index, (words, _) in enumerate(inputs)
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


def vector(words: list[str], dimensions: int) -> Vector:
    """Make a unit vector: each word adds to or takes from a few dimensions."""
    sums: Vector = {}
    for word in list(dict.fromkeys(words))[:MAX_WORDS]:
        digest = hashlib.blake2b(word.encode(), digest_size=2 * SPREAD).digest()
        for value in struct.unpack(f"<{SPREAD}H", digest):
            index = (value >> 1) % dimensions
            sums[index] = sums.get(index, 0.0) + (1.0 if value & 1 else -1.0)
    size = math.sqrt(sum(value * value for value in sums.values()))
    if size == 0:
        # The words cancelled out, which few dimensions make possible.
        return {0: 1.0}
    return {index: value / size for index, value in sums.items() if value}


def packed(values: Vector, dimensions: int) -> str:
    """Write a vector as base64 of little-endian 32-bit floats."""
    data = bytearray(4 * dimensions)
    for index, value in values.items():
        struct.pack_into("<f", data, 4 * index, value)
    return base64.b64encode(data).decode()


def floats(values: Vector, dimensions: int) -> list[float]:
    """Write a vector as numbers, rounded as the other encoding rounds them."""
    written = [0.0] * dimensions
    for index, value in values.items():
        written[index] = struct.unpack("<f", struct.pack("<f", value))[0]
    return written
