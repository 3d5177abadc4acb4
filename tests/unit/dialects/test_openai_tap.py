"""A stream read along: what passes, what is counted, what is an error."""

import json
from typing import Any

from tests.support.cases import each
from tests.unit.dialects.asked import COMPLETIONS, EMBEDDINGS, parse
from tests.unit.dialects.streams import (
    DONE,
    USAGE,
    USAGE_FRAME,
    chunk,
    data,
    feed,
    frames_of,
    tap,
)

from posthouse.dialects.base import TappedFrame
from posthouse.errors import (
    InsufficientQuota,
    UpstreamInterrupted,
)
from posthouse.model.usage import ReportedUsage


def test_frames_pass_to_the_letter() -> None:
    """Spaces, comments, other fields and odd line ends included."""
    stream = (
        b": hello\n\n"
        b'event: chunk\r\nid:1\r\ndata:{ "choices" : [ {"delta":{"content":"a"} } ] }'
        b"\r\n\r\n"
        b'data: {"choices":\ndata: [{"index":0,"delta":{"content":"\\u4e2d"}}],\n'
        b'data: "n":1.10}\n\n'
        b"retry: 5\n\n"
        b"data:[DONE]\n\n"
    )
    to = tap()
    tapped = feed(to, stream)
    assert b"".join(frame.raw for frame in tapped) == stream
    assert [frame.content for frame in tapped] == [False, True, True, False, False]
    assert [frame.terminal for frame in tapped] == [False] * 4 + [True]
    assert to.output_text() == "a中"
    assert to.output_bytes == 4


CONTENT: list[tuple[Any, str]] = [
    ({"content": "text"}, "text"),
    ({"content": "中"}, "中"),
    ({"reasoning_content": "hm"}, "hm"),
    ({"reasoning": "hm"}, "hm"),
    ({"reasoning_details": [{"type": "t", "format": "f", "text": "hm"}]}, "hm"),
    ({"reasoning": "hm", "reasoning_details": [{"text": "hm"}]}, "hm"),
    ({"reasoning_content": "hm", "content": None}, "hm"),
    ({"refusal": "no"}, "no"),
    ({"tool_calls": [{"index": 0, "function": {"arguments": '{"a'}}]}, '{"a'),
    (
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "call",
                    "type": "function",
                    "function": {"name": "f", "arguments": ""},
                }
            ]
        },
        "f",
    ),
    (
        {
            "tool_calls": [
                {"index": 0, "function": {"arguments": "a"}},
                {"index": 1, "custom": {"name": "c", "input": "b"}},
            ]
        },
        "acb",
    ),
    ({"tool_calls": {"function": {"name": "f", "arguments": "x"}}}, "fx"),
    ({"tool_calls": [{"function": {"name": "f", "arguments": {"k": "v"}}}]}, "fv"),
    ({"function_call": {"name": "f"}}, "f"),
    ({"function_call": {"arguments": "{"}}, "{"),
    ({"audio": {"id": "a", "data": "QUJD", "transcript": "hello"}}, ""),
    ({"content": [{"type": "text", "text": "part"}]}, "part"),
]


@each(("delta", "text"), CONTENT)
def test_everything_that_a_model_produces_is_content(delta: Any, text: str) -> None:
    """Text, thoughts, refusals, calls and sound; only text is counted."""
    to = tap()
    (frame,) = feed(to, chunk(delta))
    assert frame.content
    assert to.output_text() == text
    assert to.output_bytes == len(text.encode())


@each(
    "delta",
    [
        {},
        None,
        {"role": "assistant", "content": ""},
        {"content": None},
        {"tool_calls": []},
        {"reasoning_content": ""},
        {"annotations": []},
    ],
)
def test_a_frame_without_content_is_none(delta: Any) -> None:
    """Until content comes, another channel may still take over."""
    to = tap()
    (frame,) = feed(to, chunk(delta))
    assert frame.raw
    assert not frame.content
    assert to.output_bytes == 0


def test_a_finish_reason_is_content() -> None:
    """An empty answer is an answer."""
    to = tap()
    (frame,) = feed(to, chunk({}, finish="stop"))
    assert frame.content
    assert to.finished


