"""What is seldom said in Anthropic's dialect, and never lost."""

import json
from typing import Any

import pytest
from tests.support.cases import each
from tests.unit.dialects.anthropic_asked import HI, asked, refused, written
from tests.unit.dialects.anthropic_frames import (
    block,
    decoded,
    frame,
    grow,
    start,
    stop,
)

from posthouse.dialects.anthropic_messages import CODEC, DIALECT, request
from posthouse.dialects.neutral.codec import Losses
from posthouse.errors import InvalidRequest, UpstreamBadResponse
from posthouse.model.chat import (
    Foreign,
    Image,
    Media,
    Message,
    Role,
    ServerTool,
    Text,
    Thinking,
    ToolCall,
)
from posthouse.model.chat_events import UsageTold
from posthouse.model.traits import Replay, Traits
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json as wire


def there_and_back(body: dict[str, Any]) -> Any:
    chat = CODEC.read_request(DIALECT.parse_request(json.dumps(body).encode()))
    losses = Losses()
    found = CODEC.write_request(chat, Traits(model=body["model"]), losses)
    assert losses.told == ()
    return json.loads(wire.encode(found))


def with_content(*blocks: Any, role: str = "user", **members: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    turns.append({"role": role, "content": list(blocks)})
    return {"model": "m", "max_tokens": 5, "messages": turns, **members}


@each(
    "content",
    [
        {"type": "image", "source": {"type": "novel", "x": 1}},
        {"type": "image", "source": "https://e.com"},
        {"type": "document", "source": {"type": "novel"}, "title": "t"},
        {
            "type": "document",
            "source": {
                "type": "content",
                "content": [{"type": "image", "source": {"type": "url", "url": "u"}}],
            },
        },
        {
            "type": "document",
            "source": {"type": "content", "content": "words"},
            "citations": {"enabled": True, "novel": 1},
        },
        {"type": "document", "source": {"type": "file", "file_id": "f", "novel": 1}},
        {"type": "search_result", "source": "s", "title": "t", "content": "odd"},
        {
            "type": "search_result",
            "source": "s",
            "title": "t",
            "content": [{"type": "text", "text": "x"}],
            "cache_control": {"type": "ephemeral"},
        },
        {"type": "text", "text": "x", "cache_control": {"type": "novel", "ttl": "1h"}},
        {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "n": 1}},
        {
            "type": "text",
            "text": "x",
            "citations": [
                {"type": "content_block_location", "cited_text": "y", "n": 1},
                {"type": "search_result_location", "cited_text": "y", "source": "s"},
            ],
        },
        {"type": "container_upload", "file_id": "f"},
    ],
)
def test_a_block_of_a_new_kind_goes_on_whole(content: Any) -> None:
    """To providers of the dialect."""
    body = with_content(content)
    assert there_and_back(body) == body


@each(
    "members",
    [
        {"thinking": {"type": "between_tools"}},
        {"thinking": {"type": "enabled", "budget_tokens": 1024, "display": "full"}},
        {"output_config": {"effort": "low", "task_budget": {"total": 1}}},
        {"output_config": {"format": {"type": "novel"}}},
        {"tool_choice": {"type": "novel", "disable_parallel_tool_use": True}},
        {"tools": [{"type": "custom", "name": "f", "input_schema": {}}]},
        {"tools": [{"name": "f"}], "tool_choice": {"type": "none", "novel": 1}},
        {"tools": [{"type": "web_fetch_20260318", "name": "web_fetch"}]},
        {"metadata": {"novel": 1}},
        {"cache_control": {"type": "ephemeral"}, "container": {"id": "c"}},
        {"system": [{"type": "text", "text": "a", "novel": 1}]},
    ],
)
def test_members_of_a_new_kind_go_on(members: dict[str, Any]) -> None:
    """To providers of the dialect."""
    body = with_content({"type": "novel_block"}, **members)
    assert there_and_back(body) == body


