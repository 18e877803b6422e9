"""The controller's own process: watched by systemd's protocol, with metrics, and a log to follow."""

import contextlib
import http.client
import json
import re
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet_home import FleetHome, fleet_home, fleet_text, service_text, until
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families

from fleetctl import __version__

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "fleetctl.json"
NAME = re.compile(r"\bfleetctl_[a-z_]+")
SUFFIXES = ("_bucket", "_sum", "_count")
UNTIL_THERE = frozenset({"fleetctl_price_limit_dollars_per_hour", "fleetctl_provider_unknown"})
"""Families that have samples only in fleets that have such a thing; their heads are always there."""


@pytest.fixture
def fleet() -> Iterator[FleetHome]:
    with fleet_home() as made:
        yield made


def declare(fleet: FleetHome, *, metrics: int, gateway: int) -> None:
    ports = f"auth: none, metrics_listen: 127.0.0.1:{gateway}}}\ndaemon: {{metrics_listen: 127.0.0.1:{metrics}}}"
    text = fleet_text(fleet.port).replace("auth: none}", ports, 1)
    fleet.run("up", "-f", fleet.write("fleet.yaml", text + "---\n" + service_text("chat")), "--no-wait", "--yes")


def families(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/metrics", timeout=5.0) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return {one.name: one for one in text_string_to_metric_families(answer.read().decode())}


def get(url: str) -> tuple[int, dict[str, Any]]:
    host = url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=5.0)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def ready(fleet: FleetHome) -> bool:
    (row,) = fleet.run("ps", "-o", "json").json()["items"]
    return bool(row["ready"] == 1)


def test_metrics_health_status_and_every_name_of_the_dashboard(fleet: FleetHome) -> None:
    port, gateway = free_port(), free_port()
    declare(fleet, metrics=port, gateway=gateway)
    started = fleet.run("daemon", "start", "-o", "json").json()
    until("a replica is ready", lambda: ready(fleet), within_s=60.0, every_s=0.5)
    url = f"http://127.0.0.1:{port}"

    status, health = get(url)
    assert (status, health["status"], health["version"], health["pid"]) == (200, "ok", __version__, started["pid"])

    told = fleet.run("daemon", "status", "-o", "json").json()
    assert told["pid"] == started["pid"]
    assert told["version"] == __version__
    assert told["fence"] == health["fence"]
    assert 0.0 <= told["tick_age_s"] < 15.0, "no more than a lease"
    assert told["resident_bytes"] > 10_000_000
    assert told["log"] == started["log"]
    text = fleet.run("daemon", "status").out
    assert "behind its period of 0.3 s" in text
    assert started["log"] in text

    wanted = {
        next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), name).removesuffix("_total")
        for name in NAME.findall(DASHBOARD.read_text())
    }
    assert len(wanted) > 20
    sampled = {
        name
        for name in wanted
        if not name.startswith("fleetctl_gateway_") and name not in UNTIL_THERE | {"fleetctl_scrape_failures"}
    }

    def counted() -> dict[str, Any] | None:
        """What is told once the start is counted and each family of the dashboard has a sample."""
        found = families(url)
        empty = {name for name in sampled if name in found and not found[name].samples}
        return None if empty else found

    try:
        ours = until("all of them have samples", counted, within_s=60.0)
    except AssertionError as error:
        error.add_note(f"without any: {sorted(one for one in sampled if not families(url)[one].samples)}")
        raise
    known = {**ours, **families(f"http://127.0.0.1:{gateway}")}
    assert wanted - known.keys() == set(), "they are in the dashboard, and nothing has them"
    sample = {s.labels["service"]: s.value for s in ours["fleetctl_service_ready_replicas"].samples}
    assert sample == {"chat": 1.0}
    assert {s.labels["verb"] for s in ours["fleetctl_actions"].samples} >= {"launch", "apply"}
    fleet.run("daemon", "stop")
    assert not (fleet.root / "daemon.sock").exists()


def test_a_second_controller_is_refused_and_the_first_goes_on(fleet: FleetHome) -> None:
    port = free_port()
    declare(fleet, metrics=port, gateway=free_port())
    started = fleet.run("daemon", "start", "-o", "json").json()

    refused = fleet.run("run", code=7)

    assert "another controller holds the fleet" in refused.err
    assert fleet.run("daemon", "status", "-o", "json").json()["pid"] == started["pid"]
    assert get(f"http://127.0.0.1:{port}")[0] == 200
    fleet.run("daemon", "stop")


def test_a_port_that_is_taken_is_told_and_the_lease_let_go(fleet: FleetHome) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        declare(fleet, metrics=port, gateway=free_port())

        refused = fleet.run("daemon", "start", code=7)

    assert f"the controller's metrics cannot be served at 127.0.0.1:{port}" in refused.err
    fleet.run("daemon", "start")
    fleet.run("daemon", "stop")


def test_an_address_that_is_none_is_refused_before_anything_runs(fleet: FleetHome) -> None:
    refused = fleet.run("run", "--once", "--metrics-listen", "here", code=2)

    assert "--metrics-listen: " in refused.err
    assert not fleet.root.exists()


