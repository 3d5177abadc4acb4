"""Speech and transcripts of providers that fail, and what both sides are charged.

Sound has no word for an error: one that breaks off must be seen to be broken, never
taken for the whole; and what is charged is what was measured, unless the provider
tells something that can be true.
"""

import asyncio
import io
import json
import os
import wave
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.steps import (
    LAST_CHUNK,
    Behaviour,
    Close,
    Hang,
    Request,
    Reset,
    Send,
    Step,
    Wait,
    chunk,
    head,
    json_reply,
    reply,
)
from tests.fakes.upstream import FakeUpstream
from tests.faults.station import KEY, Station, coarse_timers_made_fine, play, running
from tests.faults.wire import Peer, Reply, request_bytes

from posthouse.model.call import Outcome
from posthouse.wire.multipart import Form, Part, read_form, render_form

SPEECH, TRANSCRIPTS = "/v1/audio/speech", "/v1/audio/transcriptions"
TEXT = "Fresh horses stand ready at every station of the road."
POOR = "sk-poor-0123456789abcdef0123456789"
MODELS = ("by-character", "by-token", "by-second", "heard-by-token")
CONFIGURATION = f"""
[[keys]]
name = "app"
key = "{KEY}"
balance_usd = "10"

[[keys]]
name = "poor"
key = "{POOR}"
balance_usd = "0.00108"

[[prices]]
model = "by-character"
character = "0.00002"

[[prices]]
model = "by-token"
input = "1"
output = "20"

[[prices]]
model = "by-second"
second = "0.0001"

[[prices]]
model = "heard-by-token"
input = "2"
audio_input = "6"
output = "10"
"""
CHARACTER, SECOND = 20_000, 100_000  # nano-dollars


def channel(name: str, origin: str, priority: int) -> str:
    models = json.dumps(MODELS)
    return (
        f'[[channels]]\nname = "{name}"\nprovider = "openai-compatible"\n'
        f'base_url = "{origin}/v1"\napi_key = "sk-{name}"\nmodels = {models}\n'
        f"priority = {priority}\ntimeouts = {{ first_byte = 0.4, idle = 0.4 }}\n"
    )


def wav(seconds: float) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(bytes(int(16_000 * seconds)))
    return target.getvalue()


SOUND = wav(2.5)
PIECES = [SOUND[at : at + 4_000] for at in range(0, len(SOUND), 4_000)]
HEAD = head(200, chunked=True, content_type="audio/wav")


def sound(
    *end: Step, pieces: Iterable[bytes] = PIECES, pause: float = 0.002
) -> tuple[Step, ...]:
    """Give sound piece by piece, then whatever `end` says."""
    steps: list[Step] = [Send(HEAD)]
    for piece in pieces:
        steps += [Send(chunk(piece)), Wait(pause)]
    return (*steps, *(end or (Send(LAST_CHUNK),)))


def always(*steps: Step) -> Callable[[Request], Behaviour]:
    return lambda _: Behaviour("sound", steps)


GOOD = always(*sound())


async def with_providers(
    tmp_path: Path,
    work: Callable[[Station], Any],
    first: Callable[[Request], Behaviour],
    second: Callable[[Request], Behaviour] | None = None,
) -> list[FakeUpstream]:
    async with FakeUpstream(first) as a, FakeUpstream(second or GOOD) as b:
        text = CONFIGURATION + channel("a", a.origin, 2)
        if second is not None:
            text += channel("b", b.origin, 1)
        with coarse_timers_made_fine():
            async with running(tmp_path, text) as station:
                await work(station)
        return [a, b]


def speech(model: str = "by-character", **more: Any) -> bytes:
    asked = {"model": model, "input": TEXT, "voice": "alloy", "response_format": "wav"}
    return json.dumps({**asked, **more}).encode()


async def hear(
    station: Station, data: bytes, model: str = "by-second", **fields: str
) -> Reply:
    """Ask for a transcript."""
    named = {"model": model, **fields}
    parts = [Part(name, value.encode()) for name, value in named.items()]
    payload = render_form(
        Form((Part("file", data, "a.wav", b"audio/wav"), *parts)), b"boundary"
    )
    fields = [
        ("Authorization", f"Bearer {KEY}"),
        ("Content-Type", payload.content_type.decode()),
    ]
    peer = await Peer.connect(station.port)
    try:
        peer.writer.write(request_bytes(TRANSCRIPTS, payload.data, fields))
        return await peer.reply()
    finally:
        await peer.close()


# --- speech ---------------------------------------------------------------------------