def test_interleaved_choices_each_finish() -> None:
    """With n = 3 the stream is finished when all three are."""
    to = tap(n=3)
    for index, finish in [
        (0, None),
        (2, "stop"),
        (1, None),
        (2, "stop"),
        (0, "length"),
    ]:
        feed(to, chunk({"content": str(index)}, index, finish))
        assert not to.finished
    feed(to, chunk({"content": "1"}, 1, "tool_calls"))
    assert to.finished
    assert to.output_text() == "021201"


def test_several_choices_in_one_chunk() -> None:
    """Each is read."""
    to = tap(n=2)
    both = [
        {"index": index, "delta": {"content": "ab"[index]}, "finish_reason": "stop"}
        for index in (0, 1)
    ]
    feed(to, data({"choices": both}))
    assert to.output_text() == "ab"
    assert to.finished


@each("finish", ["", None, False])
def test_what_is_no_finish_reason_finishes_nothing(finish: Any) -> None:
    """Some servers send an empty one while they go on."""
    to = tap()
    feed(to, chunk({"content": "a"}, finish=finish))
    assert not to.finished


def test_the_usage_frame_is_dropped_only_if_nobody_asked_for_it() -> None:
    """Ours is kept from the client; the client's own is passed on."""
    for asked in (False, True):
        to = tap(stream_options={"include_usage": asked})
        (frame,) = feed(to, USAGE_FRAME)
        assert frame.raw == (USAGE_FRAME if asked else b"")
        assert not frame.content
        assert to.usage == ReportedUsage(input=9, output=12)


@each(
    "frame",
    [
        data({"choices": [], "usage": None, "prompt_filter_results": [{"a": 1}]}),
        data({"choices": []}),
        data({"choices": [{"index": 0, "delta": {}}], "usage": USAGE}),
        chunk({"content": "a"}, usage=USAGE),
        data({"choices": [], "usage": "many"}),
        data({"object": "ping"}),
    ],
)
def test_no_other_frame_is_dropped(frame: bytes) -> None:
    """Only empty choices and set usage together are the usage frame."""
    to = tap()
    assert feed(to, frame)[0].raw == frame


