"""What is read by types is what reading member by member gives."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.dialects.openai_chat.read_reply import _read_members
from posthouse.dialects.openai_chat.usual_reply import read_usual
from posthouse.wire import json

USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
DETAILS = {
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 2, "new_tokens": 1},
}


def reply(*, message: Any = None, choice: Any = None, **members: Any) -> bytes:
    """A reply of OpenAI's."""
    said = {"role": "assistant", "content": "Hello", "refusal": None}
    one = {"index": 0, "message": said | (message or {}), "finish_reason": "stop"}
    whole = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "m",
        "choices": [one | (choice or {})],
        "usage": USAGE,
    }
    return json.encode(whole | members)


def test_a_plain_reply_is_a_usual_one() -> None:
    assert read_usual(reply()) is not None


@each(
    "body",
    [
        reply(),
        reply(usage=USAGE | DETAILS),
        reply(usage={}),
        reply(usage=None),
        reply(message={"content": None, "annotations": []}),
        reply(message={"content": ""}, system_fingerprint="fp", service_tier="flex"),
        reply(choice={"finish_reason": "length", "logprobs": None, "index": 3}),
        reply(choice={"finish_reason": "content_filter"}, id=""),
        reply(created=None, model=None, error=None),
    ],
)
def test_usual_replies_are_read_alike(body: bytes) -> None:
    assert read_usual(body) == _read_members(body)


@each(
    "body",
    [
        reply(new=1),
        reply(message={"tool_calls": []}),
        reply(message={"reasoning_content": "hm"}),
        reply(choice={"finish_reason": None}),
        reply(choice={"logprobs": {"content": []}}),
        reply(choices=[]),
        reply(usage={"prompt_tokens": 1.5}),
        b"{",
    ],
)
def test_what_is_unusual_is_left_to_the_other_reader(body: bytes) -> None:
    assert read_usual(body) is None


@given(
    st.dictionaries(
        st.sampled_from([*USAGE, "cached_tokens", "prompt_cache_hit_tokens", "other"]),
        st.integers(-5, 2**70) | st.none() | st.floats(allow_nan=False) | st.text(),
    ),
    st.text() | st.none(),
)
def test_whatever_is_usual_is_read_alike(usage: Any, text: str | None) -> None:
    body = reply(message={"content": text}, usage=usage)
    found = read_usual(body)
    assert found is None or found == _read_members(body)
