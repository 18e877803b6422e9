"""Unit files: what systemd reads in them, and how fleetctl knows its own again."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.host.daemon_unit import WATCHDOG_LEAST_S, daemon_unit, watchdog_s
from fleetctl.host.timers import service_text, timer_name, timer_text
from fleetctl.host.unit_files import environment_word, is_ours, quoted, unit_text
from fleetctl.model.services import Schedule

HARDENING = {
    "NoNewPrivileges": "true",
    "ProtectSystem": "strict",
    "ProtectKernelModules": "true",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
}


def read(text: str) -> dict[str, list[tuple[str, str]]]:
    """A strict reader: sections, settings and comments, each on a line of its own, and nothing else."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in text.splitlines():
        if line.startswith("#") or not line:
            continue
        if line.startswith("["):
            assert line.endswith("]"), line
            assert line[1:-1] not in found, line
            found[line[1:-1]] = []
            continue
        key, equals, value = line.partition("=")
        assert equals, line
        assert key.isalpha(), line
        assert found, line
        found[list(found)[-1]].append((key, value))
    return found


def a_daemon(**changes: object) -> str:
    given: dict[str, object] = {
        "fleet": "prod",
        "words": [sys.executable, "-m", "fleetctl", "run"],
        "environment": {"FLEETCTL_HOME": "/var/lib/fleet", "PATH": "/usr/bin:/bin"},
        "environment_file": "/var/lib/fleet/environment",
        "writes": ["/var/lib/fleet", "/var/log/a b"],
        "period_s": 2.0,
        "user": "fleet",
        "user_home": "/home/fleet",
    }
    return daemon_unit(**{**given, **changes})  # type: ignore[arg-type]


def test_the_daemon_is_watched_hardened_and_leaves_its_children_be() -> None:
    found = read(a_daemon())

    service = dict(found["Service"])
    assert service["Type"] == "notify"
    assert service["WatchdogSec"] == "60s"
    assert service["Restart"] == "on-failure"
    assert service["KillMode"] == "process"
    assert service["User"] == "fleet"
    assert shlex.split(service["ReadWritePaths"])[:4] == ["/var/lib/fleet", "/var/log/a b", "/tmp", "/var/tmp"]
    assert "PrivateTmp" not in service, "it is removed with the unit, and replicas that live on would have none"
    assert service["OOMPolicy"] == "continue"
    assert HARDENING.items() <= service.items()
    assert dict(found["Install"]) == {"WantedBy": "multi-user.target"}


def test_a_unit_of_the_users_own_names_no_user_and_no_target_of_the_system() -> None:
    found = read(a_daemon(user=None))

    service = dict(found["Service"])
    assert "User" not in service
    # A user's systemd gives up no capabilities, and would end with 218/CAPABILITIES for ProtectKernelModules.
    assert not [
        key
        for key in service
        if key.startswith(("Protect", "Private", "ReadWrite", "Capab", "System")) and key != "SystemCallArchitectures"
    ]
    assert service["NoNewPrivileges"] == "true"
    assert dict(found["Install"]) == {"WantedBy": "default.target"}
    assert "After" not in dict(found["Unit"])


@pytest.mark.parametrize(("period_s", "beat_s"), [(0.3, WATCHDOG_LEAST_S), (2.0, WATCHDOG_LEAST_S), (60.0, 600)])
def test_the_watchdog_waits_for_many_periods(period_s: float, beat_s: float) -> None:
    assert watchdog_s(period_s) == beat_s


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (apt-get install systemd)")
def test_systemd_takes_them(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "fleetctl", "schedule", "run", "chat/1"]
    schedule = Schedule(cron="0 8 1 * mon-fri", tz="Europe/Berlin", duration_s=3600.0, min=2)
    name = timer_name("prod-1a2b", "chat/3f2a9c")
    units = {
        "fleetctl-prod.service": a_daemon(user="root"),
        f"{name}.timer": timer_text(schedule, "chat/3f2a9c"),
        f"{name}.service": service_text("chat/3f2a9c", words, {"PATH": "/a b:/c$d%e"}),
    }
    for file, text in units.items():
        (tmp_path / file).write_text(text)

    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / file) for file in units)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert [line for line in done.stderr.splitlines() if str(tmp_path) in line or "fleetctl-" in line] == []
    assert done.returncode == 0


def test_a_timer_fires_in_its_zone_and_makes_up_for_what_it_missed() -> None:
    found = read(timer_text(Schedule(cron="0 9 1 * mon", tz="Europe/Berlin", duration_s=60.0), "chat/1"))

    assert found["Timer"] == [
        ("OnCalendar", "*-*-01 09:00:00 Europe/Berlin"),
        ("OnCalendar", "Mon *-*-* 09:00:00 Europe/Berlin"),
        ("AccuracySec", "1s"),
        ("Persistent", "true"),
    ]


def test_what_was_changed_by_hand_is_not_ours() -> None:
    text = unit_text((("Service", (("Nice", "1"),)),))

    assert is_ours(text)
    assert not is_ours(text.replace("Nice=1", "Nice=2"))
    assert not is_ours(text + "# mine\n")
    assert not is_ours("[Service]\nNice=1\n")
    assert not is_ours("")


@given(word=st.text(min_size=1, max_size=40))
def test_a_word_stays_one_line_and_cannot_be_filled_in(word: str) -> None:
    found = quoted(word)

    assert "\n" not in found
    assert "%" not in found.replace("%%", "")
    assert "$" not in found.replace("$$", "")
    assert "$$" not in environment_word("X", "a$b")
