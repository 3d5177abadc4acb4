"""Signatures are those that the schemes' own examples have."""

from collections.abc import Generator
from hashlib import sha256

import pytest
from tests.support.cases import each

from posthouse.model.exchange import Timeouts, UpstreamRequest
from posthouse.providers.auth import (
    sigv4,
    spark_url,
    tc3,
    zhipu_jwt,
)
from posthouse.providers.auth.base import (
    BadCredential,
    Signer,
    Token,
    TokenWanted,
    filled,
    host_of,
)
from posthouse.wire import json

NOW = 1_440_938_160
"""2015-08-30 12:36:00, as the suite has it."""
KEYS = sigv4.Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SCOPE = sigv4.Scope("us-east-1", "service")
SESSION = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeM"
    "icRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZa"
    "mpKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr"
    "7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR"
    "/oLxBA=="
)
UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def request(
    method: str = "POST",
    target: str = "/",
    headers: tuple[tuple[bytes, bytes], ...] = (),
    *,
    body: bytes = b"",
    origin: str = "https://example.amazonaws.com",
) -> UpstreamRequest:
    return UpstreamRequest(method, origin, target, headers, body, Timeouts())


def header(signed: UpstreamRequest, name: bytes = b"authorization") -> str:
    [value] = [value for key, value in signed.headers if key == name]
    return value.decode()


def sign(signer: Signer, what: UpstreamRequest, now: float) -> UpstreamRequest:
    """Sign with a scheme that fetches nothing."""
    steps: Generator[TokenWanted, object, UpstreamRequest] = signer.sign(what, now, "n")  # type: ignore[assignment]
    with pytest.raises(StopIteration) as ended:
        next(steps)
    signed: UpstreamRequest = ended.value.value
    return signed


