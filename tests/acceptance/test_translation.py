"""Translations through DeepL's SDK and as Baidu's clients ask, whoever translates."""

import json
from collections.abc import Iterator
from contextlib import closing
from hashlib import md5
from typing import Any
from urllib.parse import parse_qs, urlencode

import deepl
import httpx2
import pytest
from tests.conftest import StartPosthouse
from tests.fakes.steps import Behaviour, Request, Send, json_reply
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

KEY = "sk-translating-0123456789abcdefghijklmnopqrstuvwxyzA"
POOR = "sk-poor-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH"
CONFIGURATION = """
[[channels]]
name = "deepls"
provider = "deepl"
base_url = "{origin}"
api_key = "deepl-secret"
models = [{{ public = "translation", upstream = "deepl" }}]

[[channels]]
name = "baidus"
provider = "baidu-translate"
base_url = "{origin}"
api_key = "20150101:baidu-secret"

[[channels]]
name = "chats"
provider = "openai"
base_url = "{origin}/v1"
api_key = "sk-secret"
models = ["gpt-4o-mini"]

[[channels]]
name = "qwen"
provider = "dashscope"
base_url = "{origin}/qwen/v1"
api_key = "sk-secret"
models = ["qwen-mt-plus"]

[[channels]]
name = "sandbox"
provider = "sandbox"
models = ["sandbox-translation"]

[[prices]]
model = "gpt-4o-mini"
input = "1"
output = "2"

[[keys]]
name = "app"
key = "{key}"
balance_usd = "5"

[[keys]]
name = "poor"
key = "{poor}"
balance_usd = "0.0000001"
"""


def german(text: str) -> str:
    return f"<{text}>"


def answer(request: Request) -> Behaviour:
    """Answer as the provider does that is asked at this path."""
    body = request.json
    shown = body.get("show_billed_characters")
    if request.target == "/v2/translate":
        value: Any = {
            "translations": [
                {"detected_source_language": "EN", "text": german(text)}
                | ({"billed_characters": len(text)} if shown else {})
                for text in body["text"]
            ]
        }
    elif request.target == "/api/trans/vip/translate":
        members = {
            name: one[0] for name, one in parse_qs(request.body.decode()).items()
        }
        signed = members["appid"] + members["q"] + members["salt"] + "baidu-secret"
        value = {"error_code": "54001", "error_msg": "Invalid Sign"}
        if members["sign"] == md5(signed.encode()).hexdigest():
            value = {
                "from": "en",
                "to": members["to"],
                "trans_result": [
                    {"src": line, "dst": german(line)}
                    for line in members["q"].split("\n")
                ],
            }
    else:
        value = chatted(body)
    return Behaviour("translated", (Send(json_reply(200, value)),))


def chatted(body: dict[str, Any]) -> dict[str, Any]:
    """Answer a chat: by the prompt, or by the options of those made for it."""
    said = body["messages"][-1]["content"]
    if "translation_options" in body:
        content = "\n".join(german(line) if line else "" for line in said.split("\n"))
    else:
        texts = json.loads(said)["texts"]
        listed = [
            {"detected_source_language": "EN", "text": german(text)} for text in texts
        ]
        if "leave one out" in texts:
            del listed[0]
        content = json.dumps({"translations": listed})
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1770000000,
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }


@pytest.fixture(scope="module")
def fake() -> Iterator[ThreadedFake]:
    with ThreadedFake(answer) as fake:
        yield fake


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse, fake: ThreadedFake) -> Posthouse:
    configuration = CONFIGURATION.format(origin=fake.origin, key=KEY, poor=POOR)
    return start_posthouse(configuration)


def client(posthouse: Posthouse, key: str = KEY) -> "closing[deepl.DeepLClient]":
    return closing(deepl.DeepLClient(key, server_url=posthouse.url))


@pytest.fixture(scope="module")
def sdk(posthouse: Posthouse) -> Iterator[deepl.DeepLClient]:
    with client(posthouse) as sdk:
        yield sdk


def post(posthouse: Posthouse, body: Any, **headers: str) -> httpx2.Response:
    return httpx2.post(
        f"{posthouse.url}/v2/translate",
        json=body,
        headers={"authorization": f"DeepL-Auth-Key {KEY}"} | headers,
        timeout=20,
    )


MODELS = [None, "translation", "baidu-translate", "gpt-4o-mini", "qwen-mt-plus"]


