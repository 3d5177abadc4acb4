"""Strings that mean something to a database, a header or another gateway.

They mean nothing here: not in a key, a model's name, a path, a query or a body;
and no member that a caller chooses decides where a call goes or with which
credential.
"""

import ast
import json
import re
from itertools import pairwise
from urllib.parse import quote

import pytest
from tests.security import canaries
from tests.support.cases import each
from tests.support.guard import BODIES, Guarded, error_of
from tests.support.processes import ROOT

CHAT = "/v1/chat/completions"

SQL = [
    "' OR '1'='1",
    "' OR 1=1 --",
    "' OR 1=1 #",
    '" OR ""="',
    "') OR ('1'='1",
    "sk-x' UNION SELECT id, name, 'x' FROM keys --",
    "'; DROP TABLE keys; --",
    "'; UPDATE accounts SET balance = 1e15; --",
    "1; ATTACH DATABASE '/tmp/x' AS x; --",
    "' AND randomblob(100000000) --",
    "' || (SELECT digest FROM keys LIMIT 1) || '",
    "admin'/*",
    "\\'; --",
    "%' OR digest LIKE '%",
    "%" * 200,
    "_" * 200,
    "0x27204f5220313d31",
    "\u02bc OR 1=1",
    "$$ OR 1=1",
    "{$ne: null}",
    "${jndi:ldap://127.0.0.1/a}",
    "{{7*7}}",
    "$(id)",
    "`id`",
    "../../../../etc/passwd",
]


def contents(guarded: Guarded) -> list[tuple[object, ...]]:
    """Everything that an injection could change, and the tables themselves."""
    rows = guarded.rows("SELECT type, name, sql FROM sqlite_master ORDER BY name")
    for table in ("keys", "channels", "prices", "fallbacks", "price_versions"):
        rows += guarded.rows(f"SELECT * FROM {table} ORDER BY 1")
    return rows + guarded.rows("SELECT id, kind, credit_line FROM accounts ORDER BY 1")


def test_sql_in_any_place_of_a_request_is_text(guarded: Guarded) -> None:
    """A wrong key is a wrong key, and a strange model is not found."""
    before = contents(guarded)

    def ask() -> None:
        for text in SQL:
            data = text.encode()
            for header in (b"X-Api-Key", b"Api-Key", b"X-Goog-Api-Key"):
                reply = guarded.get("/v1/models", header + b": " + data, key=None)
                assert reply.status == 401, text
                if header != b"X-Goog-Api-Key":
                    error_of(reply)
                else:
                    assert b'"UNAUTHENTICATED"' in reply.body
            bearer = b"Authorization: Bearer " + data
            for reply in (
                guarded.get("/v1/models", bearer, key=None),
                guarded.get(f"/v1/models?key={quote(text)}", key=None),
            ):
                assert reply.status == 401, text
            assert guarded.get("/v1/models/" + quote(text)).status == 404
            body = json.dumps({"model": text, "messages": [{"role": "user"}]})
            assert guarded.post(CHAT, body.encode()).status in (400, 404), text
            assert guarded.post("/v1/" + quote(text), b"{}").status == 404

    guarded.untouched(ask)
    assert contents(guarded) == before


def test_sql_in_what_is_carried_on_changes_nothing(guarded: Guarded) -> None:
    """Prompts, users and sessions may hold it; the provider gets it as it is."""
    before = contents(guarded)
    for text in SQL:
        body = {
            "model": "chat",
            "messages": [{"role": "user", "content": text, "name": text}],
            "user": text,
            "metadata": {"a": text},
            "service_tier": text,
        }
        data = json.dumps(body).encode()
        session = b"X-Session-Id: " + text.encode()
        reply = guarded.post(CHAT, data, session)
        assert reply.status == 200, (text, reply.body)
        assert json.loads(guarded.fake.everything[-1].request.body) == body
    assert guarded.state().holds == 0
    assert contents(guarded) == before


STATEMENT = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|PRAGMA|CREATE|DROP|ATTACH)\b")
BUILT = {
    "marks",
    "'FULL' if durable else 'NORMAL'",
    "','.join(columns)",
    "table",
    "rows",
    "column",
    "names",
}
"""What statements are put together of beside constants: placeholders, names of
our own tables and columns, a choice between two words."""


