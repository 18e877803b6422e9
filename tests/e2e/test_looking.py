"""A fleet looked at and worked on piece by piece, as a user does: get, exec, port-forward, replica, pool, cost."""

import http.client
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fleet_home import FleetHome, fleet_home, fleet_text, service_text, until
from ports import free_port

REPLACED_S = 60.0
"""A rehearsed engine starts in two seconds; the drained one is believed idle a second after its routing ended. The
rest is for a busy computer."""


@pytest.fixture(scope="module")
def fleet() -> Iterator[FleetHome]:
    """One service with one replica of at most two, and a controller."""
    with fleet_home() as made:
        made.write("fleet.yaml", fleet_text(made.port) + "---\n" + service_text("chat", least=1, most=2))
        made.run("up", "-f", "fleet.yaml")
        made.run("daemon", "start")
        yield made


def items(fleet: FleetHome, *words: str) -> list[dict[str, Any]]:
    found = fleet.run(*words, "-o", "json").json()["items"]
    assert isinstance(found, list)
    return found


def ready(fleet: FleetHome) -> list[str]:
    rows = items(fleet, "get", "rep")
    return [row["name"] for row in rows if (row["role"], row["phase"]) == ("serving", "ready")]


def test_every_kind_is_listed_in_every_form(fleet: FleetHome) -> None:
    kinds = (
        "services replicas instances pools events decisions schedules rollouts starts keys tenants gateways providers"
    )

    for kind in kinds.split():
        rows = items(fleet, "get", kind)
        assert (rows != []) == (kind not in ("schedules", "keys", "tenants", "gateways")), kind

    (one,), (same,) = items(fleet, "get", "svc", "chat"), items(fleet, "ps")
    assert one.keys() == same.keys()
    assert (one["name"], one["endpoint"]) == (same["name"], same["endpoint"])
    assert fleet.run("get", "po", "-o", "name").out == "pool/box\n"
    error = fleet.run("get", "replcas", "-o", "json", code=2).error()
    assert error["hint"] == "did you mean replicas?"
    assert fleet.run("get", "svc", "chatt", "-o", "json", code=4).error()["hint"] == "did you mean chat?"


def test_a_command_runs_beside_the_engine_and_its_exit_code_is_ours(fleet: FleetHome) -> None:
    (replica,) = ready(fleet)

    done = fleet.run(
        "exec", "chat", "--", "sh", "-c", "echo in $FLEETCTL_SHELL_OF with $CUDA_VISIBLE_DEVICES; exit 7", code=7
    )
    told = fleet.run("exec", replica, "-o", "json", "--", "sh", "-c", "echo out; echo err >&2; exit 3", code=3).json()
    machine = fleet.run("ssh", "chat", "--", "ls").out.split()

    assert done.out == f"in {replica} with 0\n"
    assert f"replica/{replica} on instance/" in done.err
    assert (told["exit_code"], told["stdout"], told["stderr"]) == (3, "out\n", "err\n")
    assert "engines" in machine
    fleet.run("exec", "pool/box", "--", "true", code=2)


def test_a_port_leads_to_the_engine(fleet: FleetHome) -> None:
    port = free_port()
    running = fleet.start("port-forward", "chat", str(port))
    until("the port is told", lambda: running.out.read_text() == f"127.0.0.1:{port}\n", within_s=60.0)

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10.0)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()

    assert answer.status == 200
    assert b"running" in answer.read()
    connection.close()
    running.interrupt()
    assert running.end().code == 130


def test_what_a_stage_of_a_start_did(fleet: FleetHome) -> None:
    (stage,) = fleet.run("logs", "chat", "--stage", "engine", "-o", "json").json()["stages"]

    assert stage["name"] == "engine"
    assert stage["ended_at"] > stage["started_at"]
    error = fleet.run("logs", "chat", "--stage", "wieghts", "-o", "json", code=4).error()
    assert "engine" in error["hint"]
    assert fleet.run("logs", "chat", "--since", "10m").code == 0
    whole, last = (fleet.run("logs", "chat", "--tail", count).out.splitlines() for count in ("1000", "1"))
    assert whole
    assert last == whole[-1:]
    assert fleet.run("logs", "chat", "--tail", "0").out == ""


def test_a_replica_is_replaced_before_it_goes(fleet: FleetHome) -> None:
    (before,) = ready(fleet)

    fleet.run("replica", "rm", before)
    seen: list[int] = []

    def replaced() -> bool:
        now = ready(fleet)
        seen.append(len(now))
        return before not in now and len(now) == 1

    until("another one serves", replaced, within_s=REPLACED_S)
    assert min(seen) >= 1


