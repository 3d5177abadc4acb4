"""How long sounds last, beside the opinion of those who decode them."""

import io
import os
import struct
import time
import wave
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import sounds
from tests.support.cases import each
from tinytag import TinyTag

from posthouse.providers.sandbox import sound_frames
from posthouse.wire.audio import flac
from posthouse.wire.audio.measure import (
    SpeechMeter,
    is_possible,
    measure,
    seconds_by_size,
    whole_seconds,
)

VORBIS = (Path(__file__).parent / "vorbis.ogg").read_bytes()
"""Three seconds by libsndfile, in long and in short blocks: PyAV writes no Vorbis."""
STREAMED = ("wav", "mp3", "mp3-24k", "mpga", "flac", "ogg-opus", "ogg-flac", "aac")


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    """A sound of 7.3 seconds in every format."""
    return {name: sounds.make(name, 7.3) for name in sounds.KINDS}


@each("name", sounds.KINDS)
def test_a_measured_sound_is_as_long_as_its_decoder_finds_it(made, name):
    assert measure(made[name]) == pytest.approx(
        sounds.decoded_seconds(made[name]), abs=0.1
    )


@each("name", ["wav", "mp3", "mpga", "flac", "ogg-opus", "m4a"])
def test_a_measured_sound_is_as_long_as_another_library_reads(made, name):
    tag = TinyTag.get(filename=f"a.{name}", file_obj=io.BytesIO(made[name]))
    assert measure(made[name]) == pytest.approx(tag.duration, abs=0.05)


@each("name", STREAMED)
@each("piece", [1, 7, 777, 100_000])
def test_a_sound_in_pieces_is_as_long_as_in_one(made, name, piece):
    data = made[name] if piece > 1 else made[name][:20_000]
    meter = SpeechMeter()
    for at in range(0, len(data), piece):
        meter.feed(data[at : at + piece])
    assert meter.seconds() == pytest.approx(measure(data))


