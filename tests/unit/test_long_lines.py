"""Long lines on a narrow terminal: they go on below their last column, and no word and no figure is lost."""

import pytest

from fleetctl.cli.commands import commands, root_help
from fleetctl.cli.tables import ROOM_LEAST, Column, folded, table

EVENTS = (
    ("00:17:27", "instance/l40s-q4w4-1", "launching L40S:1 at local ($1.86/h) for replica chat-q4w4-1"),
    ("00:17:31", "instance/l40s-q4w4-1", "ready after 4.3 s"),
)
COLUMNS = (
    Column[tuple[str, ...]](header="TIME", cell=lambda row: row[0]),
    Column[tuple[str, ...]](header="SUBJECT", cell=lambda row: row[1]),
    Column[tuple[str, ...]](header="MESSAGE", cell=lambda row: row[2]),
)


def test_the_last_column_of_a_table_goes_on_below_itself() -> None:
    assert table(EVENTS, COLUMNS, width=70) == (
        "TIME      SUBJECT               MESSAGE\n"
        "00:17:27  instance/l40s-q4w4-1  launching L40S:1 at local ($1.86/h)\n"
        "                                for replica chat-q4w4-1\n"
        "00:17:31  instance/l40s-q4w4-1  ready after 4.3 s\n"
    )


@pytest.mark.parametrize("width", [60, 64, 80, 100, None])
def test_no_word_is_lost_or_cut_at_any_width(width: int | None) -> None:
    text = table(EVENTS, COLUMNS, width=width)

    assert text.split() == table(EVENTS, COLUMNS, width=None).split()
    assert width is None or max(map(len, text.splitlines())) <= width


def test_without_room_for_a_sentence_the_terminal_breaks_the_line() -> None:
    begins = len("00:17:27  instance/l40s-q4w4-1  ")
    columns = [*COLUMNS[:2], Column[tuple[str, ...]](header="MESSAGE", cell=lambda row: row[2] * 2)]

    narrow = table(EVENTS[:1], [*columns], width=max(60, begins + ROOM_LEAST))
    last_right = table(EVENTS[:1], [*COLUMNS[:2], Column(header="N", cell=lambda _: "9" * 60, right=True)], width=70)

    assert len(narrow.splitlines()) > 2
    assert len(last_right.splitlines()) == 2, "figures are not folded"


@pytest.mark.parametrize(
    ("line", "told", "why"),
    [
        ("  because   7 wanted, and max is 4\n", "  because   7 wanted, and max is 4\n", "it has room"),
        (
            "  because   set by hand to 1 (4 is the least so far)\n",
            "  because   set by hand to 1 (4 is\n            the least so far)\n",
            "below what is told, not below the word for it",
        ),
        ("  auto  4  one two three four five six\n", "  auto  4  one two three four five\n           six\n", "a stage"),
        ("no columns here, only a sentence of words\n", "no columns here, only a sentence of\nwords\n", "a sentence"),
        (f"{'a' * 50}\n", f"{'a' * 50}\n", "a word is never cut"),
    ],
)
def test_a_line_goes_on_below_its_last_column(line: str, told: str, why: str) -> None:
    assert folded(line, 36) == told, why
    assert folded(line, None) == line


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_root_help_fits_the_terminal_and_says_the_same(width: int) -> None:
    text = root_help(width)

    listed = text.partition("Every command has")[0]
    assert max(map(len, listed.splitlines())) <= width
    assert text.split() == root_help().split()
    assert all(f"\n  {command.name} " in text for command in commands())


def test_the_root_help_ends_within_eighty_columns() -> None:
    assert max(map(len, root_help(80).splitlines())) <= 80
