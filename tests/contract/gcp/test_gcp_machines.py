"""What the GCP provider asks Google for, and how it reads what Google says.

Judge of every body: Google's discovery document. Ours: the server's memory, its notion of time, and its faults.
"""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from cloud_contract import FLEET, ONE, TWO, give_back, listed, sighted
from gcp_compute import Compute
from gcp_server import GcpServer, Strike
from gcp_world import KEY, ZONE, Make, metadata, offer, only, spec, truth

from fleetctl.errors import Gone, InvalidRequest, NoCapacity, OutcomeUnknown, QuotaExceeded
from fleetctl.model.instances import Sighting
from fleetctl.model.names import InstanceId
from fleetctl.model.services import Gpu, Market


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

    assert [one.kind for one in left] == ["disk", *["firewall-rule"] * 3, "network"]
    assert (left[0].region, left[0].instance) == (ZONE, ONE)
    assert truth(server.compute, FLEET).others == ()


async def test_record_of_the_offer_is_readable_by_people(server: GcpServer, make: Make) -> None:
    await make().launch(spec())

    assert json.loads(metadata(only(server))["fleetctl-offer"])["instance_type"] == "g2-standard-8"
