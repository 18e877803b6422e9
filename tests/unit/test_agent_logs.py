"""The end of a log: for a message, for a reader, and for a disk that must not fill."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.agent import logs


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(b"", "", id="nothing was said"),
        pytest.param(b"one\ntwo\nthree\nfour\n", "two\nthree\nfour", id="the last lines only"),
        pytest.param(b"one\n\n   \ntwo\n\n", "one\ntwo", id="empty lines say nothing"),
        pytest.param(b"x" * 50, "x" * 19 + "…", id="a long line is cut"),
        pytest.param(b"bad \xff byte", "bad � byte", id="what is no text does not stop a message"),
        pytest.param(b"a\rb", "a\nb", id="a progress bar's returns are line ends"),
    ],
)
def test_last_lines(text: bytes, said: str) -> None:
    assert logs.last_lines(text, lines=3, width=20) == said


@given(text=st.binary(max_size=300), limit=st.integers(min_value=1, max_value=400))
def test_tail_is_the_end(text: bytes, limit: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "tail.log"
    path.write_bytes(text)

    read = logs.tail(path, limit)

    assert read == text[-limit:]


def test_tail_of_no_file_is_empty(tmp_path: Path) -> None:
    assert logs.tail(tmp_path / "none.log", 10) == b""


def test_log_over_its_limit_is_cut_under_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "engine.log"
    small = tmp_path / "small.log"
    small.write_bytes(b"short")
    with path.open("ab") as engine:
        engine.write(b"x" * 3_000_000 + b"the end\n")
        engine.flush()

        logs.bound(tmp_path, limit_bytes=2_000_000)
        engine.write(b"and on\n")

    assert path.stat().st_size < 1_100_000
    assert path.read_bytes().endswith(b"x" * 1000 + b"the end\nand on\n")
    assert small.read_bytes() == b"short"
