"""A Responses request's envelope: what routing and money read of it."""

import json
from typing import Any

import pytest
from tests.support.cases import each

from posthouse.dialects.base import ParsedRequest, make_edits
from posthouse.dialects.openai_responses import CODEC, DIALECT
from posthouse.errors import InvalidRequest
from posthouse.model.catalog import Quirks
from posthouse.model.chat import ServerTool

FUNCTION = {"type": "function", "name": "f", "parameters": {}, "strict": False}


def parse(**members: Any) -> ParsedRequest:
    body = {"model": "m", "input": "hi", **members}
    return DIALECT.parse_request(json.dumps(body).encode())


def refusal(**members: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse(**members)
    return caught.value


def rendered(request: ParsedRequest, model: str = "m") -> dict[str, Any]:
    body = DIALECT.render_request(request, make_edits(model, Quirks()))
    found: dict[str, Any] = json.loads(body)
    return found


def test_a_text_is_one_message() -> None:
    """Its size is what a model reads."""
    request = parse(instructions="Be brief.", max_output_tokens=7, stream=True)
    assert (request.model, request.stream, request.output_limit) == ("m", True, 7)
    assert request.prompt.messages == 1
    assert request.prompt.text_bytes == len(b'"Be brief.""hi"')
    assert request.affinity == ("Be brief.", "hi")


def test_streams_are_not_asked_for_usage() -> None:
    """They tell it anyway, and OpenAI refuses the option."""
    assert rendered(parse(stream=True)).keys() == {"model", "input", "stream"}


def test_media_count_as_parts_and_not_as_bytes() -> None:
    """In messages, and in what tools return."""
    data = "data:image/png;base64," + "A" * 10_000
    items = [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "?"},
                {"type": "input_image", "image_url": data},
                {"type": "input_image", "file_id": "file-1"},
                {"type": "input_file", "file_data": data},
                {"type": "input_audio", "input_audio": {"data": "A" * 10_000}},
            ],
        },
        {
            "type": "function_call_output",
            "call_id": "c",
            "output": [{"type": "input_image", "image_url": data}],
        },
        {
            "type": "computer_call_output",
            "call_id": "c",
            "output": {"type": "computer_screenshot", "image_url": data},
        },
        {"type": "image_generation_call", "id": "i", "result": "A" * 10_000},
    ]
    prompt = parse(input=items).prompt
    assert (prompt.images, prompt.files, prompt.audio_parts) == (5, 1, 1)
    assert prompt.text_bytes < 4_000


def test_a_conversation_is_known_by_how_it_begins() -> None:
    """Whatever follows its first question; a key that the client gives comes first."""
    first = {"role": "user", "content": "One?"}
    then = [
        first,
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "2"},
    ]
    assert parse(input=[first]).affinity == parse(input=then).affinity
    assert parse(input=then, prompt_cache_key="k").affinity == b"k"
    long = parse(instructions="x" * 9_000, input=then).affinity
    assert sum(map(len, long)) <= 4_096


# --- what is refused ------------------------------------------------------------------


@each(
    ("members", "param"),
    [
        ({"input": None}, "input"),
        ({"input": 1}, "input"),
        ({"input": ["x"]}, "input[0]"),
        ({"model": ""}, "model"),
        ({"instructions": ["x"]}, "instructions"),
        ({"background": True}, "background"),
        ({"store": "yes"}, "store"),
        ({"Stream": True}, "Stream"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"tools": [{}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "Model": "x"}]}, "Model"),
    ],
    ids=str,
)
def test_what_no_provider_takes_costs_nobody_anything(
    members: dict[str, Any], param: str
) -> None:
    """And is told by its place."""
    assert refusal(**members).param == param


@each("name", ["prompt", "previous_response_id", "conversation"])
def test_what_is_kept_elsewhere_may_stand_for_the_input(name: str) -> None:
    """Of a provider that keeps it."""
    value = {"id": "pmpt_1"} if name == "prompt" else "x_1"
    assert parse(input=None, **{name: value}).prompt.messages == 0


# --- tools ----------------------------------------------------------------------------


@each(
    "tool",
    [
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "file_search", "vector_store_ids": ["v"]},
        {"type": "image_generation"},
        {"type": "shell"},
        {"type": "shell", "environment": {"type": "container_auto"}},
        {"type": "hologram"},
    ],
    ids=lambda tool: str(tool["type"]),
)
def test_tools_without_a_price_are_refused_alone_and_left_out_beside_others(
    tool: dict[str, Any],
) -> None:
    """Agents offer them with every request; what is called for is never left out."""
    assert refusal(tools=[tool]).param == "tools"
    request = parse(tools=[FUNCTION, tool])
    assert request.dropped == (f"-tools.{tool['type']}",)
    assert rendered(request)["tools"] == [FUNCTION]
    assert refusal(tools=[FUNCTION, tool], tool_choice={"type": tool["type"]})
    assert refusal(tools=[FUNCTION, tool], tool_choice="required")


