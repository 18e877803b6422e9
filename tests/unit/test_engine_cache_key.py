"""What an engine compiled is used again by a start that is the same in everything that matters, and by no other."""

from dataclasses import replace

import pytest
from fleet_world import a_service

from fleetctl.decide.caches import usable_caches
from fleetctl.decide.desired import node_desired
from fleetctl.decide.draft import Draft
from fleetctl.decide.engine_cache import CacheKey, cache_key, engine_cache
from fleetctl.model.instances import Instance, InstancePhase, Offer, Wanted
from fleetctl.model.names import InstanceId, PoolName, ProviderName, ReplicaId, ServiceName
from fleetctl.model.nodes import Artifact, ArtifactState, ArtifactStatus, EngineCache, NodeGpu, NodeStatus
from fleetctl.model.replicas import Replica
from fleetctl.model.services import Gpu, Market, Service, Standby, Tier
from fleetctl.model.snapshots import Intent, Snapshot

DIGEST = "sha256:" + "1" * 64
OTHER_DIGEST = "sha256:" + "2" * 64
NO_PINS: dict[str, str] = {}

SERVICE = Service(
    name=ServiceName("chat"),
    engine="vllm",
    image=f"vllm/vllm-openai@{DIGEST}",
    model="hf://org/model@abcdef1",
    gpu=(Gpu(name="L40S", count=2),),
    concurrency=64,
    args=("--max-model-len", "8192"),
    env=(("VLLM_USE_V1", "1"),),
)
STATUS = NodeStatus(
    instance=InstanceId("i-1"),
    version="0.1.0",
    at=0.0,
    generation="",
    epoch="e1",
    fence=1,
    gpus=tuple(NodeGpu(index=index, name="NVIDIA L40S") for index in range(4)),
    driver="550.54",
    cuda="12.4",
    instructions="abc",
    engines=(("vllm", "0.11.0"),),
)
PLAIN = replace(SERVICE, image=None)


def key(
    service: Service = SERVICE,
    status: NodeStatus = STATUS,
    gpus: tuple[int, ...] = (0, 1),
    *,
    sleepable: bool = False,
) -> EngineCache | None:
    return engine_cache(service, status, gpus, sleepable=sleepable, pins=NO_PINS)


def listed(name: str) -> tuple[NodeGpu, ...]:
    return tuple(NodeGpu(index=index, name=name) for index in range(4))


def test_the_same_start_has_the_same_key() -> None:
    again = replace(SERVICE, args=tuple(SERVICE.args), env=tuple(SERVICE.env))

    assert key() is not None
    assert key() == key(again, replace(STATUS, instance=InstanceId("i-2"), at=99.0, generation="other"))


OF_THE_KEY = CacheKey(
    built=DIGEST,
    gpu="NVIDIA L40S",
    gpus=2,
    driver="550.54",
    cuda="12.4",
    instructions="abc",
    model="hf://org/model@abcdef1",
    arguments=("--model", "m"),
    environment=(("A", "1"),),
)