def test_speech_is_heard_while_it_is_made(tmp_path: Path) -> None:
    """Its first piece is with the caller before the provider has made the second."""

    async def work(station: Station) -> None:
        peer = await station.begin(SPEECH, speech())
        async with asyncio.timeout(0.3):
            while PIECES[0][:3_900] not in peer.received:
                await peer.more()
        seen = await peer.reply()
        await peer.close()
        assert seen.ended

    pieces = sound(pieces=PIECES[:1], pause=0.35)[:-1]
    rest = sound(pieces=PIECES[1:])[1:]
    play(lambda: with_providers(tmp_path, work, always(*pieces, *rest)))


def test_speech_is_charged_by_its_characters(tmp_path: Path) -> None:
    async def work(station: Station) -> None:
        seen = await station.ask(SPEECH, speech())
        assert (seen.status, seen.ended, seen.body) == (200, True, SOUND)
        assert seen.headers["content-type"] == "audio/wav"
        record, line = await station.books(seen.call_id)
        assert record.usage == {"character": len(TEXT)}
        assert (record.usage_source, record.streamed) == ("measured", True)
        assert record.price == len(TEXT) * CHARACTER == -line.amount
        assert record.outcome == Outcome.SERVED

    play(lambda: with_providers(tmp_path, work, GOOD))


def test_the_last_money_is_for_all_of_what_is_said(tmp_path: Path) -> None:
    """However long that is; the next call is refused before anybody is asked."""
    whole = wav(60)
    pieces = [whole[at : at + 32_000] for at in range(0, len(whole), 32_000)]

    async def work(station: Station) -> None:
        seen = await station.ask(SPEECH, speech(), key=POOR)
        assert (seen.status, seen.ended, seen.body) == (200, True, whole)
        again = await station.ask(SPEECH, speech(), key=POOR)
        assert (again.status, again.error["code"]) == (429, "insufficient_quota")

    served = play(lambda: with_providers(tmp_path, work, always(*sound(pieces=pieces))))
    assert len(served[0].served) == 1


def test_speech_by_tokens_is_charged_by_what_passed(tmp_path: Path) -> None:
    """Two seconds and a half are three; a second has twenty tokens."""

    async def work(station: Station) -> None:
        seen = await station.ask(SPEECH, speech("by-token"))
        record, _ = await station.books(seen.call_id)
        assert record.usage["audio_output"] == 60
        assert record.usage_source == "estimated"
        told = record.usage["input"]
        assert 8 <= told <= 16
        assert record.price == told * 1_000 + 60 * 20_000

    play(lambda: with_providers(tmp_path, work, GOOD))


BREAKS = {
    "closed": (Close(),),
    "reset": (Wait(0.02), Reset()),
    "silent": (Hang(),),
}


@pytest.mark.parametrize("backed", [False, True])
@pytest.mark.parametrize("name", BREAKS)
def test_speech_that_breaks_off_is_seen_to_be_broken(
    tmp_path: Path, name: str, *, backed: bool
) -> None:
    """No second channel goes on, no final chunk is sent, the connection ends."""

    async def work(station: Station) -> None:
        seen = await station.ask(SPEECH, speech())
        assert seen.status == 200
        assert not seen.ended
        assert seen.closed
        assert SOUND.startswith(seen.body)
        assert seen.body
        record, _ = await station.books(seen.call_id)
        assert record.outcome == Outcome.INTERRUPTED
        assert record.price == len(TEXT) * CHARACTER
        assert len(record.attempts) == 1

    broken = always(*sound(*BREAKS[name], pieces=PIECES[:5]))
    second = GOOD if backed else None
    play(lambda: with_providers(tmp_path, work, broken, second))


def test_broken_speech_by_tokens_is_charged_as_far_as_it_came(tmp_path: Path) -> None:
    async def work(station: Station) -> None:
        seen = await station.ask(SPEECH, speech("by-token"))
        record, _ = await station.books(seen.call_id)
        # Five pieces are a second and a quarter.
        assert record.usage["audio_output"] == 40

    broken = always(*sound(Close(), pieces=PIECES[:5]))
    play(lambda: with_providers(tmp_path, work, broken))


NOTHING = {
    "no bytes": (Send(reply(200, b"", content_type="audio/wav")),),
    "no chunk": (Send(HEAD), Send(LAST_CHUNK)),
    "closed": (Send(head(200, content_type="audio/mpeg")), Close()),
    "a web page": (Send(reply(200, b"<html>", content_type="text/html")),),
    "an error": (Send(json_reply(200, {"error": {"message": "m"}})),),
    "an error for sound": (
        Send(reply(200, b'{"error":{"message":"m"}}', content_type="audio/wav")),
    ),
    "refused": (Send(json_reply(500, {"error": {"message": "m"}})),),
    "silent": (Hang(),),
}


