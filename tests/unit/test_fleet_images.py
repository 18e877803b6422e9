"""Images by digest, tick by tick: what a name meant first is what it means, until nobody names it any more."""

import pytest
from fleet_world import World, a_service, scaled

from fleetctl.decide.desired import node_desired
from fleetctl.decide.draft import Draft
from fleetctl.decide.feeds import Member
from fleetctl.decide.images import image_feeds, pins
from fleetctl.model.images import image_fault, image_name, pinned
from fleetctl.model.names import InstanceId, ServiceName
from fleetctl.model.nodes import Artifact, ArtifactState, ArtifactStatus, Feed, Peer

CHAT = ServiceName("chat")
OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
IMAGE = "quay.io/acme/engine:v1"
BY_OLD = f"quay.io/acme/engine@{OLD}"


def a_world(image: str = IMAGE) -> World:
    world = World(scaled(a_service(), min=1, max=4))
    world.up(scaled(a_service(image=image), min=1, max=4))
    world.registry[IMAGE] = OLD
    world.settle()
    return world


def images(world: World) -> set[str]:
    """Names by which Replicas run now."""
    return {engine.spec.image or "" for machine in world.machines.values() for engine in machine.engines.values()}


def held(world: World) -> set[str]:
    """Names of images on machines that live."""
    machines = (machine for machine in world.machines.values() if not machine.gone)
    return {key.name for machine in machines for key in machine.artifacts if key.kind == "image"}


def test_first_node_says_what_a_tag_means_and_it_is_pinned() -> None:
    world = a_world()

    assert world.pins == {IMAGE: OLD}
    assert images(world) == {BY_OLD}
    assert held(world) == {BY_OLD}


def test_tag_that_moves_changes_nothing_in_a_fleet_that_runs() -> None:
    world = a_world()
    first = set(world.machines)

    world.registry[IMAGE] = NEW
    world.override("chat", 3)
    world.settle()

    assert len(world.serving()) == 3
    assert set(world.machines) > first
    assert images(world) == {BY_OLD}
    assert {image for spec in world.launched.values() for image in spec.images} <= {IMAGE, BY_OLD}


def test_another_name_is_resolved_anew() -> None:
    world = a_world()

    world.registry["quay.io/acme/engine:v2"] = NEW
    world.up(scaled(a_service(image="quay.io/acme/engine:v2"), min=1, max=4), revision="r2")
    world.settle()

    assert world.pins == {IMAGE: OLD, "quay.io/acme/engine:v2": NEW}, "r1 may come back"
    assert images(world) == {f"quay.io/acme/engine@{NEW}"}


def test_pin_goes_when_no_service_names_the_image() -> None:
    world = a_world()

    world.down("chat")
    world.until(lambda: not world.replicas)
    del world.intents[CHAT]
    world.run(4.0)

    assert world.pins == {}


def test_digest_of_the_users_own_is_used_as_it_is() -> None:
    by_both = f"quay.io/acme/engine:v1@{NEW}"
    world = a_world(by_both)

    assert world.pins == {}
    assert images(world) == {f"quay.io/acme/engine@{NEW}"}


def test_pin_is_what_tells_a_node_apart_from_what_it_has() -> None:
    world = a_world()
    draft = Draft(world.snapshot())
    instance = next(iter(draft.instances.values()))
    with_pin = node_desired(draft, instance)
    world.pins = {}
    world.registry.clear()
    for machine in world.machines.values():
        machine.digests = {}

    without = node_desired(Draft(world.snapshot()), instance)

    assert {one.name for one in with_pin.artifacts if one.kind == "image"} == {BY_OLD}
    assert {one.name for one in without.artifacts if one.kind == "image"} == {IMAGE}
    assert with_pin.generation != without.generation


def test_only_names_that_a_service_has_are_pinned() -> None:
    world = a_world()
    snapshot = world.snapshot()
    stranger = Artifact(kind="image", name="quay.io/else/thing:1")
    machine = next(iter(world.machines.values()))
    machine.artifacts[stranger], machine.digests[stranger] = 0.0, NEW

    assert pins(snapshot) == {IMAGE: OLD}
    assert pins(world.snapshot()) == {IMAGE: OLD}


def test_machines_that_come_together_do_not_each_ask_the_registry_at_boot() -> None:
    world = World(scaled(a_service(image=IMAGE), min=3, max=4))
    world.registry[IMAGE] = OLD
    world.settle()
    alone = a_world()

    assert {spec.images for spec in world.launched.values()} == {()}
    assert (IMAGE,) in {spec.images for spec in alone.launched.values()}


