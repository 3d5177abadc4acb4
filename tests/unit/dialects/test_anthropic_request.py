"""The envelope of a Messages request: what routing and money need of it."""

import json
from typing import Any

import pytest
from tests.support.cases import each
from tests.unit.dialects.asked import in_common

from posthouse.dialects.anthropic_messages import (
    DIALECT,
    parse_count_request,
    render_count,
)
from posthouse.dialects.base import ParsedRequest, make_edits
from posthouse.errors import InvalidRequest
from posthouse.model.catalog import Quirks

HELLO = [{"role": "user", "content": "Hello"}]


def parsed(messages: Any = HELLO, **members: Any) -> ParsedRequest:
    body = {"model": "claude-x", "max_tokens": 64, "messages": messages, **members}
    return DIALECT.parse_request(json.dumps(body).encode())


def rendered(body: str, model: str = "claude-x") -> str:
    request = DIALECT.parse_request(body.encode())
    return DIALECT.render_request(request, make_edits(model, Quirks())).decode()


def test_the_envelope_tells_model_stream_and_limit() -> None:
    """The members that decide where a call goes and what it costs."""
    request = parsed(stream=True)
    assert (request.model, request.stream, request.output_limit) == (
        "claude-x",
        True,
        64,
    )
    assert request.include_usage


def test_a_limit_of_nothing_warms_the_cache() -> None:
    """`max_tokens` may be zero."""
    body = {"model": "m", "max_tokens": 0, "messages": HELLO}
    assert DIALECT.parse_request(json.dumps(body).encode()).output_limit == 0


@each(
    ("members", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        ({"messages": HELLO, "max_tokens": "many"}, "max_tokens"),
        ({"messages": HELLO, "max_tokens": -1}, "max_tokens"),
        ({"messages": HELLO, "system": 7}, "system"),
        ({"messages": HELLO, "stream": "yes"}, "stream"),
        ({"messages": HELLO, "thinking": "deep"}, "thinking"),
        ({"messages": HELLO, "metadata": []}, "metadata"),
        ({"messages": HELLO, "tools": {}}, "tools"),
        ({"messages": HELLO, "tools": [{"type": 1}]}, "tools[0].type"),
    ],
)
def test_what_is_of_the_wrong_type_is_refused_by_name(
    members: dict[str, Any], param: str
) -> None:
    """The caller is told the member."""
    with pytest.raises(InvalidRequest) as caught:
        DIALECT.parse_request(json.dumps({"model": "m", **members}).encode())
    assert caught.value.param == param


def test_messages_are_needed() -> None:
    """A request without any is none."""
    with pytest.raises(InvalidRequest, match="messages: Field required"):
        DIALECT.parse_request(b'{"model":"m"}')


def test_payloads_of_media_are_not_text() -> None:
    """Pictures and files count as such, also in a tool's result; texts count whole."""
    data = "A" * 100_000
    image = {"type": "image", "source": {"type": "base64", "data": data}}
    pdf = {"type": "document", "source": {"type": "base64", "data": data}}
    text = {"type": "document", "source": {"type": "text", "data": "x" * 5_000}}
    inside = {"type": "content", "content": [image, {"type": "text", "text": "y"}]}
    chunks = {"type": "document", "source": inside}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image, pdf]}
    url = {"type": "image", "source": {"type": "url", "url": "https://e.com/a.png"}}
    prompt = parsed(
        [{"role": "user", "content": [image, pdf, text, chunks, result, url]}]
    ).prompt
    assert (prompt.images, prompt.files, prompt.messages) == (4, 2, 1)
    assert 5_000 < prompt.text_bytes < 10_000


def test_results_of_searches_have_other_shapes() -> None:
    """A `source` may be a text and `content` an object; neither is looked into."""
    found = {"type": "search_result", "source": "https://e.com", "content": []}
    failed = {"type": "web_search_tool_result", "content": {"type": "error"}}
    assert parsed([{"role": "user", "content": [found, failed]}]).prompt.files == 0


def test_system_and_tools_are_read_as_well() -> None:
    """What a model reads is measured."""
    small = parsed().prompt.text_bytes
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    assert parsed(system="s" * 1000, tools=tools).prompt.text_bytes > small + 1000


def test_calls_of_one_conversation_have_their_opening_in_common() -> None:
    """User, system prompt and first question, within four kibibytes."""
    system = [{"type": "text", "text": "s" * 9000}]
    metadata = {"user_id": "user-1"}
    one = in_common(parsed([*HELLO], system=system, metadata=metadata))
    more = [*HELLO, {"role": "assistant", "content": "Hi"}, {"role": "user"} | HELLO[0]]
    assert in_common(parsed(more, system=system, metadata=metadata)) == one
    assert one[0] == "user-1"
    assert one[-1] == "Hello"
    assert sum(map(len, one)) <= 4096
    assert in_common(parsed(system=system, metadata={"user_id": "other"})) != one
    long = [{"role": "user", "content": [{"type": "text", "text": "x" * 9000}]}]
    assert sum(map(len, in_common(parsed(long, system=system)))) <= 4096
    plain = [{"role": "user", "content": "q" * 9000}]
    assert in_common(parsed(plain, system="s" * 9000)) == ("s" * 1024, "q" * 2048)


