"""What is Azure's own in the life of a machine. Judge: the state of an ARM server of ours, over real HTTP."""

import asyncio
from dataclasses import replace

import pytest
from arm_server import SUBSCRIPTION, Rule
from arm_state import DISK, IP, NIC, OTHER_REGION, REGION, VM, ArmError
from azure_world import AT_ONCE, INSIDE, World, offer
from cloud_contract import FLEET, ONE, TWO, CloudUnderTest, Truth, give_back, launch_spec, listed, nothing, sighted

from fleetctl.errors import Gone, InvalidRequest, NoCapacity, ProviderError, QuotaExceeded, UsageError
from fleetctl.model.instances import Sighting
from fleetctl.model.names import InstanceId
from fleetctl.providers.azure.errors import error_class
from fleetctl.providers.azure.settings import machine_name, read


def puts(azure: World) -> int:
    return len([one for one in azure.server.requests if one[0] == "PUT" and f"/providers/{VM}/" in one[1]])


@pytest.mark.parametrize("inside", [False, True], ids=["at once", "inside the operation"])
async def test_no_capacity_leaves_nothing_and_can_be_tried_again(
    azure: World, cloud: CloudUnderTest, inside: bool
) -> None:
    provider = azure.make(FLEET, nothing)
    if inside:
        azure.server.cloud.fail_inside.append(INSIDE)
    else:
        azure.server.rules.append(
            Rule(matches=lambda method, path, _: method == "PUT" and VM in path, times=1, before=AT_ONCE)
        )

    with pytest.raises(NoCapacity) as refused:
        await provider.launch(launch_spec(cloud))
    half = [one["id"] for kind in (VM, DISK, NIC, IP) for one in azure.server.cloud.of(kind)]
    await provider.launch(launch_spec(cloud))

    assert refused.value.provider_code == (INSIDE if inside else AT_ONCE).code
    assert half == []
    await sighted(provider, Sighting.RUNNING)


@pytest.mark.parametrize("suffix", ["", "-3f9a"], ids=["our names", "Azure appends to our names"])
@pytest.mark.parametrize("tagged", [True, False], ids=["disk tagged", "disk without tags"])
async def test_what_a_failed_creation_leaves_is_found_and_removed(
    azure: World, cloud: CloudUnderTest, suffix: str, tagged: bool
) -> None:
    provider = azure.make(FLEET, nothing)
    azure.server.cloud.orphans = True
    azure.server.cloud.random_suffix = suffix
    azure.server.cloud.inherit_tags = tagged
    azure.server.cloud.fail_inside.append(INSIDE)
    with pytest.raises(NoCapacity):
        await provider.launch(launch_spec(cloud))

    found = await provider.leftovers(FLEET)
    for leftover in found:
        await provider.remove(leftover)

    assert [(one.kind, one.instance) for one in found] == [
        ("network-interface", ONE),
        ("public-address", ONE),
        ("disk", ONE),
        ("network", None),
        ("security-group", None),
        ("resource-group", None),
    ]
    assert azure.truth(FLEET) == Truth(machines=(), others=())


async def test_trace_of_a_creation_that_failed_unseen_is_replaced(azure: World, cloud: CloudUnderTest) -> None:
    """The answer was lost, the process died, and the operation failed later: a machine that never ran stands there."""
    dead = azure.make(FLEET, nothing)
    azure.server.cloud.fail_inside.append(INSIDE)
    azure.server.rules.append(
        Rule(matches=lambda method, path, _: method == "PUT" and VM in path, times=1, after="cut")
    )
    with pytest.raises(ProviderError):
        await dead.launch(launch_spec(cloud))
    provider = azure.make(FLEET, nothing)
    for _ in range(3):
        await provider.list(FLEET)
    (trace,) = (await provider.list(FLEET)).instances

    await provider.launch(launch_spec(cloud))

    assert (trace.state, trace.detail) == (Sighting.BOOTING, "its creation failed: AllocationFailed")
    assert azure.truth(FLEET).machines == (ONE,)
    await sighted(provider, Sighting.RUNNING)


async def test_start_without_capacity_says_so_and_stays_stopped(azure: World, cloud: CloudUnderTest) -> None:
    provider = azure.make(FLEET, nothing)
    await provider.launch(launch_spec(cloud))
    await provider.stop(ONE)
    azure.server.cloud.fail_inside.append(INSIDE)

    with pytest.raises(NoCapacity, match="AllocationFailed"):
        await provider.start(ONE)

    assert await listed(provider) == {ONE: Sighting.STOPPED}
    await provider.launch(launch_spec(cloud))
    assert await listed(provider) == {ONE: Sighting.STOPPED}, "a failed start is no failed creation"


async def test_stop_deallocates_also_what_shut_itself_down(azure: World, cloud: CloudUnderTest) -> None:
    provider = azure.make(FLEET, nothing)
    await provider.launch(launch_spec(cloud))
    azure.server.cloud.of(VM)[0]["power"] = "stopped"

    (before,) = (await provider.list(FLEET)).instances
    await provider.stop(ONE)

    assert before.state is Sighting.RUNNING, "it is billed"
    assert "billed until" in before.detail
    assert azure.server.cloud.of(VM)[0]["power"] == "deallocated"