def test_stopping_one_that_serves_asks_first(fleet: FleetHome) -> None:
    (one,) = ready(fleet)
    known = {row["name"] for row in items(fleet, "get", "rep")}

    fleet.run("replica", "rm", one, "--now", code=3)
    fleet.run("replica", "rm", one, "--now", "--yes")

    # A new one: that of the test before may still drain.
    until("another one serves", lambda: [x for x in ready(fleet) if x not in known] or None, within_s=REPLACED_S)


def test_a_closed_pool_takes_nothing_new_until_it_is_opened(fleet: FleetHome) -> None:
    fleet.run("pool", "cordon", "box")
    assert items(fleet, "pool", "ls")[0]["state"] == "cordoned"
    fleet.run("scale", "chat=2")
    until(
        "why is told",
        lambda: "closed by hand" in items(fleet, "get", "decisions", "chat")[0]["reason"],
        within_s=REPLACED_S,
    )
    assert len(ready(fleet)) == 1

    fleet.run("pool", "uncordon", "box")
    until("two serve", lambda: len(ready(fleet)) == 2, within_s=REPLACED_S)
    fleet.run("scale", "chat=auto")
    until("one serves again", lambda: len(ready(fleet)) == 1, within_s=REPLACED_S)


def test_standby_is_set_and_promoted_by_command(fleet: FleetHome) -> None:
    fleet.run("standby", "set", "chat", code=2)
    fleet.run("standby", "set", "chat", "--steps", "1", "--tier", "hot", "--yes")
    (row,) = items(fleet, "standby", "ls")
    assert (row["tier"], row["wanted"], row["origin"]) == ("hot", 1, "service")
    until("one stands by", lambda: items(fleet, "standby", "ls")[0]["ready"] == 1, within_s=REPLACED_S)

    told = fleet.run("standby", "promote", "chat", "--for", "10m", "--yes", "-o", "json").json()
    assert (told["before"], told["replicas"]) == (1, 2)
    until("it serves", lambda: len(ready(fleet)) == 2, within_s=REPLACED_S)
    fleet.run("standby", "promote", "chat", "--yes", code=7)
    fleet.run("scale", "chat=auto")


def test_pools_are_declared_in_files(fleet: FleetHome) -> None:
    error = fleet.run("pool", "add", "gpus", "-o", "json", code=2).error()

    assert "kind: pool" in error["hint"]
    fleet.run("pool", "drain", "box", code=3)
    assert "has no other pool" in fleet.run("pool", "drain", "box", "--dry-run").err
    assert items(fleet, "pool", "ls")[0]["state"] == "open"
    fleet.run("pool", "cordon", "chat-nowhere", code=4)


def test_what_it_cost_is_counted_and_told(fleet: FleetHome) -> None:
    def counted() -> dict[str, Any] | None:
        rows = {row["name"]: row for row in items(fleet, "cost", "report", "--since", "1h")}
        return rows.get("TOTAL") if rows.get("TOTAL", {}).get("gpu_hours", 0.0) > 0 else None

    total = until("something is counted", counted, within_s=REPLACED_S)
    now = items(fleet, "cost", "now")
    forecast = items(fleet, "cost", "forecast")

    parts = total["serving"] + total["idle"] + total["standby"] + total["starting"]
    assert total["gpu_hours"] == pytest.approx(parts)
    assert [row["pool"] for row in now] == ["box"] * len(now) != []
    assert [row["name"] for row in forecast][-1] == "TOTAL"
    assert "TOTAL" not in fleet.run("cost", "report", "--since", "1h", "-o", "name").out
    assert fleet.run("cost", "forecast", "-o", "name").out == "service/chat\n"


def test_what_is_counted_goes_on_over_a_restart(fleet: FleetHome) -> None:
    def hours() -> float:
        rows = items(fleet, "cost", "report", "--since", "1h")
        return float(next(row["gpu_hours"] for row in rows if row["name"] == "TOTAL"))

    before, at = hours(), time.time()
    fleet.run("daemon", "stop")
    fleet.run("daemon", "start")
    after = until("it goes on", lambda: hours() if hours() > before else None, within_s=REPLACED_S)

    assert (after - before) * 3600 <= (time.time() - at + 20.0) * 8


def test_down_tells_what_was_spent_and_gives_a_closed_pool_back_too(fleet: FleetHome) -> None:
    fleet.run("pool", "cordon", "box")

    done = fleet.run("down", "--all")

    assert "/h less" in done.err
    assert "GPU-hours since" in done.err