@each("name", STREAMED)
def test_half_of_a_sound_lasts_about_half_as_long(made, name):
    half = made[name][: len(made[name]) // 2]
    assert measure(half) == pytest.approx(3.65, abs=0.7)


def test_samples_without_a_head_are_measured_by_their_rate():
    meter = SpeechMeter(24_000)
    meter.feed(bytes(24_000))
    meter.feed(bytes(48_000))
    assert meter.seconds() == 1.5
    assert meter.whole_seconds() == 2


def test_nothing_lasts_no_second():
    assert SpeechMeter().whole_seconds() == 0
    assert measure(b"") is None


def test_a_tag_before_the_sound_is_no_sound(made):
    tag = b"ID3\x04\0\0" + bytes([0, 0, 8, 0]) + b"\xff\xfb\x90\x64" * 256
    for name in ("mp3", "flac", "aac"):
        assert measure(tag + made[name]) == pytest.approx(measure(made[name]))


def test_streams_that_follow_each_other_add_up(made):
    assert measure(made["ogg-opus"] * 3) == pytest.approx(21.9, abs=0.1)


def test_waste_between_frames_is_stepped_over(made):
    cut = made["mp3"]
    middle = len(cut) // 2
    assert measure(cut[:middle] + b"\0waste\xff" * 50 + cut[middle:]) == pytest.approx(
        7.34, abs=0.1
    )


@pytest.mark.parametrize("size", [0, 2**32 - 1])
def test_a_wav_that_does_not_know_its_length_is_all_that_came(made, size):
    data = bytearray(made["wav"])
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", size)
    assert measure(bytes(data)) == pytest.approx(7.3)


def test_a_wav_with_other_chunks_is_measured():
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((2, 1, 8_000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 8_000 * 3))
    plain = target.getvalue()
    chunk = b"LIST" + struct.pack("<I", 5) + b"hello\0"
    assert measure(plain[:12] + chunk + plain[12:]) == 3.0


# --- heads that lie ---------------------------------------------------------------


def test_a_flac_head_that_claims_a_thousand_years_is_not_believed(made):
    data = bytearray(made["flac"])
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4
    assert measure(bytes(data)) == pytest.approx(7.3)


def test_silence_in_no_bytes_is_more_than_can_be(made):
    """Frames of FLAC that are all one sample, eight seconds in fourteen bytes."""
    pieces = [made["flac"][:42].replace(b"fLaC\0", b"fLaC\x80", 1)]
    for number in range(5_000):
        head = b"\xff\xf8\x74\x08" + chr(number).encode() + b"\xff\xff"
        pieces.append(head + bytes([flac.checksum(head)]) + bytes(6))
    bomb = b"".join(pieces)
    seconds = measure(bomb)
    assert seconds == pytest.approx(5_000 * 65_536 / 8_000)
    assert not is_possible(seconds, len(bomb))


@pytest.mark.parametrize("units", [1, 2**31])
def test_an_mp4_head_that_claims_another_length_is_not_believed(made, units):
    data = bytearray(made["m4a"])
    for box in (b"mvhd", b"mdhd"):
        at = data.index(box) + 4 + 16
        data[at : at + 4] = struct.pack(">I", units)
    assert measure(bytes(data)) == pytest.approx(7.3, abs=0.1)


def test_an_mp4_whose_samples_claim_no_time_is_measured_by_their_number(made):
    data = bytearray(made["m4a"])
    at = data.index(b"stts") + 8
    (pairs,) = struct.unpack(">I", data[at : at + 4])
    for place in range(at + 8, at + 4 + 8 * pairs, 8):
        data[place : place + 4] = struct.pack(">I", 1)
    assert measure(bytes(data)) == pytest.approx(7.3, abs=0.1)


def timeless(data):
    """The same sound, whose table says that it takes next to no time."""
    data = bytearray(data)
    at = data.index(b"stts") + 8
    (pairs,) = struct.unpack(">I", data[at : at + 4])
    for place in range(at + 8, at + 4 + 8 * pairs, 8):
        data[place : place + 4] = struct.pack(">I", 1)
    return data


def test_a_lossless_mp4_whose_samples_claim_no_time_is_measured(made):
    """By the usual length of its codec's frames: here they are of 4,096 samples."""
    assert measure(bytes(timeless(made["m4a-alac"]))) == pytest.approx(7.3, abs=0.1)


def test_an_mp4_that_hides_the_number_of_its_samples_is_measured(made):
    """Tables of small sizes count them, too."""
    data = timeless(made["m4a"])
    at = data.index(b"stsz")
    data[at : at + 4] = b"stz2"
    assert measure(bytes(data)) == pytest.approx(7.3, abs=0.1)


def test_an_mp4_that_hides_its_rate_is_taken_for_the_usual_one(made):
    """The rate stands in the codec's own settings as well: players have it there."""
    data = timeless(made["m4a"])
    at = data.index(b"mp4a") + 28
    data[at : at + 4] = bytes(4)
    assert measure(bytes(data)) >= 1.0


def boxed(kind, content=b""):
    """An MP4 box."""
    return struct.pack(">I", 8 + len(content)) + kind + content


def test_boxes_that_are_cut_off_or_nested_without_end_fail_no_call():
    nested = b""
    for _ in range(3_000):
        nested = boxed(b"minf", nested)
    for track in (boxed(b"tkhd"), boxed(b"mdia", nested)):
        data = boxed(b"ftyp", b"M4A ") + boxed(b"moov", boxed(b"trak", track))
        assert measure(data) is None


def test_a_webm_head_that_claims_a_thousand_years_is_not_believed(made):
    data = bytearray(made["webm"])
    at = data.index(b"\x44\x89\x88") + 3
    data[at : at + 8] = struct.pack(">d", 1e15)
    assert measure(bytes(data)) == pytest.approx(7.3, abs=0.1)


def test_a_webm_whose_blocks_claim_no_time_is_measured_by_its_packets(made):
    data = bytearray(made["webm"])
    at = 0
    while (at := data.find(b"\xe7", at + 1)) >= 0:
        # The clusters' times: of one to three bytes, behind their size.
        width = data[at + 1] & 0x0F
        if data[at + 1] in (0x81, 0x82, 0x83):
            data[at + 2 : at + 2 + width] = bytes(width)
    assert measure(bytes(data)) == pytest.approx(7.3, abs=0.2)


def blocks(count, payload):
    """A WebM file of Opus, of so many blocks that are a millisecond apart."""
    written = b"\x1a\x45\xdf\xa3\x80" + b"\x18\x53\x80\x67\xff"
    written += b"\x16\x54\xae\x6b\xff\xae\xff\xd7\x81\x01\x86\x86A_OPUS"
    written += b"\x1f\x43\xb6\x75\xff\xe7\x81\x00"
    for number in range(count):
        body = b"\x81" + struct.pack(">hB", number % 32_000, 0) + payload
        written += b"\xa3" + bytes([0x80 | len(body)]) + body
    return written


def test_a_webm_of_empty_blocks_is_given_up_early():
    """Silence has small blocks, too, but not so many of them."""
    assert measure(blocks(31_000, b"")) is None
    assert measure(blocks(5_000, b"")) == pytest.approx(5.0, abs=0.01)
    assert measure(blocks(31_000, b"\x08" + bytes(9))) == pytest.approx(620, abs=0.1)


def test_opus_pages_that_claim_another_position_are_not_believed(made):
    data = bytearray(made["ogg-opus"])
    at = 0
    while (at := data.find(b"OggS", at)) >= 0:
        data[at + 6 : at + 14] = struct.pack("<Q", 48_000 * 10**9)
        at += 4
    assert measure(bytes(data)) == pytest.approx(7.3, abs=0.1)


def test_vorbis_is_as_long_as_its_blocks():
    """Whatever its pages claim; its last one may cut off the end of the last block."""
    assert measure(VORBIS) == pytest.approx(3.0, abs=0.001)
    assert sounds.decoded_seconds(VORBIS) == pytest.approx(3.0, abs=0.05)
    for position in (0, 1, 32_000 * 10**9):
        data = bytearray(VORBIS)
        at = 0
        while (at := data.find(b"OggS", at)) >= 0:
            data[at + 6 : at + 14] = struct.pack("<Q", position)
            at += 4
        assert measure(bytes(data)) == pytest.approx(3.0, abs=0.05)
    assert measure(VORBIS * 3) == pytest.approx(9.0, abs=0.01)
    meter = SpeechMeter()
    for at in range(0, len(VORBIS), 7):
        meter.feed(VORBIS[at : at + 7])
    assert meter.seconds() == measure(VORBIS)


def test_a_vorbis_setup_that_cannot_be_read_harms_nobody():
    """Its packets are as long as they are at least, or as its pages claim."""
    begin = VORBIS.index(b"\x05vorbis")
    for at in range(begin, begin + 3_000, 37):
        data = bytearray(VORBIS)
        data[at] ^= 0x55
        found = measure(bytes(data))
        assert found is None or found > 0.4


def test_pages_that_claim_to_be_short_are_not_believed(made):
    """FLAC's frames say how long they are; whoever plays it hears all of them."""
    data = bytearray(made["ogg-flac"])
    at = 0
    while (at := data.find(b"OggS", at)) >= 0:
        data[at + 6 : at + 14] = struct.pack("<Q", 1 if at else 0)
        at += 4
    assert measure(bytes(data)) == pytest.approx(7.3, abs=0.1)


# --- what is no sound --------------------------------------------------------------


def thin_page() -> bytes:
    """An Ogg page of as many packets as there can be, of a byte each."""
    return sound_frames._page((b"\xf8",) * 255, 2, 10**6)


def setups(size: int) -> bytes:
    """Ogg streams of nothing but the largest setup headers of Vorbis."""
    book = b"BCV" + b"\x01\0" + b"\xff\xff\xff" + b"\2"
    setup = b"\x05vorbis\xff" + book + bytes(15_000)
    first = VORBIS[: VORBIS.index(b"OggS", 4)]
    lacing = b"\x01" + b"\xff" * (len(setup) // 255) + bytes([len(setup) % 255])
    page = b"OggS\0\0" + bytes(8) + first[14:18] + bytes(8) + bytes([len(lacing)])
    one = first + page + lacing + b"\3" + setup
    return one * (size // len(one))


HOSTILE = {
    "vorbis setups": setups,
    "zeros": bytes,
    "noise": os.urandom,
    "sync bytes": lambda size: b"\xff" * size,
    "flac syncs": lambda size: (
        b"fLaC" + b"\x80\0\0\0" + b"\xff\xf8\x11\0" * (size // 4)
    ),
    "mp3 syncs": lambda size: b"\xff\xfb" * (size // 2),
    "ogg syncs": lambda size: b"OggS" * (size // 4),
    "ogg begins": lambda size: (b"OggS\0\2" + bytes(21)) * (size // 27),
    "ogg packets": lambda size: sound_frames.opus(1) + thin_page() * (size // 537),
    "aac without content": lambda size: b"\xff\xf1\x50\x40\0\xe0\0" * (size // 7),
    "small elements": lambda size: b"\x1a\x45\xdf\xa3" + b"\xec\x80" * (size // 2),
    "small blocks": lambda size: blocks(0, b"") + b"\xa3\x84\x81\0\0\0" * (size // 6),
    "small boxes": lambda size: b"\0\0\0\x08ftyp" * (size // 8),
    "nested boxes": lambda size: b"\0\0\0\0moov\0\0\0\0trak" + b"\0\0\0\0mdia" * 9,
    "small chunks": lambda size: b"RIFF\0\0\0\0WAVE" + b"LIST\0\0\0\0" * (size // 8),
    "an endless tag": lambda size: b"ID3\4\0\0\x7f\x7f\x7f\x7f" + bytes(size),
}


@each("name", HOSTILE)
def test_no_bytes_keep_a_meter_busy_for_long(name):
    data = HOSTILE[name](2_000_000)
    begun = time.process_time()
    measure(data)
    meter = SpeechMeter()
    for at in range(0, len(data), 4_096):
        meter.feed(data[at : at + 4_096])
    # 25 MB at this pace are what a thread may take.
    assert time.process_time() - begun < 3.0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_sound_with_some_bytes_changed_is_measured_or_not_but_never_fails(made, data):
    name = data.draw(st.sampled_from(sorted(sounds.KINDS)))
    broken = bytearray(made[name][:8_192])
    for _ in range(data.draw(st.integers(1, 12))):
        place = data.draw(st.integers(0, len(broken) - 1))
        broken[place] = data.draw(st.integers(0, 255))
    cut = bytes(broken[: data.draw(st.integers(0, len(broken)))])
    found = measure(cut)
    assert found is None or found >= 0


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(
        [
            *(b"", b"RIFF0000WAVE", b"fLaC", b"OggS\0\2", b"ID3", b"\x1a\x45\xdf\xa3"),
            *(b"\0\0\0\x18ftyp", b"\0\0\0\x40moov", b"\xff\xfb\x90", b"\xff\xf1"),
        ]
    ),
    st.binary(max_size=300),
)
def test_arbitrary_bytes_never_fail(head, tail):
    measure(head + tail)


# --- what is billed ----------------------------------------------------------------


def test_seconds_are_rounded_up_to_whole_ones():
    found = [whole_seconds(one) for one in (0.0, 0.2, 1.0, 1.0000001, 1.01, 59.999)]
    assert found == [1, 1, 1, 1, 2, 60]


def test_what_cannot_be_measured_is_taken_for_thin_speech():
    assert seconds_by_size(25_000_000) == 16_667
    assert seconds_by_size(1) == 1


def test_a_thousand_years_do_not_fit_into_a_kilobyte():
    assert not is_possible(1e9, 1_000)
    assert is_possible(60.0, 6_000)


def test_a_sound_that_cannot_be_streamed_is_measured_by_its_bytes(made):
    meter = SpeechMeter()
    meter.feed(made["m4a"])
    assert meter.seconds() is None
    assert meter.whole_seconds() == seconds_by_size(len(made["m4a"]))
