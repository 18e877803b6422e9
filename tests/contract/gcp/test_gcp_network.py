"""The network of a fleet at the GCP provider: who gets in, and what is made, mended and removed.

Judge of every body: Google's discovery document. Ours: the server's memory, its notion of time, and its faults.
"""

import pytest
from cloud_contract import FLEET, TWO, give_back
from gcp_compute import Compute
from gcp_server import GcpServer
from gcp_world import Make, only, spec, truth

from fleetctl.errors import InvalidRequest


async def test_own_network_lets_in_port_22_from_the_sources_alone(server: GcpServer, make: Make) -> None:
    await make().launch(spec())

    rules = {rule["name"].rpartition("-")[0]: rule for rule in server.compute.things["firewalls"].values()}
    allow, deny = rules["fleetctl-test-fleet-ssh"], rules["fleetctl-test-fleet-deny"]
    assert only(server, "networks")["name"] == "fleetctl-test-fleet-net"
    assert allow["allowed"] == [{"IPProtocol": "tcp", "ports": ["22"]}]
    assert allow["sourceRanges"] == ["203.0.113.0/24"]
    assert deny["denied"] == [{"IPProtocol": "all"}]
    assert deny["sourceRanges"] == ["0.0.0.0/0"]
    assert allow["priority"] < deny["priority"] < 1000
    assert allow["targetTags"] == deny["targetTags"] == only(server)["tags"]["items"]


async def test_default_network_is_used_and_never_removed(server: GcpServer, make: Make) -> None:
    server.compute = Compute(default_network=True)
    provider = make()

    await provider.launch(spec())
    await give_back(provider)

    assert [name for _, name in server.compute.things["networks"]] == ["default"]
    assert server.compute.things["firewalls"] == {}
    assert server.calls["compute.networks.insert"] == 0


async def test_without_sources_nobody_gets_in(server: GcpServer, make: Make) -> None:
    await make().launch(spec())
    await make(ssh_sources=[]).launch(spec(TWO))

    names = [name for _, name in server.compute.things["firewalls"]]
    assert {name.rpartition("-")[0] for name in names} == {"fleetctl-test-fleet-deny", "fleetctl-test-fleet-peers"}


async def test_rule_that_somebody_changed_is_mended(server: GcpServer, make: Make) -> None:
    await make().launch(spec())
    rule = next(rule for rule in server.compute.things["firewalls"].values() if "-ssh-" in rule["name"])
    rule["sourceRanges"] = ["0.0.0.0/0"]

    await make().launch(spec(TWO))

    assert rule["sourceRanges"] == ["203.0.113.0/24"]
    assert server.calls["compute.firewalls.update"] == 1


async def test_network_that_has_gone_is_made_again(server: GcpServer, make: Make) -> None:
    provider = make()
    await provider.launch(spec())
    await give_back(make())  # by another process

    with pytest.raises(InvalidRequest):
        await provider.launch(spec(TWO))
    await provider.launch(spec(TWO))

    assert truth(server.compute, FLEET).machines == (TWO,)
