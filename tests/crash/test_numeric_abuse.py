"""Absurd numbers, from clients and from providers: no charge is ever absurd.

Every numeric member of a request on every billable route takes every value of
a list, through the real server: what is served costs what it truly used, what
is refused costs nothing and reaches nobody, and no balance ever rises.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest
from msgspec import Struct
from tests.conftest import StartPosthouse
from tests.crash.wire import ask_each, request_bytes
from tests.fakes import openai
from tests.fakes.steps import Behaviour, Request, Send, chunk, json_reply
from tests.support.fake import ThreadedFake
from tests.support.posthouse import LOOK_SECONDS, RECORD_SECONDS, Posthouse
from tests.support.raw import RawReply

VALUES = (
    "0",
    "-1",
    "-0",
    "-0.0",
    "0.1",
    "1.0",
    "1e2",
    "1e308",
    "-1e308",
    "1e400",
    "2147483648",
    "-2147483649",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073686646784",
    "18446744073709551615",
    "18446744073709551616",
    "1" + "0" * 400,
    "NaN",
    "-Infinity",
    '"1e9"',
    '"-1"',
    "null",
    "true",
    "[]",
    "{}",
    "[-1]",
)
"""As JSON texts; some are none."""

SAMPLING = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "logprobs",
)
OURS = ("usage", "price", "cost", "quantity", "balance", "hold")
"""What a service that trusts its clients might read."""
COUNTED = {
    "chat": (
        *("max_tokens", "max_completion_tokens", "n", "top_logprobs", *SAMPLING, *OURS),
        *("stream_options", "service_tier", "reasoning_effort", "web_search_options"),
        *("top_k", "min_tokens", "best_of", "prompt_cache_key", "enable_search"),
    ),
    "completion": (
        *("max_tokens", "n", "best_of", "echo", "suffix", *SAMPLING, *OURS),
        *("stream_options", "service_tier"),
    ),
    "embedding": ("dimensions", "input", "encoding_format", *OURS),
    "moderation": ("input", "n", *OURS),
}
NESTED = {
    "chat": {
        "logit_bias": '{"50256": %s}',
        "stream_options": '{"include_usage": %s}',
        "thinking": '{"type": "enabled", "budget_tokens": %s}',
        "web_search_options": '{"search_context_size": %s}',
        "messages": '[{"role": "user", "content": %s}]',
        "tools": '[{"type": "web_search", "max_uses": %s}]',
        "usage": '{"prompt_tokens": %s, "completion_tokens": %s}',
    },
    "completion": {
        "logit_bias": '{"50256": %s}',
        "prompt": "[%s]",
        "stream_options": '{"include_usage": %s}',
    },
    "embedding": {"input": "[%s]"},
    "moderation": {"input": "[%s]"},
}
PATHS = {
    "chat": "/v1/chat/completions",
    "completion": "/v1/completions",
    "embedding": "/v1/embeddings",
    "moderation": "/v1/moderations",
}
PROMPT = {
    "chat": ("messages", '[{"role": "user", "content": "How far is it?"}]'),
    "completion": ("prompt", '"How far is it?"'),
    "embedding": ("input", '"How far is it?"'),
    "moderation": ("input", '"How far is it?"'),
}
FORMS = [
    ("chat", False),
    ("chat", True),
    ("completion", False),
    ("completion", True),
    ("embedding", False),
    ("moderation", False),
]

READ, WRITTEN = 2_000, 8_000
"""Nano-dollars per token."""
JUDGED = 100_000
USED = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
READ_ONLY = {"prompt_tokens": 100, "total_tokens": 100}
TRUE_PRICE = {
    "chat": 100 * READ + 10 * WRITTEN,
    "completion": 100 * READ + 10 * WRITTEN,
    "embedding": 100 * READ,
    "moderation": JUDGED,
}
TELLING_TOKENS = 8_000_000
"""More is not believed: four of the largest windows."""
CHOICES = 128
AT_ONCE = 8
KEYS = ("clients", "providers", "choices")

CONFIGURATION = """
[[channels]]
name = "fake"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = "account"

[[prices]]
model = "*"
input = "2"
output = "8"

