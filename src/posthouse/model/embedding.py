"""An embedding in the neutral form: what its dialects are read into and written from.

Rules. Vectors stay JSON text to the letter: nobody here computes with them. What
stands beside and has no counterpart in another dialect is in `extras`, by the
caller's names.
"""

from msgspec import Raw, Struct

from posthouse.model.usage import ReportedUsage

KIND = "embedding"
"""What codecs of embeddings are called."""


class EmbeddingInput(Struct, frozen=True, omit_defaults=True):
    """One of the things to embed: a text, or what a tokenizer has made of one."""

    text: str | None = None
    tokens: tuple[int, ...] | None = None
    task: str | None = None
    """What the vector is for, in Google's words: `RETRIEVAL_QUERY`."""
    title: str | None = None
    """Of the document that the text is."""


class EmbeddingRequest(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a caller asks."""

    dialect: str
    """What it was read from."""
    inputs: tuple[EmbeddingInput, ...]
    dimensions: int | None = None
    """Numbers of each vector."""
    user: str | None = None
    """The end user."""
    extras: tuple[str, ...] = ()
    """Names of what else the caller said."""


class EmbeddingReply(Struct, frozen=True, kw_only=True):
    """What a model answered."""

    vectors: tuple[Raw, ...]
    """Lists of numbers, in the order of the inputs."""
    usage: ReportedUsage | None = None
