"""The user-data of a rented machine, run by real cloud-init at the first boot of a real systemd."""

import json
import sys
from collections.abc import Iterator

import pytest
from bed import needs, rehearsed, systems
from bed.packages import Unavailable
from bed.registry import Layer
from bed.testbed import Bed, test_bed
from bed_journey import holds
from fleet_home import FleetHome, fleet_home, until
from wheels import folder_of_wheels

from fleetctl.node.keys import public_key
from fleetctl.node.launches import first_boot
from fleetctl.paths import Home

_LACKING = needs.lacking()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(_LACKING), reason=_LACKING or "-"),
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the system's Python is 3.11, and wheels are of ours"),
]

BOOT_S = 90.0
"""cloud-init ran its last stage 5 s after the start, on an idle machine."""

FILE = """\
kind: fleet
name: first
gateway: {{listen: "127.0.0.1:{port}", auth: none}}
providers: {{ssh: {{inventory: {inventory}}}}}
---
kind: service
name: chat
engine: rehearsal
model: rehearsal-tiny
gpu: L4:1
standby: none
scaling: {{policy: fixed, replicas: 1, max: 1}}
placement: {{providers: [ssh]}}
"""


@pytest.fixture(scope="module")
def system() -> Layer:
    try:
        return systems.base()
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def bed(system: Layer) -> Iterator[Bed]:
    with test_bed(machines=1) as made:
        yield made


@pytest.fixture
def home() -> Iterator[FleetHome]:
    with fleet_home() as made:
        yield made


def packages(bed: Bed) -> str:
    """What makes pip look for the node's packages at the origin, and nowhere else."""
    wheels = {path.name: path.read_bytes() for path in folder_of_wheels().glob("*.whl")}
    page = "".join(f'<a href="{name}">{name}</a>\n' for name in wheels)
    bed.origin.publish("wheels", {**wheels, "index.html": page.encode()})
    return f"[global]\nno-index = true\ncert = /etc/trusted.pem\nfind-links = {bed.origin.url}/wheels/index.html\n"


def test_the_first_boot_fetches_before_anybody_connects_and_the_agent_becomes_a_unit(bed: Bed, home: FleetHome) -> None:
    machine = bed.machines[0]
    wanted = rehearsed.image(bed.registry)
    whole = systems.image(bed.registry)
    machine.docker("pull", "--quiet", whole)
    pulled_before = bed.registry.served()
    key = public_key(Home(home.root))

    systems.boot(machine, whole, user_data=first_boot((wanted,)), public_key=key, pip=packages(bed))

    until("the image begins to come", lambda: bed.registry.served() > pulled_before, within_s=BOOT_S)
    assert "Accepted publickey" not in systems.inside(machine, "journalctl", "--no-pager", "-u", "ssh")
    until("the image is there", lambda: holds(machine, wanted), within_s=BOOT_S)
    status = systems.inside(machine, "cloud-init", "status", "--wait", "--long")
    assert "status: done" in status, status
    environments = systems.inside(machine, "sh", "-c", "ls -d /opt/fleetctl/envs/*/.ready")
    assert environments.strip(), systems.inside(machine, "cat", "/var/log/cloud-init-output.log")
    assert "Accepted publickey" not in systems.inside(machine, "journalctl", "--no-pager", "-u", "ssh")

    line = {"name": "i1", "host": machine.address, "port": systems.SSH_PORT, "user": "debian", "gpu": "L4:1"}
    home.write("fleet.yaml", FILE.format(port=home.port, inventory=json.dumps([line])))
    home.run("up", "-f", "fleet.yaml", "--timeout", "90s")

    assert systems.inside(machine, "systemctl", "is-active", "fleetctl-agent").strip() == "active"
    assert systems.inside(machine, "systemctl", "is-enabled", "fleetctl-agent").strip() == "enabled"
    row = home.run("ps", "-r", "-o", "json").json()["items"]
    assert [one["phase"] for one in row] == ["ready"]
    down = home.run("down", "--all")
    assert "$0.00/h remain" in down.err
    assert systems.inside(machine, "systemctl", "is-active", "fleetctl-agent").strip() == "inactive"
    assert "fleetctl" not in systems.inside(machine, "ls", "/opt", "/etc/systemd/system")
