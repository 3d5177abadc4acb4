"""Rerankings, translations and moderations: exactly what is paid for is served.

A call here costs what it holds: by the piece, or because the provider counts as
the gateway estimates.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from msgspec import Struct
from tests.conftest import StartPosthouse
from tests.fakes.steps import Behaviour, Request, Send, json_reply
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

from posthouse.billing.estimate import estimate_prompt, held_output
from posthouse.dialects.base import ParsedRequest
from posthouse.model.moderation import CATEGORIES
from posthouse.relay.prepare import find_dialect
from posthouse.relay.stand_ins import told_what_to_do

pytestmark = pytest.mark.slow
"""Its short form are the rows of `tests/crash/billable.py`."""

PAID = 10
CALLERS = 200
FORM = "application/x-www-form-urlencoded"
READ, WRITTEN = 2_000, 8_000
"""Nano-dollars per token of prompt and answer."""
APIECE = 1_000_000
"""Nano-dollars per search unit; a character is a tenth of it."""
RANKED = {"query": "Which road is open?", "documents": ["The northern one.", "None."]}
SAID = {"text": ["ten marks."], "target_lang": "DE"}


class Route(Struct, frozen=True):
    """A billable route, and who serves it."""

    path: str
    dialect: str
    provider: str
    body: dict[str, Any]
    unit: str = ""
    """What is billed; "" is tokens."""
    chat: bool = False
    """A chat stands in."""
    name: str = ""

    @property
    def model(self) -> str:
        """The only one that its key uses."""
        return f"{self.provider}-{self.name or self.path.replace('/', '-')[1:]}"

    @property
    def key(self) -> str:
        return f"sk-texts-{self.model}-0123456789abcdefghijklmnopqrstuv"

    @property
    def data(self) -> bytes:
        members = {**self.body, "model": self.model}
        form = self.dialect == "baidu_translate"
        return (urlencode(members) if form else json.dumps(members)).encode()

    @property
    def kind(self) -> str:
        return FORM if self.dialect == "baidu_translate" else "application/json"

    @property
    def tokens(self) -> tuple[int, int]:
        """Of the prompt and the answer, as they are held for."""
        request: ParsedRequest = find_dialect(self.dialect).parse_request(self.data)
        if self.chat:
            request = told_what_to_do(request)
        return estimate_prompt(request, None), held_output(request, None)

    @property
    def price(self) -> int:
        if self.unit:
            return APIECE
        prompt, answer = self.tokens
        return prompt * READ + answer * WRITTEN

    @property
    def configuration(self) -> str:
        rates = {"search": '"0.001"', "character": '"0.0001"'}
        rate = f"{self.unit} = {rates[self.unit]}" if self.unit else TOKENS
        return f"""
[[channels]]
name = "{self.model}"
provider = "{self.provider}"
base_url = "{{origin}}{BASES.get(self.provider, "")}"
api_key = "{CREDENTIALS.get(self.provider, "secret")}"
models = ["{self.model}"]

[[prices]]
model = "{self.model}"
{rate}

[[keys]]
name = "{self.model}"
key = "{self.key}"
balance_usd = "{PAID * self.price / 10**9:.9f}"
"""


TOKENS = 'input = "2"\noutput = "8"'
BASES = {"jina": "/v1", "google": ""}
CREDENTIALS = {"baidu-translate": "20150101:baidu-secret"}
BAIDUS = {"q": "ten marks.", "from": "en", "to": "de"}
ROUTES = [
    Route("/v1/rerank", "jina_rerank", "jina", RANKED),
    Route("/v1/rerank", "jina_rerank", "cohere", RANKED, "search"),
    Route("/v2/rerank", "cohere_rerank", "cohere", RANKED, "search"),
    Route("/v2/rerank", "cohere_rerank", "google", RANKED, name="embedding-ranks"),
    Route("/v1/rerank", "jina_rerank", "anthropic", RANKED, chat=True),
    Route("/v2/translate", "deepl_translate", "deepl", SAID, "character"),
    Route("/v2/translate", "deepl_translate", "baidu-translate", SAID, "character"),
    Route("/v2/translate", "deepl_translate", "anthropic", SAID, chat=True),
    Route("/api/trans/vip/translate", "baidu_translate", "deepl", BAIDUS, "character"),
    Route(
        "/v1/moderations", "openai_moderations", "anthropic", {"input": "a"}, chat=True
    ),
]
BY_MODEL = {route.model: route for route in ROUTES}
ANSWERS: dict[str, Any] = {
    "/v1/rerank": {"results": [{"index": 0, "relevance_score": 1}]},
    "/v2/translate": {"translations": [{"text": "x"}]},
    "/v1/moderations": {
        "results": [{"index": 0, "scores": dict.fromkeys(CATEGORIES, 0.0)}]
    },
}


def answer(request: Request) -> Behaviour:
    """Answer as the provider does; every token that was held for is used."""
    body, path = request.json, request.target
    if path == "/v2/translate":
        texts = [{"detected_source_language": "EN", "text": "x"} for _ in body["text"]]
        value: Any = {"translations": texts}
    elif path == "/api/trans/vip/translate":
        value = {"from": "en", "to": "de", "trans_result": [{"src": "a", "dst": "x"}]}
    elif path.endswith(":batchEmbedContents"):
        route = BY_MODEL["google-embedding-ranks"]
        value = {
            "embeddings": [{"values": [1, 0.5]} for _ in body["requests"]],
            "usageMetadata": {"promptTokenCount": route.tokens[0]},
        }
    elif path == "/v1/messages":
        route = BY_MODEL[body["model"]]
        prompt, output = route.tokens
        value = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": route.model,
            "content": [{"type": "text", "text": json.dumps(ANSWERS[route.path])}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": prompt, "output_tokens": output},
        }
    else:
        results = [{"index": 0, "relevance_score": 0.5}]
        value = {"results": results}
        if path == "/v1/rerank":
            value["usage"] = {"total_tokens": BY_MODEL[body["model"]].tokens[0]}
        else:
            value["meta"] = {"billed_units": {"search_units": 1}}
    return Behaviour("answered", (Send(json_reply(200, value)),))


@pytest.fixture(scope="module")
def fake() -> Iterator[ThreadedFake]:
    with ThreadedFake(answer) as fake:
        yield fake


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse, fake: ThreadedFake) -> Posthouse:
    text = "".join(route.configuration for route in ROUTES)
    return start_posthouse(text.format(origin=fake.origin))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.model)
async def test_exactly_what_is_paid_for_is_served(
    posthouse: Posthouse, route: Route
) -> None:
    """Of very many at once; the rest is told that nothing is left."""

    async def ask(client: httpx2.AsyncClient) -> int:
        reply = await client.post(
            posthouse.url + route.path,
            content=route.data,
            headers={
                "authorization": f"Bearer {route.key}",
                "content-type": route.kind,
            },
        )
        return reply.status_code

    async with httpx2.AsyncClient(timeout=60) as client:
        found = Counter(await asyncio.gather(*(ask(client) for _ in range(CALLERS))))
    refused = 456 if route.dialect == "deepl_translate" else 429
    assert found == {200: PAID, refused: CALLERS - PAID}
    (key,) = [k for k in posthouse.ask("key", "list") if k["name"] == route.model]
    assert float(key["remaining_usd"]) == 0
