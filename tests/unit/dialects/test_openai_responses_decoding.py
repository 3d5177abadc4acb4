"""Streams of Responses, read: what servers leave out, what fails, what passes."""

import json
from typing import Any

import pytest
from tests.support.cases import each

from posthouse.dialects.neutral.collect import collect
from posthouse.dialects.openai_responses import CODEC, DIALECT
from posthouse.dialects.openai_responses.decoder import ResponsesDecoder
from posthouse.errors import (
    InvalidRequest,
    RateLimited,
    UpstreamBadResponse,
    UpstreamFault,
    UpstreamInterrupted,
    UpstreamRateLimited,
    UpstreamRejected,
)
from posthouse.model.chat import (
    Finish,
    FinishReason,
    Refusal,
    Text,
    Thinking,
    ToolCall,
)
from posthouse.model.chat_events import (
    ChatEvent,
    Ended,
    Finished,
    PartGrew,
    Started,
)
from posthouse.wire.sse import SSEDecoder


def frames(wire: bytes) -> list[dict[str, Any]]:
    return [json.loads(data) for _, data in SSEDecoder().feed(wire) if data]


# --- reading --------------------------------------------------------------------------


def decode(*events: dict[str, Any]) -> list[ChatEvent]:
    decoder = CODEC.decoder()
    return [
        found
        for event in events
        for found in decoder.feed(b"", json.dumps(event).encode())
    ]


def delta(kind: str, text: str, **members: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "delta": text, **members}


DONE = {"type": "response.completed", "response": {"status": "completed", "output": []}}


def test_a_text_that_was_never_begun_is_begun_by_its_words() -> None:
    """Some servers tell nothing but deltas."""
    events = decode(delta("output_text", "a"), delta("output_text", "b"), DONE)
    reply = collect(events)
    assert isinstance(events[0], Started)
    assert reply.choices[0].parts == (Text("ab"),)
    assert reply.choices[0].finish == Finish(FinishReason.STOP)


def test_thoughts_end_where_their_summary_begins() -> None:
    """An item may have both."""
    events = decode(
        delta("reasoning_text", "Long."),
        delta("reasoning_summary_text", "Sh"),
        delta("reasoning_summary_text", "ort."),
        DONE,
    )
    assert collect(events).choices[0].parts == (
        Thinking("Long."),
        Thinking("Short.", summary=True),
    )


def test_a_call_that_was_never_begun_has_no_name() -> None:
    """There is nobody whom it could be for."""
    with pytest.raises(UpstreamBadResponse):
        decode(delta("function_call_arguments", "{}"))


def test_a_stream_that_only_stops_has_not_ended() -> None:
    """`completed` is what ends it; what follows is not read."""
    decoder = CODEC.decoder()
    assert decoder.feed(b"", json.dumps(delta("output_text", "a")).encode())
    assert decoder.close() == []
    assert isinstance(decoder.feed(b"", json.dumps(DONE).encode())[-1], Ended)
    assert decoder.feed(b"", json.dumps(delta("output_text", "b")).encode()) == []
    assert decoder.feed(b"", b"[DONE]") == []


@each("data", [b"[]", b"1", b"{", b'"x"', b"null"])
def test_what_is_no_event_is_a_bad_response(data: bytes) -> None:
    """Whatever else it may be."""
    with pytest.raises(UpstreamBadResponse):
        CODEC.decoder().feed(b"", data)


@each(
    ("event", "fault"),
    [
        ({"type": "error", "code": "rate_limit_exceeded"}, UpstreamRateLimited),
        ({"type": "error", "error": {"code": "server_error"}}, UpstreamFault),
        ({"error": {"message": "no"}}, UpstreamFault),
        ({"type": "response.failed", "response": {"error": None}}, UpstreamFault),
        (
            {
                "type": "response.failed",
                "response": {"error": {"code": "invalid_prompt", "message": "no"}},
            },
            UpstreamRejected,
        ),
        (
            {"type": "response.completed", "response": {"status": "failed"}},
            UpstreamFault,
        ),
    ],
    ids=str,
)
def test_errors_are_told_by_events(
    event: dict[str, Any], fault: type[UpstreamFault]
) -> None:
    """In each of the shapes that there are."""
    with pytest.raises(fault):
        decode(event)


def test_an_error_without_the_words_of_an_event_is_one() -> None:
    """As proxies write it into a stream."""
    body = b'{"error":{"message":"no","code":"rate_limit_exceeded"}}'
    with pytest.raises(UpstreamRateLimited):
        CODEC.decoder().feed(body, b"")
    for odd in (b"{nothing", b"{}"):
        with pytest.raises(UpstreamFault):
            CODEC.decoder().feed(b"event: error\n" + odd, odd)


