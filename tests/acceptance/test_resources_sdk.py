"""Every method of the SDKs reaches a shared channel unchanged, and its answer the SDK.

What the SDK wrote onto its connection is held to what the provider read from its own:
method, path, query, type and body, byte for byte; the answer likewise.
"""

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import anthropic
import httpx2
import openai
import pytest
from tests.acceptance.sdk_methods import Method, methods_of, words
from tests.conftest import StartPosthouse
from tests.fakes.steps import Behaviour, Request, Send, reply
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

KEY = "sk-resources-0123456789abcdefghijklmnopqrstuvwxyz"
CONFIGURATION = """
[[channels]]
name = "openai"
provider = "openai"
base_url = "{origin}/v1"
api_key = "sk-upstream-openai-0123456789"
models = ["*"]
resources = "shared"

[[channels]]
name = "anthropic"
provider = "anthropic"
base_url = "{origin}"
api_key = "sk-upstream-anthropic-0123456789"
models = ["*"]
resources = "shared"

[[keys]]
name = "app"
key = "{key}"

[[prices]]
model = "*"
input = "1"
output = "1"
image = "1"
second = "1"
character = "1"
search = "1"
"""
ADMINISTRATION = ("admin.", "organization.", "beta.organization.")
"""Methods that manage the account; they are not relayed."""
TREATED = words(
    """
    audio.speech.create audio.transcriptions.create audio.translations.create
    beta.messages.count_tokens beta.messages.create beta.models.list
    beta.models.retrieve beta.responses.create chat.completions.create
    beta.chat.completions.create completions.create embeddings.create
    images.create_variation images.edit
    images.generate messages.count_tokens messages.create models.list models.retrieve
    moderations.create responses.create
    """
)
"""Methods that Posthouse answers, or relays in a way of its own."""
BATCH = "/messages/batches/msgbatch_done"
ENDED = {"id": "msgbatch_done", "type": "message_batch", "processing_status": "ended"}
ODD = {"odd[]": "ä ö&=%", "beta_odd": "1"}


class Wire:
    """What the SDK writes and reads."""

    def __init__(self) -> None:
        self.sent: list[httpx2.Request] = []
        self.got: list[httpx2.Response] = []
        self.client = httpx2.Client(
            event_hooks={"request": [self._sent], "response": [self._got]},
            timeout=30,
        )

    def _sent(self, request: httpx2.Request) -> None:
        request.read()
        self.sent.append(request)

    def _got(self, response: httpx2.Response) -> None:
        response.read()
        self.got.append(response)


def answer(request: Request) -> Behaviour:
    """Something that no SDK knows, or the bytes of a file."""
    path = request.target.partition("?")[0]
    if path == f"/v1{BATCH}":
        where = f"https://api.anthropic.com{path}/results"
        body = json.dumps({**ENDED, "results_url": where}).encode()
        kind = "application/json"
    elif path == f"/v1{BATCH}/results":
        body = b'{"custom_id":"one","result":{"type":"canceled"}}\n'
        kind = "application/x-jsonl"
    elif path.endswith("/content"):
        body = bytes(range(256)) * 1000 + str(request.number).encode()
        kind = "application/octet-stream"
    else:
        body = b'{ "id":"odd_%d",  "status" : "never_seen", "n":1.10, "u":"\\u00e4" }'
        body %= request.number
        kind = "application/json; charset=utf-8"
    return Behaviour("odd", (Send(reply(200, body, content_type=kind)),))


@pytest.fixture(scope="module")
def provider() -> Iterator[ThreadedFake]:
    """Records what it is asked, and answers as no provider does."""
    with ThreadedFake(answer) as fake:
        yield fake


@pytest.fixture(scope="module")
def server(start_posthouse: StartPosthouse, provider: ThreadedFake) -> Posthouse:
    """Posthouse of one tenant, who shares everything on the account."""
    return start_posthouse(
        CONFIGURATION.format(origin=provider.origin, key=KEY),
        {"POSTHOUSE_UNPRICED_ROUTES": "allow"},
    )


