"""ERNIE's errors, which come with status 200 and a number.

Source: https://cloud.baidu.com/doc/WENXINWORKSHOP/s/tlmyncueh (the codes).
"""

from typing import Any

from posthouse.dialects.openai.errors import ErrorObject, judge
from posthouse.dialects.openai.errors import parse_error as parse_plainly
from posthouse.errors import UpstreamFault
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_STATUS = {
    1: 500,
    2: 503,
    3: 404,
    4: 429,
    6: 403,
    13: 401,
    14: 401,
    15: 401,
    17: 401,  # the account's calls of a day are used up
    18: 429,
    19: 401,  # all of the account's calls are
    100: 401,
    110: 401,
    111: 401,
    336000: 500,
    336100: 503,
    336200: 500,
}
_CODES = {
    336007: "context_length_exceeded",
    336103: "context_length_exceeded",
    336104: "content_filter",
}


def fault_in(value: Any) -> UpstreamFault | None:
    """Judge a reply or a frame; None if it is no error."""
    if not isinstance(value, dict):
        return None
    code = value.get("error_code")
    if not isinstance(code, int) or code == 0:
        return None
    named = ErrorObject(value.get("error_msg"), code=_CODES.get(code, str(code)))
    fault = judge(_STATUS.get(code, 400), named)
    fault.stands_for = getattr(fault, "upstream_status", fault.status)
    return fault


def parse_error(status: int, body: bytes) -> UpstreamFault:
    """Judge an error reply, should one come with another status."""
    try:
        fault = fault_in(json.decode_leniently(body)) if status >= 400 else None
    except MalformedJSON:
        fault = None
    return fault or parse_plainly(status, body)
