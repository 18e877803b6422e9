"""What `coldstart` and `describe` say of past starts, byte for byte, and what follows from them."""

from dataclasses import replace
from pathlib import Path

import pytest

from fleetctl.cli.coldstart import summed, told
from fleetctl.decide.start_figures import biggest, figures, next_start, quantile
from fleetctl.model.instances import Instance, InstancePhase, Offer
from fleetctl.model.learning import Leads
from fleetctl.model.names import InstanceId, ProviderName, ReplicaId, ServiceName
from fleetctl.model.replicas import Origin, Replica, ReplicaPhase, Role, Stage
from fleetctl.model.services import ColdStart, Gpu, Market, Service
from fleetctl.model.snapshots import Intent
from fleetctl.model.starts import Start
from fleetctl.views.fleet import FleetView
from fleetctl.views.starts import drawn

GOLDEN = Path(__file__).parent.parent / "golden"
ESCAPE = "\x1b["
NOW = 1_700_000_000.0
CHAT = ServiceName("chat")
SERVICE = Service(
    name=CHAT,
    engine="vllm",
    model="hf://meta-llama/Llama-3.1-8B-Instruct@5206a32",
    gpu=(Gpu(name="L40S"),),
    concurrency=64,
    image="vllm/vllm-openai:v0.11.0",
)
INTENT = Intent(service=SERVICE, revision="r2", changed_at=NOW - 9000.0)

Spans = dict[str, tuple[float, float]]


def a_start(
    origin: Origin, took_s: float, spans: Spans, *, number: int = 1, revision: str = "r2", peers: float = 0.0
) -> Start:
    """One that ended well `number` minutes ago; weights are 16 GB, that share of it from peers."""
    begun = NOW - 60.0 * number - took_s
    stages = []
    for name, (since, until) in spans.items():
        stage = Stage(name=name, started_at=begun + since, ended_at=begun + until)
        if name == "weights":
            stage = replace(stage, origin_bytes=round(16e9 * (1 - peers)), peer_bytes=round(16e9 * peers))
        stages.append(stage)
    return Start(
        service=CHAT,
        revision=revision,
        replica=ReplicaId(f"chat-{number}"),
        origin=origin,
        decided_at=begun,
        ended_at=begun + took_s,
        stages=tuple(stages),
    )


COLD: Spans = {
    "launch": (0.0, 10.0),
    "boot": (10.0, 60.0),
    "apply": (60.0, 61.0),
    "image": (61.0, 161.0),
    "weights": (61.0, 101.0),
    "engine": (161.0, 239.0),
    "settle": (239.0, 240.0),
}
WARM: Spans = {"apply": (0.0, 0.5), "engine": (0.5, 79.5), "settle": (79.5, 80.0)}
FAILED = replace(a_start("cold", 30.0, {"launch": (0.0, 10.0)}), outcome="failed", reason="CUDA out of memory\nmore")
HISTORY = (
    a_start("cold", 240.0, COLD, number=9),
    a_start("warm", 80.0, WARM, number=8),
    FAILED,
    a_start("cold", 250.0, {**COLD, "settle": (239.0, 250.0)}, number=7, peers=0.75),
    a_start("cold", 260.0, {**COLD, "settle": (239.0, 260.0)}, number=6, peers=0.75),
)


def a_view(*instances: Instance, replicas: tuple[Replica, ...] = ()) -> FleetView:
    return FleetView(
        at=NOW,
        lease=None,
        intents=(INTENT,),
        pools=(),
        instances=instances,
        replicas=replicas,
        decisions={},
        endpoint="http://127.0.0.1:8080",
        refused={},
    )


def an_instance() -> Instance:
    offer = Offer(
        provider=ProviderName("aws"),
        instance_type="g6e.xlarge",
        gpu=Gpu(name="L40S"),
        zone="z",
        market=Market.ON_DEMAND,
        price_per_hour=None,
        price_source="test",
        price_as_of=NOW,
    )
    return Instance(
        id=InstanceId("chat-i-1"),
        pool=SERVICE.pool_name,
        offer=offer,
        phase=InstancePhase.READY,
        phase_at=NOW,
        created_at=NOW,
    )


