"""The routes of the data plane, wired."""

from posthouse.api.anthropic import AnthropicRoutes
from posthouse.api.audio import AudioRoutes
from posthouse.api.calls import Calls
from posthouse.api.gemini import GeminiRoutes
from posthouse.api.models import ModelRoutes
from posthouse.api.openai import OpenAIRoutes
from posthouse.api.rerank import RerankRoutes
from posthouse.api.resources import ResourceRoutes
from posthouse.api.responses import ResponsesRoutes
from posthouse.api.translation import Remaining, TranslationRoutes
from posthouse.relay.keeping import ResponseStore
from posthouse.relay.passed_on import PassedOn
from posthouse.server.routes import Route


def data_plane(
    calls: Calls,
    kept: ResponseStore,
    passed_on: PassedOn,
    resources: ResourceRoutes,
    *,
    responses_days: int,
    remaining: Remaining,
) -> list[Route]:
    """Give the routes of every dialect.

    Args:
        calls: takes what they are asked to the relay.
        kept: responses that can be asked for again.
        passed_on: asks providers about what they keep.
        resources: relays what is not treated here.
        responses_days: how long responses are kept; 0: not at all.
        remaining: what accounts can still spend.
    """
    return [
        *OpenAIRoutes(calls).routes(),
        *ResponsesRoutes(
            calls, kept, passed_on, resources, days=responses_days
        ).routes(),
        *AnthropicRoutes(calls).routes(),
        *GeminiRoutes(calls).routes(),
        *AudioRoutes(calls).routes(),
        *RerankRoutes(calls).routes(),
        *TranslationRoutes(calls, remaining).routes(),
        *ModelRoutes(calls).routes(),
        *resources.routes(),
    ]
