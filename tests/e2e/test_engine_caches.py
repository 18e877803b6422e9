"""What one machine's engine compiled, found by an engine on another; both warmed up before they serve."""

import json
import time
from pathlib import Path

import pytest
from fleet_home import FleetHome, fleet_home, until
from fleet_sight import look

from fleetctl.paths import Home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

LOOKED_S = 3.0
"""A tick that ended so much later began later, too: ten periods."""
FLEET = """\
kind: fleet
name: caches
gateway: {{listen: "127.0.0.1:{port}", auth: none}}
period: 300ms
---
kind: service
name: chat
engine: rehearsal
model: rehearsal-8b
args: --compile-s 2 --compile-bytes 1000000
warm_up: [Once upon a time, {{path: /v1/chat/completions, body: {{messages: [{{role: user, content: Hi}}]}}}}]
gpu: L40S:1
concurrency: 4
standby: none
scaling: {{policy: fixed, replicas: {replicas}, max: 3}}
placement: {{providers: [local]}}
"""


def test_the_second_machine_compiles_nothing() -> None:
    with fleet_home() as here:
        here.environment["FLEETCTL_PEERS"] = "127.0.0.1:0"
        home = Home(here.root)
        here.write("fleet.yaml", FLEET.format(port=here.port, replicas=1))
        here.run("up", "-f", "fleet.yaml")
        here.run("daemon", "start")
        (first,) = look(home).machines
        until("saved", lambda: any((home.machines / first / "store" / "names").glob("*.json")), within_s=60.0)
        saved_at = time.time()
        until("the controller has looked since", lambda: ticked_at(here) > saved_at + LOOKED_S, within_s=60.0)

        here.write("fleet.yaml", FLEET.format(port=here.port, replicas=2))
        here.run("up", "-f", "fleet.yaml")
        until(
            "both have compiled, or found it, and warmed up",
            lambda: here.run("ps", "-o", "json").json()["items"][0]["ready"] == 2,
            within_s=60.0,
            every_s=0.5,
        )
        logs = logs_of(here, home)
        stages = [stages_in(path) for path in home.machines.glob("*/replicas/*.json")]
        here.run("daemon", "stop")
        here.run("down", "--all")

    compiled = [machine for machine, text in logs.items() if "rehearsal: compiled" in text]
    found = [machine for machine, text in logs.items() if "found what was compiled before" in text]
    assert compiled == [first]
    assert len(found) == 1
    assert sorted("cache" in names for names in stages) == [False, True]
    assert all(names[-2:] == ["engine", "warm_up"] for names in stages)


def ticked_at(here: FleetHome) -> float:
    """When the last tick of the daemon ended."""
    age_s: float = here.run("daemon", "status", "-o", "json").json()["tick_age_s"]
    return time.time() - age_s


def logs_of(here: FleetHome, home: Home) -> dict[str, str]:
    """What the engines said, by machine."""
    return {
        machine: "".join(path.read_text() for path in (home.machines / machine / "logs").glob("*.log"))
        for machine in look(home).machines
    }


def stages_in(record: Path) -> list[str]:
    """Of one Replica, as its Node has them."""
    return [stage["name"] for stage in json.loads(record.read_text())["stages"]]