@pytest.mark.parametrize(
    ("name", "starts", "view", "learned"),
    [
        pytest.param("nothing", (), a_view(), None, id="nothing is recorded: a guess"),
        pytest.param("learned", (), a_view(), Leads(cold=(100.0, 300.0, 200.0)), id="only the policy has seen some"),
        pytest.param("cold", HISTORY, a_view(), None, id="nothing stands by"),
        pytest.param("warm", HISTORY, a_view(an_instance()), None, id="a warm slot is free"),
    ],
)
def test_what_is_told(name: str, starts: tuple[Start, ...], view: FleetView, learned: Leads | None) -> None:
    text = told(summed(view, INTENT, starts, 0.0, learned=learned), "30d")

    assert text == (GOLDEN / f"coldstart_{name}.txt").read_text()


def test_a_waterfall_has_a_row_for_each_stage() -> None:
    start = HISTORY[-1]

    lines = drawn(start.stages, since=start.decided_at, width=90, colour=False)

    assert "\n".join(lines) + "\n" == (GOLDEN / "waterfall.txt").read_text()


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_a_waterfall_keeps_to_its_width_and_is_plain_unless_told(width: int) -> None:
    start = HISTORY[-1]

    plain = drawn(start.stages, since=start.decided_at, width=width, colour=False)
    coloured = drawn(start.stages, since=start.decided_at, width=width, colour=True)

    assert max(map(len, plain)) <= width
    assert ESCAPE not in "".join(plain)
    assert ESCAPE in "".join(coloured)
    assert [line.split()[0] for line in plain[:-2]] == list(COLD)


def test_a_stage_that_goes_on_is_drawn_to_the_edge() -> None:
    stages = (
        Stage(name="boot", started_at=NOW, ended_at=NOW + 4.0),
        Stage(name="weights", started_at=NOW + 4.0),
    )

    lines = drawn(stages, since=NOW, width=60, colour=False)

    assert lines[1].endswith("▸ going on")


def test_figures_are_by_origin_quickest_first_and_of_those_that_ended_well() -> None:
    warm, cold = figures(HISTORY)

    assert (warm.origin, warm.n, warm.failed, warm.p50_s) == ("warm", 1, 0, 80.0)
    assert (cold.origin, cold.n, cold.failed, cold.p50_s, cold.p95_s) == ("cold", 3, 1, 250.0, 260.0)
    by_name = {stage.stage: stage for stage in cold.stages}
    assert list(by_name) == list(COLD)
    assert (by_name["image"].p50_s, by_name["image"].saves_s) == (100.0, 60.0), "the weights came meanwhile for 40 s"
    assert (by_name["weights"].p50_s, by_name["weights"].saves_s) == (40.0, 0.0)
    assert (by_name["weights"].origin_bytes, by_name["weights"].peer_bytes) == (4e9, 12e9)
    assert by_name["weights"].rate == pytest.approx(4e8)
    assert cold.attributed == 1.0


def test_a_fetch_that_began_before_it_was_waited_for_has_the_rate_of_the_whole() -> None:
    stage = Stage(name="image", started_at=NOW, ended_at=NOW + 1.0, origin_bytes=8_000, peer_bytes=0, whole_s=4.0)
    start = replace(a_start("cold", 1.0, {}), decided_at=NOW, ended_at=NOW + 1.0, stages=(stage,))

    ((image,),) = (one.stages for one in figures([start]))

    assert (image.p50_s, image.rate) == (1.0, 2_000.0)


def test_the_next_start_is_as_the_last_of_its_revision() -> None:
    old = [a_start("warm", 10.0, {"engine": (0.0, 10.0)}, revision="r1") for _ in range(30)]
    new = [a_start("warm", 4.0, {"engine": (0.0, 4.0)}), a_start("warm", 6.0, {"engine": (0.0, 6.0)})]

    before = next_start(SERVICE, "warm", old, revision="r2")
    after = next_start(SERVICE, "warm", [*old, *new], revision="r2")

    assert (before.seconds, before.why) == (10.0, "as the last 20 starts from there of an earlier revision")
    assert (after.seconds, after.p95_s, after.why) == (4.0, 6.0, "as the last 2 starts from there")


