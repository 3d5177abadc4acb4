"""Calls reach providers that look at the signature of every request."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from tests.fakes import signed
from tests.fakes.spark import ThreadedSpark
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

KEY = "sk-native-0123456789012345678901234567890123456789"
CONFIGURATION = """
[[channels]]
name = "bedrock"
provider = "aws-bedrock"
base_url = "{origin}"
api_key = "{aws}"
models = ["amazon.nova-lite-v1:0", "throttled.model"]

[[channels]]
name = "bedrock-other"
provider = "aws-bedrock"
base_url = "{origin}"
api_key = "{aws_wrong}"
models = ["wrong.keys"]

[[channels]]
name = "bedrock-odd"
provider = "aws-bedrock"
base_url = "{origin}"
api_key = "odd:x"
models = ["odd.keys"]

[[channels]]
name = "vertex"
provider = "vertex-ai"
base_url = "{origin}/v1/projects/{{project}}/locations/global"
api_key = "file:{account}"
models = ["gemini-2.5-flash"]

[[channels]]
name = "vertex-claude"
provider = "vertex-anthropic"
base_url = "{origin}/v1/projects/{{project}}/locations/global"
api_key = "file:{account}"
models = ["claude-opus-4-6"]

[[channels]]
name = "zhipu"
provider = "zhipu-jwt"
base_url = "{origin}/api/paas/v4"
api_key = "{zhipu}"
models = ["glm-4-plus"]

[[channels]]
name = "hunyuan"
provider = "hunyuan-native"
base_url = "{origin}"
api_key = "{tencent}"
models = ["hunyuan-turbos-latest"]

[[channels]]
name = "hunyuan-other"
provider = "hunyuan-native"
base_url = "{origin}"
api_key = "{tencent}x"
models = ["wrong.hunyuan"]

[[channels]]
name = "ernie"
provider = "ernie-v1"
base_url = "{origin}"
api_key = "{baidu}"
models = [{{ public = "ERNIE-4.0-8K", upstream = "completions_pro" }}]

[[channels]]
name = "ernie-other"
provider = "ernie-v1"
base_url = "{origin}"
api_key = "{baidu}x"
models = ["wrong.ernie"]

[[channels]]
name = "dashscope"
provider = "dashscope-native"
base_url = "{origin}/api/v1"
api_key = "sk-dashscope"
models = ["qwen-plus"]

[[channels]]
name = "spark"
provider = "spark-native"
base_url = "{spark_origin}"
api_key = "{spark}"
models = ["generalv3.5"]

[[channels]]
name = "spark-other"
provider = "spark-native"
base_url = "{spark_origin}"
api_key = "{spark}x"
models = ["wrong.spark"]

[[prices]]
model = "*.*"
input = "1"
output = "2"

[[prices]]
model = "ERNIE-4.0-8K"
input = "4"
output = "12"

[[keys]]
name = "app"
key = "{key}"
balance_usd = "10"
"""


@pytest.fixture(scope="module")
def google() -> signed.Google:
    """Google, with its one account."""
    return signed.Google()


@pytest.fixture(scope="module")
def baidu() -> signed.Baidu:
    """Baidu, with its one pair of keys."""
    return signed.Baidu()


@pytest.fixture(scope="module")
def fake(google: signed.Google, baidu: signed.Baidu) -> Iterator[ThreadedFake]:
    """Every provider of the configuration, by path."""
    with ThreadedFake(signed.provider(google, baidu)) as fake:
        yield fake


@pytest.fixture(scope="module")
def spark() -> Iterator[ThreadedSpark]:
    """Spark, which is asked by WebSocket."""
    with ThreadedSpark() as spark:
        yield spark


@pytest.fixture(scope="module")
def posthouse(
    fake: ThreadedFake,
    google: signed.Google,
    spark: ThreadedSpark,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Posthouse]:
    """A server with a channel for each."""
    folder = tmp_path_factory.mktemp("native")
    account = folder / "account.json"
    account.write_text(account_of(google, fake.origin))
    account.chmod(0o600)
    text = CONFIGURATION.format(
        origin=fake.origin,
        key=KEY,
        account=account,
        spark_origin=spark.origin,
        spark="|".join(signed.SPARK),
        zhipu=signed.ZHIPU_KEY,
        tencent=f"{signed.TENCENT_ID}:{signed.TENCENT_SECRET}",
        baidu=f"{signed.BAIDU_KEY}:{signed.BAIDU_SECRET}",
        aws=f"{signed.AWS_ID}:{signed.AWS_SECRET}@{signed.AWS_REGION}",
        aws_wrong=f"{signed.AWS_ID}:{signed.AWS_SECRET[:-1]}x@{signed.AWS_REGION}",
    )
    with Posthouse(folder, text) as posthouse:
        yield posthouse


def account_of(google: signed.Google, origin: str) -> str:
    """Write the key file of Google's account."""
    key = google.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "p-1",
            "private_key_id": "k-1",
            "private_key": key.decode(),
            "client_email": "posthouse@p-1.iam.gserviceaccount.com",
            "token_uri": f"{origin}/token",
        }
    )


