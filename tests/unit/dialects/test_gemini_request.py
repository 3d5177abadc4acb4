"""What is judged of a request before anybody reads it: model, money, spellings."""

from typing import Any

import msgspec
import pytest
from tests.support.cases import each
from tests.unit.dialects.gemini_asked import body_of, parsed

from posthouse.dialects.base import PromptSize, make_edits
from posthouse.dialects.gemini_generate import DIALECT
from posthouse.dialects.gemini_generate.count import parse_count_for, render_count
from posthouse.dialects.gemini_generate.request import parse_request_for
from posthouse.errors import InvalidRequest
from posthouse.model.catalog import Quirks

PICTURE = {"inlineData": {"mimeType": "image/png", "data": "A" * 4000}}


def rendered(body: bytes, **edits: Any) -> dict[str, Any]:
    request = parsed(body)
    quirks = edits.pop("quirks", Quirks())
    found = make_edits("other", quirks, **edits)
    return msgspec.json.decode(DIALECT.render_request(request, found))


def test_the_path_names_the_model() -> None:
    """And says whether it streams; the body's word for either is left out."""
    body = body_of(model="models/another", stream=False)
    request = parse_request_for(body, "gemini-2.5-pro", stream=True)
    assert (request.model, request.stream) == ("gemini-2.5-pro", True)
    sent = DIALECT.render_request(request, make_edits("gemini-2.5-pro", Quirks()))
    assert msgspec.json.decode(sent).keys() == {"contents"}


def test_without_a_path_the_body_names_them() -> None:
    """For callers who have none."""
    request = DIALECT.parse_request(body_of(model="models/gemini-x", stream=True))
    assert (request.model, request.stream) == ("gemini-x", True)
    assert request.envelope.keys() == {"contents"}


def test_both_spellings_are_judged() -> None:
    """Limits count whatever they are called."""
    for config in (
        {"generationConfig": {"maxOutputTokens": 5, "candidateCount": 2}},
        {"generation_config": {"max_output_tokens": 5, "candidate_count": 2}},
    ):
        request = parsed(body_of(**config))
        assert (request.output_limit, request.choices) == (5, 2)


@each(
    "members",
    [
        {"generationConfig": {}, "generation_config": {}},
        {"GenerationConfig": {"maxOutputTokens": 5}},
        {"generationConfig": {"maxOutputTokens": 5, "max_output_tokens": 6}},
        {"generationConfig": {"maxoutputtokens": 6}},
        {"Tools": []},
        {"contents_": []},
    ],
)
def test_a_name_has_one_spelling(members: dict[str, Any]) -> None:
    """Some server might take the one that was not judged."""
    with pytest.raises(InvalidRequest):
        parsed(body_of(**members))


def test_a_name_twice_goes_on_as_it_was_judged() -> None:
    """The last one counts, here and there."""
    body = (
        b'{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":'
        b'{"maxOutputTokens":5,"maxOutputTokens":7,"x":1.10}}'
    )
    request = parsed(body)
    assert request.output_limit == 7
    sent = DIALECT.render_request(request, make_edits("m", Quirks()))
    assert sent.endswith(b'"generationConfig":{"maxOutputTokens":7,"x":1.10}}')


@each(
    ("tools", "searches"),
    [
        ([], 0),
        ([{"functionDeclarations": [{"name": "f"}]}], 0),
        ({"googleSearch": {}}, 1),
        ([{"google_search_retrieval": {}}, {"urlContext": {}}], 1),
        ([{"codeExecution": {}}], 0),
    ],
)
def test_searches_have_a_price(tools: Any, searches: int) -> None:
    """And what costs nothing but tokens is free."""
    assert parsed(body_of(tools=tools)).searches == searches


@each("tool", ["googleMaps", "fileSearch", "mcpServers", "novel"])
def test_tools_without_a_price_are_refused(tool: str) -> None:
    """Nobody would know what to charge."""
    with pytest.raises(InvalidRequest, match=tool):
        parsed(body_of(tools=[{tool: {}}]))


