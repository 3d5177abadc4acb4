"""The page of routes, from the handlers that the server is given."""

import importlib
import inspect
import pkgutil
from operator import attrgetter
from typing import Any
from unittest.mock import MagicMock as Mock

import markdown
from posthouse import api
from posthouse.api.calls import FORWARDED, Calls
from posthouse.api.resources import ResourceRoutes
from posthouse.catalog.load import load_catalog
from posthouse.server.operations import operational_routes

MEANINGS = {
    "/v1/chat/completions": "Chat, streamed or not.",
    "/v1/completions": "Legacy completions, streamed or not.",
    "/v1/embeddings": "Embeddings.",
    "/v1/moderations": "Moderations.",
    "/openai/deployments/": "Azure's way: `…/{model}/chat/completions` and the like.",
    "/v1/images/generations": "Pictures of a text, streamed or not.",
    "/v1/images/edits": "Pictures of pictures and a text, by a form or JSON.",
    "/v1/images/variations": "Pictures like another one, by a form.",
    "/api/v3/images/generations": "The same as Volcengine Ark has it.",
    "/api/paas/v4/images/generations": "The same as Zhipu has it.",
    "/api/v1/services/aigc/multimodal-generation/generation": "The same as Alibaba "
    "Cloud has it.",
    "/ideogram/": "Ideogram's own: [pictures](../guide/images.md).",
    "/recraft/": "Recraft's own.",
    "/recraftAI/": "The same.",
    "/stability/": "Stability's own.",
    "/v2beta/stable-image/": "The same, as its SDKs ask.",
    "/v1/generation/": "Those of its first version.",
    "/v2beta/results/": "What has come of a task of Stability's, `{id}`.",
    "/media/": "What was made for a caller, `{token}`, while its URL is good; takes "
    "no key.",
    "/v1/rerank": "Rerankings as Jina has them, and Cohere's first version: see "
    "[rerankings](../guide/rerank.md).",
    "/v2/rerank": "Rerankings as Cohere's second version has them.",
    "/v1/translations": "Translations, asked for in our own way.",
    "/v2/translate": "Translations as DeepL has them, by JSON or a form: see "
    "[translations](../guide/translation.md).",
    "/v2/usage": "As DeepL has it: how many characters the account still pays for.",
    "/v2/languages": "As DeepL has it: the languages, `?type=source` or `target`.",
    "/api/trans/vip/translate": "Translations as Baidu has them.",
    "/v1/responses": "Responses, streamed or not.",
    "/v1/responses/": "A kept response: read, its `/input_items`, delete, `/cancel`.",
    "/v1/messages": "Anthropic's messages, streamed or not.",
    "/v1/messages/count_tokens": "How many tokens a message has; costs nothing.",
    "/v1beta/models/": "Google's: `{model}:generateContent`, "
    "`:streamGenerateContent`, `:countTokens`, `:embedContent`, "
    "`:batchEmbedContents`; or one model.",
    "/v1/models": "The models that the key may use, as OpenAI's callers, "
    "Anthropic's (`anthropic-version`) or Google's (`x-goog-api-key`) read them.",
    "/v1/models/": "One model, `{id}`, which may hold slashes; Google's methods, too.",
    "/v1beta/models": "The models, as Google's callers read them.",
    "/v1/audio/speech": "Speech made from a text, as it is made: see "
    "[sound](../guide/audio.md).",
    "/v1/audio/transcriptions": "The text of speech, whole or streamed.",
    "/v1/audio/translations": "The text of speech, in English.",
    "/v1/files": "Files: kept here, listed; OpenAI's and Anthropic's callers.",
    "/v1/files/": "A file: what it is, its `/content`, delete.",
    "/v1/uploads": "A file in parts: begin.",
    "/v1/uploads/": "Its `/parts`, `/complete`, `/cancel`.",
    "/v1/batches": "Batches: many calls of a file, later; list.",
    "/v1/batches/": "A batch: how it stands, `/cancel`.",
    "/v1/messages/batches": "Anthropic's batches of messages; list.",
    "/v1/messages/batches/": "One: how it stands, `/results`, `/cancel`, delete.",
    "/v1/realtime": "A [realtime session](../guide/realtime.md), by WebSocket.",
    "/openai/v1/realtime": "The same, Azure's way.",
    "/openai/realtime": "The same, as Azure's older callers ask.",
    "/v1/realtime/client_secrets": "A key of some minutes for a browser's sessions.",
    "/v1/realtime/transcription_sessions": "The same, as the beta asked for those that "
    "only write down what is said.",
    "/v1/realtime/": "Nothing: what else OpenAI has there would go around us.",
    "/v1/": "Everything else of OpenAI's API, and of Anthropic's "
    "(`anthropic-version`): see [resources](../guide/resources.md).",
    "/": "Says that this is Posthouse.",
    "/health/live": "200 while the process runs.",
    "/health/ready": "200 while calls can be served; 503 at start and while stopping.",
    "/metrics": "[Metrics](metrics.md) for Prometheus.",
}

