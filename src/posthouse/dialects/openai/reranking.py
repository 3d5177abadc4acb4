"""What the dialects of reranking have in common: documents, results, what is billed.

Rules. A result's document is put back from the request, so it does not matter
whether a provider gives it, nor what its default is. A reply that is in order passes
untouched. A limit of results is never sent where it would be none (zero) or more
than there are documents, which some providers refuse.
"""

from typing import Any

from msgspec import Raw, Struct, structs

from posthouse.dialects.base import ParsedReply, ParsedRequest, PromptSize
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.openai.envelope import (
    beginning,
    count,
    flag,
    judged,
    model_name,
    named_models,
    optional_text,
    parse_envelope,
)
from posthouse.dialects.openai.errors import fault_in
from posthouse.errors import InvalidRequest, UpstreamBadResponse
from posthouse.model.call import Operation
from posthouse.model.rerank import (
    RerankItem,
    RerankReply,
    RerankRequest,
    RerankResult,
)
from posthouse.model.usage import ReportedUsage, Unit
from posthouse.wire import json
from posthouse.wire.json import Envelope, MalformedJSON

DOCUMENT_LIMIT = 10_000
"""The most documents of one request: what Cohere takes."""
READING_LIMIT = 32 * 1024 * 1024
"""Bytes of the query, as often as it is read: once with every document."""
DOCUMENTS_PER_SEARCH = 100
"""What Cohere bills as one search unit."""

TOKENS_PER_SCORE = 24

NULL = Raw(b"null")
_Object = dict[str, Raw]
_item = json.decoder(str | _Object | None)
_items = json.decoder(list[Raw] | None)
_names = json.decoder(list[str] | None)
_text = json.decoder(str | None)
_any = json.decoder(Any)
_number = json.decoder(float)


# --- requests -----------------------------------------------------------------------