def test_no_statement_is_put_together_from_what_comes_in() -> None:
    """Every value goes beside its statement, never into it."""
    found = []
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                words = [p.value for p in node.values if isinstance(p, ast.Constant)]
                parts = [p for p in node.values if isinstance(p, ast.FormattedValue)]
                told = [ast.unparse(part.value) for part in parts]
            elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
                words, told = [getattr(node.left, "value", "")], ["%"]
            elif isinstance(node, ast.Attribute) and node.attr == "format":
                words, told = [getattr(node.value, "value", "")], ["format"]
            else:
                continue
            text = " ".join(word for word in words if isinstance(word, str))
            if STATEMENT.search(text):
                strange = [
                    one for one in told if one not in BUILT and not one.isupper()
                ]
                found += [f"{path.name}:{node.lineno} {one}" for one in strange]
    assert found == []


# --- what other gateways let their callers choose -----------------------------------

ELSEWHERE = "http://127.0.0.1:9/elsewhere"
CHOSEN = dict.fromkeys(
    (
        "api_base", "base_url", "api_url", "endpoint", "url", "host", "custom_host",
        "upstream", "target", "proxy", "http_proxy", "https_proxy", "webhook",
        "azure_endpoint", "aws_bedrock_runtime_endpoint", "vertex_location", "origin",
    ),
    ELSEWHERE,
) | dict.fromkeys(
    (
        "api_key", "key", "token", "access_token", "authorization", "organization",
        "openai_api_key", "anthropic_api_key", "x_api_key", "aws_access_key_id",
        "aws_secret_access_key", "vertex_credentials", "azure_ad_token",
    ),
    "sk-chosen-by-the-caller-0123456789",
)  # fmt: skip
OBJECTS = {
    "extra_headers": {"Authorization": "Bearer chosen", "X-Chosen": "1"},
    "headers": {"Authorization": "Bearer chosen", "Host": "elsewhere"},
    "default_headers": {"X-Chosen": "1"},
    "extra_body": {"api_base": ELSEWHERE},
    "extra_query": {"api_key": "chosen"},
    "litellm_params": {"api_base": ELSEWHERE, "api_key": "chosen"},
    "client_options": {"api_endpoint": ELSEWHERE},
    "router": {"provider": "elsewhere"},
    "provider": {"order": ["elsewhere"], "base_url": ELSEWHERE},
    "config": {"provider": "openai", "api_key": "chosen", "custom_host": ELSEWHERE},
    "mock_response": "free of charge",
    "no-log": True,
    "timeout": 0,
    "drop_params": True,
    "num_retries": 100,
    "user": "operator",
    "route": "elsewhere",
    "channel": "elsewhere",
    "channel_id": 1,
    "group": "free",
    "price": 0,
    "free": True,
    "store": True,
}
HEADERS = [
    b"X-Portkey-Provider: openai",
    b"X-Portkey-Custom-Host: " + ELSEWHERE.encode(),
    b"X-Portkey-Config: {}",
    b"X-Portkey-Forward-Headers: authorization",
    b"Helicone-Target-Url: " + ELSEWHERE.encode(),
    b"Helicone-OpenAI-Api-Base: " + ELSEWHERE.encode(),
    b"X-LiteLLM-Api-Base: " + ELSEWHERE.encode(),
    b"X-Upstream-Url: " + ELSEWHERE.encode(),
    b"X-Base-Url: " + ELSEWHERE.encode(),
    b"X-Target-Host: elsewhere",
    b"X-Provider: elsewhere",
    b"X-Channel: elsewhere",
    b"X-Original-Url: /metrics",
    b"X-Rewrite-Url: /metrics",
    b"X-Forwarded-Host: elsewhere",
    b"X-Forwarded-For: 127.0.0.1",
    b"X-Forwarded-Proto: https",
    b"X-Real-Ip: 127.0.0.1",
    b"Forwarded: for=127.0.0.1;host=elsewhere",
    b"X-Http-Method-Override: DELETE",
    b"Proxy-Authorization: Basic eA==",
    b"Proxy: " + ELSEWHERE.encode(),
    b"Cookie: session=secret",
    b"Openai-Organization: org-chosen",
    b"Openai-Project: proj-chosen",
    b"Anthropic-Version: 2023-06-01",
    b"Idempotency-Key: chosen",
    b"X-Request-Id: chosen",
    b"X-Posthouse-Sandbox: true",
    b"X-Posthouse-Key: chosen",
    b"X-Stainless-Lang: python",
    b"User-Agent: chosen/1.0",
    b"Accept: text/plain",
    b"Accept-Encoding: gzip, br, zstd",
    b"Accept-Language: de",
    b"Content-Type: application/json; charset=chosen",
    b"Origin: https://elsewhere",
    b"Referer: https://elsewhere",
    b"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    b"Baggage: a=b",
    b"Range: bytes=0-1",
    b"If-None-Match: *",
    b"TE: trailers",
    b"Via: 1.1 elsewhere",
    b"Expect: 100-continue",
]
ALLOWED = {
    b"host", b"content-type", b"accept", b"accept-encoding", b"user-agent",
    b"authorization", b"content-length",
}  # fmt: skip
QUERY = "&".join(f"{name}={quote(value)}" for name, value in CHOSEN.items())


