"""On a Debian of its own, with systemd as first process and Debian's cron: what `install` writes, on the real thing."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from bed import hosts
from bed.hosts import Host
from bed.packages import Unavailable
from fleet_home import fleet_text, service_text, until

_LACKING = hosts.lacking()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(_LACKING), reason=_LACKING or "-"),
]

READY_S = 40.0
"""A rehearsed machine and engine take two seconds, on busy cores ten."""
BACK_S = 40.0
"""For a watchdog of eight seconds, and an interpreter that starts on busy cores."""
SOONER = "[Service]\nWatchdogSec=8s\nRestartSec=1s\n"
"""A minute, as the unit has it, is long for a test."""
A_MINUTE_S = 80.0
"""cron and timers fire when the minute turns; and then a command starts on a busy machine."""
EXPOSURE_MOST = 65
"""By `systemd-analyze security`, in tenths: a unit without any hardening has 9.6."""
THEIRS = 'MAILTO=""\n# mine, with a % in it\n1 1 1 1 *\techo kept\n'
TIMETABLE = """\
schedule:
  - {cron: "* * * * *", for: 55s, min: 2}
  - {cron: "0 8 * * mon-fri", tz: Europe/Berlin, for: 10h, max: 1}
"""


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    try:
        with hosts.host() as made:
            yield made
    except Unavailable as reason:
        pytest.skip(str(reason))


class Fleet:
    """A fleet of one user of the host, whose state lies where it usually does."""

    def __init__(self, host: Host, user: str | None, port: int, more: str = "") -> None:
        self.host = host
        self.user = user
        self.home = f"/home/{user}" if user else "/root"
        self.file = f"{self.home}/fleet.yaml"
        self.write(self.file, fleet_text(port, machines=3, gpus=1) + "---\n" + service_text("chat", most=3) + more)

    def sh(self, script: str, *, check: bool = True, **environment: str) -> str:
        """What a shell script of the user's prints, its errors too."""
        done = self.host.run(
            "sh", "-c", f"exec 2>&1; {script}", user=self.user, check=check, environment=environment or None
        )
        return done.stdout + done.stderr

    def write(self, path: str, text: str) -> None:
        self.host.write(path, text, user=self.user)

    def fleetctl(self, *words: str) -> str:
        return self.host.run("fleetctl", *words, user=self.user).stdout

    def fleetctl_json(self, *words: str) -> Any:
        return json.loads(self.fleetctl(*words, "-o", "json"))

    def ready(self, count: int) -> bool:
        (row,) = self.fleetctl_json("ps")["items"]
        return bool(row["ready"] == count)

    def engines(self) -> set[int]:
        """Pids of its machines and engines."""
        mine = self.host.entered("pgrep", "-u", self.user or "root", "-f", "fleetctl.(agent|rehearsal) ").stdout
        return {int(pid) for pid in mine.split()}

    def systemctl(self, *words: str, check: bool = True) -> str:
        return self.host.run(
            "systemctl", *(["--user"] if self.user else []), *words, user=self.user, check=check
        ).stdout

    def show(self, unit: str) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.systemctl("show", unit).splitlines() if "=" in line)

    def active(self, unit: str, *, but: str = "0") -> str | None:
        """The unit's main process, when it is ready and another than `but`."""
        shown = self.show(unit)
        return shown["MainPID"] if shown["ActiveState"] == "active" and shown["MainPID"] not in (but, "0") else None


def installed(fleet: Fleet, *words: str) -> str:
    """Declare it, and have systemd run its controller; the unit's name."""
    fleet.fleetctl("up", "-f", fleet.file, "--timeout", "60s", "--yes")
    fleet.fleetctl("daemon", "install", *words, "--now")
    return str(fleet.fleetctl_json("daemon", "status")["unit"])


