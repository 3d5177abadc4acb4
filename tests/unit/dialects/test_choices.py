"""What takes only some values says which, in one form for all dialects."""

from typing import Any

import pytest
from tests.support.cases import each

from posthouse.dialects.neutral.members import Members, invalid
from posthouse.dialects.resources.pages import read_wanted
from posthouse.errors import InvalidRequest
from posthouse.relay.prepare import find_dialect
from posthouse.wire import json

CHAT = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
TURN = {"role": "user", "parts": [{"text": "x"}]}
PICTURE = {"model": "m", "prompt": "x"}


@each(
    ("dialect", "body", "allowed"),
    [
        (
            "openai_chat",
            {**CHAT, "tools": [{"type": "odd"}]},
            "custom, function, web_search, builtin_function",
        ),
        (
            "anthropic_messages",
            {**CHAT, "max_tokens": 1, "tools": [{"type": "odd_20250101"}]},
            (
                "custom, bash_…, text_editor_…, memory_…, computer_…, browser_…, "
                "web_fetch_…, tool_search_tool_…, mcp_toolset, web_search_…"
            ),
        ),
        (
            "gemini_generate",
            {"model": "m", "contents": [TURN], "tools": [{"odd": {}}]},
            (
                "functionDeclarations, codeExecution, computerUse, googleSearch, "
                "googleSearchRetrieval, urlContext"
            ),
        ),
        (
            "openai_embeddings",
            {"model": "m", "input": "x", "encoding_format": "odd"},
            "float, base64",
        ),
        ("openai_images", {**PICTURE, "response_format": "odd"}, "url, b64_json"),
        (
            "plain_translate",
            {"text": "x", "target_language": "de", "format": "odd"},
            "text/plain, text/html, text/xml",
        ),
    ],
)
def test_a_refusal_lists_what_is_allowed(
    dialect: str, body: dict[str, Any], allowed: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        find_dialect(dialect).parse_request(json.encode(body))
    assert caught.value.message.endswith(f"must be one of {allowed}")
    assert caught.value.exact_code in ("invalid_value", "unsupported_value")


def test_members_and_queries_say_the_same() -> None:
    members = Members({"role": "odd"}, "messages", invalid)
    error = members.not_one_of("role", ("user", "system"))
    assert str(error).endswith("messages.role': expected one of user, system")
    with pytest.raises(InvalidRequest, match="must be one of asc, desc"):
        read_wanted("order=odd")