async def test_id_is_made_once_whatever_the_region(azure: World, cloud: CloudUnderTest) -> None:
    await azure.make(FLEET, nothing).launch(launch_spec(cloud))

    await azure.make(FLEET, nothing).launch(replace(launch_spec(cloud), offer=offer(OTHER_REGION)))

    assert azure.truth(FLEET).machines == (ONE,)
    assert azure.server.cloud.of(VM)[0]["location"] == REGION


async def test_machine_in_a_region_no_more_configured_is_seen_and_given_back(
    azure: World, cloud: CloudUnderTest
) -> None:
    await azure.make(FLEET, nothing).launch(launch_spec(cloud))
    provider = azure.make(FLEET, nothing, regions=[OTHER_REGION])

    seen = await listed(provider)
    await give_back(provider)

    assert seen == {ONE: Sighting.RUNNING}
    assert azure.truth(FLEET) == Truth(machines=(), others=())


async def test_late_launch_brings_nothing_back(azure: World, cloud: CloudUnderTest) -> None:
    provider = azure.make(FLEET, nothing)
    await provider.launch(launch_spec(cloud))
    await provider.terminate(ONE)

    with pytest.raises(Gone, match="was terminated"):
        await provider.launch(launch_spec(cloud))

    assert azure.truth(FLEET).machines == ()


async def test_terminate_overtakes_a_launch_that_makes_its_network(azure: World, cloud: CloudUnderTest) -> None:
    at_network = asyncio.Event()
    provider = azure.make(FLEET, lambda name: at_network.set() if "virtualNetworks" in name else None)
    launching = asyncio.create_task(provider.launch(launch_spec(cloud)))
    await at_network.wait()

    await provider.terminate(ONE)

    with pytest.raises(Gone, match="before it was made"):
        await launching
    assert puts(azure) == 0


async def test_launches_at_once_ask_azure_once(azure: World, cloud: CloudUnderTest) -> None:
    provider = azure.make(FLEET, nothing)

    await asyncio.gather(*(provider.launch(launch_spec(cloud)) for _ in range(5)))

    assert puts(azure) == 1


async def test_machine_made_by_another_process_since_we_looked_is_not_touched(
    azure: World, cloud: CloudUnderTest
) -> None:
    first = azure.make(FLEET, nothing)
    await first.launch(launch_spec(cloud))
    theirs = azure.server.accepted[0]
    theirs["tags"] |= {"fleetctl-pool": "theirs"}
    await first.terminate(ONE)

    def at_the_last_moment(name: str) -> None:
        path = name.removeprefix(f"PUT {azure.server.url}")
        if path.endswith(f"/{VM}/{ONE}") and name.startswith("PUT"):
            azure.server.cloud.put(path, VM, theirs)

    await azure.make(FLEET, at_the_last_moment).launch(launch_spec(cloud))

    (machine,) = azure.server.cloud.of(VM)
    assert machine["tags"]["fleetctl-pool"] == "theirs"
    assert len(azure.server.accepted) == 1


async def test_network_removed_meanwhile_is_made_anew(azure: World, cloud: CloudUnderTest) -> None:
    provider, other = azure.make(FLEET, nothing), azure.make(FLEET, nothing)
    await provider.launch(launch_spec(cloud))
    await give_back(other)

    with pytest.raises(ProviderError, match="was removed since") as refused:
        await provider.launch(launch_spec(cloud, TWO))
    await provider.launch(launch_spec(cloud, TWO))

    assert refused.value.retryable
    assert azure.truth(FLEET).machines == (TWO,)


async def test_machine_of_the_same_name_without_our_tags_is_left_alone(azure: World, cloud: CloudUnderTest) -> None:
    provider = azure.make(FLEET, nothing)
    await provider.launch(launch_spec(cloud))
    machine = azure.server.cloud.of(VM)[0]
    machine["tags"] = {"team": "web"}

    for call in (provider.launch(launch_spec(cloud)), provider.stop(ONE), provider.terminate(ONE)):
        with pytest.raises(InvalidRequest, match="has not the tags"):
            await call

    assert azure.server.cloud.of(VM) == [machine]
    assert machine["power"] == "running"


async def test_resource_group_of_somebody_else_is_not_used(azure: World, cloud: CloudUnderTest) -> None:
    azure.server.cloud.put_group(f"fleetctl-{FLEET}-{REGION}", {"location": REGION, "tags": {"team": "web"}})

    with pytest.raises(InvalidRequest, match="has no tag fleetctl-fleet=test-fleet"):
        await azure.make(FLEET, nothing).launch(launch_spec(cloud))

    assert puts(azure) == 0


