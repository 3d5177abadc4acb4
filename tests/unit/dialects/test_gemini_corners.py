"""What is rare in Gemini's dialect, and must still be right."""

from typing import Any

import msgspec
import pytest
from tests.support.cases import each
from tests.unit.dialects.gemini_asked import (
    IDENTITY,
    STOP,
    asked,
    body_of,
    decoded,
    frame,
    parsed,
    read,
    usage,
    written,
)

from posthouse.dialects.gemini_generate import CODEC, DIALECT
from posthouse.dialects.gemini_generate.request import CONTENTS_LIMIT
from posthouse.dialects.neutral.collect import collect
from posthouse.errors import InvalidRequest
from posthouse.model.chat import (
    Audio,
    ChatReply,
    Choice,
    Document,
    Image,
    Media,
    Message,
    Reasoning,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from posthouse.model.traits import ThinkingStyle, Traits


def whole(*parts: Any, **members: Any) -> dict[str, Any]:
    """A reply, as Gemini's clients get it."""
    reply = ChatReply(
        dialect=members.pop("dialect", "openai_chat"),
        choices=(Choice(0, parts, None),),
    )
    return msgspec.json.decode(CODEC.write_reply(reply, asked(), IDENTITY))


def again(**members: Any) -> dict[str, Any]:
    """A request of Gemini's, read and written."""
    return written(read(**members))[0]


def test_conversations_have_an_end() -> None:
    """More turns than anybody has seen are refused."""
    turns = [{"parts": [{"text": "x"}]}] * (CONTENTS_LIMIT + 1)
    with pytest.raises(InvalidRequest):
        parsed(body_of(contents=turns))


def test_the_system_may_be_a_text() -> None:
    """As some clients write it."""
    assert read(systemInstruction="brief").messages[0] == Message(
        Role.SYSTEM, (Text("brief"),)
    )
    assert DIALECT.prompt_text(parsed(body_of(systemInstruction="brief")))


def test_text_that_nobody_can_count() -> None:
    """A prompt with a number that is too long counts as it stands."""
    body = b'{"contents":[{"parts":[{"text":"hi","x":' + b"9" * 5000 + b"}]}]}"
    assert "999" in DIALECT.prompt_text(parsed(body))


@each(
    "part",
    [
        {"inlineData": {"mimeType": "application/pdf", "data": "AA"}},
        {"fileData": {"fileUri": "https://a.com/b.mp4", "novel": 1}},
        {"inlineData": {"mimeType": "image/png", "data": "AA", "displayName": "n"}},
        {"inlineData": {"mimeType": "text/csv", "data": "AA", "displayName": "n"}},
        {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://a/b"}},
    ],
)
def test_signed_media_keep_their_signatures(part: dict[str, Any]) -> None:
    """Whatever they are, and what stands beside their bytes."""
    part = {**part, "thoughtSignature": "U2ln"}
    found = again(contents=[{"role": "model", "parts": [part]}])
    [sent] = found["contents"][0]["parts"]
    sent.get("fileData", {}).pop("mimeType", None)
    part.get("fileData", {}).pop("mimeType", None)
    assert sent == part


def test_replies_of_our_own_keep_what_they_had() -> None:
    """Beside calls, texts and media."""
    parts = [
        {"functionCall": {"id": "a", "name": "f", "args": {}, "novel": 1}, "x": 2},
        {"text": "t", "partMetadata": {"k": 1}},
        {"inlineData": {"mimeType": "text/csv", "data": "AA", "displayName": "n"}},
        {"executableCode": {"code": "1"}},
    ]
    reply = CODEC.read_reply(frame(*parts, candidate=STOP))
    body = msgspec.json.decode(CODEC.write_reply(reply, asked(), IDENTITY))
    assert body["candidates"][0]["content"]["parts"] == parts


def test_requests_of_our_own_keep_what_they_had() -> None:
    """Beside calls, tiers that nobody knows, and the system's own members."""
    call = {"functionCall": {"id": "a", "name": "f", "args": {}, "novel": 1}, "x": 2}
    found = again(
        contents=[{"role": "model", "parts": [call], "y": 3}],
        systemInstruction={"parts": [{"text": "s"}], "z": 4},
        serviceTier="novel",
    )
    assert found["contents"] == [{"role": "model", "parts": [call], "y": 3}]
    assert found["systemInstruction"]["z"] == 4
    assert found["serviceTier"] == "novel"


def test_what_replies_of_others_show() -> None:
    """Sounds without bytes are their words; results and nothing are nothing."""
    found = whole(
        Audio(Media(), transcript="hello"),
        Audio(Media()),
        ToolResult("a"),
        Document(Media(file_id="f")),
        Image(Media(url="https://a.com/b.png")),
    )
    assert found["candidates"][0]["content"]["parts"] == [
        {"text": "hello"},
        {"fileData": {"fileUri": "f"}},
        {"fileData": {"mimeType": "image/png", "fileUri": "https://a.com/b.png"}},
    ]
    assert "finishReason" not in found["candidates"][0]
    assert found["candidates"][0]["index"] == 0


def test_results_stand_in_no_users_message() -> None:
    """A call or a result where none can be says nothing."""
    body, _ = written(asked(Text("x"), ToolCall("a", "f", "{}"), ToolResult("a")))
    assert body["contents"] == [{"role": "user", "parts": [{"text": "x"}]}]


@pytest.mark.parametrize(
    ("budget", "config"),
    [
        (1_000, {"thinkingLevel": "LOW"}),
        (-1, {}),
    ],
)
def test_budgets_as_levels(budget: int, config: dict[str, Any]) -> None:
    """A small one is low; none is the model's own affair."""
    body, _ = written(asked(reasoning=Reasoning(budget=budget, show=False)))
    found = body["generationConfig"]["thinkingConfig"]
    assert found == {"includeThoughts": False, **config}


def test_budgets_of_models_that_nobody_knows() -> None:
    """Have a usual range, and may be left to the model."""
    odd = Traits(model="odd", thinking=ThinkingStyle.BUDGET)
    for budget, sent in ((99_999, 24_576), (-1, -1)):
        body, _ = written(asked(reasoning=Reasoning(budget=budget, show=True)), odd)
        found = body["generationConfig"]["thinkingConfig"]
        assert found["thinkingBudget"] == sent


def test_odd_probabilities_are_passed_over() -> None:
    """Nobody fails for them."""
    for result in (5, {"chosenCandidates": 5}, {"chosenCandidates": []}):
        data = frame({"text": "x"}, candidate={**STOP, "logprobsResult": result})
        assert collect(decoded(data)).choices[0].logprobs is None
    odd = {"chosenCandidates": [5, {"token": 5}], "topCandidates": 5}
    data = frame({"text": "x"}, candidate={**STOP, "logprobsResult": odd})
    found = collect(decoded(data)).choices[0].logprobs
    assert found == ({"token": "", "logprob": 0, "bytes": [], "top_logprobs": []},) * 2


def test_odd_probabilities_of_others() -> None:
    """Are told as far as they can be."""
    tokens: tuple[dict[str, Any], ...] = (
        {"token": "a", "logprob": -1, "top_logprobs": [[], {"token": "b"}]},
        {"token": "c", "top_logprobs": 5},
    )
    reply = ChatReply(dialect="x", choices=(Choice(0, (), None, tokens),))
    body = msgspec.json.decode(CODEC.write_reply(reply, asked(), IDENTITY))
    assert body["candidates"][0]["logprobsResult"] == {
        "chosenCandidates": [
            {"token": "a", "logProbability": -1},
            {"token": "c", "logProbability": None},
        ],
        "topCandidates": [
            {"candidates": [{"token": "b", "logProbability": None}]},
            {"candidates": []},
        ],
    }


def test_usual_frames_of_other_parts() -> None:
    """Of a choice that has not begun, after a thought, and of nothing."""
    told = {"usageMetadata": usage(1, 1)}
    more = {"usageMetadata": usage(1, 2)}
    events = decoded(
        frame({"text": "hm", "thought": True}, **told),
        frame({"text": "a"}, **told),
        frame({"text": ""}, **more),
        frame({"text": "b"}, candidate={"index": 1}, **more),
        frame({"text": "c"}, usageMetadata=usage(1, 0)),
        frame(candidate=STOP),
        frame(candidate={"index": 1, **STOP}),
    )
    first, second = collect(events).choices
    assert [getattr(part, "text", "") for part in first.parts] == ["hm", "ac"]
    assert [getattr(part, "text", "") for part in second.parts] == ["b"]


def test_sounds_that_cannot_be_put_together() -> None:
    """Are sounds of their own."""
    blobs = [("audio/wav", "AAAA"), ("audio/wav", "AA=="), ("audio/wav", "BBBB")]
    blobs.append(("audio/mp3", "CCCC"))
    parts = [{"inlineData": {"mimeType": kind, "data": data}} for kind, data in blobs]
    [choice] = collect(decoded(frame(*parts, candidate=STOP))).choices
    sounds = [part.source.data for part in choice.parts if isinstance(part, Audio)]
    assert sounds == ["AAAAAA==", "BBBB", "CCCC"]


def test_a_reply_that_cannot_be_counted() -> None:
    """Counts as nothing."""
    reply = DIALECT.parse_reply(parsed(body_of()), frame({"text": "a"}), None)
    assert reply.output_text().strip() == "a"
