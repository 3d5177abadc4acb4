"""A dialect as one provider's row says that it speaks it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each
from tests.unit.dialects.asked import BASES, CHAT, EMBEDDINGS, parse
from tests.unit.dialects.streams import DONE, USAGE, chunk, data, frames_of

from posthouse.dialects import openai_chat, openai_embeddings
from posthouse.dialects.base import Dialect, StreamTap
from posthouse.dialects.openai.errors import error_code
from posthouse.errors import (
    UpstreamBadResponse,
    UpstreamCredential,
    UpstreamFault,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
)
from posthouse.model.catalog import ErrorCodes, ErrorKind, Replies
from posthouse.wire.sse import SSEDecoder

NOW = 1_760_000_000.9
CODES = ErrorCodes(
    code="base.status",
    message="base.text",
    success=("0", "ok"),
    kinds={
        "1": ErrorKind.CREDENTIAL,
        "2": ErrorKind.BALANCE,
        "3": ErrorKind.RATE_LIMITED,
        "4": ErrorKind.OVERLOADED,
        "5": ErrorKind.TIMEOUT,
        "6": ErrorKind.BAD_REQUEST,
        "7": ErrorKind.CONTENT_FILTER,
        "8": ErrorKind.CONTEXT_LENGTH,
        "9": ErrorKind.NOT_FOUND,
        "limit.*": ErrorKind.RATE_LIMITED,
        "brokeerror": ErrorKind.BALANCE,
    },
)
MEANINGS: list[tuple[Any, type[UpstreamFault], int, str | None]] = [
    (1, UpstreamCredential, 401, None),
    (2, UpstreamCredential, 402, None),
    ("3", UpstreamRateLimited, 429, None),
    ("Limit.Minute", UpstreamRateLimited, 429, None),
    (4, UpstreamOverloaded, 503, None),
    (5, UpstreamTimeout, 408, None),
    (6, UpstreamRejected, 400, "6"),
    (7, UpstreamRejected, 400, "content_filter"),
    (8, UpstreamRejected, 400, "context_length_exceeded"),
    (9, UpstreamRejected, 404, "model_not_found"),
    (77, UpstreamOverloaded, 500, None),
]
MESSAGE = {"role": "assistant", "content": "hello"}
WHOLE = {
    "id": "r",
    "created": 1,
    "model": "up",
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
    "usage": USAGE,
}


def dialect(
    replies: Replies | None = None, errors: ErrorCodes | None = None
) -> Dialect:
    return openai_chat.corrected(replies, errors, model="theirs", clock=lambda: NOW)


def whole(to: Dialect, value: Any, public_model: str | None = None) -> Any:
    """Read a whole reply; give what the client gets."""
    body = json.dumps(value).encode()
    return json.loads(to.parse_reply(parse(CHAT), body, public_model).body)


def tapped(to: Dialect, **members: Any) -> StreamTap:
    tap = to.tap_stream(parse(CHAT, stream=True, **members), None)
    assert tap is not None
    return tap


def passed(to: Dialect, stream: bytes) -> list[Any]:
    """Read a stream; give the data of the frames that the client gets."""
    tap = tapped(to, stream_options={"include_usage": True})
    out = b"".join(tap.feed(raw, data).raw for raw, data in frames_of(stream))
    return [json.loads(data) for _, data in frames_of(out) if data != b"[DONE]"]


# --- errors -------------------------------------------------------------------------


@each(("code", "kind", "status", "name"), MEANINGS)
def test_a_declared_code_is_what_its_status_would_be(
    code: Any, kind: type[UpstreamFault], status: int, name: str | None
) -> None:
    """In a whole reply, in an event and in the bare bytes of a stream."""
    value = {"choices": None, "base": {"status": code, "text": "They say so."}}
    to = dialect(errors=CODES)
    faults = []
    with pytest.raises(UpstreamFault) as caught:
        whole(to, value)
    faults.append(caught.value)
    for stream in (data(value), json.dumps(value, indent=1).encode() + b"\n\n"):
        with pytest.raises(UpstreamFault) as caught:
            passed(to, stream)
        faults.append(caught.value)
    for fault in faults:
        assert type(fault) is kind
        assert fault.stands_for == status
        if isinstance(fault, UpstreamRejected):
            assert fault.upstream_status == status
            assert fault.message == "They say so."
            assert error_code(fault) == name


def test_a_code_of_success_is_no_error() -> None:
    """Whether it is a number or a word, and so is one that is not there."""
    to = dialect(errors=CODES)
    for base in ({"status": 0}, {"status": "ok"}, {"status": None}, {}, None, "odd"):
        value = {**WHOLE, "base": base}
        assert whole(to, value) == value
        (seen,) = passed(to, data({**WHOLE, "base": base}))
        assert seen["base"] == base


def test_an_error_object_is_judged_by_the_row_first() -> None:
    """Its code, or else its type; what the row does not know is judged as ever."""
    to = dialect(errors=CODES)
    for error, kind in (
        ({"code": "3", "message": "m"}, UpstreamRateLimited),
        ({"code": "other", "type": "BrokeError"}, UpstreamCredential),
        ({"code": "invalid_api_key"}, UpstreamCredential),
        ({"message": "m"}, UpstreamOverloaded),
    ):
        for read in (
            lambda value: whole(to, value),
            lambda value: passed(to, data(value)),
        ):
            with pytest.raises(kind):
                read({"error": error})


def test_an_error_reply_is_judged_by_the_row_first() -> None:
    """The status decides only what the row does not."""
    to = dialect(errors=CODES)

    def judged(status: int, value: Any) -> UpstreamFault:
        return to.parse_error(status, json.dumps(value).encode())

    assert isinstance(judged(400, {"error": {"code": "3"}}), UpstreamRateLimited)
    assert isinstance(judged(403, {"error": {"code": 9}}), UpstreamRejected)
    assert isinstance(judged(500, {"base": {"status": 6}}), UpstreamRejected)
    assert isinstance(judged(503, {"error": {"code": "new"}}), UpstreamOverloaded)
    assert isinstance(judged(301, {"base": {"status": 6}}), UpstreamBadResponse)
    assert isinstance(to.parse_error(429, b"<html>"), UpstreamRateLimited)
    unknown = judged(400, {"base": {"status": 55, "text": "Odd."}})
    assert isinstance(unknown, UpstreamRejected)
    assert (unknown.message, error_code(unknown)) == ("Odd.", "55")


def test_a_message_may_be_all_that_a_row_declares() -> None:
    """Then the status says what it means, and a good reply is none the worse."""
    to = dialect(errors=ErrorCodes(message="errors.message"))
    fault = to.parse_error(400, b'{"errors":{"message":"No."}}')
    assert isinstance(fault, UpstreamRejected)
    assert fault.message == "No."
    assert whole(to, WHOLE) == WHOLE


def test_an_error_after_content_is_raised_with_what_was_read_before() -> None:
    """The tap still tells what was delivered."""
    to = tapped(dialect(errors=CODES))
    for raw, payload in frames_of(chunk({"content": "hello"})):
        assert to.feed(raw, payload).content
    bad = data({"base": {"status": 7}, "choices": None})
    with pytest.raises(UpstreamRejected):
        to.feed(bad, bad[6:-2])
    assert (to.output_text(), to.output_bytes) == ("hello", 5)


def test_other_operations_tell_errors_the_same_way() -> None:
    """An embedding's reply with status 200 and a code is an error too."""
    to = openai_embeddings.corrected(None, CODES, model="m", clock=lambda: NOW)
    with pytest.raises(UpstreamRateLimited):
        to.parse_reply(parse(EMBEDDINGS), b'{"data":null,"base":{"status":3}}', None)
    assert to.tap_stream(parse(EMBEDDINGS), None) is None


