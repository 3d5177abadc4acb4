"""Baidu's signatures: as its documentation works one out."""

from hashlib import md5
from urllib.parse import parse_qs, urlencode

import pytest
from tests.support.cases import each

from posthouse.model.exchange import Timeouts, UpstreamRequest
from posthouse.providers.auth.baidu_sign import make
from posthouse.providers.auth.base import BadCredential

SECRET = "12345678"


def signed(text: str, nonce: str) -> dict[str, str]:
    request = UpstreamRequest(
        method="POST",
        origin="https://fanyi-api.baidu.com",
        target="/api/trans/vip/translate",
        headers=(),
        body=urlencode({"q": text, "from": "en", "to": "zh"}).encode(),
        timeouts=Timeouts(),
    )
    steps = make(f"2015063000000001:{SECRET}", {}).sign(request, 0.0, nonce)
    with pytest.raises(StopIteration) as ended:
        next(steps)
    members = parse_qs(ended.value.value.body.decode())
    return {name: values[0] for name, values in members.items()}


def test_the_example_of_the_documentation() -> None:
    """`apple` with the salt 1435660288."""
    found = signed("apple", "1435660288")
    assert found == {
        "q": "apple",
        "from": "en",
        "to": "zh",
        "appid": "2015063000000001",
        "salt": "1435660288",
        "sign": "f89f9594663708c1605f3d736d01d2d4",
    }


def test_the_text_is_signed_as_it_is() -> None:
    """Not as the form has it escaped."""
    text = "a b+c&d=é\n苹果"
    found = signed(text, "1")
    whole = f"2015063000000001{text}1{SECRET}"
    assert found["q"] == text
    assert found["sign"] == md5(whole.encode()).hexdigest()


@each("credential", ["", "appid", "appid:", "a b:secret", "x:y:z"])
def test_a_credential_of_another_form(credential: str) -> None:
    with pytest.raises(BadCredential):
        make(credential, {})
