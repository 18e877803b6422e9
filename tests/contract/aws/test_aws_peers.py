"""The port between the machines of a fleet at AWS. Judge: moto's own security groups, over real HTTP."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aws_server import AwsServer, backend
from aws_world import LIMITS, cloud_of, running_server, server, settings, truth  # noqa: F401  # fixtures
from cloud_contract import FLEET, ONE, THREE, TWO, Boundary, Truth, give_back, launch_spec, nothing

from fleetctl.model.nodes import PEER_PORT
from fleetctl.providers.aws import AwsProvider

REGION = "us-east-1"
SSH = ("tcp", 22, 22, "203.0.113.0/24")


def provider_of(server: AwsServer, boundary: Boundary = nothing) -> AwsProvider:  # noqa: F811
    """One that remembers nothing of the others, as another process does."""
    return AwsProvider(settings(server), fleet=FLEET, limits=LIMITS, boundary=boundary)


def group_of_the_fleet() -> Any:
    (found,) = [
        group
        for groups in backend("ec2", REGION).groups.values()
        for group in groups.values()
        if group.name == f"fleetctl-{FLEET}"
    ]
    return found


def let_in() -> list[tuple[str, int, int, str]]:
    """Protocol, ports and source of every rule of the fleet's group, sorted."""
    return sorted(
        (rule.ip_protocol, rule.from_port, rule.to_port, rule.source_group.get("GroupId") or rule.ip_range["CidrIp"])
        for rule in group_of_the_fleet().ingress_rules
    )


def among_themselves() -> tuple[str, int, int, str]:
    return ("tcp", PEER_PORT, PEER_PORT, group_of_the_fleet().id)


def add(*, port: int, **source: Any) -> None:
    """A rule that somebody else adds to the fleet's group."""
    given = {"ip_ranges": [], "source_groups": [], **source}
    backend("ec2", REGION).authorize_security_group_ingress(group_of_the_fleet().id, "tcp", port, port, **given)


def take(*, port: int, **source: Any) -> None:
    given = {"ip_ranges": [], "source_groups": [], **source}
    backend("ec2", REGION).revoke_security_group_ingress(group_of_the_fleet().id, "tcp", port, port, **given)


def from_itself() -> list[dict[str, str]]:
    return [{"GroupId": group_of_the_fleet().id}]


def changes(server: AwsServer) -> list[str]:  # noqa: F811
    """The actions that changed what is let in, in their order."""
    return [action for action, _ in server.requests if action.endswith("SecurityGroupIngress")]


async def test_one_port_is_open_to_the_fleets_own_machines(server: AwsServer) -> None:  # noqa: F811
    provider = provider_of(server)

    await provider.launch(launch_spec(cloud_of(server)))

    assert let_in() == sorted([among_themselves(), SSH])
    (asked,) = [parameters for action, parameters in server.requests if action == "RunInstances"]
    held = [value for key, value in asked.items() if "SecurityGroupId" in key]
    assert held == [group_of_the_fleet().id], "the machine has the group that may reach it"
    await give_back(provider)
    assert truth(FLEET) == Truth(machines=(), others=()), "a group that names itself goes with the rest"
    await provider.close()


async def test_it_is_open_among_them_where_nobody_may_log_in(server: AwsServer) -> None:  # noqa: F811
    provider = AwsProvider(replace(settings(server), ssh_sources=()), fleet=FLEET, limits=LIMITS)

    await provider.launch(launch_spec(cloud_of(server)))

    assert let_in() == [among_themselves()]
    await give_back(provider)
    await provider.close()


async def test_group_of_an_older_fleetctl_gets_it_once(server: AwsServer) -> None:  # noqa: F811
    cloud = cloud_of(server)
    await provider_of(server).launch(launch_spec(cloud))
    take(port=PEER_PORT, source_groups=from_itself())
    before = let_in()
    server.requests.clear()

    for instance in (TWO, THREE):
        await provider_of(server).launch(launch_spec(cloud, instance))

    assert before == [SSH]
    assert let_in() == sorted([among_themselves(), SSH])
    assert changes(server) == ["AuthorizeSecurityGroupIngress"], "the second launch finds it"
    await give_back(provider_of(server))


@pytest.mark.parametrize("lacking", ["both rules", "one rule"])
async def test_another_process_that_is_as_quick_is_no_error(server: AwsServer, lacking: str) -> None:  # noqa: F811
    """It adds the rule after this one has looked, so that EC2 refuses all of what this one then asks for."""
    cloud = cloud_of(server)
    await provider_of(server).launch(launch_spec(cloud))
    take(port=PEER_PORT, source_groups=from_itself())
    if lacking == "both rules":
        take(port=22, ip_ranges=[{"CidrIp": SSH[3]}])
    met: list[str] = []

    def at_the_last_moment(action: str) -> None:
        if action == "authorize_security_group_ingress" and not met:
            met.append(action)
            add(port=PEER_PORT, source_groups=from_itself())

    await provider_of(server, at_the_last_moment).launch(launch_spec(cloud, TWO))

    assert met
    assert let_in() == sorted([among_themselves(), SSH])
    await give_back(provider_of(server))


async def test_processes_at_once_add_it_once(server: AwsServer) -> None:  # noqa: F811
    cloud = cloud_of(server)
    providers = [provider_of(server) for _ in range(4)]

    await asyncio.gather(*(one.launch(launch_spec(cloud)) for one in providers))

    assert let_in() == sorted([among_themselves(), SSH])
    assert truth(FLEET).machines == (ONE,)
    await give_back(providers[0])
    for one in providers:
        await one.close()


async def test_what_somebody_opened_besides_is_shut(server: AwsServer) -> None:  # noqa: F811
    cloud = cloud_of(server)
    await provider_of(server).launch(launch_spec(cloud))
    add(port=PEER_PORT, ip_ranges=[{"CidrIp": "0.0.0.0/0"}])
    add(port=8000, source_groups=from_itself())
    opened = len(let_in())

    await provider_of(server).launch(launch_spec(cloud, TWO))

    assert opened == 4
    assert let_in() == sorted([among_themselves(), SSH])
    await give_back(provider_of(server))