def test_systemd_hears_of_ticks_that_ended_and_of_the_end(fleet: FleetHome) -> None:
    declare(fleet, metrics=free_port(), gateway=free_port())
    address = str(fleet.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(30.0)
        fleet.environment["NOTIFY_SOCKET"] = address
        running = fleet.start("run")

        first, beats = listener.recv(4096).decode(), [listener.recv(4096).decode() for _ in range(3)]
        running.process.terminate()
        rest = beats
        while rest[-1] != "STOPPING=1":
            rest.append(listener.recv(4096).decode())
        ended = running.end(within_s=30.0)

    assert first.startswith("READY=1\nSTATUS=1 service, ")
    assert all(one.startswith("WATCHDOG=1\nSTATUS=") for one in rest[:-1])
    assert ended.code == 0


def test_a_store_that_fails_gets_no_beat(fleet: FleetHome) -> None:
    declare(fleet, metrics=free_port(), gateway=free_port())
    address = str(fleet.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(30.0)
        fleet.environment["NOTIFY_SOCKET"] = address
        running = fleet.start("run")
        assert listener.recv(4096).startswith(b"READY=1")
        locker = subprocess.Popen(
            ["python3", "-c", LOCK, str(fleet.root / "fleet.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert locker.stdout is not None
        assert locker.stdin is not None
        assert locker.stdout.readline() == b"locked\n"
        listener.setblocking(False)
        for _ in range(1000):
            try:
                listener.recv(4096)
            except BlockingIOError:
                break

        listener.settimeout(2.0)  # six periods
        last = 0
        with contextlib.suppress(TimeoutError):
            while last < 2:
                listener.recv(4096)
                last += 1
        assert last < 2, "but for the tick that was stored just before"

        locker.communicate(b"\n", timeout=10.0)
        listener.settimeout(30.0)
        assert listener.recv(4096).startswith(b"WATCHDOG=1")
        running.process.terminate()
        running.end(within_s=60.0)


LOCK = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
held.execute("ROLLBACK")
"""


def test_logs_are_shown_and_followed_into_the_next_file(fleet: FleetHome) -> None:
    assert "no daemon was started here" in _no_fleet_log(fleet)
    declare(fleet, metrics=free_port(), gateway=free_port())
    log = fleet.root / "logs" / "daemon.log"
    log.parent.mkdir(exist_ok=True)
    log.with_name("daemon.log.1").write_text("oldest\nolder\n")
    log.write_text("newer\n")

    assert fleet.run("daemon", "logs", "--tail", "2").out == "older\nnewer\n"
    assert fleet.run("daemon", "logs", "-o", "json").json()["lines"] == ["oldest", "older", "newer"]
    following = fleet.start("daemon", "logs", "--follow")
    until("the end is shown", lambda: "newer" in following.out.read_text(), within_s=60.0)
    with log.open("a") as more:
        more.write("newest\n")
    until("what comes is shown", lambda: "newest" in following.out.read_text(), within_s=60.0)
    log.replace(log.with_name("daemon.log.1"))
    log.write_text("begun anew\n")
    until("the next file is shown", lambda: "begun anew" in following.out.read_text(), within_s=60.0)
    following.interrupt()
    following.process.wait(60.0)


def _no_fleet_log(fleet: FleetHome) -> str:
    fleet.run("up", "-f", fleet.write("bare.yaml", fleet_text(fleet.port)), "--no-wait", "--yes", code=None)
    return fleet.run("daemon", "logs", code=4).err


SYSTEMCTL = '#!/bin/sh\necho "$@" >> CALLS\ncase "$*" in *is-active*) exit 3;; esac\n'
"""A stand-in that notes what it was told, where no systemd runs; a real one is in test_systemd_host.py."""


def test_a_unit_is_written_kept_when_changed_by_hand_and_taken_away(fleet: FleetHome) -> None:
    declare(fleet, metrics=free_port(), gateway=free_port())
    bin_, calls, config = fleet.folder / "bin", fleet.folder / "calls", fleet.folder / "config"
    bin_.mkdir()
    (bin_ / "systemctl").write_text(SYSTEMCTL.replace("CALLS", str(calls)))
    (bin_ / "systemctl").chmod(0o755)
    there = {"PATH": f"{bin_}:/usr/bin:/bin", "XDG_CONFIG_HOME": str(config)}
    printed = fleet.run("daemon", "install", "--user", "--dry-run", environment=there)
    assert not config.exists()

    fleet.run("daemon", "install", "--user", environment=there)

    (unit,) = (config / "systemd" / "user").iterdir()
    assert unit.read_text() == printed.out
    assert f"EnvironmentFile=-{fleet.root}/environment\n" in printed.out
    of_the_system = fleet.run("daemon", "install", "--system", "--dry-run", environment=there).out
    assert f"ReadWritePaths={fleet.root} " in of_the_system
    assert calls.read_text().splitlines()[-2:] == ["--user daemon-reload", f"--user enable {unit.name}"]
    unit.write_text(unit.read_text() + "Nice=5\n")
    said = fleet.run("daemon", "install", "--user", environment=there).err
    kept = next(path for path in unit.parent.iterdir() if path != unit)
    assert f"what it was is kept as {kept}" in said
    assert kept.read_text().endswith("Nice=5\n")
    fleet.run("daemon", "start")
    refused = fleet.run("daemon", "install", "--user", "--now", code=7, environment=there)
    assert "a controller runs already, and not as this unit" in refused.err
    fleet.run("daemon", "stop")
    fleet.run("daemon", "install", "--user", "--uninstall", environment=there)
    assert list(unit.parent.iterdir()) == [kept]


def test_without_systemd_nothing_is_written_and_the_way_without_is_told(fleet: FleetHome) -> None:
    declare(fleet, metrics=free_port(), gateway=free_port())
    config = fleet.folder / "config"
    nothing = {"PATH": str(fleet.folder / "empty"), "XDG_CONFIG_HOME": str(config)}

    refused = fleet.run("daemon", "install", "--user", code=4, environment=nothing)

    assert "there is no systemctl here" in refused.err
    assert "fleetctl daemon start" in refused.err
    assert not config.exists()
    blocked = fleet.folder / "file"
    blocked.write_text("")
    fleet.run("daemon", "install", "--user", "--system", code=2)