@pytest.mark.parametrize("name", NOTHING)
def test_no_sound_is_no_answer(tmp_path: Path, name: str) -> None:
    async def backed(station: Station) -> None:
        seen = await station.ask(SPEECH, speech())
        assert (seen.status, seen.ended, seen.body) == (200, True, SOUND)
        record, _ = await station.books(seen.call_id)
        assert (record.channel, len(record.attempts)) == ("b", 2)
        assert record.price == len(TEXT) * CHARACTER

    async def alone(station: Station) -> None:
        seen = await station.ask(SPEECH, speech())
        assert seen.status in (502, 503, 504)
        assert "message" in seen.error
        record, _ = await station.books(seen.call_id)
        assert (record.price, record.outcome) == (0, Outcome.FAILED)

    fault = always(*NOTHING[name])
    play(lambda: with_providers(tmp_path / "b", backed, fault, GOOD))
    play(lambda: with_providers(tmp_path / "a", alone, fault))


def test_a_caller_who_leaves_pays_for_what_was_said(tmp_path: Path) -> None:
    async def work(station: Station) -> None:
        peer = await station.begin(SPEECH, speech("by-token"))
        while PIECES[1][:200] not in peer.received:
            await peer.more()
        await peer.close()
        [record] = await station.ended(1)
        assert record.outcome == Outcome.ABANDONED
        assert 20 <= record.usage["audio_output"] <= 40

    slow = always(*sound(Hang(), pieces=PIECES[:4]))
    play(lambda: with_providers(tmp_path, work, slow))


def test_events_break_off_with_an_error_and_no_end(tmp_path: Path) -> None:
    async def work(station: Station) -> None:
        seen = await station.ask(SPEECH, speech("by-token", stream_format="sse"))
        assert seen.headers["content-type"].startswith("text/event-stream")
        assert not seen.ended
        assert b"speech.audio.delta" in seen.body
        assert b"speech.audio.done" not in seen.body
        assert b'"error"' in seen.body

    event = b'data: {"type":"speech.audio.delta","audio":"UklGRg=="}\n\n'
    start = head(200, chunked=True, content_type="text/event-stream")
    broken = always(Send(start), Send(chunk(event)), Wait(0.02), Close())
    play(lambda: with_providers(tmp_path, work, broken))


@pytest.mark.parametrize("events", [False, True])
def test_sound_that_comes_otherwise_is_given_as_it_was_asked_for(
    tmp_path: Path, *, events: bool
) -> None:
    """In hexadecimal digits, with the characters that the provider has counted."""
    answer = {
        "data": {"audio": SOUND.hex(), "status": 2},
        "extra_info": {"usage_characters": 77},
        "base_resp": {"status_code": 0, "status_msg": "success"},
    }

    async def work(origin: str) -> None:
        text = CONFIGURATION + channel("a", origin, 1).replace(
            "openai-compatible", "minimax"
        )
        shape = {"stream_format": "sse"} if events else {}
        async with running(tmp_path, text) as station:
            seen = await station.ask(SPEECH, speech(**shape))
            assert (seen.status, seen.ended) == (200, True)
            kind = seen.headers["content-type"]
            if events:
                assert kind.startswith("text/event-stream")
                assert seen.frames[-1].startswith(b'data: {"type":"speech.audio.done"')
            else:
                assert (kind, seen.body) == ("audio/wav", SOUND)
            record, _ = await station.books(seen.call_id)
            assert (record.usage, record.usage_source) == (
                {"character": 77},
                "provider",
            )

    async def with_provider() -> None:
        async with FakeUpstream(said(answer)) as provider:
            await work(provider.origin)

    play(with_provider)


# --- transcripts -------------------------------------------------------------------


def said(value: Any, kind: str = "application/json") -> Callable[[Request], Behaviour]:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return always(Send(reply(200, body, content_type=kind)))


CHARGED = {
    "not told": ({"text": "a"}, 62, "measured"),
    "told": ({"text": "a", "usage": {"type": "duration", "seconds": 62}}, 62, None),
    "told shorter": ({"text": "a", "duration": 57.0}, 57, "provider"),
    "told far shorter": ({"text": "a", "duration": 1}, 62, None),
    "told a year": ({"text": "a", "duration": 3e7}, 62, None),
    "told nonsense": ({"text": "a", "duration": -4}, 62, "measured"),
}