@each("target", BODIES)
def test_a_caller_never_chooses_where_a_call_goes(
    guarded: Guarded, target: str
) -> None:
    """Members, query and headers by every name that a gateway is known to obey."""
    chosen = {**CHOSEN, **OBJECTS}
    body = json.dumps({**json.loads(BODIES[target]), **chosen}).encode()
    before = len(guarded.fake.everything)
    reply = guarded.ask(
        guarded.head("POST", f"{target}?{QUERY}", *HEADERS, length=len(body)), body
    )
    assert b"200 OK" in reply.body or reply.status in (100, 200)
    (served,) = guarded.fake.everything[before:]
    request = served.request
    assert request.target == target
    assert set(served.headers) == ALLOWED
    assert len(request.headers) == len(ALLOWED)
    own = b"Bearer provider-account-of-the-guarded-relay"
    assert served.headers[b"authorization"] == own
    assert served.headers[b"content-type"] == b"application/json"
    assert served.headers[b"accept-encoding"] == b"identity"
    assert served.headers[b"host"].decode() in guarded.fake.origin
    assert served.headers[b"user-agent"].startswith(b"posthouse/")
    for value in served.headers.values():
        assert b"chosen" not in value
        assert b"elsewhere" not in value
    assert guarded.key.encode() not in request.body
    sent = json.loads(request.body)
    assert {name: sent[name] for name in chosen} == chosen


@pytest.mark.parametrize("value", ["assistants=v2", "a=1, b=2"])
def test_the_one_header_that_is_carried(guarded: Guarded, value: str) -> None:
    """`OpenAI-Beta` names what a client wants of an API."""
    header = b"OpenAI-Beta: " + value.encode()
    assert guarded.post(CHAT, BODIES[CHAT], header).status == 200
    assert guarded.fake.everything[-1].headers[b"openai-beta"] == value.encode()


@each("value", [b"a" * 600, b"a\tb", b"\xff\xfe", "é".encode(), b"a\x80b"])
def test_the_one_header_carries_words_only(guarded: Guarded, value: bytes) -> None:
    """What no client sends stays here; a long one filled the memory of heads."""
    guarded.untouched(
        lambda: guarded.refused(
            400,
            guarded.head(
                "POST", CHAT, b"OpenAI-Beta: " + value, length=len(BODIES[CHAT])
            ),
            BODIES[CHAT],
        )
    )


def test_a_key_in_the_address_goes_no_further(guarded: Guarded) -> None:
    """Neither the query nor the key in it reaches the provider."""
    reply = guarded.post(f"{CHAT}?key={guarded.key}&a=b", BODIES[CHAT], key=None)
    assert reply.status == 200
    request = guarded.fake.everything[-1].request
    sent = request.target.encode() + request.body
    sent += b"".join(name + value for name, value in request.headers)
    assert guarded.key.encode() not in sent
    assert request.target == CHAT


def test_the_first_credential_decides(guarded: Guarded) -> None:
    """A good key behind a bad one is not looked for, nor the other way round."""
    good, bad = guarded.key.encode(), canaries.WRONG.encode()
    places = [
        b"Authorization: Bearer %b",
        b"X-Api-Key: %b",
        b"Api-Key: %b",
        b"X-Goog-Api-Key: %b",
    ]
    for first, second in pairwise(places):
        one = guarded.get("/v1/models", first % bad, second % good, key=None)
        assert one.status == 401
        two = guarded.get("/v1/models", second % bad, first % good, key=None)
        assert two.status == 200
    twice = guarded.get("/v1/models", places[0] % good, places[0] % bad, key=None)
    assert twice.status == 401


def test_no_request_can_start_a_program_or_be_one() -> None:
    """Nothing that serves evaluates, unpickles, imports or runs what it is told."""
    banned = re.compile(
        r"\b(eval|exec|compile)\(|\bsubprocess\b|\bos\.system\b|\bpickle\b|\bmarshal\b"
        r"|\b__import__\b|\byaml\.load\b|\bshell=True\b|\bjinja2\b|\bos\.popen\b"
    )
    for path in (ROOT / "src").rglob("*.py"):
        # Two start modules of our own, with fixed arguments.
        ours = {"token_process.py", "otlp_process.py"}
        if path.parent.name == "cli" or path.name in ours:
            continue
        lines = path.read_text().splitlines()
        found = [line for line in lines if banned.search(line.split("#")[0])]
        assert [line for line in found if "re.compile(" not in line] == [], path