def test_numbers_beyond_all_bounds_are_the_caller_s_fault() -> None:
    """Where they must be read; as arguments they go on to the letter."""
    body = json.dumps(with_content({"type": "text", "text": "x"}))
    parsed = DIALECT.parse_request(body.replace("{", '{"n":1e400,', 1).encode())
    with pytest.raises(InvalidRequest):
        CODEC.read_request(parsed)


def test_prompts_with_a_number_that_nobody_reads_are_still_counted() -> None:
    """Their JSON stands for their text."""
    number = "1" * 5000
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {"n": 0}}
    body = json.dumps(with_content(use)).replace('"n": 0', f'"n": {number}')
    assert number in DIALECT.prompt_text(DIALECT.parse_request(body.encode()))


def test_there_is_an_end_to_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the API takes."""
    monkeypatch.setattr(request, "MESSAGES_LIMIT", 2)
    body = json.dumps(with_content({"type": "text", "text": "x"})).encode()
    with pytest.raises(InvalidRequest, match="at most 2"):
        DIALECT.parse_request(body)


def test_arguments_that_are_sloppy_are_read_leniently() -> None:
    """Of a reply that only a lenient parser takes."""
    use = '{"type":"tool_use","id":"t","name":"f","input":{"a":"\\ud83d"}}'
    body = f'{{"content":[{use}],"stop_reason":"tool_use"}}'
    call = CODEC.read_reply(body.encode()).choices[0].parts[0]
    assert call == ToolCall("t", "f", '{"a":"\ufffd"}')


def test_a_reply_that_has_not_ended_has_no_reason() -> None:
    """Nothing is made up."""
    assert CODEC.read_reply(b'{"content":[]}').choices[0].finish is None


def test_arguments_of_a_server_tool_that_are_no_json_are_a_bad_response() -> None:
    """It could not be put back."""
    pieces = grow(0, "input_json_delta", partial_json="{")
    with pytest.raises(UpstreamBadResponse):
        decoded(start(), block(0, type="server_tool_use", input={}), pieces, stop(0))


def test_usage_may_come_alone() -> None:
    """Without an end, and the other way round."""
    events = decoded(
        start(),
        frame("message_delta", usage={"output_tokens": 3}),
        frame("message_delta", delta={"stop_reason": None}),
        frame("message_delta", delta={"stop_reason": "end_turn", "container": {}}),
    )
    assert events[2] == UsageTold(ReportedUsage(input=9, output=3, searches=0))
    assert events[-1] == UsageTold(None, extras={"container": {}})


def test_a_system_prompt_is_text() -> None:
    """Pictures in it are refused; what another dialect holds there is told by name."""
    picture = Image(Media(url="u"))
    assert refused(asked(Message(Role.SYSTEM, (picture,)), HI)) == "messages.content"
    held = Foreign("cachedContent", {})
    found = refused(asked(Message(Role.SYSTEM, (held,)), HI))
    assert found == "messages.content.cachedContent"


def test_what_only_a_model_says_is_left_out_of_a_user_s_turn() -> None:
    """It has no place there."""
    _, told = written(asked(Message(Role.USER, (Text("a"), Thinking("b")))))
    assert told == ("-messages.content.thinking",)


def test_searches_may_be_held_off_domains() -> None:
    """Where none are named that are wanted."""
    tool = ServerTool("web_search", max_uses=2, blocked_domains=("a.com",))
    body, _ = written(asked(tools=(tool,)))
    assert body["tools"][0]["blocked_domains"] == ["a.com"]
    assert body["tools"][0]["max_uses"] == 2


def test_without_a_user_all_thoughts_are_of_this_turn() -> None:
    """Where providers want them back."""
    chat = asked(Message(Role.ASSISTANT, (Thinking("a"), Text("b"))))
    body, _ = written(chat, Traits(replay=Replay.TOOLS))
    assert body["messages"][1]["content"][0]["thinking"] == "a"
