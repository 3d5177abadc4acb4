"""Errors of Tencent Cloud, which come with status 200.

Sources: https://cloud.tencent.com/document/api/1729/101835 (the codes of all its
products and of this one), and the `ErrorMsg` of a stream's frames. A code's first
word says what kind of error it is.
"""

from typing import Any

from posthouse.dialects.openai.errors import ErrorObject, judge
from posthouse.dialects.openai.errors import parse_error as parse_plainly
from posthouse.errors import UpstreamBadResponse, UpstreamFault
from posthouse.model.chat import Extras
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_STATUS = {
    "AuthFailure": 401,
    "DryRunOperation": 400,
    "FailedOperation": 500,
    "InternalError": 500,
    "InvalidParameter": 400,
    "InvalidParameterValue": 400,
    "LimitExceeded": 429,
    "MissingParameter": 400,
    "OperationDenied": 400,
    "RequestLimitExceeded": 429,
    "ResourceInsufficient": 401,
    "ResourceNotFound": 404,
    "ResourceUnavailable": 401,
    "UnauthorizedOperation": 403,
    "UnknownParameter": 400,
    "UnsupportedOperation": 400,
}
"""By a code's first word; what is wanting of the account's credit is its own."""
_STATUS_OF_FAILED = {
    "EngineRequestTimeout": 408,
    "EngineServerLimitExceeded": 429,
    "FreeResourcePackExhausted": 401,
    "ResourcePackExhausted": 401,
    "ServiceNotActivated": 401,
    "ServiceStop": 401,
    "ServiceStopArrears": 401,
}
"""Of those whose first word is `FailedOperation`, by the second."""
_FILTERED = ("IllegalDetected", "Sensitive")
_CALLERS_FAULT = range(4000, 5000)
"""Numbers of a stream's errors that blame the request."""


def fault_in(value: Extras) -> UpstreamFault | None:
    """Judge a reply or a frame; None if it is no error."""
    error = value.get("Error")
    if isinstance(error, dict):
        fault = _judged(error.get("Code"), error.get("Message"))
        return _standing_for(fault)
    told = value.get("ErrorMsg")
    if not isinstance(told, dict) or not (told.get("Msg") or told.get("Code")):
        return None
    code = told.get("Code")
    status = 400 if isinstance(code, int) and code in _CALLERS_FAULT else 500
    return judge(status, ErrorObject(told.get("Msg"), code=str(code)))


def _judged(code: Any, message: Any) -> UpstreamFault:
    text = code if isinstance(code, str) else ""
    if any(word in text for word in _FILTERED):
        return judge(400, ErrorObject(message, code="content_filter"))
    first, _, second = text.partition(".")
    status = _STATUS_OF_FAILED.get(second) or _STATUS.get(first, 500)
    return judge(status, ErrorObject(message, code=text or None))


def _standing_for(fault: UpstreamFault) -> UpstreamFault:
    fault.stands_for = getattr(fault, "upstream_status", fault.status)
    return fault


def parse_error(status: int, body: bytes) -> UpstreamFault:
    """Judge an error reply, should one come with another status."""
    if status >= 400:
        try:
            value = json.decode_leniently(body)
        except MalformedJSON:
            value = None
        response = value.get("Response") if isinstance(value, dict) else None
        fault = fault_in(response) if isinstance(response, dict) else None
        if fault is not None:
            return fault
    if status < 300:
        return UpstreamBadResponse()
    return parse_plainly(status, body)