def parse_rerank(body: bytes) -> ParsedRequest:
    """Read a request as far as routing and money need it; raises InvalidRequest."""
    envelope = parse_envelope(body)
    query = _query(envelope)
    documents = read_documents(envelope)
    size = _size(query.text)
    if size * len(documents) > READING_LIMIT:
        raise InvalidRequest(
            "The query is too long for so many documents",
            param="query",
            code="string_above_max_length",
        )
    count(envelope, "top_n", lowest=0)
    flag(envelope, "return_documents")
    texts = sum(_size(document.text) for document in documents)
    images = sum(item.image is not None for item in (query, *documents))
    return ParsedRequest(
        operation=Operation.RERANK,
        envelope=envelope,
        model=model_name(envelope),
        stream=False,
        prompt=PromptSize(text_bytes=size * len(documents) + texts, images=images),
        affinity=beginning(envelope["query"]),
        output_limit=0,
        other_models=named_models(envelope),
        counted={Unit.SEARCH.value: -(-len(documents) // DOCUMENTS_PER_SEARCH)},
        worded_limit=worded_limit(len(documents)),
    )


def worded_limit(documents: int) -> int:
    """The most tokens in which the scores of so many documents are said."""
    return 256 + TOKENS_PER_SCORE * documents


def _size(text: str | None) -> int:
    return 0 if text is None else len(text.encode(errors="replace"))


def _query(envelope: Envelope) -> RerankItem:
    value = envelope.get("query")
    if value is None or value == NULL:
        raise _missing("query")
    return _read_item(value, "query", None)


def read_documents(envelope: Envelope) -> tuple[RerankItem, ...]:
    """Read the documents; raises InvalidRequest, also where there are none."""
    value = envelope.get("documents")
    found: Any = None if value is None else judged(value, "documents", _items)
    if not found:
        raise _missing("documents")
    if len(found) > DOCUMENT_LIMIT:
        raise InvalidRequest(
            f"'documents' may have at most {DOCUMENT_LIMIT} entries",
            param="documents",
            code="array_above_max_length",
        )
    fields = envelope.get("rank_fields")
    named = None if fields is None else judged(fields, "rank_fields", _names)
    return tuple(
        _read_item(entry, f"documents[{index}]", named)
        for index, entry in enumerate(found)
    )


def _missing(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"Missing required parameter: '{name}'",
        param=name,
        code="missing_required_parameter",
    )


def _read_item(value: Raw, place: str, fields: list[str] | None) -> RerankItem:
    """Read a text or an object; raises InvalidRequest for anything else."""
    found: Any = judged(value, place, _item)
    if found is None:
        raise InvalidRequest(
            f"Invalid value for '{place}': expected a string or an object",
            param=place,
            code="invalid_type",
        )
    if isinstance(found, str):
        return RerankItem(value, found)
    if "image" in found:
        image: Any = judged(found["image"], f"{place}.image", _text)
        return RerankItem(value, None, image)
    if fields is None and found.keys() == {"text"}:
        return RerankItem(value, judged(found["text"], f"{place}.text", _text) or "")
    return RerankItem(value, _in_lines(found, fields))


def _in_lines(members: _Object, fields: list[str] | None) -> str:
    """Write an object's members as YAML's simplest form has them, one on a line."""
    lines = []
    for name in members if fields is None else fields:
        if name not in members:
            continue
        value = json.decode_with(_any, members[name])
        plain = isinstance(value, str) and "\n" not in value
        said = value if plain else bytes(members[name]).decode()
        lines.append(f"{name}: {said}")
    return "\n".join(lines)


_READ = frozenset(
    {"model", "query", "documents", "top_n", "return_documents", "rank_fields"}
    | {"max_tokens_per_doc", "max_doc_length", "truncation"}
    | {"instruction", "instruct"}
)


def read_rerank(
    request: ParsedRequest, dialect: str, *, return_documents: bool
) -> RerankRequest:
    """Read a request into the neutral form; raises InvalidRequest.

    Args:
        request: the caller's.
        dialect: the name of what it is in.
        return_documents: what it means where it does not say.
    """
    envelope = request.envelope
    documents = read_documents(envelope)
    return RerankRequest(
        dialect=dialect,
        query=_query(envelope),
        documents=documents,
        top_n=_wanted(envelope, len(documents)),
        return_documents=wantsread_documents(envelope, default=return_documents),
        max_document_tokens=count(envelope, "max_tokens_per_doc")
        or count(envelope, "max_doc_length"),
        truncation=_optional_flag(envelope, "truncation"),
        instruction=optional_text(envelope, "instruction")
        or optional_text(envelope, "instruct"),
        extras=tuple(
            name
            for name, value in envelope.items()
            if name not in _READ and value != NULL
        ),
    )


def _wanted(envelope: Envelope, documents: int) -> int | None:
    """How many results are wanted; None: all."""
    wanted = count(envelope, "top_n", lowest=0)
    return min(wanted, documents) if wanted else None


def _optional_flag(envelope: Envelope, name: str) -> bool | None:
    value = envelope.get(name)
    return None if value is None or value == NULL else flag(envelope, name)


def wantsread_documents(envelope: Envelope, *, default: bool) -> bool:
    """Whether the results shall carry the documents."""
    wanted = _optional_flag(envelope, "return_documents")
    return default if wanted is None else wanted


def limited(request: ParsedRequest) -> ParsedRequest:
    """Give the request without a limit that is none or exceeds the documents."""
    envelope = request.envelope
    if "top_n" not in envelope:
        return request
    wanted = count(envelope, "top_n", lowest=0)
    most = len(judged(envelope["documents"], "documents", _items) or ())
    if wanted and wanted <= most:
        return request
    envelope = dict(envelope)
    if wanted:
        envelope["top_n"] = json.raw(most)
    else:
        del envelope["top_n"]
    return structs.replace(request, envelope=envelope)


def texts_of(asked: RerankRequest, losses: Losses) -> tuple[str, list[str]]:
    """Give the query's text and the documents'; raises InvalidRequest for pictures."""
    texts = []
    for item in (asked.query, *asked.documents):
        if item.text is None:
            losses.refuse("documents", "This model ranks texts alone.")
        texts.append(item.text)
    return texts[0], texts[1:]


def prompt_text(request: ParsedRequest) -> str:
    """What a model reads, for counting: the query anew with every document."""
    query = _query(request.envelope).text or ""
    documents = read_documents(request.envelope)
    return "\n".join(
        text for document in documents for text in (query, document.text or "")
    )


# --- replies ------------------------------------------------------------------------


class _Result(Struct):
    index: int
    score: Raw
    members: _Object
    """All of it, as it came."""


_results = json.decoder(list[_Object])
_index = json.decoder(int)


def parse_results(
    request: ParsedRequest,
    body: bytes,
    public_model: str | None,
    *,
    return_documents: bool,
) -> ParsedReply:
    """Read a reply in the shape that Jina and Cohere share; raises UpstreamFault.

    It passes untouched unless its order, its number or its documents are not what
    the caller asked for.

    Args:
        request: what was asked.
        body: the reply.
        public_model: the model's name, where it must be another.
        return_documents: what it means that the request does not say.
    """
    envelope, told = _opened(body)
    found = _listed(envelope)
    documents = read_documents(request.envelope)
    results = _ordered(found, len(documents))
    wanted = count(request.envelope, "top_n", lowest=0)
    results = results[:wanted] if wanted else results
    changed = results != found
    if wantsread_documents(request.envelope, default=return_documents):
        for result in results:
            changed |= _put_back(result, documents[result.index])
    if changed:
        envelope["results"] = json.raw([result.members for result in results])
    if public_model is not None and "model" in envelope:
        envelope["model"] = json.raw(public_model)
        changed = True
    return ParsedReply(
        json.encode(envelope) if changed else body, usage_of(told), None, str
    )


def _opened(body: bytes) -> tuple[Envelope, dict[str, Any]]:
    """Give a reply's members, and them decoded but for the results."""
    try:
        envelope = json.decode_envelope(body)
        told = {
            name: json.decode_with(_any, value)
            for name, value in envelope.items()
            if name not in ("results", "data")
        }
    except MalformedJSON:
        raise UpstreamBadResponse from None
    return envelope, told


def _listed(envelope: Envelope) -> list[_Result]:
    value = envelope.get("results")
    try:
        if value is not None:
            return [_result(members) for members in json.decode_with(_results, value)]
        fault = fault_in(json.decode_leniently(json.encode(envelope)))
    except (MalformedJSON, KeyError):
        fault = None
    raise fault or UpstreamBadResponse


def _result(members: _Object) -> _Result:
    """Read one; raises KeyError and MalformedJSON."""
    index = json.decode_with(_index, members["index"])
    return _Result(index, members["relevance_score"], members)


def _ordered(found: list[_Result], documents: int) -> list[_Result]:
    """Sort by score, the greatest first; raises UpstreamBadResponse."""
    seen = {result.index for result in found}
    if len(seen) < len(found) or not seen <= set(range(documents)):
        raise UpstreamBadResponse
    return sorted(found, key=lambda result: -_value(result.score))


def _value(score: Raw) -> float:
    try:
        number: float = json.decode_with(_number, score)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    return number


def _put_back(result: _Result, document: RerankItem) -> bool:
    """Add the document where it is missing; tells whether it was."""
    given = result.members.get("document")
    if given is not None and json.opens_with(given, b"{"):
        return False
    result.members["document"] = as_object(document)
    return True


def as_object(document: RerankItem) -> Raw:
    """A document as results carry it: an object, be it of a text alone."""
    if json.opens_with(document.value, b'"'):
        return json.raw({"text": document.value})
    return document.value


def read_results(reply: ParsedReply) -> RerankReply:
    """Read a reply that `parse_results` has judged; raises UpstreamFault."""
    envelope, told = _opened(reply.body)
    name = told.get("id")
    return RerankReply(
        results=tuple(
            RerankResult(result.index, result.score) for result in _listed(envelope)
        ),
        usage=reply.usage,
        id=name if isinstance(name, str) else None,
    )


def best_first(
    results: list[RerankResult], asked: RerankRequest
) -> tuple[RerankResult, ...]:
    """Give as many as are wanted, in order; raises UpstreamBadResponse."""
    indexes = {result.index for result in results}
    known = set(range(len(asked.documents)))
    if len(indexes) < len(results) or not indexes <= known:
        raise UpstreamBadResponse
    ordered = sorted(results, key=lambda result: -_value(result.score))
    return tuple(ordered[: asked.top_n])


def written_results(reply: RerankReply, asked: RerankRequest) -> list[dict[str, Any]]:
    """Write results for a caller; raises UpstreamBadResponse."""
    written = []
    for result in best_first(list(reply.results), asked):
        members: dict[str, Any] = {
            "index": result.index,
            "relevance_score": result.score,
        }
        if asked.return_documents:
            members["document"] = as_object(asked.documents[result.index])
        written.append(members)
    return written


# --- what is billed -----------------------------------------------------------------


def usage_of(reply: dict[str, Any]) -> ReportedUsage | None:
    """Read what a reply says was used: tokens, or Cohere's search units.

    None where it says neither.
    """
    usage, meta = _inner(reply, "usage"), _inner(reply, "meta")
    billed, tokens = _inner(meta, "billed_units"), _inner(meta, "tokens")
    read = _first_whole(
        (usage, "prompt_tokens"),
        (usage, "total_tokens"),
        (usage, "input_tokens"),
        (tokens, "input_tokens"),
        (billed, "input_tokens"),
    )
    units = _first_whole((billed, "search_units"), (usage, "search_units"))
    if read is None and units is None:
        return None
    counted = {} if units is None else {Unit.SEARCH.value: units}
    return ReportedUsage(input=read, counted=counted)


def _inner(value: dict[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _first_whole(*places: tuple[dict[str, Any], str]) -> int | None:
    """The first count that is one; Cohere writes its units as 1 or 1.0."""
    for members, name in places:
        value = members.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is int:
            return value
    return None
