"""Nodes of a whole fleet are told whom to follow, and told no more than that."""

from fleet_world import World, a_service, scaled

from fleetctl.model.decisions import Verb
from fleetctl.model.names import InstanceId
from fleetctl.model.nodes import NodeDesired

WEIGHTS = "s3://models/large@v1"


def world_of(count: int, *, peers: bool = True, model: str = WEIGHTS) -> World:
    world = World(scaled(a_service(engine="vllm", model=model), min=count, max=count), artifact_s=30.0)
    if peers:
        world.node_facts["peers"] = "10.0.0.1:7001"
    return world


def applied(world: World, seconds: float) -> list[tuple[InstanceId, NodeDesired]]:
    """What Nodes are told, in order, while time goes on."""
    found: list[tuple[InstanceId, NodeDesired]] = []
    for _ in range(round(seconds / world.period_s)):
        found += [
            (action.instance, action.desired)
            for action in world.tick().actions
            if action.verb is Verb.APPLY and action.instance is not None and action.desired is not None
        ]
    return found


def test_nodes_that_join_together_follow_each_other_from_the_first_word_on() -> None:
    world = world_of(3)

    told = applied(world, 30.0)

    first = dict(reversed(told))
    parents = {node: [peer.instance for peer in desired.feeds[0].parents] for node, desired in first.items()}
    a, b, c = sorted(parents)
    assert parents == {a: [], b: [a], c: [b, a]}
    assert {desired.feeds[0].artifact.name for desired in first.values()} == {WEIGHTS}
    assert all(desired.peer_key == "" for _, desired in told), "the key is no part of what is decided"


def test_once_all_hold_it_nobody_is_told_anything_any_more() -> None:
    world = world_of(3)

    world.settle()

    last = dict(applied(world_of(3), 120.0))
    assert all(desired.feeds == () for desired in last.values())
    assert applied(world, 20.0) == []


def test_without_addresses_everybody_goes_to_the_origin() -> None:
    told = applied(world_of(3, peers=False), 60.0)

    assert told and all(desired.feeds == () for _, desired in told)


def test_what_lies_on_the_node_does_not_travel() -> None:
    told = applied(world_of(3, model="file:///models/large"), 60.0)

    assert told and all(desired.feeds == () for _, desired in told)