class Answer:
    """A reply's status, its headers and its body."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """What was said, of a stream or a whole reply."""
        if not self.body.startswith(b"data:"):
            return str(self.json["choices"][0]["message"]["content"])
        return "".join(
            choice["delta"].get("content") or ""
            for line in self.body.splitlines()
            if line.startswith(b"data: {")
            for choice in json.loads(line[6:]).get("choices", ())
        )


def ask(
    posthouse: Posthouse, model: str, path: str = "/v1/chat/completions", **more: Any
) -> Answer:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}
    request = urllib.request.Request(
        f"{posthouse.url}{path}",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {KEY}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as found:
            try:
                body = found.read()
            except http.client.IncompleteRead as cut:
                # That is how a stream ends that told of an error.
                body = cut.partial
            return Answer(found.status, found.headers, body)
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read())


def log_of(posthouse: Posthouse) -> str:
    return Path(posthouse.log).read_text()


# --- Bedrock ------------------------------------------------------------------------


def test_bedrock_takes_what_is_signed(posthouse: Posthouse) -> None:
    answer = ask(posthouse, "amazon.nova-lite-v1:0", max_tokens=5)
    assert answer.status == 200, log_of(posthouse)
    assert answer.text == "Hello!"
    assert answer.headers["x-posthouse-translation"] == "bedrock_converse"
    record = posthouse.call(answer.headers["x-request-id"])
    assert record["usage"] == {"input": 9, "output": 3}


def test_bedrock_streams(posthouse: Posthouse) -> None:
    """Its messages come in pieces of seven bytes."""
    answer = ask(posthouse, "amazon.nova-lite-v1:0", stream=True)
    assert answer.text == "Hello!"
    assert answer.body.endswith(b"data: [DONE]\n\n")
    record = posthouse.call(answer.headers["x-request-id"])
    assert record["usage"] == {"input": 9, "output": 3}


def test_anthropics_clients_reach_bedrock(posthouse: Posthouse) -> None:
    answer = ask(posthouse, "amazon.nova-lite-v1:0", "/v1/messages", max_tokens=9)
    assert answer.status == 200
    assert answer.json["content"] == [{"type": "text", "text": "Hello!"}]
    assert answer.json["usage"]["input_tokens"] == 9


def test_an_exception_inside_a_stream_is_an_error(posthouse: Posthouse) -> None:
    answer = ask(posthouse, "throttled.model", stream=True)
    assert answer.text == "Hel"
    assert b"rate_limit" in answer.body
    assert b"[DONE]" not in answer.body


def test_keys_that_do_not_fit_are_a_refused_credential(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    """The provider repeats the secret; nobody is told."""
    before = len(fake.everything)
    answer = ask(posthouse, "wrong.keys")
    assert answer.status == 503
    assert signed.AWS_SECRET.encode() not in answer.body
    assert len(fake.everything) == before + 1
    assert "does not match" in fake.everything[-1].script


def test_what_is_no_credential_is_never_sent(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    before = len(fake.everything)
    answer = ask(posthouse, "odd.keys")
    assert answer.status == 503
    assert len(fake.everything) == before
    deadline = time.monotonic() + 5
    while "ACCESS_KEY:SECRET" not in log_of(posthouse):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "odd:x" not in log_of(posthouse)


# --- Vertex AI ----------------------------------------------------------------------


def test_vertex_gives_one_token_for_many_calls(
    posthouse: Posthouse, google: signed.Google
) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: ask(posthouse, "gemini-2.5-flash"), range(16))
        )
    assert [answer.text for answer in answers] == ["Hello!"] * 16
    assert len(google.given) == 1


def test_vertex_streams(posthouse: Posthouse) -> None:
    answer = ask(posthouse, "gemini-2.5-flash", stream=True)
    assert answer.text == "Hello!"
    record = posthouse.call(answer.headers["x-request-id"])
    assert record["usage"] == {"input": 9, "output": 3}


def test_a_token_that_is_withdrawn_is_fetched_anew(
    posthouse: Posthouse, google: signed.Google
) -> None:
    """The caller notices nothing."""
    assert ask(posthouse, "gemini-2.5-flash").status == 200
    google.given.append("another one")
    before = len(google.given)
    assert ask(posthouse, "gemini-2.5-flash").text == "Hello!"
    assert len(google.given) == before + 1


def test_claude_on_vertex_has_its_version_in_the_body(posthouse: Posthouse) -> None:
    """Whether its own clients ask or others."""
    assert ask(posthouse, "claude-opus-4-6").text == "Hello!"
    answer = ask(posthouse, "claude-opus-4-6", "/v1/messages", max_tokens=9)
    assert answer.status == 200
    assert answer.json["id"] == "msg_vrtx_1"


# --- Chinese providers' own forms -----------------------------------------------------


def test_zhipu_takes_the_token(posthouse: Posthouse) -> None:
    assert ask(posthouse, "glm-4-plus").text == "Hello!"


@pytest.mark.parametrize(
    "model", ["hunyuan-turbos-latest", "ERNIE-4.0-8K", "qwen-plus", "generalv3.5"]
)
def test_native_forms_answer(posthouse: Posthouse, model: str) -> None:
    """Whole and streamed, with the usage that they told."""
    for stream in (False, True):
        answer = ask(posthouse, model, stream=stream)
        assert answer.text == "Hello!", log_of(posthouse)
        record = posthouse.call(answer.headers["x-request-id"])
        assert record["usage"] == {"input": 9, "output": 3}


@pytest.mark.parametrize("model", ["wrong.hunyuan", "wrong.ernie"])
def test_refusals_of_status_200_are_refused_credentials(
    posthouse: Posthouse, model: str
) -> None:
    answer = ask(posthouse, model)
    assert answer.status == 503
    assert answer.json["error"]["code"] == "upstream_unavailable"


def test_ernies_token_is_fetched_once(
    posthouse: Posthouse, baidu: signed.Baidu
) -> None:
    """However many calls there are; one that is refused is given up."""
    for _ in range(3):
        assert ask(posthouse, "ERNIE-4.0-8K").status == 200
    assert len(baidu.given) == 1


def test_spark_refuses_another_signature(
    posthouse: Posthouse, spark: ThreadedSpark
) -> None:
    answer = ask(posthouse, "wrong.spark")
    assert answer.status == 503
    assert spark.refusals == ["HMAC signature does not match"]