# Usage objects in the order in which they come, and what they amount to.
USAGES: dict[str, tuple[list[Any], ReportedUsage | None]] = {
    "none": ([], None),
    "nothing but null": ([None, None], None),
    "once": ([USAGE], ReportedUsage(input=9, output=12)),
    "twice": ([USAGE, USAGE], ReportedUsage(input=9, output=12)),
    "cumulative": (
        [
            {"prompt_tokens": 9, "completion_tokens": n, "total_tokens": 9 + n}
            for n in (1, 2, 3)
        ],
        ReportedUsage(input=9, output=3),
    ),
    "a later part erases nothing": (
        [
            {**USAGE, "prompt_tokens_details": {"cached_tokens": 4}},
            {"completion_tokens": 20},
            {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        ],
        ReportedUsage(input=9, output=20, cached_input=4),
    ),
    "DeepSeek": (
        [
            {
                "prompt_tokens": 100,
                "completion_tokens": 7,
                "total_tokens": 107,
                "prompt_cache_hit_tokens": 64,
                "prompt_cache_miss_tokens": 36,
                "completion_tokens_details": {"reasoning_tokens": 5},
            }
        ],
        ReportedUsage(input=100, output=7, cached_input=64, reasoning=5),
    ),
    "Moonshot": (
        [{**USAGE, "cached_tokens": 3}],
        ReportedUsage(input=9, output=12, cached_input=3),
    ),
    "DashScope": (
        [
            {
                **USAGE,
                "prompt_tokens_details": {
                    "cached_tokens": 0,
                    "cache_creation_input_tokens": 6,
                },
            }
        ],
        ReportedUsage(input=9, output=12, cache_write_5m=6),
    ),
    "everything of OpenAI's": (
        [
            {
                "prompt_tokens": 90,
                "completion_tokens": 80,
                "prompt_tokens_details": {
                    "cached_tokens": 1,
                    "cache_write_tokens": 2,
                    "audio_tokens": 3,
                    "image_tokens": 4,
                    "text_tokens": 5,
                },
                "completion_tokens_details": {
                    "reasoning_tokens": 6,
                    "audio_tokens": 7,
                    "image_tokens": 8,
                    "accepted_prediction_tokens": 9,
                    "rejected_prediction_tokens": 10,
                },
            }
        ],
        ReportedUsage(
            input=90,
            output=80,
            cached_input=1,
            cache_write_5m=2,
            audio_input=3,
            image_input=4,
            reasoning=6,
            audio_output=7,
            image_output=8,
        ),
    ),
    "a total alone": ([{"total_tokens": 5}], ReportedUsage(input=5)),
    "no input": (
        [{"completion_tokens": 5, "total_tokens": 9}],
        ReportedUsage(output=5),
    ),
    "what is no whole number": (
        [
            {
                "prompt_tokens": 9.5,
                "completion_tokens": "12",
                "prompt_tokens_details": [1],
                "completion_tokens_details": {"reasoning_tokens": True},
            }
        ],
        ReportedUsage(odd=True),
    ),
    "absurd, for the normaliser to judge": (
        [{"prompt_tokens": -5, "completion_tokens": 2**70}],
        ReportedUsage(input=-5, output=2**70),
    ),
    "no object": (["many", 7, [1]], None),
}


@each("story", USAGES)
@each("place", ["own frame", "beside content", "in the choice"])
def test_usage(story: str, place: str) -> None:
    """Wherever it stands and however often, the last word on each count holds."""
    given, expected = USAGES[story]
    to = tap()
    for usage in given:
        if place == "own frame":
            feed(to, data({"choices": [], "usage": usage}))
        elif place == "beside content":
            feed(to, chunk({"content": "a"}, usage=usage))
        else:
            choice = {"index": 0, "delta": {}, "finish_reason": "stop", "usage": usage}
            feed(to, data({"choices": [choice]}))
    if expected == ReportedUsage(input=9, output=12, cache_write_5m=6):
        assert to.usage is not None
        assert not to.usage.cached_input
        assert (to.usage.input, to.usage.cache_write_5m) == (9, 6)
        return
    assert to.usage == expected


def test_the_tier_that_was_used_is_kept() -> None:
    """The last one that was named, whatever else stands there."""
    to = tap()
    for tier in ("default", None, 7, "priority"):
        feed(to, chunk({"content": "a"}, service_tier=tier))
    assert to.service_tier == "priority"


@each(
    "frame",
    [
        data({"choices": "none"}),
        data({"choices": [1]}),
        data({"choices": [{"delta": "text"}]}),
        data({"choices": {"delta": {"content": "a"}}, "usage": [1]}),
    ],
)
def test_what_is_unlike_a_chunk_passes(frame: bytes) -> None:
    """It is an object, so it may be what the client waits for."""
    to = tap()
    (tapped,) = feed(to, frame)
    assert tapped == TappedFrame(frame, content=True)
    assert to.output_bytes == 0


ODD = [
    (rb'{"choices":[{"index":0,"delta":{"content":"\ud83d"}}]}', "\ufffd"),
    (b'{"choices":[{"index":0,"delta":{"content":"a\xff"}}]}', "a\ufffd"),
    (b'{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"x":1e400}}', "a"),
    (b'{"choices":[{"index":0,"delta":{"content":"a"},"logprobs":NaN}]}', "a"),
]


@each(("payload", "text"), ODD)
def test_what_only_lenient_parsers_read_is_read_by_one(
    payload: bytes, text: str
) -> None:
    """The frame passes untouched, and is counted."""
    to = tap()
    frame = b"data: " + payload + b"\n\n"
    assert feed(to, frame) == [TappedFrame(frame, content=True)]
    assert to.output_text() == text
    assert to.output_bytes > 0


def test_halves_of_a_character_in_two_frames_are_one() -> None:
    """As servers that cut strings by UTF-16 send them."""
    to = tap()
    for half in (rb"\ud83d", rb"\ude00"):
        feed(to, b'data: {"choices":[{"delta":{"content":"' + half + b'"}}]}\n\n')
    assert to.output_text() == "😀"


RENAMED: list[tuple[bytes, bytes]] = [
    (
        b'data: {"id":"c","model":"up","n":1.10,"choices":[]}\n\n',
        b'data: {"id":"c","model":"public","n":1.10,"choices":[]}\n\n',
    ),
    (b'data: {"choices":[]}\n\n', b'data: {"choices":[]}\n\n'),
    (
        b'event: chunk\r\ndata: {"model":"up","choices":\r\ndata: []}\r\n\r\n',
        b'event: chunk\ndata: {"model":"public","choices":[]}\n\n',
    ),
    (
        b'data: {"model":"up","choices":[\ndata: ]}\n\n',
        b'data: {"model":"public","choices":[\ndata: ]}\n\n',
    ),
    (
        b'data: {"model":"up","choices":"odd"}\n\n',
        b'data: {"model":"public","choices":"odd"}\n\n',
    ),
    (
        b'data: {"model":"up","choices":[],"x":"\xff"}\n\n',
        rb'data: {"model":"public","choices":[],"x":"\ufffd"}' + b"\n\n",
    ),
    (b": model up\n\n", b": model up\n\n"),
    (b"data: [DONE]\n\n", b"data: [DONE]\n\n"),
]


@each(("before", "after"), RENAMED)
def test_the_public_name_is_what_a_client_sees(before: bytes, after: bytes) -> None:
    """Where a chunk names its model; every other value stays as it stood."""
    assert [frame.raw for frame in feed(tap("public"), before)] == [after]


def test_our_error_frame_is_one_that_sdks_raise_for() -> None:
    """A truthy `error` in the data, and no terminator after it."""
    (frame,) = frames_of(tap().error_frame(UpstreamInterrupted()))
    error = json.loads(frame[1])["error"]
    assert error["code"] == "upstream_interrupted"
    assert set(error) == {"message", "type", "param", "code"}


def test_an_answer_that_is_cut_off_ends_as_if_too_long() -> None:
    """Every choice that had not ended gets its finish reason."""
    to = tap(n=3)
    feed(to, chunk({"content": "a"}, 1, "stop"))
    last, terminal = to.cut_off_frames(InsufficientQuota("no money"))
    body = json.loads(frames_of(last)[0][1])
    assert [choice["index"] for choice in body["choices"]] == [0, 2]
    assert {choice["finish_reason"] for choice in body["choices"]} == {"length"}
    assert body["posthouse"] == {"code": "insufficient_quota", "message": "no money"}
    assert terminal == DONE


def test_a_cut_off_of_many_prompts_is_bounded() -> None:
    """A million choices are not told one by one."""
    request = parse(COMPLETIONS, prompt=["x"] * 50_000, stream=True)
    to = COMPLETIONS.tap_stream(request, None)
    assert to is not None
    assert len(to.cut_off_frames(InsufficientQuota())[0]) < 20_000


def test_completions_are_read_by_their_text() -> None:
    """The legacy dialect has no delta."""
    request = parse(COMPLETIONS, stream=True, n=2)
    to = COMPLETIONS.tap_stream(request, None)
    assert to is not None
    for index, finish in ((0, None), (1, "stop"), (0, "length")):
        choice = {"index": index, "text": "ab"[index], "finish_reason": finish}
        (frame,) = feed(to, data({"object": "text_completion", "choices": [choice]}))
        assert frame.content
    assert to.output_text() == "aba"
    assert to.finished
    assert feed(to, USAGE_FRAME)[0].raw == b""
    assert to.usage == ReportedUsage(input=9, output=12)
    odd = [{"index": 0, "text": ["x"]}, {"index": 1, "text": ""}]
    assert not feed(to, data({"choices": odd}))[0].content


def test_embeddings_have_no_streams() -> None:
    """Nor have moderations."""
    assert EMBEDDINGS.tap_stream(parse(EMBEDDINGS), None) is None