@pytest.mark.parametrize("model", MODELS)
def test_deepls_sdk(sdk: deepl.DeepLClient, model: str | None) -> None:
    """One text, and several with lines of their own; whoever translates."""
    named = None if model is None else {"model": model}
    one = sdk.translate_text("Hello", target_lang="DE", extra_body_parameters=named)
    assert isinstance(one, deepl.TextResult)
    assert one.text == "<Hello>"
    several = sdk.translate_text(
        ["Hello", "One\n\nTwo"],
        source_lang="EN",
        target_lang="ZH-HANT",
        formality="prefer_more",
        context="A greeting.",
        extra_body_parameters=named,
    )
    assert isinstance(several, list)
    lines = model in {"baidu-translate", "qwen-mt-plus"}
    assert several[0].text == "<Hello>"
    assert several[1].text == ("<One>\n\n<Two>" if lines else "<One\n\nTwo>")
    assert [one.detected_source_lang for one in several] == ["EN", "EN"]


def test_who_names_no_model_is_served_by_the_usual_one(posthouse: Posthouse) -> None:
    """By characters, as DeepL bills them."""
    reply = post(posthouse, {"text": ["Grüße", "日本"], "target_lang": "EN-US"})
    assert reply.status_code == 200, reply.text
    record = posthouse.call(reply.headers["x-request-id"])
    assert record["requested_model"] == "translation"
    assert record["operation"] == "translation"
    assert record["usage"] == {"character": 7}
    assert record["price_usd"] == "0.000175"