[[prices]]
model = "moderation"
request = "0.0001"
"""
KEY = """
[[keys]]
name = "{name}"
key = "sk-abuse-{name}-0123456789abcdefghijklmnop"
balance_usd = "100000"
"""


class Case(Struct, frozen=True):
    """One request."""

    form: str
    stream: bool
    members: dict[str, str]
    """The body's members as JSON texts."""
    key: str = KEYS[0]

    @property
    def request(self) -> bytes:
        """Its bytes."""
        name, text = PROMPT[self.form]
        members = {"model": f'"{self.form}"', name: text}
        if self.stream:
            members["stream"] = "true"
        members.update(self.members)
        body = ", ".join(f'"{name}": {text}' for name, text in members.items())
        key = f"sk-abuse-{self.key}-0123456789abcdefghijklmnop"
        return request_bytes(PATHS[self.form], key, f"{{{body}}}".encode())


class Charge(Struct, frozen=True):
    """What the ledger has of a call."""

    kind: str
    price: int
    charged: int


def _requests(form: str, *, stream: bool) -> Iterator[Case]:
    """Every member of a form with every value."""
    for value in VALUES:
        for name in COUNTED[form]:
            yield Case(form, stream, {name: value})
        for name, template in NESTED[form].items():
            yield Case(form, stream, {name: template.replace("%s", value)})


def _answer(request: Request) -> Behaviour:
    """Answer with a usage that is true, or as the request's metadata says."""
    # The standard library's, for it reads every number that is one.
    asked = json.loads(request.body)
    kind = asked["model"]
    used = READ_ONLY if kind == "embedding" else USED
    told = asked.get("metadata", {}).get("usage") or json.dumps(used)
    if kind == "moderation":
        return openai.moderation(request)
    if kind == "embedding":
        row = {"object": "embedding", "index": 0, "embedding": [0.5]}
        value: dict[str, Any] = {"object": "list", "data": [row]}
    else:
        choice = {"index": 0, "finish_reason": "stop"}
        text = {"text": "Far."}
        if kind == "chat":
            text = {"message": {"role": "assistant", "content": "Far."}}
        value = {"id": "x", "object": kind, "choices": [{**choice, **text}]}
    if asked.get("stream"):
        return Behaviour("stream", (Send(_stream(kind, told)),), {})
    body = json.dumps(value)[:-1] + f', "usage": {told}}}'
    head, _, _ = json_reply(200, "").partition(b"\r\n\r\n")
    head = head.replace(b"Content-Length: 2", b"Content-Length: %d" % len(body))
    return Behaviour("unary", (Send(head + b"\r\n\r\n" + body.encode()),), {})


def _stream(kind: str, told: str) -> bytes:
    word: dict[str, Any] = {"index": 0, "finish_reason": None}
    word |= {"text": "Far."} if kind == "completion" else {"delta": {"content": "Far."}}
    first = json.dumps({"id": "x", "object": "chunk", "choices": [word]})
    last = f'{{"id": "x", "object": "chunk", "choices": [], "usage": {told}}}'
    events = f"data: {first}\n\ndata: {last}\n\ndata: [DONE]\n\n".encode()
    return openai.stream_head() + chunk(events) + b"0\r\n\r\n"


@pytest.fixture(scope="module")
def provider() -> Iterator[ThreadedFake]:
    """A provider that used what it says, except where it is told to lie."""
    with ThreadedFake() as fake:
        for form in PATHS:
            fake.on(form, _answer)
        yield fake


@pytest.fixture(scope="module")
def gateway(provider: ThreadedFake, start_posthouse: StartPosthouse) -> Posthouse:
    """A gateway with a key for each test."""
    keys = "".join(KEY.format(name=name) for name in KEYS)
    configuration = CONFIGURATION.format(origin=provider.origin) + keys
    # The provider's nonsense must not take its channel out.
    return start_posthouse(configuration, {"POSTHOUSE_BREAKER_FAILURES": "1000000"})


@pytest.mark.parametrize(("form", "stream"), FORMS)
def test_numbers_of_clients(form, stream, gateway, provider):
    """A request is served at its true price or refused; nothing is in between."""
    cases = list(_requests(form, stream=stream))
    served_before = len(provider.served(form))
    replies = _ask(gateway, cases)
    served = len(provider.served(form)) - served_before
    assert {reply.status for reply in replies} == {200, 400}
    charges = _charges(gateway, [reply for reply in replies if reply.status == 200])
    for case, reply in zip(cases, replies, strict=True):
        charge = charges.get(reply.header("x-request-id") or "")
        if reply.status == 400:
            assert charge is None, f"{case}: refused and in the ledger"
        else:
            price = TRUE_PRICE[form]
            assert charge == Charge("settle", price, price), case
    assert served == sum(reply.status == 200 for reply in replies)
    _assert_no_balance_rose(gateway)


