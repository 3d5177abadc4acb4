"""Answers of models that were only asked to keep to a schema are held to it."""

from typing import Any

import pytest
from tests.support.cases import each

from posthouse.dialects import (
    anthropic_messages,
    gemini_generate,
    openai_chat,
    openai_responses,
)
from posthouse.dialects.base import ParsedRequest, make_edits
from posthouse.dialects.neutral.several import SeveralTranslation
from posthouse.dialects.neutral.translation import Naming, Speaker, Translation
from posthouse.errors import UpstreamUnlikeSchema
from posthouse.model.catalog import Quirks
from posthouse.model.traits import Traits
from posthouse.wire import json

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
GOOD = '{"city": "Paris"}'
BAD = '{"town": "Paris"}'
HI = [{"role": "user", "content": "Hi"}]
CHAT = Speaker(openai_chat.DIALECT, openai_chat.CODEC)
CLAUDE = Speaker(anthropic_messages.DIALECT, anthropic_messages.CODEC)
GEMINI = Speaker(gemini_generate.DIALECT, gemini_generate.CODEC)
RESPONSES = Speaker(openai_responses.DIALECT, openai_responses.CODEC)
NAMING = Naming(lambda: "1", lambda: 0.0)
WITHOUT = Traits(model="m", schema=False)


def asked(**members: Any) -> ParsedRequest:
    """A request of Anthropic's with a schema."""
    form = {"format": {"type": "json_schema", "schema": SCHEMA}}
    body = {"model": "m", "max_tokens": 9, "messages": HI, "output_config": form}
    return CLAUDE.dialect.parse_request(json.encode(body | members))


def answer(text: str, finish: str = "stop", **message: Any) -> bytes:
    said = {"role": "assistant", "content": text, **message}
    choice = {"index": 0, "message": said, "finish_reason": finish}
    return json.encode({"id": "1", "model": "m", "choices": [choice]})


def said(
    reply: bytes, request: ParsedRequest | None = None, traits: Traits = WITHOUT
) -> str:
    """What an Anthropic client is told."""
    translation = Translation(CLAUDE, CHAT, traits, NAMING)
    body = translation.parse_reply(request or asked(), reply, None).body
    content = json.decode(body, dict[str, Any])["content"]
    return "".join(block.get("text", "") for block in content)


def test_what_matches_passes() -> None:
    assert said(answer(GOOD)) == GOOD


@each("fence", ["```json\n{}\n```", "\n```\n{}\n```\n", "```JSON \n{}```"])
def test_a_fence_around_it_is_left_out(fence: str) -> None:
    assert said(answer(fence.replace("{}", GOOD))) == GOOD


@each("text", [BAD, "Paris", f"Here: {GOOD}", "", f"```py\n{GOOD}\n```"])
def test_what_does_not_match_is_refused(text: str) -> None:
    with pytest.raises(UpstreamUnlikeSchema):
        said(answer(text))


@each(
    "reply",
    [
        answer(BAD, "length"),
        answer(BAD, "content_filter"),
        answer(BAD, refusal="No."),
        answer(
            BAD,
            "tool_calls",
            tool_calls=[
                {
                    "id": "1",
                    "type": "function",
                    "function": {"name": "f", "arguments": ""},
                }
            ],
        ),
    ],
)
def test_what_is_no_answer_is_not_judged(reply: bytes) -> None:
    assert BAD in said(reply)


def test_a_model_that_is_held_to_schemas_is_believed() -> None:
    assert said(answer(BAD), traits=Traits(model="m")) == BAD


def test_who_asks_for_no_schema_is_given_anything() -> None:
    assert said(answer(BAD), asked(output_config={"effort": "low"})) == BAD


@each(("strict", "binds"), [(True, True), (False, False), (None, False)])
@each("client", [CHAT, RESPONSES])
def test_openai_s_callers_say_whether_it_binds(
    client: Speaker, strict: bool | None, binds: bool
) -> None:
    form: dict[str, Any] = {"name": "a", "schema": SCHEMA}
    form |= {} if strict is None else {"strict": strict}
    body: dict[str, Any] = {"model": "m"}
    if client is CHAT:
        whole = {"type": "json_schema", "json_schema": form}
        body |= {"messages": HI, "response_format": whole}
    else:
        body |= {"input": "Hi", "text": {"format": {"type": "json_schema", **form}}}
    request = client.dialect.parse_request(json.encode(body))
    reply = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": BAD}],
        "stop_reason": "end_turn",
    }
    translation = Translation(client, CLAUDE, WITHOUT, NAMING)
    if not binds:
        assert translation.parse_reply(request, json.encode(reply), None).body
        return
    with pytest.raises(UpstreamUnlikeSchema):
        translation.parse_reply(request, json.encode(reply), None)


def test_google_s_callers_have_it_bind() -> None:
    config = {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    contents = [{"role": "user", "parts": [{"text": "Hi"}]}]
    body = json.encode({"contents": contents, "generationConfig": config})
    request = gemini_generate.request.parse_request_for(body, "m", stream=False)
    translation = Translation(GEMINI, CHAT, WITHOUT, NAMING)
    assert translation.parse_reply(request, answer(GOOD), None).body
    with pytest.raises(UpstreamUnlikeSchema):
        translation.parse_reply(request, answer(BAD), None)


def test_one_of_several_answers_is_enough_to_refuse_all() -> None:
    translation = SeveralTranslation(CLAUDE, CHAT, WITHOUT, NAMING)
    reply, _ = translation.join(asked(), [answer(GOOD), answer(GOOD)], None)
    assert reply.body
    with pytest.raises(UpstreamUnlikeSchema):
        translation.join(asked(), [answer(GOOD), answer(BAD)], None)


@pytest.mark.parametrize(("stream", "told"), [(True, 1), (False, 0)])
def test_a_stream_that_nobody_judges_is_told_to_be_so(stream: bool, told: int) -> None:
    request = asked(stream=stream)
    translation = Translation(CLAUDE, CHAT, WITHOUT, NAMING)
    translation.render_request(request, make_edits("m", Quirks()))
    losses = request.reading.losses["openai_chat"]
    assert losses.count("-response_format.strict") == told
    assert "~response_format" in losses
