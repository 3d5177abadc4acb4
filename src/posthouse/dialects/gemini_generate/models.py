"""The list of models, and one of them, as Google's clients read them.

Source: https://ai.google.dev/api/models (2026-11); `types.Model` in google-genai
3.4.0. What a model can do is told by the methods that it is asked by.
"""

import base64
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from posthouse.errors import InvalidRequest
from posthouse.model.call import Operation
from posthouse.wire import json

PAGE = 50
"""Models in a list whose caller does not say how many it wants."""
LARGEST_PAGE = 1000

_PREFIX = "models/"
_METHODS = {
    Operation.CHAT: ("generateContent", "streamGenerateContent", "countTokens"),
    Operation.EMBEDDING: ("embedContent", "batchEmbedContents"),
}


class ListedModel(Struct, frozen=True):
    """What is told of a model."""

    name: str
    operations: tuple[Operation, ...] = (Operation.CHAT,)
    input_limit: int = 0
    """Tokens; 0 is not known."""
    output_limit: int = 0
    """Tokens; 0 is not known."""


def render_model(model: ListedModel) -> bytes:
    """Write one model."""
    return json.encode(_model(model))


def render_models(
    models: Sequence[ListedModel], *, size: int = PAGE, token: str = ""
) -> bytes:
    """Write a page of a list; raises InvalidRequest for a token that is none.

    Args:
        models: all of the caller's, in order.
        size: models in the page; 0 leaves it to us.
        token: of a page before, which tells where this one begins.
    """
    start = _start(token)
    size = min(size if size > 0 else PAGE, LARGEST_PAGE)
    body: dict[str, Any] = {
        "models": [_model(model) for model in models[start : start + size]]
    }
    if start + size < len(models):
        body["nextPageToken"] = base64.urlsafe_b64encode(
            b"%d" % (start + size)
        ).decode()
    return json.encode(body)


def _start(token: str) -> int:
    if not token:
        return 0
    try:
        text = base64.urlsafe_b64decode(token.encode())
    except ValueError:
        text = b""
    if not text.isdigit() or len(text) > 9:
        raise InvalidRequest("pageToken: there is no such page", param="pageToken")
    return int(text)


def _model(model: ListedModel) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": f"{_PREFIX}{model.name}",
        "baseModelId": model.name,
        "version": "001",
        "displayName": model.name,
        "supportedGenerationMethods": [
            method
            for operation in model.operations
            for method in _METHODS.get(operation, ())
        ],
    }
    if model.input_limit:
        found["inputTokenLimit"] = model.input_limit
    if model.output_limit:
        found["outputTokenLimit"] = model.output_limit
    return found