def client_of(server: Posthouse, family: str, wire: Wire) -> object:
    """The SDK's client."""
    if family == "openai":
        return openai.OpenAI(
            base_url=f"{server.url}/v1",
            api_key=KEY,
            http_client=wire.client,
            max_retries=0,
        )
    return anthropic.Anthropic(
        base_url=server.url, api_key=KEY, http_client=wire.client, max_retries=0
    )


def relayed(method: Method) -> bool:
    """Whether a method is one of those that pass as they are."""
    return method.name not in TREATED and not method.name.startswith(ADMINISTRATION)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("family", "least"), [("openai", 235), ("anthropic", 140)])
def test_every_method_passes_as_it_is(
    server: Posthouse, provider: ThreadedFake, family: str, least: int
) -> None:
    wire = Wire()
    wrong: dict[str, str] = {}
    with wire.client:
        methods = [m for m in methods_of(client_of(server, family, wire)) if relayed(m)]
        for method in methods:
            fault = _asked(method, wire, provider)
            if fault:
                wrong[method.name] = fault
    print(f"{family}: {len(methods) - len(wrong)} of {len(methods)} methods pass")
    assert not wrong
    assert len(methods) >= least


def _asked(method: Method, wire: Wire, provider: ThreadedFake) -> str:
    """What goes wrong when a method is called; empty if nothing does."""
    before = len(provider.everything)
    try:
        method.call(**method.arguments, extra_query=ODD)
    except (openai.APIError, anthropic.APIError) as error:
        return str(error)[:200]
    return difference(wire, provider, before)


def difference(wire: Wire, provider: ThreadedFake, before: int) -> str:
    """What is not the same on both sides; empty if nothing is."""
    arrived = [served.request for served in provider.everything[before:]]
    if len(arrived) != 1:
        return f"{len(arrived)} requests arrived"
    [request], sent, got = arrived, wire.sent[-1], wire.got[-1]
    address = urlsplit(str(sent.url))
    target = address.path + (f"?{address.query}" if address.query else "")
    expected = answer(request).steps[0].data.partition(b"\r\n\r\n")[2]  # type: ignore[index]
    pairs = {
        "method": (sent.method, request.method),
        "target": (target, request.target),
        "body": (sent.content, request.body),
        "type": (
            sent.headers.get("content-type", "").encode(),
            request.header(b"content-type") or b"",
        ),
        "status": (200, got.status_code),
        "answer": (expected, got.content),
    }
    if b"sk-resources" in repr(request).encode():
        return "the caller's key went up"
    return "; ".join(f"{n}: {a!r} {b!r}" for n, (a, b) in pairs.items() if a != b)


def test_the_results_of_a_batch_are_fetched_here(server: Posthouse) -> None:
    """The provider's own address would be given a key of ours."""
    wire = Wire()
    with wire.client:
        client = client_of(server, "anthropic", wire)
        assert isinstance(client, anthropic.Anthropic)
        [result] = client.messages.batches.results("msgbatch_done")
    assert result.custom_id == "one"
    assert {str(sent.url) for sent in wire.sent} == {
        f"{server.url}/v1{BATCH}",
        f"{server.url}/v1{BATCH}/results",
    }


def test_administration_is_never_relayed(
    server: Posthouse, provider: ThreadedFake
) -> None:
    before = len(provider.everything)
    for path in (
        "/v1/organization/users",
        "/v1/organizations/workspaces",
        "/v1/projects/p/roles",
        "/v1/dashboard/billing/usage",
        "/v1/usage",
        "/v1/%6frganization/users",
        "/v1/files/../organization/users",
        "/v1/files/%2e%2e/organization/users",
        "/v1/files/..%2forganization/users",
        "/v1/files/%252e%252e/organization",
    ):
        found = httpx2.get(
            httpx2.URL(server.url, raw_path=path.encode()),
            headers={"authorization": f"Bearer {KEY}"},
        )
        assert found.status_code == 404, path
    assert len(provider.everything) == before