@each(
    ("what", "names", "signature"),
    [
        pytest.param(
            request("GET"),
            "host;x-amz-date",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            id="get-vanilla",
        ),
        pytest.param(
            request(),
            "host;x-amz-date",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            id="post-vanilla",
        ),
        pytest.param(
            request("GET", "/?Param2=value2&Param1=value1"),
            "host;x-amz-date",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            id="get-vanilla-query-order-key-case",
        ),
        pytest.param(
            request(headers=((b"my-header1", b"VALUE1"),)),
            "host;my-header1;x-amz-date",
            "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
            id="post-header-value-case",
        ),
        pytest.param(
            request(
                "GET",
                headers=(
                    (b"my-header1", b"value2"),
                    (b"my-header1", b"value2"),
                    (b"my-header1", b"value1"),
                ),
            ),
            "host;my-header1;x-amz-date",
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
            id="get-header-key-duplicate",
        ),
        pytest.param(
            request(
                "GET",
                headers=((b"my-header1", b" value1"), (b"my-header2", b' "a   b   c"')),
            ),
            "host;my-header1;my-header2;x-amz-date",
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            id="get-header-value-trim",
        ),
        pytest.param(
            request("GET", f"/{UNRESERVED}"),
            "host;x-amz-date",
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
            id="get-unreserved",
        ),
        pytest.param(
            request(
                headers=((b"content-type", b"application/x-www-form-urlencoded"),),
                body=b"Param1=value1",
            ),
            "content-type;host;x-amz-date",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            id="post-x-www-form-urlencoded",
        ),
    ],
)
def test_aws_signs_as_its_test_suite_does(
    what: UpstreamRequest, names: str, signature: str
) -> None:
    signed = sigv4.signed(what, KEYS, SCOPE, NOW)
    assert header(signed) == (
        "AWS4-HMAC-SHA256 "
        "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    assert header(signed, b"x-amz-date") == "20150830T123600Z"


def test_aws_signs_a_session() -> None:
    """Case post-sts-header-before."""
    keys = sigv4.Keys(KEYS.id, KEYS.secret, SESSION)
    signed = sigv4.signed(request(), keys, SCOPE, NOW)
    assert header(signed).endswith(
        "SignedHeaders=host;x-amz-date;x-amz-security-token, "
        "Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"
    )


def test_aws_takes_a_path_encoded_once_more_than_it_is_sent() -> None:
    """What is sent as %3A is %253A in the canonical request.

    The signature is what botocore 1.44.5 gives for it.
    """
    what = request(
        target="/model/amazon.nova-lite-v1%3A0/converse",
        headers=((b"content-type", b"application/json"), (b"accept", b"*/*")),
        body=b"{}",
        origin="https://bedrock-runtime.eu-west-1.amazonaws.com",
    )
    signer = sigv4.make(f"{KEYS.id}:{KEYS.secret}", {"service": "bedrock"})
    assert header(sign(signer, what, NOW)) == BOTOCORE


BOTOCORE = (
    "AWS4-HMAC-SHA256 "
    "Credential=AKIDEXAMPLE/20150830/eu-west-1/bedrock/aws4_request, "
    "SignedHeaders=content-type;host;x-amz-date, "
    "Signature=ed6f2efcc994d6f4e9aba21a8a4842d0d7e6e75be2b1ebfef284ef9e32b43014"
)


def test_the_region_of_the_credential_stands_in_the_address() -> None:
    signer = sigv4.make(f"{KEYS.id}:{KEYS.secret}@ap-south-1", {"service": "bedrock"})
    what = request(origin="https://bedrock-runtime.{region}.amazonaws.com")
    signed = sign(signer, what, NOW)
    assert signed.origin == "https://bedrock-runtime.ap-south-1.amazonaws.com"
    assert "/ap-south-1/bedrock/" in header(signed)


def test_a_key_of_bedrock_is_shown_as_it_is() -> None:
    signer = sigv4.make("ABSKQmVkcm9jaw==@us-west-2", {"service": "bedrock"})
    what = request(origin="https://bedrock-runtime.{region}.amazonaws.com")
    signed = sign(signer, what, NOW)
    assert header(signed) == "Bearer ABSKQmVkcm9jaw=="
    assert signed.origin == "https://bedrock-runtime.us-west-2.amazonaws.com"


@pytest.mark.parametrize("origin", ["https://x.{region}.y", "http://127.0.0.1:1"])
def test_aws_wants_a_region(origin: str) -> None:
    signer = sigv4.make(f"{KEYS.id}:{KEYS.secret}", {"service": "bedrock"})
    with pytest.raises(BadCredential, match="region"):
        next(signer.sign(request(origin=origin), NOW, "n"))


@each("text", ["", "short", "AKID:with space", "a:b:c:d"])
def test_aws_refuses_what_is_no_credential(text: str) -> None:
    with pytest.raises(BadCredential) as refused:
        sigv4.make(text, {"service": "bedrock"})
    assert not text or text not in str(refused.value)


TENCENT = tc3.Keys(
    "AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE", "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE"
)
PAYLOAD = (
    rb'{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], '
    rb'"Name": "instance-name"}]}'
)


def test_tencent_signs_as_its_documentation_shows() -> None:
    """The example of its pages on signature v3, as they had it up to 2022."""
    assert sha256(PAYLOAD).hexdigest() == (
        "35e9c5b0e3ae67532d3c9f17ead6c90222632e5b1ff7f6e89887f1398934f064"
    )
    what = request(
        headers=((b"content-type", b"application/json; charset=utf-8"),),
        body=PAYLOAD,
        origin="https://cvm.tencentcloudapi.com",
    )
    signed = tc3.signed(what, TENCENT, "cvm", 1_551_113_065)
    assert header(signed) == (
        "TC3-HMAC-SHA256 "
        "Credential=AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE/2019-02-25/cvm/tc3_request, "
        "SignedHeaders=content-type;host, "
        "Signature=72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168"
    )
    assert header(signed, b"x-tc-timestamp") == "1551113065"


@pytest.mark.parametrize("text", ["id-1:key-1@ap-beijing", "12345|id-1|key-1"])
def test_tencent_signs_the_action_too(text: str) -> None:
    options = {"service": "hunyuan", "action": "ChatCompletions", "version": "v"}
    what = request(headers=((b"content-type", b"application/json"),), body=b"{}")
    signed = sign(tc3.make(text, options), what, NOW)
    assert "SignedHeaders=content-type;host;x-tc-action" in header(signed)
    assert header(signed, b"x-tc-action") == "ChatCompletions"
    assert header(signed, b"x-tc-version") == "v"
    regions = [value for name, value in signed.headers if name == b"x-tc-region"]
    assert regions == ([b"ap-beijing"] if "@" in text else [])


def test_zhipu_signs_a_token_in_milliseconds() -> None:
    """The signature was worked out by hand with the standard library."""
    signed = sign(zhipu_jwt.make("id.secret", {}), request(), 1_700_000_000.25)
    token = header(signed).removeprefix("Bearer ")
    assert token == (
        "eyJhbGciOiJIUzI1NiIsInNpZ25fdHlwZSI6IlNJR04ifQ."
        "eyJhcGlfa2V5IjoiaWQiLCJleHAiOjE3MDAwMDAyMTAyNTAsInRpbWVzdGFtcCI6MTcwMDAwMDAwMDI1MH0."
        "v_TX9bTSvsRoxMtBFcHkglxRKWfnvJvU5_clj8_K9rc"
    )


@each("text", ["", "id", "id.", ".secret", "a.b.c"])
def test_zhipu_refuses_what_is_no_key(text: str) -> None:
    with pytest.raises(BadCredential):
        zhipu_jwt.make(text, {})


def test_spark_signs_its_address_as_its_documentation_shows() -> None:
    """The example of "general_url_authentication"."""
    text = "app|MjlmNzkzNmZkMDQ2OTc0ZDdmNGE2ZTZi|addd2272b6d8b7c8abdd79531420ca3b"
    what = request(
        target="/lite",
        body=b'{"header":{"uid":"u"},"parameter":{}}',
        origin="https://spark-api.xf-yun.com",
    )
    signed = sign(spark_url.make(text, {}), what, 1_683_283_419)
    assert signed.method == "GET"
    assert signed.origin == "wss://spark-api.xf-yun.com"
    assert signed.target == (
        "/v1.1/chat?authorization=YXBpX2tleT0iYWRkZDIyNzJiNmQ4YjdjOGFiZGQ3OTUzMTQyMGNh"
        "M2IiLCBhbGdvcml0aG09ImhtYWMtc2hhMjU2IiwgaGVhZGVycz0iaG9zdCBkYXRlIHJlcXVlc3Qt"
        "bGluZSIsIHNpZ25hdHVyZT0iejVnSGR1M3B4VlY0QURNeWs0Njd3T1dEUTlxNkJRelIzbmZNVGpj"
        "L0RhUT0i&date=Fri%2C+05+May+2023+10%3A43%3A39+GMT&host=spark-api.xf-yun.com"
    )
    assert json.decode(signed.body, dict) == {
        "header": {"app_id": "app", "uid": "u"},
        "parameter": {},
    }


@each("text", ["", "app|secret", "app:secret0:key0", "a|b c|d"])
def test_spark_refuses_what_is_no_credential(text: str) -> None:
    with pytest.raises(BadCredential):
        spark_url.make(text, {})


def test_the_host_goes_without_the_usual_port() -> None:
    assert host_of(request(origin="https://A.example:443")) == "a.example"
    assert host_of(request(origin="http://127.0.0.1:8080")) == "127.0.0.1:8080"


def test_what_stands_in_braces_must_be_known() -> None:
    what = request(target="/v1/projects/{project}/x")
    assert filled(what, {"project": "p-1"}).target == "/v1/projects/p-1/x"
    with pytest.raises(BadCredential, match="project"):
        filled(what, {})


def test_no_representation_shows_a_secret() -> None:
    assert KEYS.secret not in repr(KEYS)
    assert TENCENT.secret not in repr(TENCENT)
    assert "secret" not in repr(Token("secret", 1.0))