def test_what_was_measured_elsewhere_replaces_its_part_of_a_guess() -> None:
    guess = next_start(SERVICE, "stopped", ())
    better = next_start(SERVICE, "stopped", HISTORY, revision="r2")

    assert guess.why == "a guess by its image and its model's size"
    assert better.why == "boot and engine as measured in other starts"
    assert better.seconds == 50.0 + 78.0
    assert better.p95_s is None


def test_what_the_file_says_is_taken_until_something_is_measured() -> None:
    service = replace(SERVICE, cold_start=ColdStart(cold_s=500.0, standby_s=9.0))

    assert [next_start(service, origin, ()).seconds for origin in ("cold", "warm")] == [500.0, 9.0]
    assert next_start(service, "cold", HISTORY, revision="r2").seconds == 250.0


@pytest.mark.parametrize(
    ("spans", "stage", "words"),
    [
        ({"slot": (0.0, 9.0), "engine": (9.0, 10.0)}, "slot", "raise `max`"),
        ({"boot": (0.0, 9.0), "engine": (9.0, 10.0)}, "boot", "`standby: {tier: stopped}`"),
        ({"image": (0.0, 9.0), "weights": (0.0, 3.0), "engine": (9.0, 10.0)}, "image", "`standby: {tier: warm}`"),
        ({"image": (0.0, 3.0), "weights": (0.0, 9.0), "engine": (9.0, 10.0)}, "weights", "region"),
        ({"weights": (0.0, 1.0), "engine": (1.0, 10.0)}, "engine", "`standby: {tier: asleep}`"),
        ({"wake": (0.0, 9.0), "settle": (9.0, 10.0)}, "wake", "`standby: {tier: hot}`"),
        ({"engine": (0.0, 1.0), "settle": (1.0, 10.0)}, "settle", "`period`"),
        ({"gpus": (0.0, 9.0), "engine": (9.0, 10.0)}, "gpus", "another engine"),
    ],
)
def test_the_biggest_part_has_a_remedy(spans: Spans, stage: str, words: str) -> None:
    coming = next_start(SERVICE, "cold", [a_start("cold", 10.0, spans)], revision="r2")

    saving = biggest(SERVICE, coming)

    assert saving is not None
    assert (saving.stage, saving.origin) == (stage, "cold")
    assert words in saving.advice
    assert 0.5 < saving.share < 1.0


def test_nobody_is_told_to_put_an_engine_to_sleep_that_cannot() -> None:
    service = replace(SERVICE, engine="tgi")
    coming = next_start(service, "warm", [a_start("warm", 80.0, WARM)], revision="r2")

    saving = biggest(service, coming)

    assert saving is not None
    assert "asleep" not in saving.advice
    assert "`standby: {tier: hot}`" in saving.advice


def test_of_a_start_that_takes_no_time_nothing_is_left() -> None:
    coming = next_start(SERVICE, "hot", [a_start("hot", 0.0, {})], revision="r2")

    assert (coming.seconds, biggest(SERVICE, coming)) == (0.0, None)


def test_a_hot_replica_at_hand_comes_before_a_warm_slot() -> None:
    hot = Replica(
        id=ReplicaId("chat-9"),
        service=CHAT,
        revision="r2",
        role=Role.HOT,
        phase=ReplicaPhase.READY,
        instance=InstanceId("elsewhere"),
        created_at=NOW,
    )

    found = summed(a_view(an_instance(), replicas=(hot,)), INTENT, HISTORY, 0.0)

    assert (found.next.origin, found.cold.origin) == ("hot", "cold")


@pytest.mark.parametrize(
    ("share", "value"),
    [(0.5, 2.0), (0.95, 4.0), (0.25, 1.0), (0.0, 1.0)],
)
def test_a_quantile_is_one_of_the_values(share: float, value: float) -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], share) == value