async def test_what_a_person_put_into_our_group_keeps_it(azure: World, cloud: CloudUnderTest) -> None:
    provider = azure.make(FLEET, nothing)
    await provider.launch(launch_spec(cloud))
    await provider.terminate(ONE)
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/fleetctl-{FLEET}-{REGION}"
    path = f"{group}/providers/{DISK}/her-data-disk"
    azure.server.cloud.resources[path.lower()] = {
        "id": path, "name": "her-data-disk", "type": DISK, "location": REGION, "tags": {}, "properties": {},
    }  # fmt: skip

    found = await provider.leftovers(FLEET)
    refused = []
    for leftover in found:
        try:
            await provider.remove(leftover)
        except InvalidRequest as error:
            refused.append(error.message)

    assert [one.kind for one in found] == ["network", "security-group", "resource-group"]
    assert len(refused) == 1
    assert "is not empty" in refused[0]
    assert path.lower() in azure.server.cloud.resources


async def test_disk_of_a_machine_in_use_is_not_removed(azure: World, cloud: CloudUnderTest) -> None:
    provider = azure.make(FLEET, nothing)
    await provider.launch(launch_spec(cloud))

    for leftover in await provider.leftovers(FLEET):
        with pytest.raises(InvalidRequest):
            await provider.remove(leftover)

    assert {one.instance for one in await provider.leftovers(FLEET) if one.kind == "disk"} == {ONE}
    assert await listed(provider) == {ONE: Sighting.RUNNING}


async def test_quota_of_the_family_ends_launches(azure: World, cloud: CloudUnderTest) -> None:
    provider = azure.make(FLEET, nothing)
    azure.server.cloud.quota["standardncadsh100v5family"] = 40
    await provider.launch(launch_spec(cloud))

    with pytest.raises(QuotaExceeded) as refused:
        await provider.launch(launch_spec(cloud, TWO))

    assert refused.value.provider_code == "OperationNotAllowed"
    assert azure.truth(FLEET).machines == (ONE,)


async def test_listing_takes_as_many_requests_as_there_are_pages(azure: World, cloud: CloudUnderTest) -> None:
    provider = azure.make(FLEET, nothing)
    azure.stranger()
    for number in range(5):
        await provider.launch(launch_spec(cloud, InstanceId(f"gpu-e1-{number}")))
    azure.server.page = 2
    azure.server.requests.clear()

    seen = (await provider.list(FLEET)).instances

    assert len(seen) == 5
    assert len({line.address for line in seen}) == 5
    assert all(line.address and line.address.startswith("ssh://fleet@127.") for line in seen)
    assert len(azure.server.requests) == 3 + 3 + 3, "machines, states and addresses, six or five on pages of two"


async def test_console_is_the_end_of_what_was_written(azure: World, cloud: CloudUnderTest) -> None:
    provider = azure.make(FLEET, nothing)
    await provider.launch(launch_spec(cloud))
    azure.server.console = "x" * 100_000 + "\nkernel panic\n"

    text = await provider.console(ONE)

    assert text.endswith("\nkernel panic\n")
    assert len(text) == 65_536


async def test_request_without_api_version_is_refused_by_the_server(azure: World) -> None:
    """The judge judges: not of the provider."""
    import aiohttp

    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{azure.server.url}/subscriptions/{SUBSCRIPTION}/resourceGroups") as answer,
    ):
        assert answer.status == 400
        assert (await answer.json())["error"]["code"] == "MissingApiVersionParameter"


@pytest.mark.parametrize("name", ["GPU-1", "a_b", "-a", "a-", "", "a" * 61, "a/b"])
def test_id_that_azure_would_change_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot name a machine"):
        machine_name(name)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"regions": ["eastus"]}, "providers.azure.subscription"),
        ({"subscription": SUBSCRIPTION}, "providers.azure.regions"),
        ({"subscription": SUBSCRIPTION, "regions": ["eastus"], "zone": "1"}, "providers.azure.zone"),
        ({"subscription": SUBSCRIPTION, "regions": ["eastus"], "ssh_sources": ["all"]}, "providers.azure.ssh_sources"),
        ({"subscription": SUBSCRIPTION, "regions": ["eastus"], "reservations": ["a"]}, "providers.azure.reservations"),
    ],
)
def test_wrong_setting_is_named(given: dict[str, object], wanted: str) -> None:
    with pytest.raises(UsageError, match=wanted):
        read(given)


def test_regions_may_be_written_as_the_portal_does() -> None:
    assert read({"subscription": SUBSCRIPTION, "regions": ["East US", "eastus"]}).regions == ("eastus",)


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (ArmError(409, "ZonalAllocationFailed"), NoCapacity),
        (ArmError(409, "OperationNotAllowed", "exceeding approved Total Regional Cores quota"), QuotaExceeded),
        (ArmError(409, "OperationNotAllowed", "The machine is being deleted."), ProviderError),
        (ArmError(404, "ResourceGroupNotFound"), Gone),
        (ArmError(400, "NicInUse"), InvalidRequest),
        (ArmError(400, "NewCode"), ProviderError),
    ],
    ids=lambda value: value.code if isinstance(value, ArmError) else None,
)
def test_code_tells_who_acts(error: ArmError, wanted: type[ProviderError]) -> None:
    assert error_class(error.code, error.message, error.status) is wanted
