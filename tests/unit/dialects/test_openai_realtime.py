"""Events of realtime sessions: judged, measured, counted."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.dialects.openai_realtime.client_events import (
    models_of,
    output_limit,
    read_client,
    with_model,
)
from posthouse.dialects.openai_realtime.meter import Meter, Produced
from posthouse.dialects.openai_realtime.server_events import (
    read_server,
    usage_of,
    with_public_names,
)
from posthouse.errors import InvalidRequest

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=5), st.booleans())
def test_events_pass_as_they_are(members: dict[str, Any], tight: bool) -> None:
    """Without doubled names nothing in them changes."""
    separators = (",", ":") if tight else (" , ", " : ")
    try:
        raw = json.dumps(
            {**members, "type": "x"},
            separators=separators,
            allow_nan=False,
            ensure_ascii=False,
        ).encode()
    except ValueError:
        return
    assert read_client(raw).raw == raw


@each(
    "raw",
    [b"", b"[]", b'"type"', b"{}", b'{"type":1}', b'{"type":null}', b"{" * 500,
     b'{"type":"x"} {}', b'{"type":"x",}', b'\xff{"type":"x"}', b'{"type":"\xff"}'],
)  # fmt: skip
def test_what_is_no_event(raw: bytes) -> None:
    """Is refused here, for nobody knows how a provider would read it."""
    with pytest.raises(InvalidRequest):
        read_client(raw)


def test_doubled_names_are_sent_once() -> None:
    """At every depth, with the value that was judged."""
    event = read_client(b'{"type":"a","s":{"b":1.50,"b":{"c":1,"c":2}},"type":"z"}')
    assert event.type == "z"
    assert event.raw == b'{"type":"z","s":{"b":{"c":2}}}'


@each(
    ("event", "found"),
    [
        ({"session": {"model": "m"}}, [(("session", "model"), "m")]),
        ({"session": {"model": None}}, []),
        ({"session": {"tools": [{"model": "x"}], "metadata": {"model": "x"}}}, []),
        ({"item": {"model": "x"}}, []),
        (
            {"session": {"audio": {"input": {"transcription": {"model": "w"}}}}},
            [(("session", "audio", "input", "transcription", "model"), "w")],
        ),
    ],
)
def test_models_are_found(event: dict[str, Any], found: list[Any]) -> None:
    """Wherever one may be named."""
    raw = json.dumps({"type": "session.update", **event}).encode()
    assert models_of(read_client(raw)) == found


@each(
    "event",
    [
        {"model": "m"},
        {"session": {"x": {"model": "m"}}},
        {"session": {"model": 5}},
        {"Model": "m"},
        {"session": {"MODEL": "m"}},
        {"Session": {"model": "m"}},
        {"session": {"audio": {"input": {"transcription": {"mOdel": "m"}}}}},
        {"response": {"input": {"model": {"name": "m"}}}},
    ],
)
def test_models_in_odd_places_are_refused(event: dict[str, Any]) -> None:
    """Nobody knows what they would do."""
    with pytest.raises(InvalidRequest):
        models_of(read_client(json.dumps({"type": "x", **event}).encode()))


def test_a_model_is_replaced_where_it_stood() -> None:
    """Everything else stays to the letter."""
    event = read_client(b'{"type":"t","session":{"a":1.50,"model":"m","b":"\\u00e9"}}')
    [(path, _)] = models_of(event)
    assert with_model(event, path, "n").raw == (
        b'{"type":"t","session":{"a":1.50,"model":"n","b":"\\u00e9"}}'
    )


def test_limits_of_answers() -> None:
    """`inf` is none."""
    assert output_limit({"max_output_tokens": 5}) == 5
    assert output_limit({"max_response_output_tokens": 6}) == 6
    for value in ("inf", True, 0, -1, 1.5, None, []):
        assert output_limit({"max_output_tokens": value}) is None
    assert output_limit(None) is None


@given(st.binary(max_size=200))
def test_noise_from_a_provider_raises_nothing(data: bytes) -> None:
    """It passes, and means nothing."""
    event = read_server(data)
    assert event.produced == (0, 0) or event.type
    assert with_public_names(data, "m", "n") is not None


@given(VALUES)
def test_odd_usages_raise_nothing(value: Any) -> None:
    """Whatever stands where a usage should."""
    usage_of({"usage": value})
    details = {"input_token_details": value, "output_token_details": value}
    told = usage_of({"usage": {"input_tokens": value, "output_tokens": 1, **details}})
    assert told is not None
    assert told.cached_audio >= 0


def test_a_usage_in_parts() -> None:
    """Cached sound counts once."""
    usage = {
        "input_tokens": 300,
        "output_tokens": 50,
        "input_token_details": {
            "text_tokens": 80,
            "audio_tokens": 200,
            "image_tokens": 20,
            "cached_tokens": 120,
            "cached_tokens_details": {
                "text_tokens": 10,
                "audio_tokens": 100,
                "image_tokens": 10,
            },
        },
        "output_token_details": {"text_tokens": 20, "audio_tokens": 30},
    }
    told = usage_of({"usage": usage})
    assert told is not None
    report = told.usage
    assert (report.input, report.output) == (300, 50)
    assert (report.cached_input, told.cached_audio) == (120, 100)
    assert (report.audio_input, report.image_input) == (100, 10)
    assert report.audio_output == 30
    assert usage_of({"usage": None}) is None
    assert usage_of({"usage": {"type": "duration", "seconds": 3}}) is None


def client(kind: str, **members: Any) -> Any:
    """An event of a client's."""
    return read_client(json.dumps({"type": kind, **members}).encode())


