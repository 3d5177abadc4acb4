"""The page of routes, from the handlers that the server is given."""

from typing import Any, cast

import markdown
from posthouse.api.calls import FORWARDED, Calls
from posthouse.api.images import ImageRoutes
from posthouse.app.routes import data_plane
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
    "/media/": "What was made for a caller, `{token}`, while its URL is good; takes "
    "no key.",
    "/v1/rerank": "Rerankings as Jina has them, and Cohere's first version: see "
    "[rerankings](../guide/rerank.md).",
    "/v2/rerank": "Rerankings as Cohere's second version has them.",
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
    "/v1/": "Everything else of OpenAI's API, and of Anthropic's "
    "(`anthropic-version`): see [resources](../guide/resources.md).",
    "/": "Says that this is Posthouse.",
    "/health/live": "200 while the process runs.",
    "/health/ready": "200 while calls can be served; 503 at start and while stopping.",
    "/metrics": "[Metrics](metrics.md) for Prometheus.",
}

INTRODUCTION = """\
# Routes

Generated from the route tables by `make docs`; [errors](errors.md) has a page of
its own.

## For applications

They take a key as `Authorization: Bearer …` (or DeepL's `DeepL-Auth-Key …`), `x-api-key`, `api-key`,
`x-goog-api-key` or `?key=`. Each path is found with and without `/v1`, and also as
`/v1/v1/…`, with doubled slashes and with a slash at the end, for clients are given
base URLs of every kind. Bodies may be compressed with gzip or deflate. A header
`x-session-id` keeps the calls of a session on one provider account.
"""

OPERATIONAL = """\
## For operators

They take no key. Let only your monitoring reach `/metrics`.
"""

REST = """\
`OPTIONS` is answered everywhere, for browsers as `cors_origins` allows. A WebSocket
upgrade is answered 426. Where caller and provider speak the same dialect, requests
and replies are passed on byte for byte, but for the model's name and what the
provider's row and the channel say; of the caller's headers a provider sees only
{headers}. Otherwise they are translated, and the reply's `x-posthouse-translation`
says into what: see [dialects](../guide/dialects.md).
"""


def rows(routes: list[Any]) -> list[tuple[str, str, str]]:
    """Give the table of some routes; raises KeyError for one without a meaning."""
    return [
        (", ".join(route.methods), f"`{route.path}`", MEANINGS[route.path])
        for route in routes
    ]


def page() -> str:
    """Write the page."""
    nothing = cast("Any", None)
    calls = Calls(nothing, nothing, nothing, max_body_bytes=1)
    routes = data_plane(
        calls, nothing, nothing, nothing, responses_days=1, remaining=nothing
    )
    routes += ImageRoutes(calls, nothing, nothing).routes()
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
