"""What the GCP provider asks Google for, and how it reads what Google says.

Judge of every body: Google's discovery document. Ours: the server's memory, its notion of time, and its faults.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cloud_contract import FLEET, ONE, TWO, give_back, listed, sighted
from gcp_compute import Compute
from gcp_server import GcpServer, Strike
from gcp_world import SHORT, offer, served, setup, truth

from fleetctl.errors import Gone, InvalidRequest, NoCapacity, OutcomeUnknown, ProviderError, QuotaExceeded
from fleetctl.model.instances import LaunchSpec, Offer, Sighting
from fleetctl.model.names import InstanceId, PoolName
from fleetctl.model.services import Gpu, Market
from fleetctl.providers.gcp.compute import GcpProvider
from fleetctl.providers.gcp.settings import read_settings

ZONE = "us-central1-a"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBbd8vTQ0fXlWfyYbKIuyVq3s7ZT8Vh7Ff1p0p0p0p0p fleet"


@pytest.fixture
def served_here() -> Iterator[tuple[GcpServer, str]]:
    with served() as both:
        yield both


@pytest.fixture
def server(served_here: tuple[GcpServer, str]) -> GcpServer:
    return served_here[0]


Make = Callable[..., GcpProvider]


@pytest.fixture
async def make(served_here: tuple[GcpServer, str], tmp_path: Path) -> AsyncIterator[Make]:
    made = []

    def one(*, limits: Any = SHORT, fleet: str = FLEET, **options: object) -> GcpProvider:
        made.append(GcpProvider(read_settings(setup(served_here[1], tmp_path, fleet, **options)), limits=limits))
        return made[-1]

    yield one
    for provider in made:
        await provider.close()


def spec(instance: InstanceId = ONE, at: Offer | None = None, **more: Any) -> LaunchSpec:
    given = {"user_data": "#cloud-config\n", "ssh_key": KEY, "fleet": FLEET, **more}
    return LaunchSpec(id=instance, pool=PoolName("gpu"), offer=at or offer(ZONE), **given)


def only(server: GcpServer, kind: str = "instances") -> dict[str, Any]:
    (found,) = server.compute.things[kind].values()
    return found


def metadata(machine: dict[str, Any]) -> dict[str, str]:
    return {item["key"]: item["value"] for item in machine["metadata"]["items"]}


async def test_machine_is_asked_for_as_a_whole(server: GcpServer, make: Make) -> None:
    await make().launch(spec())

    machine, disk = only(server), only(server, "disks")
    assert machine["scheduling"] == {
        "provisioningModel": "STANDARD",
        "onHostMaintenance": "TERMINATE",
        "automaticRestart": True,
    }
    assert "guestAccelerators" not in machine, "G2 has its GPU built in"
    assert "serviceAccounts" not in machine, "nothing on it can call the cloud"
    assert machine["tags"] == {"items": ["fleetctl-test-fleet"]}
    told = metadata(machine)
    assert told["user-data"] == "#cloud-config\n"
    assert told["ssh-keys"] == f"fleetctl:{KEY}"
    assert (told["enable-oslogin"], told["block-project-ssh-keys"]) == ("FALSE", "TRUE")
    marks = {key: value for key, value in machine["labels"].items() if key != "fleetctl-created"}
    assert marks == {
        "fleetctl-fleet": FLEET,
        "fleetctl-pool": "gpu",
        "fleetctl-id": ONE,
        "fleetctl-gpu": "l4-1",
        "fleetctl-market": "on_demand",
    }
    assert disk["labels"] == machine["labels"]
    assert disk["sizeGb"] == "200"
    assert machine["disks"][0]["autoDelete"] is True


async def test_spot_machine_is_deleted_when_it_is_taken_away(server: GcpServer, make: Make) -> None:
    await make().launch(spec(at=offer(ZONE, market=Market.SPOT)))

    assert only(server)["scheduling"] == {
        "provisioningModel": "SPOT",
        "instanceTerminationAction": "DELETE",
        "onHostMaintenance": "TERMINATE",
        "automaticRestart": False,
    }


@pytest.mark.parametrize("machine", ["n1-standard-16+nvidia-tesla-t4:2", "n1-standard-16"])
async def test_gpus_are_attached_to_machines_without_any(server: GcpServer, make: Make, machine: str) -> None:
    await make().launch(spec(at=offer(ZONE, machine=machine, gpu=Gpu(name="T4", count=2))))

    made = only(server)
    assert made["machineType"].endswith(f"zones/{ZONE}/machineTypes/n1-standard-16")
    assert made["guestAccelerators"] == [
        {"acceleratorType": f"zones/{ZONE}/acceleratorTypes/nvidia-tesla-t4", "acceleratorCount": 2}
    ]


async def test_image_has_the_newest_driver_that_knows_the_gpu(server: GcpServer, make: Make) -> None:
    provider, asked = make(), []
    volta = offer("us-central1-c", machine="n1-standard-8+nvidia-tesla-v100:1", gpu=Gpu(name="V100-16GB"))

    for number, (at, image) in enumerate(((offer(ZONE), None), (volta, None), (offer(ZONE), "my-image"))):
        body = spec(InstanceId(f"gpu-e1-{number}"), at, image=image)
        server.strikes.append(Strike(methods=("compute.instances.insert",), before=asked_for(asked, server)))
        await provider.launch(body)

    assert [path.rpartition("/")[2] for path in asked] == [
        "common-cu132-ubuntu-2404-nvidia-595-v20260901",
        "common-cu129-ubuntu-2204-nvidia-580-v20260818",
        "my-image",
    ]
    assert server.calls["compute.images.list"] == 2, "asked once for each kind of GPU"


def asked_for(asked: list[str], server: GcpServer) -> Callable[[Compute], None]:
    """Keeps the image of the request under way, which the machine itself does not show."""

    def look(_: Compute) -> None:
        asked.append(server.last.body["disks"][0]["initializeParams"]["sourceImage"])

    return look


async def test_reserved_market_draws_on_the_reservation(server: GcpServer, make: Make) -> None:
    reserved = offer(ZONE, market=Market.RESERVED)

    with pytest.raises(InvalidRequest, match="no reservation"):
        await make().launch(spec(at=reserved))
    await make(reservation="mine").launch(spec(at=reserved))

    assert only(server)["reservationAffinity"] == {
        "consumeReservationType": "SPECIFIC_RESERVATION",
        "key": "compute.googleapis.com/reservation-name",
        "values": ["mine"],
    }


async def test_stop_says_what_becomes_of_local_disks(server: GcpServer, make: Make) -> None:
    provider = make()
    await provider.launch(spec(at=offer("us-central1-b", machine="a3-highgpu-8g", gpu=Gpu(name="H100", count=8))))

    await provider.stop(ONE)

    await sighted(provider, Sighting.STOPPED)
    assert only(server)["networkInterfaces"][0]["nicType"] == "GVNIC"


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
    assert [name.rpartition("-")[0] for name in names] == ["fleetctl-test-fleet-deny"]


async def test_rule_that_somebody_changed_is_mended(server: GcpServer, make: Make) -> None:
    await make().launch(spec())
    rule = next(rule for rule in server.compute.things["firewalls"].values() if "-ssh-" in rule["name"])
    rule["sourceRanges"] = ["0.0.0.0/0"]

    await make().launch(spec(TWO))

    assert rule["sourceRanges"] == ["203.0.113.0/24"]
    assert server.calls["compute.firewalls.patch"] == 1


async def test_network_that_has_gone_is_made_again(server: GcpServer, make: Make) -> None:
    provider = make()
    await provider.launch(spec())
    await give_back(make())  # by another process

    with pytest.raises(InvalidRequest):
        await provider.launch(spec(TWO))
    await provider.launch(spec(TWO))

    assert truth(server.compute, FLEET).machines == (TWO,)


async def test_failures_of_earlier_processes_are_not_taken_for_answers(server: GcpServer, make: Make) -> None:
    server.compute.fail_next = [("ZONE_RESOURCE_POOL_EXHAUSTED", "")] * 2
    for _ in range(2):
        with pytest.raises(NoCapacity):
            await make().launch(spec())

    await make().launch(spec())

    assert truth(server.compute, FLEET).machines == (ONE,)
    assert server.calls["compute.instances.insert"] == 1 + 2 + 3, "each process meets the failures before it again"


async def test_same_process_does_not_ask_for_a_failure_again(server: GcpServer, make: Make) -> None:
    provider = make()
    server.compute.fail_next = [("QUOTA_EXCEEDED", "")]
    with pytest.raises(QuotaExceeded):
        await provider.launch(spec())

    await provider.launch(spec())

    assert server.calls["compute.instances.insert"] == 2
    assert truth(server.compute, FLEET).machines == (ONE,)


async def test_lost_launch_is_found_even_from_another_zone(server: GcpServer, make: Make) -> None:
    server.strikes.append(Strike(methods=("compute.instances.insert",), cut=True, done=True))
    with pytest.raises(OutcomeUnknown):
        await make().launch(spec())
    server.compute.hidden = True

    await make().launch(spec(at=offer("us-central1-b")))

    server.compute.hidden = False
    assert truth(server.compute, FLEET).machines == (ONE,)
    assert [scope for scope, _ in server.compute.things["instances"]] == [f"zones/{ZONE}"]


async def test_id_is_used_once(server: GcpServer, make: Make) -> None:
    await make().launch(spec())
    await make().terminate(ONE)

    with pytest.raises(Gone, match="used up"):
        await make().launch(spec())

    assert truth(server.compute, FLEET).machines == ()


async def test_two_fleets_of_one_project_may_use_the_same_id(server: GcpServer, make: Make) -> None:
    ours, theirs = make(), make(fleet="other")
    await ours.launch(spec())
    await theirs.launch(spec(fleet="other"))

    await ours.terminate(ONE)

    assert truth(server.compute, FLEET).machines == ()
    assert truth(server.compute, "other").machines == (ONE,)
    with pytest.raises(InvalidRequest, match="of fleet other"):
        await ours.launch(spec(TWO, fleet="other"))


@pytest.mark.parametrize("bad", ["", "../up", "GPU-1", "a.b", "x" * 64, "ü"])
async def test_id_that_no_label_can_hold_is_refused(server: GcpServer, make: Make, bad: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be an instance's id"):
        await make().launch(spec(InstanceId(bad)))

    assert server.calls == {}


@pytest.mark.parametrize("good", ["a", "7", "gpu_1", "gpu-e1-1", "x" * 63, "-_-"])
async def test_id_that_a_label_can_hold_is_found_again(server: GcpServer, make: Make, good: str) -> None:
    await make().launch(spec(InstanceId(good)))

    assert await listed(make()) == {good: Sighting.RUNNING}


async def test_ids_that_differ_little_are_different_machines(server: GcpServer, make: Make) -> None:
    provider, ids = make(), [InstanceId(one) for one in ("gpu_1", "gpu-1", "x" * 62, "x" * 63)]

    for one in ids:
        await provider.launch(spec(one))

    assert sorted(truth(server.compute, FLEET).machines) == sorted(ids)


async def test_too_much_user_data_is_refused_before_anything_is_made(server: GcpServer, make: Make) -> None:
    with pytest.raises(InvalidRequest, match="user-data has more than 262144 bytes"):
        await make().launch(spec(user_data="x" * 262_145))

    assert truth(server.compute, FLEET).machines == ()


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


async def test_offer_is_told_from_labels_where_its_record_is_gone(server: GcpServer, make: Make) -> None:
    told = offer(ZONE, market=Market.SPOT)
    await make().launch(spec(at=told))
    for item in only(server)["metadata"]["items"]:
        if item["key"] == "fleetctl-offer":
            item["value"] = "{"

    (line,) = (await make().list(FLEET)).instances

    assert line.offer == replace(told, price_per_hour=None, price_source="", price_as_of=0.0)


async def test_address_follows_the_template(server: GcpServer, make: Make) -> None:
    provider = make(address="ssh://{user}@{ip}:22?id={id}", ssh_user="me")
    await provider.launch(spec())

    (line,) = (await provider.list(FLEET)).instances

    outside = only(server)["networkInterfaces"][0]["accessConfigs"][0]["natIP"]
    assert line.address == f"ssh://me@{outside}:22?id={ONE}"


async def test_console_is_the_end_of_what_was_written(server: GcpServer, make: Make) -> None:
    provider = make()
    await provider.launch(spec())

    written = await provider.console(ONE)

    assert written
    assert len(written) <= 65_536
    with pytest.raises(Gone):
        await provider.console(TWO)


async def test_disk_that_outlived_its_machine_is_a_leftover(server: GcpServer, make: Make) -> None:
    provider = make()
    await provider.launch(spec())
    held = (await provider.leftovers(FLEET))[0]
    with pytest.raises(InvalidRequest, match="still used by"):
        await provider.remove(held)
    only(server)["disks"][0]["autoDelete"] = False
    await provider.terminate(ONE)

    left = await provider.leftovers(FLEET)
    await give_back(provider)

    assert [one.kind for one in left] == ["disk", "firewall-rule", "firewall-rule", "network"]
    assert (left[0].region, left[0].instance) == (ZONE, ONE)
    assert truth(server.compute, FLEET).others == ()


async def test_record_of_the_offer_is_readable_by_people(server: GcpServer, make: Make) -> None:
    await make().launch(spec())

    assert json.loads(metadata(only(server))["fleetctl-offer"])["instance_type"] == "g2-standard-8"
