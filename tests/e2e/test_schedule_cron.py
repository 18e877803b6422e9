"""Schedules from the system's own cron: a real crontab and a real cron daemon, in a spool folder of the test's own."""

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fleet_home import FleetHome, Ran, fleet_home, fleet_text, service_text, until

from fleetctl.model.services import Schedule
from fleetctl.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

BUSYBOX = shutil.which("busybox")
A_MINUTE_S = 120.0
"""Cron fires when the minute turns; and then a command starts on a busy machine."""
THEIRS = "MAILTO=\"\"\n# mine, with a % in it\n1 1 1 1 *\techo 'kept'   \n"
TIMETABLE = """\
schedule:
  - {cron: "* * * * *", for: 55s, min: 2}
  - {cron: "0 8 * * mon-fri", tz: Europe/Berlin, for: 10h, max: 1}
"""


@pytest.fixture
def fleet() -> Iterator[FleetHome]:
    """A Service with two Schedules, that nobody controls."""
    with fleet_home() as made:
        declare(made)
        yield made


def declare(fleet: FleetHome) -> None:
    file = fleet.write("fleet.yaml", fleet_text(fleet.port) + "---\n" + service_text("chat") + TIMETABLE)
    fleet.run("up", "-f", file, "--no-wait", "--yes")