def test_a_unit_of_the_users_own_is_watched_and_its_replicas_outlive_it(host: Host) -> None:
    host.user("ops")
    fleet = Fleet(host, "ops", 8101)

    unit = installed(fleet, "--user")

    shown = fleet.show(unit)
    assert (shown["Type"], shown["WatchdogUSec"], shown["ActiveState"]) == ("notify", "1min", "active")
    assert re.match(r"1 service, 1/1 replicas ready, \$[0-9.]+/h, tick \d+ ms", shown["StatusText"])
    assert host.run("systemd-analyze", "--user", "verify", shown["FragmentPath"], user="ops").stderr == ""
    status = fleet.fleetctl("daemon", "status")
    journal = f"journalctl --user -u {unit.removesuffix('.service')}"
    assert f"under systemd as {unit}; log: {journal}" in status
    assert "this process is the controller of fleet 'e2e'" in fleet.sh(f"{journal} --no-pager")

    fleet.fleetctl("scale", "chat=2", "--yes")
    until("a machine of the unit's own is ready", lambda: fleet.ready(2), within_s=READY_S, every_s=0.5)
    fleet.write(f"{fleet.home}/.config/systemd/user/{unit}.d/watchdog.conf", SOONER)
    fleet.systemctl("daemon-reload")
    fleet.systemctl("restart", unit)
    engines = fleet.engines()
    assert len(engines) == 4
    for signal in ("KILL", "STOP"):
        main = until("it runs", lambda: fleet.active(unit), within_s=BACK_S)
        fleet.sh(f"kill -{signal} {main}")
        until("it runs anew", lambda was=main: fleet.active(unit, but=was), within_s=BACK_S, every_s=0.5)  # type: ignore[misc]
        assert fleet.engines() == engines, f"after SIG{signal}"
    said = fleet.sh(f"{journal} --no-pager")
    assert "Watchdog timeout (limit 8s)!" in said
    assert "code=killed, status=9/KILL" in said
    assert fleet.ready(2)

    began = time.monotonic()
    fleet.systemctl("stop", unit)
    assert time.monotonic() - began < 30.0
    assert fleet.show(unit)["Result"] == "success"
    assert fleet.engines() == engines
    fleet.fleetctl("daemon", "install", "--user", "--uninstall")
    assert fleet.sh("find .config/systemd/user -type f -o -type l").split() == [
        f".config/systemd/user/{unit}.d/watchdog.conf"
    ]
    fleet.fleetctl("down", "--all")
    assert fleet.engines() == set()


def test_a_unit_of_the_system_is_walled_in_and_its_replicas_are_not_left_without_a_temporary_folder(host: Host) -> None:
    fleet = Fleet(host, None, 8102)

    unit = installed(fleet, "--system")

    assert host.run("systemd-analyze", "verify", unit).stderr == ""
    host.run("systemd-analyze", "security", f"--threshold={EXPOSURE_MOST}", unit)
    shown = fleet.show(unit)
    for property_, value in {"OOMPolicy": "continue", "TasksMax": "infinity", "ProtectSystem": "strict"}.items():
        assert shown[property_] == value, property_
    main = int(shown["MainPID"])
    assert "Read-only file system" in host.entered("touch", "/etc/it", mounts_of=main).stderr
    assert host.entered("touch", "/root/.local/state/fleetctl/it", mounts_of=main).returncode == 0
    before = fleet.engines()
    fleet.fleetctl("scale", "chat=2", "--yes")
    until("a machine of the unit's own is ready", lambda: fleet.ready(2), within_s=READY_S, every_s=0.5)
    machines = fleet.engines() - before
    assert len(machines) == 2

    fleet.sh(f"echo '# mine' >> /etc/systemd/system/{unit}")
    said = fleet.sh("fleetctl daemon install --system")
    assert f"{unit} was changed by hand" in said
    again = f"systemctl restart {unit}"
    assert f"it runs as the unit was before; to have it as it is now: {again}" in said
    fleet.sh(again)
    fleet.systemctl("stop", unit)

    for pid in machines:
        assert host.entered("touch", "/tmp/it", mounts_of=pid).stderr == ""
    fleet.fleetctl("daemon", "install", "--system", "--uninstall")
    assert re.fullmatch(rf"/etc/systemd/system/{unit}\.before-\w+\n", fleet.sh("find /etc/systemd -name 'fleetctl*'"))
    fleet.fleetctl("down", "--all")