def test_providers_get_what_deepl_knows(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    """Our key never, a model never, everything else as it stood."""
    post(
        posthouse, {"text": ["a"], "target_lang": "DE", "model": "translation", "x": 1}
    )
    request = fake.everything[-1].request
    assert request.json == {"text": ["a"], "target_lang": "DE", "x": 1}
    assert request.header(b"authorization") == b"DeepL-Auth-Key deepl-secret"


def test_a_form_is_taken(posthouse: Posthouse, fake: ThreadedFake) -> None:
    body = [("text", "a & b"), ("text", "c"), ("target_lang", "DE")]
    body += [("preserve_formatting", "1"), ("ignore_tags", "x,y")]
    reply = httpx2.post(
        f"{posthouse.url}/v2/translate",
        content=urlencode(body),
        headers={
            "authorization": f"DeepL-Auth-Key {KEY}",
            "content-type": "application/x-www-form-urlencoded",
        },
        timeout=20,
    )
    assert [one["text"] for one in reply.json()["translations"]] == ["<a & b>", "<c>"]
    assert fake.everything[-1].request.json == {
        "target_lang": "DE",
        "preserve_formatting": True,
        "ignore_tags": ["x", "y"],
        "text": ["a & b", "c"],
    }


def test_a_chat_that_translates_is_billed_as_a_chat(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    body = {"text": ["Hello"], "target_lang": "PT-BR", "model": "gpt-4o-mini"}
    reply = post(posthouse, body | {"split_sentences": "0"})
    told = "openai_chat -split_sentences"
    assert reply.headers["x-posthouse-translation"] == told
    record = posthouse.call(reply.headers["x-request-id"])
    assert record["usage"] == {"input": 100, "output": 20}
    assert (record["price_usd"], record["translation"]) == ("0.00014", told)
    asked = fake.everything[-1].request.json
    assert "Portuguese (Brazilian)" in asked["messages"][0]["content"]
    assert asked["response_format"]["json_schema"]["strict"] is True


def test_every_text_must_be_translated(posthouse: Posthouse) -> None:
    """An answer that lacks one is no answer, and costs nothing."""
    body = {"text": ["leave one out", "b"], "target_lang": "DE"}
    reply = post(posthouse, body | {"model": "gpt-4o-mini"})
    assert reply.status_code == 502
    record = posthouse.call(reply.headers["x-request-id"])
    assert record["price_usd"] in {"0", "0.00"}


def test_deepls_sdk_asks_for_more(sdk: deepl.DeepLClient) -> None:
    """What is left of the balance in characters, and the languages."""
    usage = sdk.get_usage()
    assert usage.character.limit is not None
    assert 190_000 < usage.character.limit <= 200_000
    assert not usage.any_limit_reached
    targets = {language.code for language in sdk.get_target_languages()}
    assert {"DE", "EN-US", "ZH-HANT", "PT-BR"} <= targets
    assert "EN" not in targets
    sources = {language.code for language in sdk.get_source_languages()}
    assert {"DE", "EN", "ZH", "PT"} <= sources
    assert "EN-US" not in sources


def test_deepls_sdk_is_told_of_errors(posthouse: Posthouse) -> None:
    """By the statuses that it knows."""
    wrong_key = deepl.AuthorizationException
    with client(posthouse, "sk-wrong") as wrong, pytest.raises(wrong_key):
        wrong.translate_text("a", target_lang="DE")
    with client(posthouse, POOR) as poor, pytest.raises(deepl.QuotaExceededException):
        poor.translate_text("a" * 100, target_lang="DE")
    reply = post(posthouse, {"text": ["a"], "target_lang": "no language"})
    assert reply.status_code == 400
    assert reply.json()["message"] == reply.json()["error"]["message"]


# --- as Baidu's clients ask -----------------------------------------------------------

BAIDUS = "/api/trans/vip/translate"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("method", ["GET", "POST", "POST with a header"])
def test_baidus_form(posthouse: Posthouse, model: str | None, method: str) -> None:
    """The key is the application's number, or where keys always are."""
    members = {"q": "apple\npear", "from": "auto", "to": "zh", "salt": "1", "sign": "x"}
    headers = {"content-type": "application/x-www-form-urlencoded"}
    if method == "POST with a header":
        headers["authorization"] = f"Bearer {KEY}"
        members["appid"] = "20150101"
    else:
        members["appid"] = KEY
    if model is not None:
        members["model"] = model
    url = posthouse.url + BAIDUS
    if method == "GET":
        reply = httpx2.get(url, params=members, timeout=20)
    else:
        reply = httpx2.post(
            url, content=urlencode(members), headers=headers, timeout=20
        )
    assert reply.status_code == 200, reply.text
    assert reply.json() == {
        "from": "en",
        "to": "zh",
        "trans_result": [
            {"src": "apple", "dst": "<apple>"},
            {"src": "pear", "dst": "<pear>"},
        ],
    }


@pytest.mark.parametrize(
    ("members", "status", "code"),
    [
        ({"appid": "20150101"}, 401, "52003"),
        ({}, 401, "52003"),
        ({"appid": KEY, "q": ""}, 400, "54000"),
        ({"appid": KEY, "to": "???"}, 400, "54000"),
        ({"appid": POOR, "q": "a" * 500}, 429, "54004"),
        ({"appid": KEY, "q": "a" * 40_000}, 413, "54000"),
    ],
)
def test_baidus_errors(
    posthouse: Posthouse, members: dict[str, str], status: int, code: str
) -> None:
    """By Baidu's numbers; nobody is served whose key is not one."""
    reply = httpx2.post(
        posthouse.url + BAIDUS,
        content=urlencode({"q": "apple", "from": "en", "to": "zh"} | members),
        headers={"content-type": "application/x-www-form-urlencoded"},
        timeout=20,
    )
    assert (reply.status_code, reply.json()["error_code"]) == (status, code)


def test_a_bad_header_is_not_made_good_by_a_number(posthouse: Posthouse) -> None:
    """The usual places decide, also when what they hold is malformed."""
    reply = httpx2.post(
        posthouse.url + BAIDUS,
        content=urlencode({"q": "a", "to": "zh", "appid": KEY}),
        headers={"authorization": "Basic eA=="},
        timeout=20,
    )
    assert reply.status_code == 401


@pytest.mark.parametrize("model", [*MODELS, "sandbox-translation"])
def test_our_own_form(posthouse: Posthouse, model: str | None) -> None:
    """One text or several, whoever translates."""
    body: dict[str, Any] = {"text": "Hello", "target_language": "de"}
    if model is not None:
        body["model"] = model
    reply = httpx2.post(
        f"{posthouse.url}/v1/translations",
        json=body,
        headers={"authorization": f"Bearer {KEY}"},
        timeout=20,
    )
    assert reply.status_code == 200, reply.text
    value = reply.json()
    assert value["target_language"] == "de"
    assert value["model"] == (model or "translation")
    (one,) = value["translations"]
    assert one["text"] in {"<Hello>", "[DE] Hello"}


@pytest.mark.parametrize(
    "body",
    [
        {"text": "a"},
        {"target_language": "de"},
        {"text": "a", "target_language": "d"},
        {"text": ["a"] * 51, "target_language": "de"},
        {"text": "a", "target_language": "de", "format": "text/odd"},
    ],
)
def test_what_our_own_form_refuses(posthouse: Posthouse, body: Any) -> None:
    reply = httpx2.post(
        f"{posthouse.url}/v1/translations",
        json=body,
        headers={"authorization": f"Bearer {KEY}"},
        timeout=20,
    )
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_the_sandbox_translates(posthouse: Posthouse) -> None:
    body = {"text": ["Hello"], "target_lang": "DE", "model": "sandbox-translation"}
    reply = post(posthouse, body)
    assert reply.json()["translations"][0]["text"] == "[DE] Hello"
    assert reply.headers["x-posthouse-sandbox"] == "true"
