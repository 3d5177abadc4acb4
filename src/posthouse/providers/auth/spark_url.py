"""iFlytek's signed addresses, at which Spark is asked by WebSocket.

Source: https://www.xfyun.cn/doc/spark/general_url_authentication.html and
https://www.xfyun.cn/doc/spark/Web.html: host, date and request line are signed with
HMAC-SHA256, and the query says so. The model is a domain in the body, of which each
has a path of its own; the account's application stands in the body, too.

Credential: `APP_ID|API_SECRET|API_KEY`.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from hmac import digest
from typing import Any
from urllib.parse import urlencode

from msgspec.structs import replace
from typing_extensions import override

from posthouse.model.exchange import UpstreamRequest
from posthouse.providers.auth.base import BadCredential, Signer, Steps, host_of
from posthouse.wire import json

PATHS = {
    "lite": "/v1.1/chat",
    "generalv3": "/v3.1/chat",
    "pro-128k": "/chat/pro-128k",
    "generalv3.5": "/v3.5/chat",
    "max-32k": "/chat/max-32k",
    "4.0Ultra": "/v4.0/chat",
}
"""By domain."""

_FORM = re.compile(r"([A-Za-z0-9]{1,64})\|([A-Za-z0-9]{4,128})\|([A-Za-z0-9]{4,128})")
_SCHEMES = {"https": "wss", "http": "ws"}
_object = json.decoder(dict[str, Any])


def make(credential: str, options: Mapping[str, str]) -> Signer:  # noqa: ARG001 - a Make
    """Read a credential; raises BadCredential."""
    found = _FORM.fullmatch(credential.strip())
    if found is None:
        raise BadCredential("the api_key is not of the form APP_ID|API_SECRET|API_KEY")
    return _Signer(found[1], found[2].encode(), found[3])


class _Signer(Signer):
    """Signs the addresses of one application."""

    def __init__(self, application: str, secret: bytes, key: str) -> None:
        self._application = application
        self._secret = secret
        self._key = key

    @override
    def sign(self, request: UpstreamRequest, now: float, nonce: str) -> Steps:
        yield from ()
        scheme, _, host = request.origin.partition("://")
        domain = request.target.rpartition("/")[2].partition("?")[0]
        path = PATHS.get(domain, request.target)
        body = json.decode_with(_object, request.body)
        header = {"app_id": self._application} | body.get("header", {})
        query = self._query(host_of(request), path, now)
        return replace(
            request,
            method="GET",
            origin=f"{_SCHEMES.get(scheme, scheme)}://{host}",
            target=f"{path}?{query}",
            body=json.encode(body | {"header": header}),
        )

    def _query(self, host: str, path: str, now: float) -> str:
        date = datetime.fromtimestamp(now, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        to_sign = f"host: {host}\ndate: {date}\nGET {path} HTTP/1.1"
        signature = digest(self._secret, to_sign.encode(), "sha256")
        shown = (
            f'api_key="{self._key}", algorithm="hmac-sha256", '
            'headers="host date request-line", '
            f'signature="{b64encode(signature).decode()}"'
        )
        authorization = b64encode(shown.encode()).decode()
        return urlencode({"authorization": authorization, "date": date, "host": host})
