"""Counting tokens where a provider gave no usage: off the event loop, on demand.

Rules: nothing is fetched, the rank files are in the package; nothing is loaded
before the first count, and a server counts in a process of its own for that
(`token_process`). Any text is counted in bounded time, whatever its
shape: long texts are sampled and runs without a break are cut, for which a
count may differ by a token or two from the exact one at each cut. OpenAI's
models are counted by their own encodings, all others by the newest of them,
which is near enough where the alternative is nothing.
"""

import lzma
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tiktoken import Encoding

DEFAULT_ENCODING = "o200k_base"
OLDER_ENCODING = "cl100k_base"

OLDER_MODELS = (
    "gpt-4-",
    "gpt-3.5-",
    "text-embedding-3-",
    "text-embedding-ada-",
)
"""Prefixes of the models that OpenAI's older encoding counts; also `gpt-4`."""

TOKENS_PER_MESSAGE = 3
"""What a chat model adds to each message, its role apart."""
TOKENS_PER_ROLE = 1
TOKENS_PER_REPLY = 3
"""What a chat model adds before its answer."""

LONGEST_SLICE = 512
"""Characters encoded at once. Merging costs the square of a run's length, and
the splitting pattern's recursion grows with it."""
SAMPLED_CHARACTERS = 131_072
"""A longer text is counted by slices spread evenly over it."""

_encodings: dict[str, "Encoding"] = {}
_loading = threading.Lock()

Count = Callable[[str, str], int]
"""(text, model) to tokens; may block."""
_elsewhere: list[Count] = []


def count_tokens(text: str, model: str = "") -> int:
    """Count the tokens of a text as `model` would, near enough to charge for."""
    if not text:
        return 0
    return (_elsewhere[-1] if _elsewhere else count_here)(text, model)


@contextmanager
def counting_elsewhere(count: Count) -> Iterator[None]:
    """Let `count` do it for whoever asks, in all threads, within the block."""
    _elsewhere.append(count)
    try:
        yield
    finally:
        _elsewhere.remove(count)


def count_here(text: str, model: str) -> int:
    """Count the tokens of a text in this process."""
    encoding = _encoding(_encoding_name(model))
    if len(text) <= SAMPLED_CHARACTERS:
        return _count(encoding, _slices(text))
    step = len(text) * LONGEST_SLICE // SAMPLED_CHARACTERS
    sample = [text[at : at + LONGEST_SLICE] for at in range(0, len(text), step)]
    characters = sum(map(len, sample))
    return -(-_count(encoding, sample) * len(text) // characters)


def framing_tokens(messages: int) -> int:
    """Count what a chat's prompt has beside the texts of so many messages.

    A prompt without messages, such as a completion's, is its text alone.
    """
    if not messages:
        return 0
    return TOKENS_PER_REPLY + (TOKENS_PER_MESSAGE + TOKENS_PER_ROLE) * messages


def _encoding_name(model: str) -> str:
    older = model == "gpt-4" or model.startswith(OLDER_MODELS)
    return OLDER_ENCODING if older else DEFAULT_ENCODING


def _count(encoding: "Encoding", pieces: Iterable[str]) -> int:
    return sum(len(encoding.encode_ordinary(piece)) for piece in pieces)


def _slices(text: str) -> Iterator[str]:
    """Cut a text before a space where there is one, else where it must be.

    Encodings join a space to the word after it, so such a cut costs nothing.
    """
    start, end = 0, len(text)
    while end - start > LONGEST_SLICE:
        cut = text.rfind(" ", start + 1, start + LONGEST_SLICE + 1)
        if cut < 0:
            cut = start + LONGEST_SLICE
        yield text[start:cut]
        start = cut
    yield text[start:]


def _encoding(name: str) -> "Encoding":
    """Give an encoding, loading it once however many threads ask."""
    found = _encodings.get(name)
    if found is None:
        with _loading:
            found = _encodings.get(name)
            if found is None:
                found = _encodings[name] = _load(name)
    return found


def _load(name: str) -> "Encoding":
    # Imported here, for most processes never count a token themselves.
    from tiktoken import Encoding  # noqa: PLC0415

    pattern, tokens = read_ranks(name)
    return Encoding(
        f"posthouse_{name}",
        pat_str=pattern,
        mergeable_ranks={token: rank for rank, token in enumerate(tokens)},
        special_tokens={},
    )


def read_ranks(name: str) -> tuple[str, list[bytes]]:
    """Read a rank file: how texts are split, and every token's bytes, by number.

    `tools/rank_files.py` says how one is made.
    """
    packed = resources.files(__package__).joinpath("ranks", f"{name}.xz").read_bytes()
    data = memoryview(lzma.decompress(packed))
    pattern_end = 4 + int.from_bytes(data[:4], "big")
    pattern = bytes(data[4:pattern_end]).decode()
    lengths_at = pattern_end + 4
    count = int.from_bytes(data[pattern_end:lengths_at], "big")
    at = lengths_at + count
    tokens = []
    for length in data[lengths_at:at]:
        tokens.append(bytes(data[at : at + length]))
        at += length
    return pattern, tokens