class Cron:
    """A crontab in a folder of its own, under the name that fleetctl calls."""

    def __init__(self, fleet: FleetHome, script: str | None = None) -> None:
        self.fleet = fleet
        self.spool = fleet.folder / "spool"
        self.spool.mkdir()
        self.table = self.spool / pwd.getpwuid(os.getuid()).pw_name
        self.bin = fleet.folder / "bin"
        self.bin.mkdir()
        program = self.bin / "crontab"
        program.write_text(script or f'#!/bin/sh\nexec {BUSYBOX} crontab -c {self.spool} "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def install(self, *words: str, code: int = 0) -> Ran:
        path = f"{self.bin}:{os.environ['PATH']}"
        return self.fleet.run("schedule", "install", "--crontab", *words, code=code, environment={"PATH": path})

    @contextmanager
    def running(self) -> Iterator[None]:
        assert BUSYBOX is not None
        with (self.fleet.folder / "crond.log").open("wb") as log:
            daemon = subprocess.Popen(
                [BUSYBOX, "crond", "-f", "-l", "0", "-L", "/dev/stderr", "-c", str(self.spool)], stdout=log, stderr=log
            )
        try:
            yield
        finally:
            daemon.terminate()
            daemon.wait(10.0)


needs_cron = pytest.mark.skipif(
    BUSYBOX is None or os.getuid() != 0, reason="needs busybox (apt-get install busybox-static), and root for its crond"
)


def in_force(fleet: FleetHome) -> tuple[Schedule, ...]:
    store = open_store(str(fleet.root / "fleet.db"), read_only=True)
    try:
        return tuple(one for one in store.intents()[0][0].added if one.until is not None)
    finally:
        store.close()


@pytest.fixture(scope="module")
def ticking() -> Iterator[Cron]:
    """A fleet of its own with a cron that runs: the minute turns while other tests go on."""
    with fleet_home() as made:
        declare(made)
        cron = Cron(made)
        cron.table.write_text(THEIRS)
        cron.table.chmod(0o600)
        assert cron.install().err.splitlines()[-1].endswith("changed")
        with cron.running():
            yield cron


@needs_cron
def test_lines_follow_those_that_were_there(ticking: Cron) -> None:
    """First of all: what cron does with them is looked at last, and then it has hardly to be waited for."""
    table = ticking.table.read_text()

    assert table.startswith(THEIRS)
    assert len(table.removeprefix(THEIRS).splitlines()) > 2


@needs_cron
def test_installed_twice_it_is_there_once_and_uninstalled_all_is_as_it_was(fleet: FleetHome) -> None:
    cron = Cron(fleet)
    cron.table.write_text(THEIRS)
    first = cron.install()
    once = cron.table.read_bytes()

    again = cron.install()

    assert cron.table.read_bytes() == once
    assert again.out == first.out
    assert "nothing to change" in again.err
    assert len(first.out.splitlines()) == 2
    fleet.run("schedule", "add", "chat", "--cron", "0 3 * * *", "--for", "1h", "--max", "1", "--yes")
    assert len(cron.install().out.splitlines()) == 3
    cron.install("--uninstall")
    assert cron.table.read_text() == THEIRS
    cron.install("--uninstall")
    assert cron.table.read_text() == THEIRS


@needs_cron
def test_a_user_without_a_crontab_gets_one_and_is_without_again(fleet: FleetHome) -> None:
    cron = Cron(fleet)

    cron.install()
    assert cron.table.exists()

    cron.install("--uninstall")
    assert not cron.table.exists()


@needs_cron
def test_a_line_that_fires_twice_or_late_changes_nothing(fleet: FleetHome) -> None:
    name = fleet.run("schedule", "ls", "-o", "name").out.split()[0].removeprefix("schedule/")
    cron = Cron(fleet)
    cron.install()
    command = next(line for line in cron.table.read_text().splitlines() if name in line).split(" ", 5)[5]

    for _ in range(2):
        subprocess.run(["/bin/sh", "-c", command.replace(r"\%", "%")], check=True, env={})

    log = (fleet.root / "logs" / "schedules.log").read_text()
    assert log.count("in force until") + log.count("in force already") + log.count("it is not its time") == 2
    assert len(in_force(fleet)) <= 1


def test_run_says_what_it_did_and_always_ends_well(fleet: FleetHome) -> None:
    rows = fleet.run("schedule", "ls", "-o", "json").json()["items"]
    late = rows[1]["name"]

    first = fleet.run("schedule", "run", late, "--now", "-o", "json")
    again = fleet.run("schedule", "run", late, "--now", "-o", "json").json()
    third = fleet.run("schedule", "run", "chat/2", "-o", "json").json()

    body = first.json()
    assert body["changed"] is True or body["holds_until"] is not None
    assert (again["changed"], again["holds_until"]) == (False, body["holds_until"])
    assert (third["changed"], third["holds_until"]) == (False, body["holds_until"])
    assert "no controller is running" in first.err
    fleet.run("down", "chat", "--no-wait")
    assert "is down, so nothing changed" in fleet.run("schedule", "run", late).out


def test_a_schedule_that_is_gone_is_told_with_its_nearest(fleet: FleetHome) -> None:
    error = fleet.run("schedule", "run", "chat/000000", "-o", "json", code=4).error()

    assert error["message"] == "there is no schedule 'chat/000000'"
    assert fleet.run("schedule", "rm", "chat", "1", code=7).err.count("is in the file of chat") == 1


REFUSES = '#!/bin/sh\n[ "$1" = -l ] && exec cat {table}\necho "bad minute; errors in crontab file" >&2\nexit 1\n'
FAILS = '#!/bin/sh\necho "cannot open your crontab: permission denied" >&2\nexit 1\n'


@pytest.mark.parametrize(
    ("script", "said"),
    [(REFUSES, "bad minute"), (FAILS, "permission denied")],
    ids=["it refuses the new one", "it cannot be read"],
)
def test_a_crontab_that_is_not_taken_is_left_as_it_was(fleet: FleetHome, script: str, said: str) -> None:
    table = fleet.folder / "table"
    table.write_text(THEIRS)
    cron = Cron(fleet, script.replace("{table}", str(table)))

    refused = cron.install(code=1)

    assert said in refused.err
    assert "hint: " in refused.err
    assert table.read_text() == THEIRS


def test_a_crontab_that_keeps_half_is_put_back(fleet: FleetHome) -> None:
    table = fleet.folder / "table"
    table.write_text(THEIRS)
    halves = (
        '#!/bin/sh\n[ "$1" = -l ] && exec cat TABLE\n'
        "if [ -e TABLE.once ]; then cat > TABLE; else touch TABLE.once; head -c 90 > TABLE; fi\n"
    )
    cron = Cron(fleet, halves.replace("TABLE", str(table)))

    refused = cron.install(code=1)

    assert "has what it had before: it kept something else" in refused.err
    assert table.read_text() == THEIRS


def test_a_home_that_cannot_be_written_leaves_the_crontab_alone(fleet: FleetHome) -> None:
    table = fleet.folder / "table"
    table.write_text(THEIRS)
    cron = Cron(fleet, REFUSES.replace("{table}", str(table)))
    shutil.rmtree(fleet.root / "logs", ignore_errors=True)
    (fleet.root / "logs").write_text("a file where a folder is needed, as on a full or read-only disk")

    refused = cron.install(code=1)

    assert f"{fleet.root}: nothing can be written there" in refused.err
    assert table.read_text() == THEIRS


def test_without_cron_and_without_systemd_it_says_what_there_is(fleet: FleetHome) -> None:
    nothing = {"PATH": str(fleet.folder / "empty")}

    refused = fleet.run("schedule", "install", "--crontab", code=4, environment=nothing)
    assert "there is no crontab here" in refused.err
    assert "--systemd" in refused.err
    refused = fleet.run("schedule", "install", "--systemd", code=4, environment=nothing)
    assert "there is no systemctl here" in refused.err
    printed = fleet.run("schedule", "install", "--crontab", "--dry-run", environment=nothing)
    assert len(printed.out.splitlines()) == 2
    assert fleet.run("schedule", "install", code=2).err.count("say where") == 1


SYSTEMCTL = '#!/bin/sh\necho "$@" >> CALLS\n'


def test_timers_are_written_kept_when_changed_and_taken_away(fleet: FleetHome) -> None:
    """systemctl is a stand-in that notes what it was told; a real systemd is in test_systemd_host.py."""
    bin_, calls, config = fleet.folder / "bin", fleet.folder / "calls", fleet.folder / "config"
    bin_.mkdir()
    (bin_ / "systemctl").write_text(SYSTEMCTL.replace("CALLS", str(calls)))
    (bin_ / "systemctl").chmod(0o755)
    there = {"PATH": f"{bin_}:{os.environ['PATH']}", "XDG_CONFIG_HOME": str(config)}
    units = config / "systemd" / "user"

    fleet.run("schedule", "install", "--systemd", environment=there)

    written = sorted(path.name for path in units.iterdir())
    assert [name.rpartition(".")[2] for name in written] == ["service", "timer", "service", "timer"]
    assert "enable --now" in calls.read_text()
    assert "nothing to change" in fleet.run("schedule", "install", "--systemd", environment=there).err
    mine = units / written[0]
    mine.write_text(mine.read_text() + "Nice=5\n")
    said = fleet.run("schedule", "install", "--systemd", environment=there).err
    kept = [path for path in units.iterdir() if ".before-" in path.name]
    assert str(kept[0]) in said
    assert kept[0].read_text().endswith("Nice=5\n")
    assert "Nice=5" not in mine.read_text()
    fleet.run("schedule", "install", "--systemd", "--uninstall", environment=there)
    assert list(units.iterdir()) == kept
    assert "disable --now" in calls.read_text()


@needs_cron
def test_a_real_cron_puts_a_schedule_in_force_once_a_minute(ticking: Cron) -> None:
    fleet = ticking.fleet
    log = fleet.root / "logs" / "schedules.log"

    until("cron ran it", lambda: log.exists() and "in force until" in log.read_text(), within_s=A_MINUTE_S)

    held = [one for one in in_force(fleet) if one.min == 2]
    assert len(held) == 1, "those of the minutes before have gone"
    assert held[0].since is not None
    assert held[0].since % 60 == 0
    assert held[0].until == held[0].since + 55
    assert "no controller is running to act on it" in log.read_text()
    events = fleet.run("events", "-o", "json").out
    assert "put in force: floor 2" in events