@each(
    ("tool", "searches"),
    [
        ({"name": "f", "input_schema": {}}, 0),
        ({"type": "custom", "name": "f"}, 0),
        ({"type": None, "name": "f"}, 0),
        ({"type": "bash_20250124", "name": "bash"}, 0),
        ({"type": "memory_20250818", "name": "memory"}, 0),
        ({"type": "computer_toolset_20260801"}, 0),
        ({"type": "web_fetch_20260318", "name": "web_fetch"}, 0),
        ({"type": "tool_search_tool_bm25_20251119"}, 0),
        ({"type": "web_search_20250305", "name": "web_search"}, 10),
        ({"type": "web_search_20260318", "max_uses": 3}, 3),
        ({"type": "web_search_20260318", "max_uses": 9999}, 10),
    ],
)
def test_searches_are_reckoned_with(tool: dict[str, Any], searches: int) -> None:
    """They are priced apiece; what the caller runs costs nothing."""
    assert parsed(tools=[tool]).searches == searches


@each("kind", ["code_execution_20260521", "advisor_20260301", "x"])
def test_tools_without_a_price_are_refused(kind: str) -> None:
    """What the provider runs must have a price."""
    with pytest.raises(InvalidRequest, match="not offered here"):
        parsed(tools=[{"type": kind, "name": "n"}])


def test_every_model_in_the_body_is_named() -> None:
    """Fallbacks and tools may name others, which must be allowed and priced."""
    tool = {"name": "f", "model": "claude-z"}
    request = parsed(fallbacks=[{"model": "claude-y"}], tools=[tool])
    assert request.other_models == ("claude-y", "claude-z")


@each(
    ("members", "tier"),
    [
        ({}, None),
        ({"service_tier": "auto"}, "auto"),
        ({"speed": "fast"}, "fast"),
        ({"speed": "standard"}, None),
        ({"inference_geo": "us"}, "us"),
        ({"inference_geo": "us", "speed": "fast"}, "fast-us"),
    ],
)
def test_what_is_dearer_counts_as_a_tier(
    members: dict[str, Any], tier: str | None
) -> None:
    """Fast mode and processing in one country have prices of their own."""
    assert parsed(**members).service_tier == tier


def test_a_second_spelling_of_what_decides_is_refused() -> None:
    """Some servers match names whatever their case."""
    with pytest.raises(InvalidRequest):
        parsed(Model="other")


def test_the_prompt_s_text_is_what_is_read() -> None:
    """For counting where nobody counted: without data, ids and marks."""
    block = {"type": "text", "text": "two", "cache_control": {"type": "ephemeral"}}
    image = {"type": "image", "source": {"type": "base64", "data": "AAAA"}}
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {"q": "three"}}
    request = parsed(
        [
            {"role": "user", "content": [block, image]},
            {"role": "assistant", "content": [use]},
        ],
        system="one",
    )
    assert DIALECT.prompt_text(request).split("\n") == ["one", "two", "f", "three"]


# --- counting -----------------------------------------------------------------------


def test_a_count_is_asked_for_without_what_concerns_the_answer() -> None:
    """Nothing about the answer goes on, and no limit is needed."""
    body = {"model": "m", "messages": HELLO, "max_tokens": 5, "stream": True}
    request = parse_count_request(json.dumps(body | {"tools": []}).encode())
    assert set(request.envelope) == {"model", "messages", "tools"}
    assert (request.stream, request.output_limit) == (False, None)
    assert parse_count_request(
        json.dumps({"model": "m", "messages": HELLO}).encode()
    ).model == ("m")


def test_a_count_is_told() -> None:
    """As the SDK's `MessageTokensCount` has it."""
    assert json.loads(render_count(2095)) == {"input_tokens": 2095}


# --- to a provider of this dialect --------------------------------------------------


def test_a_request_goes_on_to_the_letter() -> None:
    """Numbers, escapes and unknown members stay as they stood."""
    body = (
        '{"model":"claude-x","max_tokens":64,"messages":[{"role":"user",'
        '"content":"\\u0041"}],"temperature":1.10,"novel":{"n":1e400}}'
    )
    assert rendered(body) == body
    assert rendered(body, "other") == body.replace("claude-x", "other")


def test_what_others_have_signed_stays_away() -> None:
    """Anthropic would refuse such thoughts; its own go on to the letter."""
    body = (
        '{"model":"claude-x","messages":[{"role":"assistant","content":['
        '{"type":"thinking","thinking":"a","signature":"posthouse.none."},'
        '{"type":"thinking","thinking":"b","signature":"Own=","x":1.0},'
        '{"type":"redacted_thinking","data":"posthouse.openai_responses.g"},'
        '{"type":"text","text":"c \\"posthouse."}]},'
        '{"role":"assistant","content":['
        '{"type":"thinking","thinking":"","signature":"posthouse.gemini.C"}]},'
        '{"role":"user","content":"go \\"posthouse.none.\\""}]}'
    )
    assert rendered(body) == (
        '{"model":"claude-x","messages":[{"role":"assistant","content":['
        '{"type":"thinking","thinking":"b","signature":"Own=","x":1.0},'
        '{"type":"text","text":"c \\"posthouse."}]},'
        '{"role":"user","content":"go \\"posthouse.none.\\""}]}'
    )


def test_what_others_have_found_is_not_cited() -> None:
    """A citation without Anthropic's own proof goes, the text stays."""
    mine = '{"type":"web_search_result_location","encrypted_index":"Eo8B"}'
    theirs = '{"type":"web_search_result_location","encrypted_index":"posthouse.none."}'
    body = (
        '{"model":"claude-x","messages":[{"role":"assistant","content":['
        f'{{"type":"text","text":"a","citations":[{mine},{theirs}]}},'
        f'{{"type":"text","text":"b","citations":[{theirs}]}}]}}]}}'
    )
    assert rendered(body) == (
        '{"model":"claude-x","messages":[{"role":"assistant","content":['
        f'{{"type":"text","text":"a","citations":[{mine}]}},'
        '{"type":"text","text":"b"}]}]}'
    )