def test_nobody_else_chooses_the_model() -> None:
    """What is charged is the model of the path."""
    with pytest.raises(InvalidRequest, match="routingConfig"):
        parsed(body_of(generationConfig={"routingConfig": {"autoMode": {}}}))


@each(
    "members",
    [
        {"contents": None},
        {"contents": []},
        {"contents": "hi"},
        {"contents": [{"parts": [{"text": 5}]}]},
        {"generationConfig": []},
        {"generationConfig": {"maxOutputTokens": 0}},
        {"generationConfig": {"maxOutputTokens": "5"}},
        {"generationConfig": {"candidateCount": 1000}},
        {"systemInstruction": 5},
        {"tools": "googleSearch"},
        {"cachedContent": 5},
    ],
)
def test_what_cannot_be_is_refused(members: dict[str, Any]) -> None:
    """With the member's name."""
    with pytest.raises(InvalidRequest) as caught:
        parsed(body_of(**members))
    assert caught.value.param


def test_what_is_no_json_is_refused() -> None:
    """As in every other dialect."""
    with pytest.raises(InvalidRequest, match="parse the JSON"):
        parsed(b"{")


def test_media_count_as_parts() -> None:
    """Their bytes are no text."""
    contents = [
        {"role": "user", "parts": [{"text": "x"}, PICTURE]},
        {"parts": {"inline_data": {"mime_type": "audio/wav", "data": "A" * 999}}},
        {"parts": [{"fileData": {"fileUri": "gs://a/b"}}]},
        {
            "parts": [
                {"functionResponse": {"name": "f", "response": {}, "parts": [PICTURE]}}
            ]
        },
    ]
    size = parsed(body_of(contents=contents)).prompt
    assert (size.messages, size.images, size.audio_parts, size.files) == (4, 2, 1, 1)
    assert 500 < size.text_bytes < 1800


def test_a_conversation_is_known_by_its_beginning() -> None:
    """What the system and the user say first; or by the prompt that is kept."""
    first = parsed(body_of(systemInstruction="be brief"))
    more = [
        {"role": "user", "parts": [{"text": "hi"}]},
        {"role": "model", "parts": [{"text": "yes"}]},
        {"role": "user", "parts": [{"text": "more"}]},
    ]
    second = parsed(
        body_of(systemInstruction={"parts": {"text": "be brief"}}, contents=more)
    )
    assert first.affinity[:2] == second.affinity == ("be brief", "hi")
    kept = parsed(body_of(cachedContent="cachedContents/a"))
    assert kept.affinity == b"cachedContents/a"


def test_a_channel_changes_what_it_must() -> None:
    """Members by their names at the top."""
    body = body_of(labels={"a": 1}, safetySettings=[])
    sent = rendered(body, members={"serviceTier": "flex"}, drop=("labels",))
    assert sent.keys() == {"contents", "safetySettings", "serviceTier"}


def test_the_prompts_text() -> None:
    """Everything that a model reads, and no payload."""
    body = body_of(
        contents=[{"parts": [{"text": "héllo"}, PICTURE]}],
        system_instruction={"parts": [{"text": "brief"}]},
        tools=[{"functionDeclarations": [{"name": "look"}]}],
    )
    text = DIALECT.prompt_text(parsed(body))
    assert all(word in text for word in ("héllo", "brief", "look"))
    assert "AAAA" not in text


def test_counting_takes_contents_or_a_whole_request() -> None:
    """Not both."""
    plain = parse_count_for(body_of(), "gemini-x")
    inner = msgspec.json.decode(body_of(systemInstruction="be brief"))
    whole = msgspec.json.encode({"generateContentRequest": inner})
    assert plain.prompt == PromptSize(len(b'[{"parts":[{"text":"hi"}]}]'), 1)
    assert parse_count_for(whole, "gemini-x").affinity == ("be brief", "hi")
    with pytest.raises(InvalidRequest):
        parse_count_for(body_of(generate_content_request=inner), "gemini-x")
    assert render_count(7) == b'{"totalTokens":7}'