def test_timers_and_cron_fire_in_the_same_minute_and_it_counts_once(host: Host) -> None:
    host.user("cronie")
    fleet = Fleet(host, "cronie", 8103, TIMETABLE)
    fleet.fleetctl("up", "-f", fleet.file, "--no-wait", "--yes")
    fleet.write(f"{fleet.home}/theirs", THEIRS)
    fleet.sh("crontab theirs")
    long = ":".join(f"/opt/tools/of/mine/number-{number}/bin" for number in range(40))
    own = f"{host.bin}:/usr/bin:/bin"

    assert "2 changed" in fleet.sh("fleetctl schedule install --crontab", PATH=f"{own}:{long}")
    assert "4 changed" in fleet.sh("fleetctl schedule install --systemd")

    timers = fleet.systemctl("list-timers", "--all", "--no-pager")
    assert timers.count("fleetctl-schedule-e2e-") == 4
    fleet.sh("systemd-analyze --user verify .config/systemd/user/fleetctl-schedule-*")
    in_cron = "grep -s 'in force' .local/state/fleetctl/logs/schedules.log"
    in_timer = "journalctl --user --no-pager -o cat -u 'fleetctl-schedule-*' | grep 'in force'"
    for who, look in (("cron", in_cron), ("systemd", in_timer)):
        until(f"{who} ran it", lambda look=look: fleet.sh(look, check=False) or None, within_s=A_MINUTE_S, every_s=2.0)  # type: ignore[misc]
    rows = fleet.fleetctl_json("schedule", "ls")["items"]
    assert sorted(row["origin"] for row in rows) == ["file", "file", "run"]
    assert "fleetctl-schedule-" not in fleet.systemctl("--failed", "--no-pager")

    fleet.sh("fleetctl schedule install --crontab --uninstall; fleetctl schedule install --systemd --uninstall")
    assert fleet.sh("crontab -l") == THEIRS
    assert fleet.sh("find .config/systemd .local/share/systemd -type f -o -type l") == ""
    put = fleet.sh(f"({in_cron}; {in_timer}) | grep -c 'in force until'")
    events = [event["message"] for event in fleet.fleetctl_json("events")["items"]]
    assert int(put) == sum("put in force: floor 2" in message for message in events) > 0


def test_a_shell_that_does_not_know_its_systemd_is_told_where_it_is(host: Host) -> None:
    host.user("guest")
    fleet = Fleet(host, "guest", 8104)
    fleet.fleetctl("up", "-f", fleet.file, "--no-wait", "--yes")

    refused = fleet.sh("unset XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS; fleetctl daemon install --user", check=False)

    place = re.search(r"hint: (export XDG_RUNTIME_DIR=/run/user/\d+), and the same again", refused)
    assert place is not None, refused
    again = fleet.sh(f"unset XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS; {place[1]}; fleetctl daemon install --user")
    assert "enabled" in again
    fleet.fleetctl("daemon", "install", "--user", "--uninstall")


def test_a_unit_that_does_not_start_is_told_with_where_to_look(host: Host) -> None:
    host.user("wrong")
    fleet = Fleet(host, "wrong", 8105)
    fleet.fleetctl("up", "-f", fleet.file, "--no-wait", "--yes")
    unit = str(fleet.fleetctl_json("daemon", "install", "--user", "--dry-run")["name"])
    fleet.write(f"{fleet.home}/.config/systemd/user/{unit}.d/wrong.conf", "[Service]\nExecStartPre=/bin/false\n")

    refused = fleet.sh("fleetctl daemon install --user --now", check=False)

    assert f"Job for {unit} failed" in refused
    assert "hint: see why: journalctl --user -e" in refused
    fleet.fleetctl("daemon", "install", "--user", "--uninstall")
    assert fleet.show(unit)["ActiveState"] == "inactive"
