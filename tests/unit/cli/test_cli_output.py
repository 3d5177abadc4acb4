"""Tables for people and lines for pipes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.cli.output import (
    Column,
    choose_columns,
    iso_time,
    print_json,
    print_table,
    printable,
    show_time,
    working,
)

COLUMNS = (Column("name"), Column("size", 2, right=True), Column("note", 1))


def test_a_pipe_gets_every_column_by_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    """A heading first, a dash for what is missing, nothing else."""
    print_table(COLUMNS, [["a", 1, None], ["b", None, "x"]], empty="none")
    out, err = capsys.readouterr()
    assert out == "name\tsize\tnote\na\t1\t-\nb\t-\tx\n"
    assert not err


def test_nothing_to_show_is_said_beside_the_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A script reads no line where there is none."""
    print_table(COLUMNS, [], empty="There is nothing.")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "There is nothing.\n")


def test_strangers_names_cannot_steer_a_terminal_or_add_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Escapes, tabs and line ends are written as what they are."""
    print_table(COLUMNS[:1], [["\x1b[2Ja\tb\nc\u202e"]], empty="")
    assert capsys.readouterr().out == "name\n\\x1b[2Ja\\tb\\nc\\u202e\n"


@given(st.text())
def test_whatever_is_printed_is_printable(text: str) -> None:
    """And what was printable is not changed."""
    shown = printable(text)
    assert shown.isprintable()
    if text.isprintable():
        assert shown == text


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=6),
    st.lists(st.integers(1, 30), min_size=6, max_size=6),
    st.integers(10, 200),
)
def test_columns_give_way_by_rank_until_they_fit(
    ranks: list[int], lengths: list[int], width: int
) -> None:
    """No column stays while one of a lower rank goes; rank 0 always stays."""
    columns = [Column(f"c{index}", rank) for index, rank in enumerate(ranks)]
    row = ["x" * length for length in lengths[: len(columns)]]
    shown, hidden = choose_columns(columns, [row], width)
    assert sorted([*shown, *hidden]) == list(range(len(columns)))
    assert all(columns[index].rank for index in hidden)
    if hidden:
        least = min(columns[index].rank for index in hidden)
        assert all(columns[index].rank <= least for index in shown)
    needed = sum(max(len(row[index]), 2) + 3 for index in shown) + 1
    assert needed <= width or not any(columns[index].rank for index in shown)


def test_a_column_without_any_value_is_left_out() -> None:
    """Unless it is one that always stays."""
    columns = [Column("a"), Column("b", 1), Column("c", 1)]
    assert choose_columns(columns, [["-", "-", "x"]], 80) == ([0, 2], [])


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    """With a line end after it."""
    print_json({"a": [1]})
    assert capsys.readouterr().out == '{\n  "a": [\n    1\n  ]\n}\n'


def test_times_are_utc() -> None:
    """In a table and in JSON."""
    assert show_time(0) == "1970-01-01 00:00:00"
    assert iso_time(0) == "1970-01-01T00:00:00Z"
    assert show_time(None) is None
    assert iso_time(None) is None


def test_work_is_silent_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nobody wants a spinner in a log."""
    with working("Working"):
        pass
    assert capsys.readouterr() == ("", "")
