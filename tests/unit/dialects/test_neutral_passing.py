"""A stream that passes while a decoder rides along."""

import pytest
from typing_extensions import override

from posthouse.dialects.neutral.codec import ChatDecoder
from posthouse.dialects.neutral.passing import PassingTap
from posthouse.errors import PosthouseError, UpstreamBadResponse
from posthouse.model.chat import (
    Audio,
    Finish,
    FinishReason,
    Foreign,
    Media,
    Text,
    ToolCall,
)
from posthouse.model.chat_events import (
    AudioTold,
    Beat,
    ChatEvent,
    Ended,
    Finished,
    PartEnded,
    PartGrew,
    PartStarted,
    Started,
    UsageTold,
)
from posthouse.model.usage import ReportedUsage

STOP = Finish(FinishReason.STOP)


class Script(ChatDecoder):
    """A decoder whose frames are numbers of a list of events."""

    def __init__(self, *steps: list[ChatEvent], last: list[ChatEvent]) -> None:
        self.steps = list(steps)
        self.last = last

    @override
    def feed(self, raw: bytes, data: bytes) -> list[ChatEvent]:
        if data == b"fault":
            raise UpstreamBadResponse
        return self.steps.pop(0) if data else []

    @override
    def close(self) -> list[ChatEvent]:
        return self.last


class Tap(PassingTap):
    """A tap of a dialect whose frames hold nothing to rename."""

    @override
    def error_frame(self, error: PosthouseError) -> bytes:
        return b"error"

    @override
    def cut_off_frames(self, error: PosthouseError) -> tuple[bytes, bytes]:
        return b"last", b"terminal"


class ClosingTap(Tap):
    """One whose streams end with their connection."""

    ends_by_closing = True


def tap(*steps: list[ChatEvent], choices: int = 1) -> Tap:
    return Tap(Script(*steps, last=[]), choices)


def test_every_frame_passes_to_the_letter_and_tells_whether_it_is_content():
    passing = tap(
        [Started("x")],
        [PartStarted(0, 0, Text(""))],
        [PartGrew(0, 0, "a")],
        [Beat()],
        [PartEnded(0, 0), Finished(0, STOP)],
        [Ended()],
    )
    frames = [passing.feed(b"frame %d" % index, b"x") for index in range(6)]
    assert [frame.raw for frame in frames] == [b"frame %d" % n for n in range(6)]
    assert [frame.content for frame in frames] == [
        False,
        False,
        True,
        False,
        True,
        False,
    ]
    assert [frame.terminal for frame in frames] == [False] * 5 + [True]


def test_comments_pass_as_they_are():
    frame = tap().feed(b": ping\n\n", b"")
    assert frame.raw == b": ping\n\n"
    assert not frame.content


def test_a_fault_in_a_frame_is_raised():
    with pytest.raises(UpstreamBadResponse):
        tap().feed(b"raw", b"fault")


def test_usage_is_merged_and_the_last_tier_counts():
    passing = tap(
        [UsageTold(ReportedUsage(input=5, output=1), "standard")],
        [UsageTold(ReportedUsage(output=9))],
    )
    passing.feed(b"a", b"a")
    passing.feed(b"b", b"b")
    assert passing.usage == ReportedUsage(input=5, output=9)
    assert passing.service_tier == "standard"


def test_it_is_finished_when_every_choice_is():
    passing = tap([Finished(1, STOP)], [Finished(0, STOP)], choices=2)
    passing.feed(b"a", b"a")
    assert not passing.finished
    passing.feed(b"b", b"b")
    assert passing.finished


def test_text_arguments_and_transcripts_are_counted_but_no_sounds():
    passing = tap(
        [
            PartStarted(0, 0, Text("né")),
            PartGrew(0, 0, "e"),
            PartStarted(0, 1, ToolCall("c", "f", "")),
            PartGrew(0, 1, "{}"),
            PartStarted(0, 2, Audio(Media(data="AAAA"))),
            PartGrew(0, 2, "BBBB"),
            AudioTold(0, 2, "hm"),
            PartStarted(0, 3, Foreign("search", {})),
        ]
    )
    assert passing.feed(b"a", b"a").content
    assert passing.output_text() == "néef{}hm"
    assert passing.output_bytes == len("néef{}hm".encode())


def test_halves_of_a_surrogate_pair_become_one_letter():
    passing = tap(
        [PartStarted(0, 0, Text("")), PartGrew(0, 0, "\ud83d")],
        [PartGrew(0, 0, "\ude00")],
    )
    passing.feed(b"a", b"a")
    passing.feed(b"b", b"b")
    assert passing.output_text() == "😀"


def test_open_parts_are_those_that_have_begun_and_not_ended():
    passing = tap(
        [PartStarted(0, 0, Text("a")), PartStarted(0, 1, Text("b"))],
        [PartEnded(0, 0)],
    )
    passing.feed(b"a", b"a")
    passing.feed(b"b", b"b")
    assert passing.open_parts == {(0, 1): Text("b")}


def test_of_a_long_answer_a_sample_is_kept():
    steps: list[list[ChatEvent]] = [[PartGrew(0, 0, "x" * 50_000)] for _ in range(20)]
    passing = tap([PartStarted(0, 0, Text(""))], *steps)
    for _ in range(21):
        passing.feed(b"a", b"a")
        passing.compact()
    assert passing.output_bytes == 1_000_000
    assert len(passing.output_text()) < 300_000


def test_where_closing_ends_a_stream_the_newest_frame_is_held_from_the_finish_on():
    passing = ClosingTap(
        Script(
            [PartStarted(0, 0, Text("a"))],
            [PartEnded(0, 0), Finished(0, STOP)],
            [UsageTold(ReportedUsage(output=1))],
            last=[Ended()],
        )
    )
    assert passing.feed(b"first", b"x").raw == b"first"
    assert passing.feed(b"finish", b"x").raw == b""
    assert passing.feed(b"usage", b"x").raw == b"finish"
    last = passing.close()
    assert last is not None
    assert (last.raw, last.terminal) == (b"usage", True)


def test_a_stream_that_should_have_gone_on_has_no_end():
    passing = ClosingTap(Script([PartStarted(0, 0, Text("a"))], last=[]))
    passing.feed(b"first", b"x")
    assert passing.close() is None
