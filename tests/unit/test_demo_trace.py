"""A trace that the demo cannot replay is refused before anything is started."""

from pathlib import Path

import pytest

from fleetctl.cli.dispatch import run

HEADER = "arrival_s,input_tokens,output_tokens\n"


@pytest.mark.parametrize(
    ("text", "message", "why"),
    [
        (f"{HEADER}0,10,10\n5,x,10\n", ":3: input_tokens is 'x', not a whole number of tokens", "a cell"),
        ("arrival,input_tokens,output_tokens\n0,10,10\n", ":1: the column 'arrival_s' is missing", "a column"),
        (HEADER, ":1: the trace has no requests", "nothing"),
        (f"{HEADER}500,10,10\n", ": no request arrives in the 100 s of it that would be replayed", "all of it later"),
    ],
)
def test_a_bad_trace_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str, why: str
) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(text)

    code = run(["demo", "--trace", str(trace)])

    told = capsys.readouterr().err
    assert code == 2, why
    assert told.startswith(f"error: {trace}{message}"), why
    assert "bringing up" not in told