# --- what passes --------------------------------------------------------------------

EVERYTHING = Replies(
    finish_reasons={"sensitive": "content_filter", "network_error": "error"},
    tool_calls_object=True,
    whole_last_chunk=True,
    reasoning_beside=True,
)
ODD = (
    b'{ "choices" : [{"index":0, "delta":{"content":"\\u00e4"}}], "n":1.10,"e":1e400 }'
)


def test_a_reply_that_is_as_it_should_be_keeps_every_byte() -> None:
    """However much its row declares."""
    to = dialect(EVERYTHING, CODES)
    body = b'{ "choices" : [ {"message":{"content":"\\u00e4"}} ], "n":1.10, "e":1e400 }'
    assert to.parse_reply(parse(CHAT), body, None).body is body
    frame = b"data: " + ODD + b"\n\n"
    ((raw, payload),) = frames_of(frame)
    assert tapped(to).feed(raw, payload).raw is raw
    for other in (b": keep-alive\n\n", DONE, b"\n", b"event: ping\n\n"):
        ((raw, payload),) = frames_of(other) or [(other, b"")]
        assert tapped(to).feed(raw, payload).raw == other


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail(noise: bytes) -> None:
    """A fault is raised or bytes pass; nothing else ever happens."""
    to = dialect(Replies(**{**_fields(EVERYTHING), "fill": True}), CODES)
    tap = tapped(to)
    decoder = SSEDecoder()
    for prefix in (b"", b"data: ", b'data: {"choices":'):
        for raw, payload in decoder.feed(prefix + noise + b"\n\n"):
            try:
                tap.feed(raw, payload)
            except UpstreamFault:
                continue
    try:
        to.parse_reply(parse(CHAT), noise, None)
    except UpstreamFault:
        return


