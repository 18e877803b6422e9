"""A Service on a Node that lacks what it needs: a clear word, once, and no machine after machine."""

from dataclasses import replace

import pytest
from fleet_world import World, a_service

from fleetctl.decide.needs import unmet
from fleetctl.model.instances import Instance, Offer
from fleetctl.model.names import InstanceId, PoolName, ProviderName
from fleetctl.model.nodes import NodeGpu, NodeStatus
from fleetctl.model.services import Gpu, Market

OFFER = Offer(
    provider=ProviderName("ssh"),
    instance_type="rack1",
    gpu=Gpu(name="H100", count=2),
    zone="rack1",
    market=Market.ON_DEMAND,
    price_per_hour=1.0,
    price_source="declared",
    price_as_of=0.0,
)


def machine(gpu: str = "H100:2") -> Instance:
    name, _, count = gpu.partition(":")
    return Instance(
        id=InstanceId("gpu-1"),
        pool=PoolName("gpu"),
        offer=replace(OFFER, gpu=Gpu(name=name, count=int(count))),
        phase_at=0.0,
        created_at=0.0,
    )


def status(
    *names: str, driver: str | None = "550.1", runtime: str | None = "docker 27", listed: bool = True
) -> NodeStatus:
    return NodeStatus(
        instance=InstanceId("gpu-1"),
        version="0",
        at=0.0,
        generation="",
        epoch="",
        fence=0,
        gpus=tuple(NodeGpu(index=index, name=name) for index, name in enumerate(names)),
        driver=driver,
        runtime=runtime,
        gpus_listed=listed,
    )


@pytest.mark.parametrize(
    ("engine", "image", "offer", "node", "said"),
    [
        pytest.param("vllm", "a:1", "H100:2", status("H100 80GB HBM3", "H100 80GB HBM3"), "", id="all there"),
        pytest.param("vllm", "a:1", "H100:2", status("H100"), "lists 1 of its 2 GPUs", id="one GPU is missing"),
        pytest.param("vllm", None, "H100:2", status(driver="", listed=False), "lists no GPU", id="no driver"),
        pytest.param("vllm", None, "H100:1", status("A100-SXM4-80GB"), "has A100-SXM4-80GB, and not H100", id="other"),
        pytest.param("vllm", None, "L40S:1", status("L4"), "", id="in doubt it can"),
        pytest.param("vllm", None, "A100-80GB:1", status("A100-SXM4-80GB"), "", id="a variant"),
        pytest.param("vllm", None, "RTX4090:1", status("GeForce RTX 4090"), "", id="a brand"),
        pytest.param("vllm", None, "ANY:1", status("Tesla T4"), "", id="any"),
        pytest.param(
            "vllm", "a:1", "H100:1", status("H100", runtime=""), "nothing that runs containers", id="no Docker"
        ),
        pytest.param("vllm", None, "H100:1", status("H100", runtime=""), "", id="no Docker, and no image"),
        pytest.param("vllm", "a:1", "H100:2", status(driver=None, runtime=None), "", id="a Node that has not told"),
        pytest.param("rehearsal", "a:1", "H100:2", status(driver="", runtime=""), "", id="a rehearsal needs nothing"),
        pytest.param("vllm", None, "L4:1", status("L4", driver="", listed=False), "", id="declared GPUs stand"),
    ],
)
def test_what_a_node_lacks_is_said(engine: str, image: str | None, offer: str, node: NodeStatus, said: str) -> None:
    found = unmet(a_service(engine=engine, image=image), machine(offer), node)

    assert said in found
    assert bool(found) == bool(said)
    assert not said or "gpu-1" in found


@pytest.mark.parametrize(
    ("snapshotter", "lazy", "image", "said"),
    [
        ("stargz", "stargz", "a:1", ""),
        ("", "stargz", "a:1", "unpacks images by Docker's own store, and pool gpu says lazy: stargz"),
        ("overlayfs", "soci", "a:1", "unpacks images by containerd's overlayfs, and pool gpu says lazy: soci"),
        ("", "nydus", None, ""),
        (None, "nydus", "a:1", ""),
        ("", None, "a:1", ""),
    ],
    ids=["has it", "own store", "another", "no image", "a Node that has not told", "not lazy"],
)
def test_a_node_without_the_snapshotter_is_refused(
    snapshotter: str | None, lazy: str | None, image: str | None, said: str
) -> None:
    node = replace(status("H100"), snapshotter=snapshotter)

    found = unmet(a_service(engine="vllm", image=image), machine("H100:1"), node, lazy=lazy)

    assert said in found
    assert bool(found) == bool(said)
    assert not said or "gpu-1" in found


def test_a_service_that_fits_nowhere_waits_with_a_word_and_rents_nothing_more() -> None:
    world = World()
    world.node_facts = {"runtime": "", "driver": ""}
    world.up(a_service(engine="vllm", image="vllm:1", scaling=replace(a_service().scaling, min=1)))

    world.run(300.0)

    assert len(world.held()) == 1
    assert len(world.said("nothing that runs containers")) == 1, "told once"
    assert "start Docker there" in world.decision().trouble
    world.node_facts = {"runtime": "docker 27", "driver": "550", "gpus": (NodeGpu(index=0, name="L40S"),)}
    world.until(lambda: len(world.ready()) == 1)
    assert world.decision().trouble == ""
    assert len(world.held()) == 1


def test_a_machine_that_there_is_only_one_of_is_launched_once() -> None:
    one, other = (
        replace(OFFER, gpu=Gpu(name="L40S"), sole=True),
        replace(OFFER, gpu=Gpu(name="L40S"), sole=True, instance_type="rack2", price_per_hour=3.0),
    )
    world = World(offers=(one, other))
    world.up(a_service(scaling=replace(a_service().scaling, min=3)))

    world.run(120.0)

    assert sorted(instance.offer.instance_type for instance in world.held()) == ["rack1", "rack2"]
    assert len(world.launched) == 2, "nothing was tried that could not be"
