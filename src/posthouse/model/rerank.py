"""A reranking in the neutral form: what its dialects are read into and written from.

Rules. Scores stay JSON text to the letter; they are compared, never computed with,
and each provider has a scale of its own. A document's `index` is its place in the
request, whatever order the results have.
"""

from msgspec import Raw, Struct

from posthouse.model.usage import ReportedUsage

KIND = "rerank"
"""What codecs of rerankings are called."""


class RerankItem(Struct, frozen=True, omit_defaults=True):
    """The query, or one of the documents."""

    value: Raw
    """As the caller wrote it: a text, or an object."""
    text: str | None = None
    """What of it can be read; None: it is a picture."""
    image: str | None = None
    """A URL, or base64."""


class RerankRequest(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a caller asks."""

    dialect: str
    """What it was read from."""
    query: RerankItem
    documents: tuple[RerankItem, ...]
    top_n: int | None = None
    """The most results that are wanted; None wants all."""
    return_documents: bool = False
    """Whether the results carry the documents; each dialect has its own default."""
    max_document_tokens: int | None = None
    """How much of each document is read."""
    truncation: bool | None = None
    """Whether what is too long is cut off; None leaves it to the provider."""
    instruction: str | None = None
    """What relevance means to the caller, in words."""
    extras: tuple[str, ...] = ()
    """Names of what else the caller said."""


class RerankResult(Struct, frozen=True):
    """One document's place."""

    index: int
    """Of the document, in the request's order."""
    score: Raw
    """A number, as the provider wrote it."""


class RerankReply(Struct, frozen=True, kw_only=True):
    """What a model answered: the most relevant document first."""

    results: tuple[RerankResult, ...]
    usage: ReportedUsage | None = None
    id: str | None = None