def _fields(replies: Replies) -> dict[str, Any]:
    return {name: getattr(replies, name) for name in replies.__struct_fields__}


def test_requests_are_the_plain_dialects_affair() -> None:
    """What is mended is on the way back."""
    to = dialect(EVERYTHING, CODES)
    body = json.dumps(BASES["openai_chat"]).encode()
    request = to.parse_request(body)
    assert request == CHAT.parse_request(body)
    assert to.prompt_text(request) == CHAT.prompt_text(request)
    tap = tapped(to)
    error = UpstreamOverloaded()
    assert tap.error_frame(error) == tapped(CHAT).error_frame(error)
    assert tap.cut_off_frames(error) == tapped(CHAT).cut_off_frames(error)


# --- what is mended -----------------------------------------------------------------


def test_a_finish_reason_of_its_own_becomes_a_known_one() -> None:
    """In both forms; the rest of the choice keeps its bytes."""
    to = dialect(EVERYTHING)
    odd = {"index": 0, "message": MESSAGE, "finish_reason": "sensitive", "x": 1}
    mended = whole(to, {**WHOLE, "choices": [odd]})
    assert mended["choices"] == [{**odd, "finish_reason": "content_filter"}]
    assert {k: v for k, v in mended.items() if k != "choices"} == {
        k: v for k, v in WHOLE.items() if k != "choices"
    }
    (seen,) = passed(to, chunk({"content": "a"}, finish="sensitive"))
    assert seen["choices"][0]["finish_reason"] == "content_filter"
    body = b'{"choices":[{"message":{"n":1.10},"finish_reason":"sensitive"}],"e":1e400}'
    assert to.parse_reply(parse(CHAT), body, None).body == body.replace(
        b"sensitive", b"content_filter"
    )


def test_the_word_of_a_finish_reason_elsewhere_changes_nothing() -> None:
    """Only the reason itself is one."""
    value = {**WHOLE, "note": "sensitive", "choices": [{"message": {"x": "sensitive"}}]}
    body = json.dumps(value).encode()
    assert dialect(EVERYTHING).parse_reply(parse(CHAT), body, None).body is body


