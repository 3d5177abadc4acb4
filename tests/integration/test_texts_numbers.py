"""Absurd numbers in rerankings and translations: no charge is ever absurd.

Every numeric member of a request, and of a provider's reply, takes every value of
a list: what is served costs what it is, what is refused costs nothing.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from tests.conftest import StartPosthouse
from tests.crash.test_numeric_abuse import OURS, VALUES
from tests.fakes.steps import Behaviour, Request, Send, reply
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

KEYS = ("clients", "providers")
APIECE = 0.001
CONFIGURATION = """
[[channels]]
name = "coheres"
provider = "cohere"
base_url = "{origin}"
api_key = "s"
models = ["rerank-v3.5"]

[[channels]]
name = "deepls"
provider = "deepl"
base_url = "{origin}"
api_key = "s"
models = ["deepl"]

[[prices]]
model = "rerank-v3.5"
search = "0.001"

[[prices]]
model = "deepl"
character = "0.001"
"""
KEY = """
[[keys]]
name = "{name}"
key = "sk-{name}-0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
balance_usd = "50"
"""
RANKED = {"model": "rerank-v3.5", "query": "q", "documents": ["a", "b"]}
SAID = {"model": "deepl", "text": ["a"], "target_lang": "DE"}
FIELDS = {
    "/v2/rerank": (RANKED, ("top_n", "max_tokens_per_doc", "max_doc_length", "meta")),
    "/v1/rerank": (RANKED, ("top_n", "return_documents", "search_units", "n")),
    "/v2/translate": (SAID, ("billed_characters", "character", "split_sentences", "n")),
}
MOST = 100
"""Times what was asked for, from which a count is not believed."""


def answer(request: Request) -> Behaviour:
    """Answer; what a test put beside the text comes back as a count.

    A body that no parser of ours reads is answered all the same.
    """
    body = request.json
    if request.target == "/v2/translate":
        told = body.get("context", "null")
        data = f'{{"translations":[{{"text":"x","billed_characters":{told}}}]}}'
    else:
        told = body.get("query", "q").replace("q", "1")
        results = '[{"index":0,"relevance_score":1}]'
        meta = f'{{"billed_units":{{"search_units":{told}}}}}'
        data = f'{{"results":{results},"meta":{meta}}}'
    return Behaviour("counted", (Send(reply(200, data.encode())),))


@pytest.fixture(scope="module")
def fake() -> Iterator[ThreadedFake]:
    with ThreadedFake(answer) as fake:
        yield fake


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse, fake: ThreadedFake) -> Posthouse:
    text = CONFIGURATION.format(origin=fake.origin)
    return start_posthouse(text + "".join(KEY.format(name=name) for name in KEYS))


async def ask_all(
    posthouse: Posthouse, key: str, asked: list[tuple[str, str]]
) -> list[httpx2.Response]:
    """Ask for each path and body, some at a time."""
    name = f"sk-{key}-0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
    headers = {"authorization": f"Bearer {name}", "content-type": "application/json"}
    room = asyncio.Semaphore(8)

    async def ask(client: httpx2.AsyncClient, path: str, body: str) -> Any:
        async with room:
            url = posthouse.url + path
            return await client.post(url, content=body.encode(), headers=headers)

    async with httpx2.AsyncClient(timeout=60) as client:
        return list(await asyncio.gather(*(ask(client, *one) for one in asked)))


def spent(posthouse: Posthouse, key: str) -> float:
    """What a key has paid."""
    (found,) = [k for k in posthouse.ask("key", "list") if k["name"] == key]
    return 50 - float(found["remaining_usd"])


async def test_what_clients_count(posthouse: Posthouse) -> None:
    """Served at its price or refused, whatever a number says; never anything else."""
    asked = []
    for path, (body, fields) in FIELDS.items():
        for field in (*fields, *OURS):
            for value in VALUES:
                members = json.dumps(body)[:-1]
                asked.append((path, f'{members}, "{field}": {value}}}'))
    replies = await ask_all(posthouse, "clients", asked)
    assert {reply.status_code for reply in replies} == {200, 400}
    served = sum(reply.status_code == 200 for reply in replies)
    assert spent(posthouse, "clients") == pytest.approx(served * APIECE)


async def test_what_providers_count(posthouse: Posthouse) -> None:
    """As they tell it, if that can be true; else what was asked for."""
    rank = [json.dumps({**RANKED, "query": value}) for value in VALUES]
    say = [json.dumps({**SAID, "context": value}) for value in VALUES]
    asked = [("/v2/rerank", body) for body in rank]
    asked += [("/v2/translate", body) for body in say]
    replies = await ask_all(posthouse, "providers", asked)
    # A provider that is misunderstood too often is left alone.
    statuses = [reply.status_code for reply in replies]
    assert set(statuses) <= {200, 502, 503}
    assert statuses.count(200) > len(VALUES) / 4
    records = posthouse.ask("calls", "--limit", "1000")
    charged = {record["id"]: float(record["price_usd"]) for record in records}
    for one in replies:
        price = charged.get(one.headers["x-request-id"], 0.0)
        believed = (0.0, APIECE, MOST * APIECE) if one.status_code == 200 else (0.0,)
        assert any(price == pytest.approx(each) for each in believed)