def server(kind: str, **members: Any) -> Any:
    """An event of a provider's."""
    return read_server(json.dumps({"type": kind, **members}).encode())


def test_sound_is_measured_when_it_is_committed() -> None:
    """By its length where the client says when, by what was heard otherwise."""
    meter = Meter(0)
    second = base64.b64encode(bytes(48_000)).decode()
    for _ in range(3):
        meter.sent(client("input_audio_buffer.append", audio=second))
    assert meter.prompt()["audio_input"] == 0
    meter.sent(client("input_audio_buffer.commit"))
    assert meter.prompt()["audio_input"] == 31
    meter.sent(client("input_audio_buffer.append", audio=second))
    meter.seen(server("input_audio_buffer.speech_started", audio_start_ms=100))
    meter.seen(server("input_audio_buffer.speech_stopped", audio_end_ms=600))
    meter.seen(server("input_audio_buffer.committed"))
    assert meter.prompt()["audio_input"] == 36
    meter.sent(client("input_audio_buffer.append", audio=second))
    meter.sent(client("input_audio_buffer.clear"))
    meter.sent(client("input_audio_buffer.commit"))
    assert meter.prompt()["audio_input"] == 37


def test_formats_are_read() -> None:
    """Of telephones, too, by their present names and the beta's."""
    meter = Meter(0)
    audio = {"output": {"format": {"type": "audio/pcmu"}}}
    meter.seen(server("session.updated", session={"audio": audio}))
    assert meter.spoken_at == 8_000
    old = {"output_audio_format": "pcm16", "max_response_output_tokens": 9}
    meter.seen(server("session.created", session=old))
    assert (meter.spoken_at, meter.output_limit) == (48_000, 9)
    assert Produced(30, 48_000).units(48_000) == {"output": 10, "audio_output": 20}


def test_an_answer_becomes_part_of_the_next_ones_prompt() -> None:
    """As the provider has counted it, within the model's window."""
    meter = Meter(200)
    meter.sent(client("conversation.item.create", item={"text": "x" * 1000}))
    assert sum(meter.prompt().values()) == 200
    usage = {
        "input_tokens": 60,
        "output_tokens": 30,
        "input_token_details": {"audio_tokens": 20},
        "output_token_details": {"audio_tokens": 25},
    }
    told = usage_of({"usage": usage})
    assert told is not None
    others = {name.replace("token_d", "tokens_d"): n for name, n in usage.items()}
    assert usage_of({"usage": others}) == told
    meter.answered(told.usage)
    assert meter.prompt() == {"input": 45, "audio_input": 45}
