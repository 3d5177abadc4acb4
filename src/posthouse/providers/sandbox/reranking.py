"""Rerankings: a document is the more relevant, the more of the query's words it has."""

import re
from typing import Any

from posthouse.providers.sandbox import checks, tokens
from posthouse.providers.sandbox.checks import Body
from posthouse.providers.sandbox.refusal import RequestRefused

MAX_DOCUMENTS = 1_000
MAX_CHARACTERS = 500_000
WORD = re.compile(r"\w+")


def answer(body: Body) -> dict[str, Any]:
    """Answer a rerank request; raises RequestRefused."""
    model = checks.model(body)
    query = checks.string(body, "query")
    if not query:
        raise checks.missing("query")
    documents = read_documents(body)
    limit = checks.integer(body, "top_n", 1, MAX_DOCUMENTS) or len(documents)
    wanted = words_of(query)
    scores = [score(wanted, words_of(document)) for document in documents]
    order = sorted(range(len(documents)), key=lambda index: -scores[index])
    shown = checks.boolean(body, "return_documents") is not False
    results: list[dict[str, Any]] = []
    for index in order[:limit]:
        result: dict[str, Any] = {"index": index, "relevance_score": scores[index]}
        if shown:
            result["document"] = {"text": documents[index]}
        results.append(result)
    read = tokens.count(query) * len(documents) + sum(map(tokens.count, documents))
    return {
        "model": model,
        "object": "list",
        "usage": {"prompt_tokens": read, "total_tokens": read},
        "results": results,
    }


def read_documents(body: Body) -> list[str]:
    """Read the documents: texts, or objects that have one."""
    found = checks.array(body, "documents", MAX_DOCUMENTS)
    if not found:
        raise checks.missing("documents")
    texts = []
    for index, item in enumerate(found):
        text = item.get("text") if isinstance(item, dict) else item
        if not isinstance(text, str):
            raise checks.wrong_type(f"documents[{index}]", "a text", item)
        texts.append(text)
    if sum(map(len, texts)) > MAX_CHARACTERS:
        raise RequestRefused(
            f"The sandbox ranks at most {MAX_CHARACTERS} characters at once.",
            code="invalid_value",
            param="documents",
        )
    return texts


def words_of(text: str) -> set[str]:
    """The different words of a text."""
    return set(WORD.findall(text.lower()))


def score(wanted: set[str], words: set[str]) -> float:
    """How much of the query a document has; the shorter of two alike is better."""
    if not wanted or not words:
        return 0.0
    common = len(wanted & words)
    return round(0.9 * common / len(wanted) + 0.1 * common / len(words), 4)
