"""What one machine's engine compiled, found by an engine on another; both warmed up before they serve."""

import json
from pathlib import Path

import pytest
from fleet_home import FleetHome, fleet_home, until
from fleet_sight import look

from fleetctl.paths import Home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

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
        until("saved", lambda: any((home.machines / first / "store" / "names").glob("*.json")), within_s=30.0)

        here.write("fleet.yaml", FLEET.format(port=here.port, replicas=2))
        here.run("up", "-f", "fleet.yaml")
        until("two", lambda: len(look(home).engines) == 2, within_s=30.0)
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


def logs_of(here: FleetHome, home: Home) -> dict[str, str]:
    """What the engines said, by machine."""
    return {
        machine: "".join(path.read_text() for path in (home.machines / machine / "logs").glob("*.log"))
        for machine in look(home).machines
    }


def stages_in(record: Path) -> list[str]:
    """Of one Replica, as its Node has them."""
    return [stage["name"] for stage in json.loads(record.read_text())["stages"]]