@pytest.mark.parametrize(
    "change",
    [
        {"built": OTHER_DIGEST},
        {"gpu": "NVIDIA L4"},
        {"gpus": 4},
        {"driver": "550.55"},
        {"cuda": "12.5"},
        {"instructions": "abd"},
        {"model": "hf://org/model@abcdef2"},
        {"arguments": ("--model", "n")},
        {"environment": (("A", "2"),)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_field_of_the_key_makes_another_name(change: dict[str, object]) -> None:
    assert replace(OF_THE_KEY, **change).name != OF_THE_KEY.name  # type: ignore[arg-type]


def test_the_table_above_has_every_field() -> None:
    assert len(CacheKey.__dataclass_fields__) == 9


MISSES = {
    "image": (replace(SERVICE, image=f"vllm/vllm-openai@{OTHER_DIGEST}"), STATUS, (0, 1)),
    "model": (replace(SERVICE, model="hf://org/other@abcdef1"), STATUS, (0, 1)),
    "model revision": (replace(SERVICE, model="hf://org/model@abcdef2"), STATUS, (0, 1)),
    "gpu product": (SERVICE, replace(STATUS, gpus=listed("NVIDIA H100")), (0, 1)),
    "gpu count": (SERVICE, STATUS, (0,)),
    "driver": (SERVICE, replace(STATUS, driver="560.1"), (0, 1)),
    "cuda": (SERVICE, replace(STATUS, cuda="12.6"), (0, 1)),
    "cpu": (SERVICE, replace(STATUS, instructions="fff"), (0, 1)),
    "batch limit": (replace(SERVICE, concurrency=32), STATUS, (0, 1)),
    "argument value": (replace(SERVICE, args=("--max-model-len", "4096")), STATUS, (0, 1)),
    "argument more": (replace(SERVICE, args=(*SERVICE.args, "--enforce-eager")), STATUS, (0, 1)),
    "argument less": (replace(SERVICE, args=()), STATUS, (0, 1)),
    "parallelism": (replace(SERVICE, args=(*SERVICE.args, "--tensor-parallel-size", "2")), STATUS, (0, 1)),
    "data type": (replace(SERVICE, args=(*SERVICE.args, "--dtype=float16")), STATUS, (0, 1)),
    "command": (replace(SERVICE, command=("serve", "{model}")), STATUS, (0, 1)),
    "environment": (replace(SERVICE, env=(("VLLM_USE_V1", "0"),)), STATUS, (0, 1)),
    "environment more": (
        replace(SERVICE, env=(*SERVICE.env, ("VLLM_USE_V2", "1"))),
        STATUS,
        (0, 1),
    ),
    "engine": (replace(SERVICE, engine="sglang"), STATUS, (0, 1)),
    "no image": (PLAIN, STATUS, (0, 1)),
}


@pytest.mark.parametrize("what", MISSES)
def test_every_single_change_that_matters_is_a_miss(what: str) -> None:
    changed = key(*MISSES[what])
    same = key()

    assert changed is not None and same is not None
    assert changed.artifact.name != same.artifact.name


def test_sleep_mode_is_a_miss() -> None:
    assert key(sleepable=True) != key(sleepable=False)


def test_no_two_of_all_these_changes_meet() -> None:
    found = [key(*change) for change in MISSES.values()]

    assert len({one.artifact.name for one in found if one is not None}) == len(MISSES)


@pytest.mark.parametrize(
    "changed",
    [
        replace(SERVICE, name=ServiceName("other")),
        replace(SERVICE, args=(*SERVICE.args, "--port", "9000")),
        replace(SERVICE, args=("--uvicorn-log-level=warning", *SERVICE.args)),
        replace(SERVICE, args=(*SERVICE.args, "--served-model-name", "a", "b")),
        replace(SERVICE, args=(*SERVICE.args, "--load-format", "fastsafetensors")),
        replace(SERVICE, env=(*SERVICE.env, ("HF_TOKEN", "hf_x"))),
        replace(SERVICE, env=(*SERVICE.env, ("VLLM_LOGGING_LEVEL", "DEBUG"))),
        replace(SERVICE, env=(("TZ", "UTC"), *SERVICE.env)),
        replace(SERVICE, image=f"mirror.example/vllm@{DIGEST}"),
        replace(SERVICE, loading="fast"),
        replace(SERVICE, gpu=(Gpu(name="L40S", count=2), Gpu(name="H100", count=2))),
    ],
    ids=(
        *("name", "port", "log level", "names", "load format", "token", "logging", "time zone"),
        *("mirror", "loading", "other gpus"),
    ),
)
def test_what_does_not_matter_is_a_hit(changed: Service) -> None:
    assert key(changed) == key()


def test_options_end_where_the_next_begins() -> None:
    """The values of an option that is left out go with it, and nothing else does."""
    words = ("--served-model-name", "a", "b", "--max-model-len", "8192")

    found = cache_key(replace(SERVICE, args=words), STATUS, (0, 1), sleepable=False, pins=NO_PINS)

    assert found is not None
    assert found.arguments[-2:] == ("--max-model-len", "8192")
    assert not {"a", "b"} & set(found.arguments)


@pytest.mark.parametrize(
    ("service", "status", "gpus"),
    [
        (replace(SERVICE, image="vllm/vllm-openai:latest"), STATUS, (0, 1)),
        (PLAIN, replace(STATUS, engines=()), (0, 1)),
        (SERVICE, replace(STATUS, driver=None), (0, 1)),
        (SERVICE, replace(STATUS, driver=""), (0, 1)),
        (SERVICE, replace(STATUS, instructions=""), (0, 1)),
        (SERVICE, STATUS, (0, 7)),
        (SERVICE, STATUS, ()),
        (replace(SERVICE, engine="llama.cpp"), STATUS, (0, 1)),
    ],
    ids=("tag", "version", "driver not looked", "driver silent", "cpu", "gpu index", "no gpu", "compiles nothing"),
)
def test_what_is_not_known_has_no_cache(service: Service, status: NodeStatus, gpus: tuple[int, ...]) -> None:
    assert key(service, status, gpus) is None


def test_a_tag_has_a_cache_once_the_fleet_has_pinned_it() -> None:
    tagged = replace(SERVICE, image="vllm/vllm-openai:v1")

    pinned = engine_cache(tagged, STATUS, (0, 1), sleepable=False, pins={"vllm/vllm-openai:v1": DIGEST})

    assert pinned == key()


def test_gpus_that_are_only_declared_need_no_driver() -> None:
    assert key(SERVICE, replace(STATUS, gpus_listed=False, driver="")) is not None


def test_a_folder_that_the_service_moves_is_its_own() -> None:
    moved = key(replace(SERVICE, env=(("VLLM_CACHE_ROOT", "/mine"),)))
    unmoved = key()

    assert moved is not None and unmoved is not None
    assert {one.env for one in unmoved.folders} - {one.env for one in moved.folders} == {"VLLM_CACHE_ROOT"}


# what each Node is told


def instance(name: str, zone: str = "z1") -> Instance:
    offer = Offer(
        provider=ProviderName("cloud"),
        instance_type="l40s",
        gpu=Gpu(name="L40S", count=4),
        region="r1",
        zone=zone,
        market=Market.ON_DEMAND,
        price_per_hour=1.0,
        price_source="test",
        price_as_of=0.0,
    )
    return Instance(
        id=InstanceId(name),
        pool=PoolName("chat"),
        offer=offer,
        wanted=Wanted.RUNNING,
        phase=InstancePhase.READY,
        address=f"unix:{name}",
        created_at=0.0,
        phase_at=0.0,
    )


def fleet(*nodes: tuple[Instance, NodeStatus], service: Service = SERVICE) -> Draft:
    intent = Intent(service=service, revision="r1", declared_at=0.0)
    replicas = {
        ReplicaId(f"chat-{one.id}"): Replica(
            id=ReplicaId(f"chat-{one.id}"),
            service=service.name,
            revision="r1",
            instance=one.id,
            gpus=(0, 1),
            created_at=0.0,
        )
        for one, _ in nodes
    }
    return Draft(
        Snapshot(
            now=100.0,
            fleet="f",
            epoch="e1",
            fence=1,
            intents=(intent,),
            pools=(),
            instances={one.id: one for one, _ in nodes},
            replicas=replicas,
            nodes={one.id: status for one, status in nodes},
        )
    )


def node(name: str, *artifacts: Artifact, peers: str = "10.0.0.1:1", zone: str = "z1") -> tuple[Instance, NodeStatus]:
    held = tuple(ArtifactStatus(artifact=one, state=ArtifactState.PRESENT) for one in artifacts)
    return instance(name, zone), replace(STATUS, instance=InstanceId(name), artifacts=held, peers=peers)


def the_cache() -> Artifact:
    found = key()
    assert found is not None
    return found.artifact


def told(draft: Draft, name: str) -> tuple[Artifact, ...]:
    desired = node_desired(draft, draft.instances[InstanceId(name)])
    assert all(spec.cache == key() for spec in desired.replicas), "every engine is told where to compile"
    return tuple(one for one in desired.artifacts if one.kind == "cache")


def test_nobody_waits_for_a_cache_that_no_node_has() -> None:
    draft = fleet(node("i-1"), node("i-2"))

    assert usable_caches(draft, draft.instances[InstanceId("i-1")]) == (the_cache(),)
    assert told(draft, "i-1") == ()
    assert told(draft, "i-2") == ()


@pytest.mark.parametrize("zone", ["z1", "z2"], ids=["zone", "region"])
def test_a_cache_that_one_node_has_goes_to_the_others(zone: str) -> None:
    draft = fleet(node("i-1", the_cache()), node("i-2", zone=zone))

    desired = node_desired(draft, draft.instances[InstanceId("i-2")])

    assert told(draft, "i-1") == told(draft, "i-2") == (the_cache(),)
    (feed,) = (feed for feed in desired.feeds if feed.artifact == the_cache())
    assert [peer.instance for peer in feed.parents] == ["i-1"]


def test_a_node_that_cannot_be_reached_by_others_gives_nothing() -> None:
    draft = fleet(node("i-1", the_cache(), peers=""), node("i-2"))

    assert told(draft, "i-1") == (the_cache(),), "it keeps its own"
    assert told(draft, "i-2") == ()


def test_another_driver_gets_nothing() -> None:
    other, status = node("i-2")
    draft = fleet(node("i-1", the_cache()), (other, replace(status, driver="560.0")))

    desired = node_desired(draft, other)

    assert [one for one in desired.artifacts if one.kind == "cache"] == []


def test_a_node_is_told_anew_when_a_cache_appears() -> None:
    before = fleet(node("i-1"), node("i-2"))
    after = fleet(node("i-1", the_cache()), node("i-2"))

    generations = {node_desired(draft, draft.instances[InstanceId("i-2")]).generation for draft in (before, after)}

    assert len(generations) == 2


def test_an_engine_that_shall_sleep_has_a_cache_of_its_own() -> None:
    awake = fleet(node("i-1"))
    asleep = fleet(node("i-1"), service=replace(SERVICE, standby=Standby(slots=1, tier=Tier.ASLEEP)))

    names = {usable_caches(draft, draft.instances[InstanceId("i-1")]) for draft in (awake, asleep)}

    assert len(names) == 2


def test_a_world_without_such_facts_has_no_caches() -> None:
    service = a_service()
    draft = fleet((instance("i-1"), replace(STATUS, instructions="")), service=replace(service, pool=PoolName("chat")))

    assert usable_caches(draft, draft.instances[InstanceId("i-1")]) == ()