@each("response", [None, 7, {"status": "in_progress"}])
def test_an_end_without_a_response_is_a_bad_response(response: Any) -> None:
    """Or with one that has not ended: it has no finish."""
    event = {"type": "response.completed", "response": response}
    if isinstance(response, dict):
        assert not any(isinstance(found, Finished) for found in decode(event))
        return
    with pytest.raises(UpstreamBadResponse):
        decode(event)


TOKEN = {"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}


def test_pieces_of_thoughts_that_were_left_out_cost_nothing() -> None:
    """However many they would be, one break stands before the next that is there."""
    for index in (7, 2**40, 2**70):
        events = decode(
            delta("reasoning_summary_text", "One.", summary_index=0),
            delta("reasoning_summary_text", "Two.", summary_index=index),
            DONE,
        )
        (thinking,) = collect(events).choices[0].parts
        assert isinstance(thinking, Thinking)
        assert thinking.text == "One.\n\nTwo."


def test_what_was_not_told_piece_by_piece_is_told_at_the_end() -> None:
    """By the event that ends the part, or by the response."""
    said = {"type": "output_text", "text": "a", "annotations": [], "logprobs": [TOKEN]}
    item = {"type": "message", "id": "m", "role": "assistant", "content": [said]}
    whole = {"status": "completed", "output": [item]}
    streams = (
        [{"type": "response.output_text.done", "text": "a", "logprobs": [TOKEN]}, DONE],
        [{"type": "response.completed", "response": whole}],
    )
    for events in streams:
        (choice,) = collect(decode(*events)).choices
        assert (choice.parts, choice.logprobs) == ((Text("a"),), (TOKEN,))


def test_a_call_may_have_all_its_arguments_at_its_end() -> None:
    """Servers tell them at one place or at another."""
    item = {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}
    begun = {"type": "response.output_item.added", "item": item}
    for end in (
        [{"type": "response.function_call_arguments.done", "arguments": "{}"}],
        [{"type": "response.output_item.done", "item": {**item, "arguments": "{}"}}],
    ):
        parts = collect(decode(begun, *end, DONE)).choices[0].parts
        assert parts == (ToolCall("c", "f", "{}"),)


def test_a_refusal_may_be_told_at_its_end() -> None:
    """And the end of a part that never began is nothing."""
    refusal = {"type": "refusal", "refusal": "No."}
    events = decode(
        {"type": "response.content_part.done", "part": refusal},
        {"type": "response.content_part.added", "part": {**refusal, "refusal": ""}},
        {"type": "response.content_part.done", "part": refusal},
        DONE,
    )
    (choice,) = collect(events).choices
    assert choice.parts == (Refusal("No."),)
    assert choice.finish == Finish(FinishReason.REFUSAL)


def test_what_only_a_lenient_parser_takes_is_read() -> None:
    """Halves of a character in frames of their own are one."""
    decoder = CODEC.decoder()
    for half in (b"\\ud83d", b"\\ude00"):
        data = b'{"type":"response.output_text.delta","delta":"%b"}' % half
        events = decoder.feed(b"", data)
    assert events[-1] == PartGrew(0, 0, "\U0001f600")


def test_open_items_are_all_that_is_kept() -> None:
    """However long a stream goes on."""
    decoder = ResponsesDecoder()
    for index in range(500):
        item = {"type": "message", "id": "m", "role": "assistant", "content": []}
        for event in (
            {"type": "response.output_item.added", "output_index": index, "item": item},
            delta("output_text", "a" * 100, output_index=index),
            {"type": "response.output_item.done", "output_index": index, "item": item},
        ):
            decoder.feed(b"", json.dumps(event).encode())
    assert decoder._items == {}


# --- passing --------------------------------------------------------------------------


def tap(public_model: str | None = None) -> Any:
    request = DIALECT.parse_request(b'{"model":"m","input":"hi","stream":true}')
    return DIALECT.tap_stream(request, public_model)


@each("body", [b"{", b"[]", b'{"output":{}}', b"\xff"])
def test_a_reply_that_is_none_is_a_bad_response(body: bytes) -> None:
    """Passing or translated."""
    request = DIALECT.parse_request(b'{"model":"m","input":"hi"}')
    with pytest.raises(UpstreamBadResponse):
        DIALECT.parse_reply(request, body, None)
    with pytest.raises(UpstreamBadResponse):
        CODEC.read_reply(body)


def test_a_reply_passes_to_the_letter_but_for_the_models_name() -> None:
    """And is read along."""
    request = DIALECT.parse_request(b'{"model":"m","input":"hi"}')
    body = (
        b'{"model":"real","output":[{"type":"message","id":"m","content":'
        b'[{"type":"output_text","text":"Hi \\u00e9"}]}],"n":1.10,'
        b'"usage":{"total_tokens":7}}'
    )
    assert DIALECT.parse_reply(request, body, None).body == body
    parsed = DIALECT.parse_reply(request, body, "public")
    assert parsed.body == body.replace(b"real", b"public")
    assert parsed.output_text() == "Hi é"
    assert parsed.usage is not None
    assert parsed.usage.input == 7


def test_searches_and_writes_to_the_cache_are_counted() -> None:
    """Pages that were opened are no searches."""
    request = DIALECT.parse_request(b'{"model":"m","input":"hi"}')
    calls = [
        {"type": "web_search_call", "action": {"type": kind}}
        for kind in ("search", "open_page", "search")
    ]
    details = {
        "cached_tokens": 1,
        "cache_write_tokens": 5,
        "cache_write_tokens_details": {"ttl_12h_tokens": 2},
    }
    usage = {
        "input_tokens": 9,
        "output_tokens": 3,
        "input_tokens_details": details,
        "output_tokens_details": {"reasoning_tokens": 2},
    }
    body = json.dumps({"output": calls, "usage": usage}).encode()
    found = DIALECT.parse_reply(request, body, None).usage
    assert found is not None
    assert (found.searches, found.reasoning) == (2, 2)
    assert (found.cache_write_5m, found.cache_write_1h) == (3, 2)


CREATED = (
    b"event: response.created\n"
    b'data: {"type":"response.created","sequence_number":0,"response":'
    b'{"id":"resp_1","created_at":5,"model":"real","output":[]}}\n\n'
)


def test_frames_pass_untouched_and_are_read_along() -> None:
    """Those that it does not know, too."""
    read = tap()
    wire = [
        CREATED,
        b'data: {"type":"response.output_text.delta","delta":"Hi \\u00e9 1.10"}\n\n',
        b'event: response.new\ndata: {"type":"response.new","sequence_number":7}\n\n',
        b": comment\n\n",
    ]
    found = [read.feed(raw, data) for raw, data in SSEDecoder().feed(b"".join(wire))]
    assert [frame.raw for frame in found] == wire
    assert [frame.content for frame in found] == [False, True, False, False]
    assert read.output_text() == "Hi é 1.10"
    assert not read.finished
    end = json.dumps(
        {
            "type": "response.completed",
            "response": {
                "output": [],
                "usage": {"input_tokens": 3, "output_tokens": 2},
            },
        }
    ).encode()
    last = read.feed(b"data: " + end + b"\n\n", end)
    assert last.terminal
    assert read.finished
    assert (read.usage.input, read.usage.output) == (3, 2)
    assert read.close() is None


def test_a_stream_carries_the_models_public_name() -> None:
    """Wherever it stands, and nothing else is changed."""
    read = tap("public")
    ((raw, data),) = SSEDecoder().feed(CREATED)
    assert read.feed(raw, data).raw == CREATED.replace(b"real", b"public")
    odd = b'{"type":"response.new","response":7}'
    assert read.feed(b"data: " + odd + b"\n\n", odd).raw == b"data: " + odd + b"\n\n"


def test_an_error_in_a_stream_is_told_to_codex_and_to_the_sdks() -> None:
    """By `failed`, and by an event at which OpenAI's SDKs raise."""
    read = tap("public")
    ((raw, data),) = SSEDecoder().feed(CREATED)
    read.feed(raw, data)
    failed, error = frames(read.error_frame(UpstreamInterrupted()))
    assert failed["type"] == "response.failed"
    assert failed["response"]["id"] == "resp_1"
    assert failed["response"]["error"]["code"] == "server_error"
    assert (failed["sequence_number"], error["sequence_number"]) == (1, 2)
    assert error["error"]["code"] == error["code"] == "upstream_interrupted"


@each(
    ("error", "code"),
    [
        (RateLimited(), "rate_limit_exceeded"),
        (UpstreamInterrupted(), "server_error"),
        (InvalidRequest("no"), "invalid_prompt"),
        (
            InvalidRequest("no", code="context_length_exceeded"),
            "context_length_exceeded",
        ),
    ],
)
def test_a_failure_has_a_code_that_clients_know(error: Any, code: str) -> None:
    """Codex decides by it whether to try again."""
    failed, _ = frames(DIALECT.manners.error_frame(error))
    assert failed["response"]["error"]["code"] == code


def test_a_passing_answer_that_is_cut_off_ends_as_if_its_limit_were_met() -> None:
    """With the reason beside."""
    read = tap()
    ((raw, data),) = SSEDecoder().feed(CREATED)
    read.feed(raw, data)
    nothing, last = read.cut_off_frames(RateLimited("No more."))
    assert nothing == b""
    (event,) = frames(last)
    assert event["type"] == "response.incomplete"
    assert event["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert event["response"]["posthouse"]["message"] == "No more."