@pytest.mark.parametrize("name", CHARGED)
def test_seconds_are_those_that_were_measured_unless_told_better(
    tmp_path: Path, name: str
) -> None:
    answer, seconds, source = CHARGED[name]

    async def work(station: Station) -> None:
        seen = await hear(station, wav(61.3))
        assert (seen.status, json.loads(seen.body)) == (200, answer)
        record, line = await station.books(seen.call_id)
        assert record.usage == {"second": seconds}
        assert source is None or record.usage_source == source
        assert record.price == seconds * SECOND == -line.amount

    play(lambda: with_providers(tmp_path, work, said(answer)))


@pytest.mark.parametrize("form", ["text", "srt", "vtt"])
def test_replies_that_are_no_json_are_charged_alike(tmp_path: Path, form: str) -> None:
    async def work(station: Station) -> None:
        seen = await hear(station, wav(3), response_format=form)
        assert seen.body == b"WEBVTT\n\nHello\n"
        record, _ = await station.books(seen.call_id)
        assert (record.usage, record.price) == ({"second": 3}, 3 * SECOND)

    play(lambda: with_providers(tmp_path, work, said(b"WEBVTT\n\nHello\n", "text/vtt")))


def test_what_cannot_be_measured_is_estimated_until_it_is_told(tmp_path: Path) -> None:
    data = b"#!AMR\n" + bytes(60_000)

    async def untold(station: Station) -> None:
        record, _ = await station.books((await hear(station, data)).call_id)
        assert (record.usage, record.usage_source) == ({"second": 41}, "estimated")

    async def told(station: Station) -> None:
        record, _ = await station.books((await hear(station, data)).call_id)
        assert (record.usage, record.usage_source) == ({"second": 300}, "provider")

    play(lambda: with_providers(tmp_path / "a", untold, said({"text": "a"})))
    answer = {"text": "a", "duration": 299.5}
    play(lambda: with_providers(tmp_path / "b", told, said(answer)))


def test_tokens_that_nobody_tells_are_worked_out(tmp_path: Path) -> None:
    """Ten for each second that was heard, and what was said by its text."""

    async def work(station: Station) -> None:
        seen = await hear(station, wav(30), "heard-by-token")
        record, _ = await station.books(seen.call_id)
        assert record.usage["audio_input"] == 300
        assert 5 <= record.usage["output"] <= 20
        assert record.usage_source == "estimated"

    answer = {"text": "Fresh horses stand ready at every station."}
    play(lambda: with_providers(tmp_path, work, said(answer)))


def test_tokens_that_are_told_are_charged(tmp_path: Path) -> None:
    usage = {
        "type": "tokens",
        "input_tokens": 310,
        "input_token_details": {"text_tokens": 10, "audio_tokens": 300},
        "output_tokens": 20,
        "total_tokens": 330,
    }

    async def work(station: Station) -> None:
        seen = await hear(station, wav(30), "heard-by-token", stream="true")
        assert seen.headers["content-type"].startswith("text/event-stream")
        record, _ = await station.books(seen.call_id)
        assert record.price == 10 * 2_000 + 300 * 6_000 + 20 * 10_000

    play(lambda: with_providers(tmp_path, work, said({"text": "a", "usage": usage})))


def test_a_form_arrives_as_it_was_sent(tmp_path: Path) -> None:
    got: list[Form] = []

    def answer(request: Request) -> Behaviour:
        kind = request.header(b"content-type") or b""
        got.append(read_form(kind, request.body))
        return said({"text": "a"})(request)

    async def work(station: Station) -> None:
        seen = await hear(station, wav(1), x_new="1", language="en")
        assert seen.status == 200

    play(lambda: with_providers(tmp_path, work, answer))
    assert [part.name for part in got[0].parts] == [
        *("file", "model", "x_new", "language")
    ]
    assert got[0].parts[0].value == wav(1)


def test_a_large_sound_takes_a_bounded_part_of_the_memory(tmp_path: Path) -> None:
    """25 MB: the body, its parts, and what goes out; and all of it is given back."""
    data = wav(25 * 1024 * 1024 / 16_000 - 1)

    def resident() -> int:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    async def work(station: Station) -> None:
        before, most = resident(), 0
        asked = asyncio.create_task(hear(station, data))
        while not asked.done():
            most = max(most, resident())
            await asyncio.sleep(0.01)
        seen = await asked
        assert seen.status == 200
        record, _ = await station.books(seen.call_id)
        assert record.usage == {"second": 1_638}
        assert most - before < 9 * len(data)

    play(lambda: with_providers(tmp_path, work, said({"text": "a"})))
