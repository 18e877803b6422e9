"""The controller's metrics: read by Prometheus's own parser, and no sample for what is unknown."""

from dataclasses import replace

import pytest
from fleet_world import START, World, a_service, scaled
from prometheus_client.parser import text_string_to_metric_families

from fleetctl.cli.daemon_loop import tick_of, told
from fleetctl.controller.controllers import Ticked
from fleetctl.host.exposition import exposition
from fleetctl.host.health import Facts, health
from fleetctl.host.measures import START_BOUNDS, Histogram, LoopMeasures, Tick
from fleetctl.model.decisions import Outcome, Verb
from fleetctl.model.names import InstanceId, ReplicaId, ServiceName
from fleetctl.model.replicas import Stage
from fleetctl.model.signals import Unknown
from fleetctl.model.starts import Start

FACTS = Facts(version="1.2.3", pid=7, holder="here/7/1.00")
QUIET = Tick(
    began_at=START, wall_s=0.02, cpu_s=0.01, fence=3, decisions=(), instances=(), readings={}, outcomes=(), starts=()
)


def samples(measures: LoopMeasures, now: float = 100.0) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by name and labels; each once."""
    text = exposition(measures, now=now, version="1.2.3", resident_bytes=1000)
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in text_string_to_metric_families(text):
        assert family.name.startswith("fleetctl_")
        assert family.documentation
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def a_tick() -> tuple[World, Tick]:
    """A fleet of one ready replica with four requests."""
    world = World()
    world.up(scaled(a_service(), min=1))
    world.settle()
    world.load(4)
    world.run(6.0)
    snapshot = world.snapshot()
    made = Ticked(snapshot=snapshot, plan=world.plan, cpu_s=0.01, wall_s=0.02)
    assert told(made) == "1 service, 1/1 replicas ready, $1.00/h, tick 20 ms"
    return world, tick_of(made)


def test_before_the_first_tick_there_is_no_lease_and_no_fleet() -> None:
    found = samples(LoopMeasures(period_s=2.0))

    assert found[("fleetctl_lease_held", ())] == 0
    assert ("fleetctl_tick_age_seconds", ()) not in found
    assert not any(name.startswith("fleetctl_service") for name, _ in found)


def test_a_fleet_is_shown_service_by_service() -> None:
    _, tick = a_tick()
    measures = LoopMeasures(period_s=2.0)
    measures.tick(tick, now=90.0)

    found = samples(measures)

    chat = (("service", "chat"),)
    assert found[("fleetctl_service_desired_replicas", chat)] == 1
    assert found[("fleetctl_service_ready_replicas", chat)] == 1
    assert found[("fleetctl_service_concurrency", chat)] == 4
    assert found[("fleetctl_service_price_dollars_per_hour", chat)] == 1
    assert found[("fleetctl_instances", (("phase", "ready"), ("pool", "chat")))] == 1
    assert found[("fleetctl_price_dollars_per_hour", ())] == 1
    assert found[("fleetctl_tick_age_seconds", ())] == 10
    assert ("fleetctl_price_limit_dollars_per_hour", ()) not in found, "there is no limit"


def test_what_is_unknown_has_no_sample() -> None:
    _, tick = a_tick()
    blind = replace(tick.decisions[0], concurrency=None, queued=None, price_per_hour=None)
    measures = LoopMeasures(period_s=2.0)
    measures.tick(replace(tick, decisions=(blind,)), now=90.0)

    names = {name for name, _ in samples(measures)}

    assert "fleetctl_service_desired_replicas" in names
    assert names.isdisjoint(
        {"fleetctl_service_concurrency", "fleetctl_service_queued", "fleetctl_service_price_dollars_per_hour"}
    )


def test_actions_scrapes_and_starts_are_counted_over_ticks() -> None:
    _, tick = a_tick()
    done = Outcome(key="launch/i", instance=InstanceId("i"), verb=Verb.LAUNCH, at=START, took_s=1.0)
    failed = replace(done, error="none left", error_code="capacity")
    start = Start(
        service=ServiceName("chat"), revision="r1", replica=ReplicaId("chat-1"), origin="warm",
        decided_at=START, ended_at=START + 7.0,
        stages=(
            Stage(name="engine", started_at=START + 1.0, ended_at=START + 6.5), Stage(name="wake", started_at=START)
        ),
    )  # fmt: skip
    measures = LoopMeasures(period_s=2.0)
    unknown = Unknown(since=START, reason="no answer")
    busy = replace(tick, outcomes=(done, failed), starts=(start,), readings={"chat": [unknown, unknown]})

    measures.tick(busy, now=90.0)
    measures.tick(busy, now=92.0)

    found = samples(measures)
    assert found[("fleetctl_actions_total", (("outcome", "done"), ("verb", "launch")))] == 2
    assert found[("fleetctl_actions_total", (("outcome", "capacity"), ("verb", "launch")))] == 2
    assert found[("fleetctl_scrape_failures_total", (("service", "chat"),))] == 4
    labels = (("origin", "warm"), ("outcome", "ready"), ("service", "chat"))
    assert found[("fleetctl_start_seconds_sum", labels)] == 14.0
    stage = (("origin", "warm"), ("service", "chat"), ("stage", "engine"))
    assert found[("fleetctl_start_stage_seconds_count", stage)] == 2
    assert not any(("stage", "wake") in labels for _, labels in found), "a stage that never ended took no time"
    assert found[("fleetctl_tick_duration_seconds_count", ())] == 2


def test_series_of_a_service_go_with_it() -> None:
    _, tick = a_tick()
    measures = LoopMeasures(period_s=2.0)
    measures.tick(replace(tick, readings={"chat": [Unknown(since=START, reason="x")]}), now=90.0)

    measures.tick(QUIET, now=92.0)

    assert not any(("service", "chat") in labels for _, labels in samples(measures))


@pytest.mark.parametrize(
    ("value", "at_most"), [(0.5, "0.5"), (0.50001, "1.0"), (1800.0, "1800.0"), (1e9, "+Inf"), (0.0, "0.5")]
)
def test_a_value_is_in_the_buckets_that_it_does_not_exceed(value: float, at_most: str) -> None:
    histogram = Histogram(START_BOUNDS)
    histogram.add(value)

    bounds = [*map(str, START_BOUNDS), "+Inf"]
    assert bounds[histogram.counts.index(1)] == at_most


def test_a_tick_that_begins_late_lags_by_what_it_is_late() -> None:
    measures = LoopMeasures(period_s=2.0)
    for ended in (10.0, 12.0, 17.0, 19.0):
        measures.tick(QUIET, now=ended)

    assert (measures.lag_s, measures.lag_most_s) == (0.0, 3.0)


@pytest.mark.parametrize(
    ("period_s", "age_s", "status"),
    [(2.0, 1.0, "ok"), (2.0, 14.0, "ok"), (2.0, 16.0, "stale"), (60.0, 290.0, "ok"), (60.0, 301.0, "stale")],
)
def test_a_controller_is_stale_when_no_tick_has_ended_for_long(period_s: float, age_s: float, status: str) -> None:
    measures = LoopMeasures(period_s=period_s)
    assert health(measures, FACTS, now=5.0).status == "starting"

    measures.tick(QUIET, now=100.0)

    found = health(measures, FACTS, now=100.0 + age_s)
    assert (found.status, found.fence, found.ticks, found.version) == (status, 3, 1, "1.2.3")


def test_a_clock_that_is_set_moves_no_age() -> None:
    """Ages are by the monotonic clock; only what a person reads is by the wall's."""
    measures = LoopMeasures(period_s=2.0)
    measures.tick(replace(QUIET, began_at=START), now=100.0)
    measures.tick(replace(QUIET, began_at=START - 3600.0), now=102.0)

    assert measures.age_s(103.0) == 1.0
    assert measures.lag_s == 0.0