def member(number: int, state: ArtifactState | None, *, shared: bool = False, done: int | None = None) -> Member:
    artifact = Artifact(kind="image", name=BY_OLD)
    status = None if state is None else ArtifactStatus(artifact=artifact, state=state, shared=shared, bytes_done=done)
    return Member(instance=InstanceId(f"i-{number}"), zone="z", address=f"10.0.0.{number}:1", status=status)


def fed(*members: Member, coming: frozenset[str] = frozenset()) -> dict[str, list[str]]:
    """Whom each follows, by identifier."""
    found = image_feeds(Artifact(kind="image", name=BY_OLD), members, coming)
    return {str(key): [str(peer.instance) for peer in feed.parents] for key, feed in found.items()}


def test_nodes_that_join_together_follow_each_other() -> None:
    assert fed(member(1, None), member(2, None), member(3, None)) == {"i-1": [], "i-2": ["i-1"], "i-3": ["i-2", "i-1"]}


def test_node_that_has_it_in_docker_alone_is_followed_by_nobody() -> None:
    there = member(1, ArtifactState.PRESENT)

    assert fed(there, member(2, None)) == {}
    assert fed(there, member(2, None), member(3, None)) == {"i-2": [], "i-3": ["i-2"]}


def test_node_that_pulls_it_by_itself_is_followed_by_nobody() -> None:
    assert fed(member(1, ArtifactState.FETCHING, done=5), member(2, None)) == {}


def test_node_that_has_it_in_chunks_keeps_them_while_another_lacks_it() -> None:
    there = member(1, ArtifactState.PRESENT, shared=True)

    assert fed(there, member(2, None)) == {"i-1": [], "i-2": ["i-1"]}
    assert fed(there, member(2, ArtifactState.PRESENT, shared=True)) == {}
    assert fed(there, coming=frozenset("z")) == {"i-1": []}


def test_first_of_several_keeps_it_for_those_who_still_boot() -> None:
    assert fed(member(1, None), coming=frozenset("z")) == {"i-1": []}
    assert fed(member(1, None), coming=frozenset("y")) == {}


def test_a_feed_names_the_address() -> None:
    found = image_feeds(Artifact(kind="image", name=BY_OLD), [member(1, None), member(2, None)], frozenset())

    artifact = Artifact(kind="image", name=BY_OLD)
    assert found[InstanceId("i-2")] == Feed(
        artifact=artifact, parents=(Peer(instance=InstanceId("i-1"), address="10.0.0.1:1"),)
    )


@pytest.mark.parametrize(
    ("name", "registry", "path", "tag"),
    [
        ("busybox", "docker.io", "library/busybox", ""),
        ("vllm/vllm-openai:v0.11.0", "docker.io", "vllm/vllm-openai", "v0.11.0"),
        ("localhost:5000/a/b:c", "localhost:5000", "a/b", "c"),
        ("localhost/a", "localhost", "a", ""),
        (f"quay.io/a/b:c@{OLD}", "quay.io", "a/b", "c"),
        ("127.0.0.1:5000/tiny", "127.0.0.1:5000", "tiny", ""),
    ],
)
def test_name_taken_apart(name: str, registry: str, path: str, tag: str) -> None:
    taken = image_name(name)

    assert (taken.registry, taken.path, taken.tag) == (registry, path, tag)
    assert image_fault(name) == ""


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("quay.io/a/b@sha256:abc", "its digest is not `sha256:` and 64 hexadecimal digits"),
        ("quay.io/A/b:v1", "'A' cannot be part of a repository's name"),
        ("quay.io/a/b:v 1", "'v 1' cannot be a tag"),
        ("", "'' cannot be part of a repository's name"),
        ("qu ay.io/a/b", "'qu ay.io' cannot be a registry"),
    ],
)
def test_name_that_cannot_be_one(name: str, fault: str) -> None:
    assert image_fault(name) == fault


def test_pin_stands_for_its_own_name_only() -> None:
    assert pinned(IMAGE, {IMAGE: OLD}) == BY_OLD
    assert pinned("quay.io/acme/engine:v2", {IMAGE: OLD}) == "quay.io/acme/engine:v2"
    assert pinned("quay.io/acme/engine", {}) == "quay.io/acme/engine"
