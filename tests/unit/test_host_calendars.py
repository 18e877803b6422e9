"""When cron and systemd wake for a Schedule: never less often than it begins, whatever the two zones do."""

import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetctl.decide.schedules import following, off_the_clock
from fleetctl.host.calendars import cron_times, on_calendar
from fleetctl.model.services import Schedule

NOW = datetime(2026, 11, 21, 20, 0, tzinfo=UTC).timestamp()
UTC_ZONE = ZoneInfo("UTC")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia")
STRICT = re.compile(
    r"(?:(?:Sun|Mon|Tue|Wed|Thu|Fri|Sat)(?:,(?:Sun|Mon|Tue|Wed|Thu|Fri|Sat))* )?"
    r"\*-(?:\*|\d\d(?:,\d\d)*)-(?:\*|\d\d(?:,\d\d)*) (?:\*|\d\d(?:,\d\d)*):(?:\*|\d\d(?:,\d\d)*):00 \S+"
)
"""What of systemd.time(7) is written here, and nothing else."""


@pytest.mark.parametrize(
    ("cron", "tz", "here", "lines", "why"),
    [
        ("0 8 * * mon-fri", "UTC", "UTC", ("0 8 * * 1-5",), "as it stands, in numbers that every cron reads"),
        ("*/15 9-17 1,15 * *", "UTC", "UTC", ("0,15,30,45 9-17 1,15 * *",), "steps are written out"),
        ("0 8 * * mon-fri", "Europe/Berlin", "UTC", ("0 6-7 * * *",), "summer and winter, any day"),
        ("0 8 * * mon-fri", "Europe/Berlin", "Europe/Paris", ("0 8 * * 1-5",), "two names of one clock"),
        ("30 9 * * *", "Asia/Kolkata", "UTC", ("0 4 * * *",), "a zone of half an hour"),
        ("0 0 * * mon", "UTC", "Asia/Kolkata", ("30 5 * * *",), "and the other way"),
        ("0 9 L * *", "UTC", "UTC", ("0 9 * * *",), "the last day is not cron's to say"),
        ("0 9 * * fri#2", "UTC", "UTC", ("0 9 * * *",), "nor is the second Friday"),
        ("0 9 * * 7", "UTC", "UTC", ("0 9 * * 0",), "one Sunday"),
    ],
)
def test_lines_of_a_crontab(cron: str, tz: str, here: str, lines: tuple[str, ...], why: str) -> None:
    assert cron_times(cron, tz, ZoneInfo(here), now=NOW) == lines, why


CRONS = st.builds(
    "{} {} {} {} {}".format,
    st.sampled_from(["0", "30", "*/20", "5,50"]),
    st.sampled_from(["0", "2", "8", "*/6", "23", "22-23"]),
    st.sampled_from(["*", "1", "15-20", "L"]),
    st.sampled_from(["*", "3", "10-12"]),
    st.sampled_from(["*", "mon-fri", "0", "5#1"]),
)


@given(cron=CRONS, tz=st.sampled_from(ZONES), here=st.sampled_from(ZONES))
@settings(max_examples=40)
def test_cron_wakes_at_every_beginning(cron: str, tz: str, here: str) -> None:
    schedule = Schedule(cron=cron, tz=tz, duration_s=60.0)
    zone, at = ZoneInfo(here), NOW
    lines = cron_times(cron, tz, zone, now=NOW)

    for _ in range(12):
        coming = following(schedule, at)
        if coming is None or coming[0] > NOW + 300 * 86400:
            break
        at = coming[0]
        if off_the_clock(schedule, at):
            continue  # a skipped hour: what fires in it comes when it is over, and `run` sees to the rest
        local = datetime.fromtimestamp(at, zone).replace(tzinfo=UTC)  # the clock that cron goes by, without its changes
        fires = [next(CronSim(line, local - timedelta(seconds=1))) for line in lines]
        assert local in fires, (lines, local)


@pytest.mark.parametrize(
    ("cron", "tz", "values", "why"),
    [
        ("0 8 * * mon-fri", "Europe/Berlin", ("Mon,Tue,Wed,Thu,Fri *-*-* 08:00:00 Europe/Berlin",), "in its own zone"),
        ("* * * * *", "UTC", ("*-*-* *:*:00 UTC",), "each minute"),
        ("*/30 9 1 6 *", "UTC", ("*-06-01 09:00,30:00 UTC",), "one day"),
        ("0 9 1 * mon", "UTC", ("*-*-01 09:00:00 UTC", "Mon *-*-* 09:00:00 UTC"), "either day, as cron has it"),
        ("0 9 */2 * mon", "UTC", ("Mon *-*-01,03,05,07,09,11,13,15,17,19,21,23,25,27,29,31 09:00:00 UTC",), "both"),
        ("0 9 L * *", "UTC", ("*-*-* 09:00:00 UTC",), "a day that is not systemd's to say is every day"),
    ],
)
def test_values_of_a_timer(cron: str, tz: str, values: tuple[str, ...], why: str) -> None:
    assert on_calendar(cron, tz) == values, why


@given(cron=CRONS, tz=st.sampled_from(ZONES))
@settings(max_examples=40)
def test_values_of_a_timer_are_of_the_few_forms_that_are_read_here(cron: str, tz: str) -> None:
    assert all(STRICT.fullmatch(value) for value in on_calendar(cron, tz))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (apt-get install systemd)")
@pytest.mark.parametrize("cron", ["0 8 * * mon-fri", "*/20 22-23 15-20 3,10-12 *", "30 6 1 * sun"])
def test_systemd_elapses_when_cron_begins(cron: str) -> None:
    tz = "Europe/Berlin"
    begins = list(islice(CronSim(cron, datetime.fromtimestamp(NOW, ZoneInfo(tz))), 3))

    found: list[str] = []
    for value in on_calendar(cron, tz):
        done = subprocess.run(
            ["systemd-analyze", "calendar", "--iterations=3", f"--base-time=@{NOW:.0f}", value],
            capture_output=True, text=True, check=True, env={"TZ": "UTC", "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        )  # fmt: skip
        found += re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", done.stdout)
    elapses = {datetime.fromisoformat(text).replace(tzinfo=UTC) for text in found}

    assert {begin.astimezone(UTC) for begin in begins} <= elapses | {begin.astimezone(UTC) for begin in begins[2:]}
    assert min(elapses) == begins[0].astimezone(UTC)
