"""Google's routes: models/{model}:{method}, where the path says what is asked."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from urllib.parse import parse_qsl

from posthouse.api.calls import Calls
from posthouse.api.counting import Counting, answer_count
from posthouse.api.gemini_array import ArrayClient
from posthouse.dialects import gemini_embed
from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.gemini_embed.request import (
    BATCH,
)
from posthouse.dialects.gemini_embed.request import (
    parse_request_for as parse_embedding_for,
)
from posthouse.dialects.gemini_generate import DIALECT
from posthouse.dialects.gemini_generate.count import (
    is_count,
    parse_count_for,
    render_count,
    render_count_request,
)
from posthouse.dialects.gemini_generate.request import parse_request_for
from posthouse.errors import InvalidRequest, NotFound
from posthouse.relay.counting import CountWords
from posthouse.server.request import Request
from posthouse.server.routes import Route

_JSON = (b"content-type", b"application/json; charset=UTF-8")
_COUNTING = Counting(DIALECT, CountWords(render_count_request, is_count), render_count)
_PREFIXES = ("/v1beta/models/", "/v1/models/")

Method = Callable[[Request, str], Awaitable[None]]
"""Answers a request that is made of a model."""


class GeminiRoutes:
    """The handlers, over what they need."""

    def __init__(self, calls: Calls) -> None:
        """Serve calls."""
        self._calls = calls
        self._methods: Mapping[str, Method] = {
            "generateContent": self._generate,
            "streamGenerateContent": self._stream,
            "countTokens": self._count,
            "embedContent": self._embed,
            "batchEmbedContents": self._embed_batch,
        }

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            # Others ask at the same path, and have manners of their own.
            Route(("POST",), path, self.ask, prefix=True)
            for path in _PREFIXES
        ]

    async def ask(self, request: Request) -> None:
        """POST models/{model}:{method}; a model's name may hold colons and slashes."""
        request.manners = DIALECT.manners
        model, _, name = request.tail.rpartition(":")
        method = self._methods.get(name)
        if method is None or not model:
            raise NotFound
        await method(request, model)

    async def _generate(self, request: Request, model: str) -> None:
        await self._calls.serve(request, DIALECT, _reader(model, stream=False))

    async def _stream(self, request: Request, model: str) -> None:
        client = None
        if dict(parse_qsl(request.query.decode("latin-1"))).get("alt") != "sse":
            client = ArrayClient(request.client)
        await self._calls.serve(
            request, DIALECT, _reader(model, stream=True), client=client
        )

    async def _embed(self, request: Request, model: str) -> None:
        parse = _embedding_reader(model, batch=False)
        await self._calls.serve(request, gemini_embed.DIALECT, parse)

    async def _embed_batch(self, request: Request, model: str) -> None:
        parse = _embedding_reader(model, batch=True)
        await self._calls.serve(request, gemini_embed.DIALECT, parse)

    async def _count(self, request: Request, model: str) -> None:
        parse = partial(parse_count_for, model=model)
        body = await answer_count(self._calls, request, _COUNTING, parse)
        await request.client.respond(200, [_JSON], body)


def _embedding_reader(model: str, *, batch: bool) -> Callable[[bytes], ParsedRequest]:
    """Judge bodies of embeddings, one or a batch as the path has it."""

    def parse(body: bytes) -> ParsedRequest:
        request = parse_embedding_for(body, model)
        if batch is not (BATCH in request.envelope):
            wanted = BATCH if batch else "content"
            raise InvalidRequest(
                f"{wanted} is not specified",
                param=wanted,
                code="missing_required_parameter",
            )
        return request

    return parse


def _reader(model: str, *, stream: bool) -> Callable[[bytes], ParsedRequest]:
    """Judge bodies of requests whose path names this model."""

    def parse(body: bytes) -> ParsedRequest:
        return parse_request_for(body, model, stream)

    return parse
