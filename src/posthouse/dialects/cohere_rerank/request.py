"""What Cohere's first version says, as the second one has it."""

from msgspec import structs

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.openai.reranking import parse_rerank, read_documents
from posthouse.errors import InvalidRequest
from posthouse.model.rerank import RerankItem
from posthouse.wire import json

CHUNKS = "max_chunks_per_doc"
"""No provider is told: the second version cuts documents by itself."""
_FIRST_ONLY = ("rank_fields", "return_documents", CHUNKS)


def parse_request(body: bytes) -> ParsedRequest:
    """Read a request of either version; raises InvalidRequest."""
    request = parse_rerank(body)
    if CHUNKS not in request.envelope:
        return request
    return structs.replace(request, dropped=(f"-{CHUNKS}",))


def as_second_version(request: ParsedRequest) -> ParsedRequest:
    """Give the request with documents that are texts; raises InvalidRequest.

    It is the same one if it says nothing that the second version does not know.
    """
    envelope = request.envelope
    documents = read_documents(envelope)
    plain = all(json.opens_with(document.value, b'"') for document in documents)
    if plain and not any(name in envelope for name in _FIRST_ONLY):
        return request
    envelope = dict(envelope)
    if not plain:
        envelope["documents"] = json.raw([_text(document) for document in documents])
    for name in _FIRST_ONLY:
        envelope.pop(name, None)
    return structs.replace(request, envelope=envelope)


def _text(document: RerankItem) -> str:
    if document.text is None:
        raise InvalidRequest(
            "This model ranks texts alone.",
            param="documents",
            code="unsupported_by_model",
        )
    return document.text