TOLD = '"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110'
IN, OUT = '"prompt_tokens_details"', '"completion_tokens_details"'
USAGES = (
    '{"prompt_tokens": %s, "completion_tokens": 10, "total_tokens": 110}',
    '{"prompt_tokens": 100, "completion_tokens": %s, "total_tokens": 110}',
    '{"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": %s}',
    '{"prompt_tokens": %s, "completion_tokens": %s, "total_tokens": %s}',
    f'{{{TOLD}, {IN}: {{"cached_tokens": %s, "audio_tokens": %s}}}}',
    f'{{{TOLD}, {OUT}: {{"reasoning_tokens": %s, "audio_tokens": %s}}}}',
    f"{{{TOLD}, {IN}: %s, {OUT}: %s}}",
    "%s",
)


@pytest.mark.parametrize(("form", "stream"), FORMS[:-1])
@pytest.mark.parametrize("choices", [1, CHOICES])
def test_numbers_of_providers(form, stream, choices, gateway):
    """Whatever a provider counts, the charge is neither negative nor absurd."""
    cases = []
    for template in USAGES:
        for value in VALUES:
            told = json.dumps({"usage": template.replace("%s", value)})
            members = {"metadata": told}
            if choices > 1 and form != "embedding":
                members["n"] = str(choices)
            key = KEYS[1] if choices == 1 else KEYS[2]
            cases.append(Case(form, stream, members, key))
    replies = _ask(gateway, cases)
    charges = _charges(gateway, replies)
    most = TELLING_TOKENS * choices * (READ + WRITTEN)
    for case, reply in zip(cases, replies, strict=True):
        assert reply.status in (200, 502), case
        charge = charges[reply.header("x-request-id") or ""]
        assert charge.price == charge.charged
        assert 0 <= charge.price <= most, case
        assert (charge.price > 0) == (reply.status == 200), case
    _assert_no_balance_rose(gateway)


def _ask(gateway: Posthouse, cases: list[Case]) -> list[RawReply]:
    port = urlsplit(gateway.url).port
    assert port is not None
    requests = [case.request for case in cases]
    return asyncio.run(ask_each(port, requests, at_once=AT_ONCE))


def _charges(gateway: Posthouse, replies: list[RawReply]) -> dict[str, Charge]:
    """All calls in the ledger by their ids, once it has those of the replies."""
    wanted = {reply.header("x-request-id") or "" for reply in replies}
    found: dict[str, Charge] = {}
    end = time.monotonic() + RECORD_SECONDS
    with closing(sqlite3.connect(gateway.data / "posthouse.db")) as connection:
        while not wanted <= found.keys():
            assert time.monotonic() < end, sorted(wanted - found.keys())
            time.sleep(LOOK_SECONDS)
            for name, *rest in connection.execute(
                "SELECT t.reference, t.kind, c.price, coalesce(e.amount, 0)"
                " FROM transfers t JOIN calls c ON c.seq = t.id LEFT JOIN entries e"
                " ON e.transfer_id = t.id AND e.account_id = 'revenue'"
            ):
                found[name] = Charge(*rest)
    gateway.ask("audit")
    return found


def _assert_no_balance_rose(gateway: Posthouse) -> None:
    """Only credits raise what an account and its leases have together."""
    with closing(sqlite3.connect(gateway.data / "posthouse.db")) as connection:
        raised = connection.execute(
            "SELECT t.id, t.kind, sum(e.amount) FROM transfers t"
            " JOIN entries e ON e.transfer_id = t.id"
            " JOIN accounts a ON a.id = e.account_id AND a.kind <> 'house'"
            " WHERE t.kind NOT IN ('opening', 'credit')"
            " GROUP BY t.id HAVING sum(e.amount) > 0"
        ).fetchall()
        beyond = connection.execute(
            "SELECT * FROM accounts WHERE balance < 0"
        ).fetchall()
    assert raised == []
    assert beyond == []
