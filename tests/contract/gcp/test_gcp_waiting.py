"""How the GCP provider waits for what Google has accepted, and tells apart what is under way.

Judge of every body: Google's discovery document. Ours: the server's memory, its notion of time, and its faults.
"""

import asyncio
from dataclasses import replace

import pytest
from cloud_contract import FLEET, ONE, TWO, listed, sighted
from gcp_server import GcpServer, Strike
from gcp_world import SHORT, ZONE, Make, spec, truth

from fleetctl.errors import NoCapacity, OutcomeUnknown, ProviderError
from fleetctl.model.instances import Sighting
from fleetctl.model.names import InstanceId


async def test_machine_being_deleted_is_not_taken_for_one_that_stops(server: GcpServer, make: Make) -> None:
    provider = make(limits=replace(SHORT, glance_s=0.05))
    for one in (ONE, TWO):
        await provider.launch(spec(one))
    server.compute.operation_s = 1.5

    await provider.stop(ONE)
    await provider.terminate(TWO)
    going = await listed(make())
    await make().terminate(TWO)

    assert going == {ONE: Sighting.STOPPING, TWO: Sighting.TERMINATING}
    assert server.calls["compute.instances.delete"] == 2, "the second was answered: not ready, it is being deleted"


async def test_stopping_machine_starts_once_it_has_stopped(server: GcpServer, make: Make) -> None:
    provider = make(limits=replace(SHORT, glance_s=0.05))
    await provider.launch(spec())
    server.compute.operation_s = 0.5

    await provider.stop(ONE)
    with pytest.raises(ProviderError, match="cannot start yet") as refused:
        await provider.start(ONE)
    await sighted(provider, Sighting.STOPPED)
    await provider.start(ONE)

    assert refused.value.retryable
    await sighted(provider, Sighting.RUNNING)


async def test_launch_that_takes_too_long_is_unknown_and_listed(server: GcpServer, make: Make) -> None:
    provider = make(limits=replace(SHORT, operation_s=0.2))
    await provider.launch(spec(TWO))
    server.compute.operation_s = 1.0

    with pytest.raises(OutcomeUnknown, match="was accepted; how it ended is not known"):
        await provider.launch(spec())

    assert await listed(provider) == {ONE: Sighting.BOOTING, TWO: Sighting.RUNNING}
    await sighted(provider, Sighting.RUNNING)


async def test_credentials_that_expire_while_a_launch_is_waited_for(server: GcpServer, make: Make) -> None:
    server.strikes.append(Strike(methods=("compute.zoneOperations.wait",), times=100, status=401, reason="authError"))

    with pytest.raises(OutcomeUnknown) as unknown:
        await make().launch(spec())

    assert "credentials" in str(unknown.value)
    assert truth(server.compute, FLEET).machines == (ONE,)


async def test_waiting_goes_on_over_a_bad_moment(server: GcpServer, make: Make) -> None:
    server.strikes.append(Strike(methods=("compute.zoneOperations.wait",), times=3, status=503, reason="backendError"))

    await make().launch(spec())

    assert server.calls["compute.zoneOperations.wait"] == 4


async def test_start_without_capacity_leaves_it_stopped(server: GcpServer, make: Make) -> None:
    provider = make()
    await provider.launch(spec())
    await provider.stop(ONE)
    await sighted(provider, Sighting.STOPPED)
    server.compute.fail_next = [("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", ZONE)]

    with pytest.raises(NoCapacity):
        await provider.start(ONE)

    assert await listed(provider) == {ONE: Sighting.STOPPED}


@pytest.mark.parametrize("warning", ["UNREACHABLE", "PARTIAL_SUCCESS", "LIST_OVERHEAD_QUOTA_EXCEED"])
async def test_listing_that_a_zone_is_missing_in_is_no_listing(server: GcpServer, make: Make, warning: str) -> None:
    provider = make()
    await provider.launch(spec())
    server.compute.warning = warning

    with pytest.raises(ProviderError, match="not complete") as refused:
        await provider.list(FLEET)

    assert refused.value.provider_code == warning


async def test_listing_goes_through_all_pages(server: GcpServer, make: Make) -> None:
    provider, ids = make(), [InstanceId(f"gpu-e1-{number}") for number in range(7)]
    await asyncio.gather(*(provider.launch(spec(one)) for one in ids))
    server.compute.page = 2

    assert sorted(await listed(provider)) == ids
