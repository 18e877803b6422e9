"""The port between the machines of a fleet at the GCP provider.

Judge of every body: Google's discovery document. Ours: the server's memory, and that a rule without any source is one
for everybody.
"""

import asyncio
from typing import Any

from cloud_contract import FLEET, ONE, TWO, give_back
from gcp_compute import Compute
from gcp_server import GcpServer
from gcp_world import Make, only, spec, truth

from fleetctl.model.nodes import PEER_PORT


def rules(server: GcpServer) -> dict[str, dict[str, Any]]:
    """By kind: ssh, peers, deny."""
    return {rule["name"].split("-")[-2]: rule for rule in server.compute.things["firewalls"].values()}


def sources(rule: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in rule.items() if key.startswith("source") and value}


async def test_one_port_is_open_to_the_fleets_own_machines(server: GcpServer, make: Make) -> None:
    await make().launch(spec())

    found = rules(server)
    peers = found["peers"]
    assert set(found) == {"ssh", "peers", "deny"}
    assert peers["allowed"] == [{"IPProtocol": "tcp", "ports": [str(PEER_PORT)]}]
    assert sources(peers) == {"sourceTags": only(server)["tags"]["items"]}
    assert peers["targetTags"] == only(server)["tags"]["items"] == [f"fleetctl-{FLEET}"]
    assert peers["network"].rpartition("/")[2] == only(server, "networks")["name"]
    assert peers["priority"] < found["deny"]["priority"], "else nothing passes"
    assert peers["direction"] == "INGRESS"


async def test_another_fleet_is_not_let_in(server: GcpServer, make: Make) -> None:
    server.compute = Compute(default_network=True)
    await make().launch(spec())
    await make(fleet="other").launch(spec(fleet="other"))

    peers = [rule for rule in server.compute.things["firewalls"].values() if "-peers-" in rule["name"]]
    assert sorted(rule["sourceTags"] for rule in peers) == [["fleetctl-other"], [f"fleetctl-{FLEET}"]]
    assert all(rule["sourceTags"] == rule["targetTags"] for rule in peers)


async def test_network_of_an_older_fleetctl_gets_it_once(server: GcpServer, make: Make) -> None:
    await make().launch(spec())
    firewalls = server.compute.things["firewalls"]
    (key,) = [key for key, rule in firewalls.items() if "-peers-" in rule["name"]]
    del firewalls[key]
    before = server.calls["compute.firewalls.insert"]

    for _ in range(2):
        await make().launch(spec(TWO))

    assert sources(rules(server)["peers"]) == {"sourceTags": [f"fleetctl-{FLEET}"]}
    assert server.calls["compute.firewalls.insert"] - before == 1
    assert server.calls["compute.firewalls.update"] == 0


async def test_processes_at_once_make_one(server: GcpServer, make: Make) -> None:
    await asyncio.gather(*(make().launch(spec()) for _ in range(4)))

    names = [name for _, name in server.compute.things["firewalls"]]
    assert sum("-peers-" in name for name in names) == 1
    assert truth(server.compute, FLEET).machines == (ONE,)


async def test_what_somebody_opened_besides_is_shut(server: GcpServer, make: Make) -> None:
    """Another source, which a patch could not take away, and a rule that was put out of force."""
    await make().launch(spec())
    rules(server)["peers"]["sourceRanges"] = ["0.0.0.0/0"]
    rules(server)["ssh"]["disabled"] = True

    for _ in range(2):
        await make().launch(spec(TWO))

    found = rules(server)
    assert sources(found["peers"]) == {"sourceTags": [f"fleetctl-{FLEET}"]}
    assert not found["ssh"].get("disabled")
    assert server.calls["compute.firewalls.update"] == 2, "each once"


async def test_it_goes_with_the_leftovers(server: GcpServer, make: Make) -> None:
    provider = make()
    await provider.launch(spec())
    held = [one.id for one in await provider.leftovers(FLEET)]

    await give_back(provider)

    assert sum("-peers-" in name for name in held) == 1
    assert server.compute.things["firewalls"] == {}
    assert truth(server.compute, FLEET).others == ()
