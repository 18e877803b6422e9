"""Machines of one's own, reached over real SSH: from `up` to nothing left on them, and what may happen in between."""

import json
import shutil
import urllib.request
from collections.abc import Iterator

import pytest
from fleet_home import FleetHome, fleet_home, until
from ssh_machines import SshMachine, needs_sshd, ssh_machines
from wheels import folder_of_wheels

from fleetctl.node.keys import public_key
from fleetctl.paths import Home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), needs_sshd]

FILE = """\
kind: fleet
name: {name}
gateway: {{listen: "127.0.0.1:{port}", auth: none}}
period: 300ms
providers: {{ssh: {{inventory: {inventory}}}}}
---
kind: service
name: chat
engine: rehearsal
model: rehearsal-tiny
args: --load-s 0.1 --token-s 0.01
gpu: L4:1
concurrency: 4
standby: none
scaling: {{policy: fixed, replicas: {replicas}, max: 2}}
drain_timeout: 10s
placement: {{providers: [ssh]}}
"""


def write(home: FleetHome, machines: tuple[SshMachine, ...], *, name: str = "own", replicas: int = 1) -> None:
    """The fleet's file, its key on every machine, and the packages that nodes run on."""
    where = Home(home.root)
    keys = [public_key(where)]
    for machine in machines:
        known = (machine.folder / "authorized_keys").read_text().splitlines()
        machine.lets_in(*dict.fromkeys([*known, *keys]))
    packages = home.root / "ssh" / "packages"
    if not packages.exists():
        shutil.copytree(folder_of_wheels(), packages)
    inventory = [
        {"name": one.name, "host": "127.0.0.1", "port": one.port, "user": one.user, "gpu": "L4:1"} for one in machines
    ]
    home.write("fleet.yaml", FILE.format(name=name, port=home.port, inventory=json.dumps(inventory), replicas=replicas))


@pytest.fixture
def home() -> Iterator[FleetHome]:
    with fleet_home() as made:
        yield made


@pytest.fixture
def machines() -> Iterator[tuple[SshMachine, ...]]:
    with ssh_machines(2) as made:
        yield made


def ask(home: FleetHome) -> str:
    body = {"model": "chat", "messages": [{"role": "user", "content": "hello there"}], "max_tokens": 8}
    request = urllib.request.Request(
        f"{home.url}/chat/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["choices"][0]["message"]["content"])


def test_up_traffic_scale_and_down_leave_nothing(home: FleetHome, machines: tuple[SshMachine, ...]) -> None:
    write(home, machines)

    up = home.run("up", "-f", "fleet.yaml")

    assert up.out == f"{home.url}/chat/v1\n"
    assert ask(home)
    assert sum(len(machine.agents()) for machine in machines) == 1
    home.start("run")
    home.run("scale", "chat=2")
    until(
        "a replica on each machine",
        lambda: [len(machine.processes("fleetctl.rehearsal")) for machine in machines] == [1, 1],
        within_s=60.0,
        every_s=0.5,
    )
    until(
        "both are ready",
        lambda: home.run("ps", "-o", "json").json()["items"][0]["ready"] == 2,
        within_s=60.0,
        every_s=0.5,
    )
    assert all(ask(home) for _ in range(8))
    row = home.run("ps", "-i", "-o", "json").json()["items"]
    assert {one["provider"] for one in row} == {"ssh"}
    home.run("daemon", "stop")

    down = home.run("down", "--all")

    assert "$0.00/h remain" in down.err
    for machine in machines:
        assert machine.processes() == []
        assert not machine.root.exists(), list(machine.root.rglob("*"))
    assert [" ".join(process.cmdline()) for process in home.processes()] == []


def test_a_machine_that_is_cut_off_is_told_and_the_rest_goes_on(
    home: FleetHome, machines: tuple[SshMachine, ...]
) -> None:
    """And what was cut off is taken up again where it was, once it answers."""
    write(home, machines, replicas=2)
    home.run("up", "-f", "fleet.yaml")
    home.start("run")
    off = machines[0]
    engine = off.processes("fleetctl.rehearsal")

    off.off()

    until("requests go to the other", lambda: all(ask(home) for _ in range(4)), within_s=30.0)
    listed = until(
        "the listing says what is not known",
        lambda: home.run("ps", "-i", "-o", "json").json()["items"],
        within_s=30.0,
    )
    assert len(listed) == 2, "unknown is not gone"
    off.start()
    until(
        "both are ready again",
        lambda: home.run("ps", "-o", "json").json()["items"][0]["ready"] == 2 and all(ask(home) for _ in range(8)),
        within_s=60.0,
        every_s=0.5,
    )
    assert [one.pid for one in off.processes("fleetctl.rehearsal")] == [one.pid for one in engine]
    home.run("daemon", "stop")
    home.run("down", "--all")
    assert not any(machine.root.exists() or machine.processes() for machine in machines)


def test_a_key_that_is_not_let_in_is_told_with_the_line_to_add(
    home: FleetHome, machines: tuple[SshMachine, ...]
) -> None:
    write(home, machines)
    for machine in machines:
        machine.lets_in()

    up = home.run("up", "-f", "fleet.yaml", "--timeout", "5s", code=None)
    doctor = home.run("doctor", "-o", "json", code=None).json()["items"]

    line = public_key(Home(home.root))
    assert up.code != 0
    mine = [row for row in doctor if row["check"].startswith("ssh/")]
    assert [row["status"] for row in mine] == ["fail", "fail"]
    assert all(line in row["fix"] for row in mine)
    home.run("down", "--all")