OF_METHODS = {
    ("GET", "/v1/chat/completions"): "The caller's chats that were stored "
    "(`store`): see [resources](../guide/resources.md).",
    ("DELETE", "/v1/models/"): "A fine-tuned model, `{id}`, of the caller's is deleted "
    "at its provider.",
    ("GET", "/stability/"): "`v2beta/results/{id}`: the same.",
    ("GET", "/v1/models/"): "One model, `{id}`, which may hold slashes.",
    ("POST", "/v1/models/"): "Google's methods, as below `/v1beta/models/`.",
}
"""What one method of a path means, where it is nothing of what the others do."""

INTRODUCTION = """\
# Routes

Generated from the route tables by `make docs`; [errors](errors.md) has a page of
its own.

## For applications

They take a key as `Authorization: Bearer …` (or DeepL's `DeepL-Auth-Key …`),
`x-api-key`, `api-key`, `x-goog-api-key` or `?key=`. Each path is found with and
without `/v1`, and also as `/v1/v1/…`, with doubled slashes and with a slash at the
end, for clients are given base URLs of every kind. Bodies may be compressed with gzip
or deflate. A header `x-session-id` keeps the calls of a session on one provider
account.
"""

OPERATIONAL = """\
## For operators

They take no key. Let only your monitoring reach `/metrics`.
"""

REST = """\
`OPTIONS` is answered everywhere, for browsers as `cors_origins` allows. A WebSocket
is opened where the table says so; elsewhere the wish for one is answered 426. Where
caller and provider speak the same dialect, requests and replies are passed on byte
for byte, but for the model's name and what the provider's row and the channel say; of
the caller's headers a provider sees only
{headers}. Otherwise they are translated, and the reply's `x-posthouse-translation`
says into what: see [dialects](../guide/dialects.md).
"""


def rows(routes: list[Any]) -> list[tuple[str, str, str]]:
    """Give the table of some routes; raises KeyError for one without a meaning."""
    return [
        (", ".join(route.methods), f"`{route.path}`", meaning(route))
        for route in routes
    ]


def meaning(route: Any) -> str:
    """Say what a route does; raises KeyError for one that nobody has described."""
    own = OF_METHODS.get((route.methods[0], route.path))
    return own or MEANINGS[route.path]


def handlers() -> list[Any]:
    """Give everything in `posthouse.api` that has routes, what relays the rest last."""
    calls = Calls(Mock(), Mock(), Mock(), max_body_bytes=1)
    found = {}
    for module in sorted(pkgutil.iter_modules(api.__path__), key=attrgetter("name")):
        content = vars(importlib.import_module(f"{api.__name__}.{module.name}"))
        for name, kind in content.items():
            if name.endswith("Routes") and isinstance(kind, type):
                wanted = dict.fromkeys(inspect.signature(kind).parameters, Mock())
                found[kind] = kind(**wanted | {"calls": calls})
    rest = found.pop(ResourceRoutes)
    return [*found.values(), rest]


def page() -> str:
    """Write the page."""
    routes = [route for handler in handlers() for route in handler.routes()]
    operational = operational_routes(lambda: True, lambda: (b"", b""))
    head = ("Method", "Path", "What it does")
    offered = [
        (f"`{row.name}`", ", ".join(row.operations)) for row in load_catalog().values()
    ]
    headers = ", ".join(f"`{name.decode()}`" for name in sorted(FORWARDED))
    return markdown.page(
        INTRODUCTION,
        markdown.table(head, rows(routes)),
        "Which operations a provider has:",
        markdown.table(("Provider", "Operations"), offered),
        OPERATIONAL,
        markdown.table(head, rows(operational)),
        REST.format(headers=headers),
    )