@each(
    "tool",
    [
        {"type": "custom", "name": "c"},
        {"type": "namespace", "name": "n", "description": "", "tools": [FUNCTION]},
        {"type": "local_shell"},
        {"type": "shell", "environment": {"type": "local"}},
        {"type": "apply_patch"},
        {"type": "computer"},
        {"type": "mcp", "server_label": "s", "server_url": "https://example.com"},
        {"type": "tool_search", "execution": "client"},
    ],
    ids=lambda tool: str(tool["type"]),
)
def test_tools_that_cost_nothing_but_tokens_pass(tool: dict[str, Any]) -> None:
    """Untouched."""
    request = parse(tools=[tool])
    assert request.searches == 0
    assert rendered(request)["tools"] == [tool]


def test_a_search_is_priced_and_may_be_missing_beside_other_tools() -> None:
    """Alone it is what the call is for."""
    search = {"type": "web_search", "external_web_access": False}
    alone = parse(tools=[search])
    assert (alone.searches, alone.without_searches) == (1, None)
    beside = parse(tools=[search, FUNCTION])
    assert beside.searches == 1
    without = beside.without_searches
    assert without is not None
    assert without.searches == 0
    assert without.dropped == ("-tools.web_search",)
    assert rendered(without)["tools"] == [FUNCTION]
    assert rendered(beside)["tools"] == [search, FUNCTION]
    forced = parse(tools=[search, FUNCTION], tool_choice={"type": "web_search_preview"})
    assert forced.without_searches is None


def test_only_tools_that_may_be_missing_are_optional_in_translation() -> None:
    """So that a chat model serves agents that offer a search with every request."""
    for tools, optional in (
        ([FUNCTION, {"type": "web_search"}], True),
        ([{"type": "web_search"}], False),
    ):
        chat = CODEC.read_request(parse(tools=tools))
        found = [tool for tool in chat.tools if isinstance(tool, ServerTool)]
        assert [tool.optional for tool in found] == [optional]


def test_tools_in_the_conversation_are_judged_like_all_others() -> None:
    """Their models, their prices, and of a name that stands twice the last."""
    tools = b'[{"type":"function","type":"web_search"}]'
    body = b'{"model":"m","input":[{"type":"additional_tools","tools":%b}]}'
    request = DIALECT.parse_request(body % tools)
    assert request.searches == 1
    assert rendered(request)["input"][0]["tools"] == [{"type": "web_search"}]
    hidden = {"type": "additional_tools", "tools": [{"type": "image_generation"}]}
    assert refusal(input=[hidden]).param == "tools"
    nested = {"type": "namespace", "name": "n", "tools": [{"type": "code_interpreter"}]}
    assert refusal(tools=[nested, FUNCTION]).param == "tools"


def test_every_model_that_a_body_names_is_told() -> None:
    """Wherever it stands."""
    request = parse(
        moderation={"model": "omni"},
        tools=[{"type": "mcp", "model": "a"}],
        input=[{"type": "additional_tools", "tools": [{"type": "mcp", "model": "b"}]}],
    )
    assert request.other_models == ("omni", "a", "b")


# --- passing --------------------------------------------------------------------------


def test_a_request_passes_to_the_letter() -> None:
    """But for the model's name."""
    body = b'{"model":"m","input":[{"role":"user","content":"\\u00e9 1.10"}],"n":1e400}'
    request = DIALECT.parse_request(body)
    written = DIALECT.render_request(request, make_edits("other", Quirks()))
    assert written == body.replace(b'"m"', b'"other"')


def test_reasoning_that_others_have_signed_does_not_reach_openai() -> None:
    """It could only refuse it; what it has encrypted itself passes."""
    own = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAA"}
    sealed = {**own, "encrypted_content": "posthouse.anthropic_messages.sig"}
    said = {"role": "user", "content": 'say "posthouse.x"'}
    request = parse(input=[said, own, sealed])
    assert rendered(request)["input"] == [said, own]


def test_the_prompt_is_read_for_counting() -> None:
    """Words, and not what surrounds them."""
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "one"}]},
        {"type": "function_call", "call_id": "call_x", "name": "f", "arguments": "{}"},
        {"type": "reasoning", "encrypted_content": "secret", "summary": []},
    ]
    text = DIALECT.prompt_text(parse(input=items, instructions="zero"))
    assert text.split("\n") == ["one", "f", "{}", "zero"]
