"""What a tool has returned: an object here, parts elsewhere.

An object stays one. A text that is no object stands under `content`, a list under
`result`, an error under `error`; pictures and files stand beside the object.

Sources: `types.FunctionResponse` in google-genai 3.4.0;
https://ai.google.dev/gemini-api/docs/function-calling (2026-11).
"""

from typing import Any

from msgspec import Raw

from posthouse.dialects.gemini_generate.read_parts import Given, read_said
from posthouse.dialects.google.names import each
from posthouse.dialects.neutral.members import Members
from posthouse.model.chat import Extras, Part, Text, ToolResult
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_TEXT = "content"
_LIST = "result"
_ERROR = "error"

_any = json.decoder(Any)


def read_result(response: Members, call_id: str, name: str, given: Given) -> ToolResult:
    """Read a `functionResponse`, under the id of its call."""
    parts: list[Part] = []
    failed = False
    value = response.object("response")
    if value:
        text, failed = _read(value)
        parts.append(Text(text))
    for members in each(response, "parts", given.wrong):
        part = read_said(members, given)
        if part is not None:
            parts.append(part)
    return ToolResult(
        call_id,
        tuple(parts),
        name=name,
        is_error=True if failed else None,
        extras=response.extras(),
    )


def _read(value: Extras) -> tuple[str, bool]:
    """Give the text that an object stands for, and whether it is an error."""
    if len(value) == 1:
        (name, inside), *_ = value.items()
        failed = name == _ERROR
        if isinstance(inside, str) and name in (_TEXT, _ERROR):
            if not isinstance(_parsed(inside), dict | list):
                return inside, failed
        elif failed and isinstance(inside, dict | list):
            return json.encode(inside).decode(), True
        elif name == _LIST and isinstance(inside, list):
            return json.encode(inside).decode(), False
    return json.encode(value).decode(), False


def write_result(texts: list[str], *, failed: bool) -> Extras | Raw:
    """Write the object that some texts come to."""
    if not texts:
        return {}
    text = "\n".join(texts)
    value = _parsed(text)
    if failed:
        kept = Raw(text.encode()) if isinstance(value, dict | list) else text
        return {_ERROR: kept}
    if isinstance(value, dict):
        return Raw(text.encode())
    return {_LIST: Raw(text.encode())} if isinstance(value, list) else {_TEXT: text}


def _parsed(text: str) -> Any:
    """Read a text that may be JSON; None if it is not."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.decode_with(_any, text.encode())
    except (MalformedJSON, UnicodeEncodeError):
        return None