def test_a_finish_reason_may_say_that_the_provider_failed() -> None:
    """It is an error then, before content and after."""
    to = dialect(EVERYTHING)
    with pytest.raises(UpstreamOverloaded):
        whole(to, {"choices": [{"message": MESSAGE, "finish_reason": "network_error"}]})
    with pytest.raises(UpstreamOverloaded):
        passed(to, chunk({"content": "a"}) + chunk({}, finish="network_error"))


def test_what_a_reply_lacks_is_given() -> None:
    """An identifier, a kind, a time and the model's name, all where they are absent."""
    to = dialect(Replies(fill=True, id_member="sid"))
    bare = {"sid": "s-1", "code": 0, "choices": WHOLE["choices"]}
    filled = {
        "id": "s-1",
        "object": "chat.completion",
        "created": int(NOW),
        "model": "theirs",
    }
    assert whole(to, bare) == {**bare, **filled}
    assert whole(to, bare, "public") == {**bare, **filled, "model": "public"}
    body = json.dumps({**WHOLE, "object": "own"}).encode()
    assert to.parse_reply(parse(CHAT), body, None).body is body
    assert whole(to, {"choices": [], "id": None})["id"].startswith("chatcmpl-")


def test_the_chunks_of_a_stream_share_what_they_are_given() -> None:
    """One identifier and one time, from the first chunk to the last."""
    now = iter([100.0, 200.0])
    to = openai_chat.corrected(
        Replies(fill=True), None, model="theirs", clock=lambda: next(now)
    )
    choices = [{"index": 0, "delta": {"content": "a"}}]
    stream = data({"choices": choices}) + data({"choices": choices, "created": 7})
    first, second = passed(to, stream + data({"choices": [], "usage": USAGE}) + DONE)[
        :2
    ]
    assert first["id"] == second["id"]
    assert (first["created"], second["created"]) == (100, 7)
    assert first["object"] == second["object"] == "chat.completion.chunk"
    assert first["model"] == "theirs"


def test_a_tool_call_without_its_list_gets_one() -> None:
    """With a place in it where it is a part of a stream."""
    to = dialect(EVERYTHING)
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "", "tool_calls": call}
    seen = whole(to, {"choices": [{"message": message, "finish_reason": "stop"}]})
    assert seen["choices"][0]["message"]["tool_calls"] == [call]
    (seen,) = passed(to, chunk({"tool_calls": call}))
    assert seen["choices"][0]["delta"]["tool_calls"] == [{**call, "index": 0}]
    (seen,) = passed(to, chunk({"tool_calls": [call]}))
    assert seen["choices"][0]["delta"]["tool_calls"] == [call]


def test_a_last_chunk_that_says_everything_again_says_only_its_usage() -> None:
    """What was delivered is neither delivered nor counted twice."""
    last = {**WHOLE, "object": "chat.completion"}
    tap = tapped(dialect(EVERYTHING))
    out = []
    for raw, payload in frames_of(chunk({"content": "hello"}) + data(last) + DONE):
        out.append(tap.feed(raw, payload))
    assert tap.output_text() == "hello"
    assert tap.usage is not None
    assert (tap.usage.input, tap.usage.output) == (9, 12)
    seen = json.loads(out[1].raw[6:])
    assert seen["object"] == "chat.completion.chunk"
    assert seen["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]


def test_reasoning_beside_the_completion_is_added_to_it() -> None:
    """As far as the total tells; a total that is less changes nothing."""
    to = dialect(Replies(reasoning_beside=True))
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 40}
    assert whole(to, {**WHOLE, "usage": usage})["usage"]["completion_tokens"] == 30
    (seen,) = passed(to, data({"choices": [], "usage": usage}))
    assert seen["usage"]["completion_tokens"] == 30
    for odd in ({**usage, "total_tokens": 15}, {**usage, "total_tokens": "x"}, None, 3):
        body = json.dumps({**WHOLE, "usage": odd}).encode()
        assert to.parse_reply(parse(CHAT), body, None).body is body
