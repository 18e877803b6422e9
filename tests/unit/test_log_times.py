"""When lines of engines' logs were written, by what they say themselves."""

from datetime import UTC, datetime

import pytest

from fleetctl.views.log_times import since, time_of

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("line", "ago_s"),
    [
        ("2026-03-01T11:59:00Z ready", 60.0),
        ("2026-03-01 11:59:00,250 INFO ready", 59.75),
        ("[2026-03-01T13:59:00+02:00] ready", 60.0),
        ("INFO 03-01 11:50:00 [api_server.py:42] ready", 600.0),
        ("(EngineCore pid=7) INFO 12-31 12:00:00 [core.py:1] ready", 60 * 86_400.0),
        ("no time at all", None),
        ("INFO 13-45 99:00:00 not one either", None),
        ("x" * 200 + " 2026-03-01T11:59:00Z", None),
    ],
)
def test_the_time_of_a_line(line: str, ago_s: float | None) -> None:
    at = time_of(line, now=NOW)

    assert at == (None if ago_s is None else NOW - ago_s)


def test_lines_since_begin_with_the_first_that_is_new_enough() -> None:
    text = "2026-03-01T11:00:00Z old\n  of it\n2026-03-01T11:58:00Z new\n  its traceback\n2026-03-01T11:59:00Z newer\n"

    assert since(text, NOW - 300.0, now=NOW) == (
        "2026-03-01T11:58:00Z new\n  its traceback\n2026-03-01T11:59:00Z newer\n",
        True,
    )
    assert since(text, NOW, now=NOW) == ("", True)
    assert since("plain\nlines\n", NOW, now=NOW) == ("plain\nlines\n", False)
