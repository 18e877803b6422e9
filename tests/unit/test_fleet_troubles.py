"""What is wrong on a Node reaches people: told once in the events, and shown in `ps` and `explain` while it lasts."""

from dataclasses import replace

import pytest
from fleet_world import World, a_service

from fleetctl.decide.desired import artifacts
from fleetctl.decide.troubles import KEYS_MOST, SILENT_S, brief, failed_on
from fleetctl.model.nodes import Artifact, ArtifactState, ArtifactStatus
from fleetctl.model.services import Service, Standby
from fleetctl.views.explanation import explained
from fleetctl.views.fleet import FleetView, service_rows

SAID = "i-1: hub.example does not give image tiny:1 to i-1 now: too many requests (429); it is tried again"


def shown(world: World, service: str = "chat") -> str:
    """What `ps` says is the trouble of a Service."""
    view = FleetView(
        at=world.now,
        lease=None,
        intents=tuple(world.intents.values()),
        pools=tuple(world.pools.values()),
        instances=tuple(world.instances.values()),
        replicas=tuple(world.replicas.values()),
        decisions={decision.service: decision for decision in world.plan.decisions},
        endpoint="http://127.0.0.1:1",
        refused={},
    )
    return next(row.trouble for row in service_rows(view) if row.name == service)


def standing_by(name: str = "chat") -> Service:
    """A Service with one Replica that serves and a warm Slot beside it."""
    return a_service(name, standby=Standby(slots=1), scaling=replace(a_service().scaling, min=1))


def failing(service: Service, said: str, state: ArtifactState = ArtifactState.FAILED) -> dict[str, object]:
    """A Node's status in which the Service's weights do not come."""
    (weights,) = artifacts(service, {})
    return {"artifacts": (ArtifactStatus(artifact=weights, state=state, failure=said),)}


def test_what_a_standby_cannot_fetch_is_told_once_and_shown_while_it_lasts() -> None:
    service = standing_by()
    world = World(service)
    world.until(lambda: len(world.ready()) == 1)
    world.node_facts = failing(service, "the hub has no model acme/tiny; correct model:")

    world.run(60.0)
    node = sorted(world.instances)[0]
    # Tried again, the Node still says how the last try ended.
    world.node_facts = failing(service, "the hub has no model acme/tiny; correct model:", ArtifactState.FETCHING)
    world.run(10.0)

    sentence = f"{node}: the hub has no model acme/tiny; correct model:"
    assert [event.subject for event in world.said(sentence)] == ["service/chat"]
    assert shown(world).startswith(sentence)
    assert f"  trouble   {sentence}" in explained(world.decision(), world.now)
    assert len(world.ready()) == 1, "what serves goes on"

    world.node_facts = {}
    world.run(4.0)
    assert shown(world) == ""
    assert world.decision().trouble == ""


def test_the_trouble_of_one_service_is_not_another_s() -> None:
    chat, code = standing_by("chat"), standing_by("code")
    world = World(chat, code)
    world.until(lambda: len(world.ready("chat")) == len(world.ready("code")) == 1)

    world.node_facts = failing(chat, SAID)
    world.run(10.0)

    assert shown(world, "chat")
    assert shown(world, "code") == ""


def test_an_engine_cache_that_does_not_come_is_no_trouble() -> None:
    world = World(standing_by())
    world.until(lambda: len(world.ready()) == 1)
    cache = ArtifactStatus(
        artifact=Artifact(kind="cache", name="vllm-1"), state=ArtifactState.FAILED, failure="no node gives it now"
    )

    world.node_facts = {"artifacts": (cache,)}
    world.run(10.0)

    assert shown(world) == ""


def test_a_node_that_does_not_answer_is_spoken_of_after_a_while() -> None:
    """As where its host key changed, its agent is newer than we are, or it is off: the way to it says which."""
    world = World(standing_by())
    world.until(lambda: len(world.ready()) == 1)
    mute = next(instance for instance in world.instances if world.ready()[0].instance == instance)
    world.silent.add(mute)

    world.run(SILENT_S / 2)
    early = shown(world)
    world.run(SILENT_S)
    late = shown(world)

    assert f"{mute} does not answer" not in early
    assert f"{mute} does not answer: " in late
    assert len(world.said(f"{mute} does not answer: ")) == 1
    world.silent.clear()
    world.run(6.0)
    assert shown(world) == ""


def test_a_start_that_fails_says_why_until_one_succeeds() -> None:
    service = a_service(scaling=replace(a_service().scaling, min=1))
    world = World(service)
    world.broken.add((service.name, "r1"))

    world.tick()
    world.until(lambda: world.decision().binding == "failures")

    assert "failed to start on " in shown(world)
    assert shown(world).startswith("hold: the last 3 replicas failed to start")
    assert "  trouble   chat-" in explained(world.decision(), world.now)
    world.broken.clear()
    world.until(lambda: len(world.ready()) == 1)
    world.run(4.0)
    assert shown(world) == ""


def test_many_nodes_are_told_one_by_one_up_to_a_bound() -> None:
    service = a_service(scaling=replace(a_service().scaling, min=KEYS_MOST + 4, max=KEYS_MOST + 4))
    world = World(service)
    world.until(lambda: len(world.ready()) == KEYS_MOST + 4)

    world.node_facts = failing(service, "the registry does not answer; look at it")
    world.run(20.0)

    assert len(world.said("the registry does not answer")) == KEYS_MOST
    assert shown(world).endswith(f"(and {KEYS_MOST + 3} more: see fleetctl events)")
    assert len(world.memories[service.name].troubles) == KEYS_MOST


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("no room; free some", "no room; free some"),
        ("vllm exited with code 1 before it was ready; its last words:\nCUDA\nout", "vllm exited with code 1 before "
         "it was ready"),
        ("x" * 500, "x" * 400 + "…"),
    ],
    ids=["a sentence", "an engine's last words", "a long one"],
)  # fmt: skip
def test_a_failure_in_one_line(said: str, expected: str) -> None:
    assert brief(said) == expected


@pytest.mark.parametrize("said", ["i-1: no room", "no room"])
def test_a_node_is_named_once(said: str) -> None:
    assert failed_on("i-1", said) == "on i-1: no room"
