"""The engine's real batch limit, as its words and its metrics tell it, against the file's `concurrency`."""

from dataclasses import replace

import pytest
from fleet_world import START, World, a_service

from fleetctl.decide.batch_limit import SIGHTINGS_MIN, mismatch, seen
from fleetctl.decide.planner import plan
from fleetctl.engines import engine
from fleetctl.engines.batch_limit import stated_limit
from fleetctl.model.decisions import BatchSeen
from fleetctl.model.services import Service
from fleetctl.model.signals import Reading


def service(kind: str, **changes: object) -> Service:
    return a_service(engine=kind, model="org/model", **changes)


@pytest.mark.parametrize(
    ("kind", "changes", "limit", "words", "place", "why"),
    [
        ("vllm", {}, 10, "--max-num-seqs 10", "command", "fleetctl's own command line says concurrency"),
        ("vllm", {"args": ("--max-num-seqs", "32")}, 32, "--max-num-seqs 32", "args", "the last one wins"),
        ("vllm", {"args": ("--max-num-seqs=32",)}, 32, "--max-num-seqs 32", "args", "with an equals sign"),
        ("vllm", {"args": ("--max_num_seqs", "32")}, 32, "--max_num_seqs 32", "args", "as vLLM also takes it"),
        (
            "vllm",
            {"command": ("bash", "-c", "exec vllm serve m --max-num-seqs 48 --port {port}")},
            48,
            "--max-num-seqs 48",
            "command",
            "within a shell's line",
        ),
        (
            "vllm",
            {"command": ("vllm", "serve", "--max-num-seqs", "{concurrency}")},
            10,
            "--max-num-seqs 10",
            "command",
            "filled in",
        ),
        ("sglang", {"args": ("--max-running-requests", "7")}, 7, "--max-running-requests 7", "args", "SGLang"),
        ("tgi", {"args": ("--max-concurrent-requests", "7")}, 7, "--max-concurrent-requests 7", "args", "TGI"),
        (
            "tgi",
            {"command": ("x",), "env": (("MAX_CONCURRENT_REQUESTS", "9"),)},
            9,
            "MAX_CONCURRENT_REQUESTS=9",
            "env",
            "",
        ),
        ("llama.cpp", {"args": ("-np", "2")}, 2, "-np 2", "args", "llama.cpp's short one"),
    ],
)
def test_what_an_engine_is_told(
    kind: str, changes: dict[str, object], limit: int, words: str, place: str, why: str
) -> None:
    found = stated_limit(engine(kind), service(kind, **changes))

    assert found is not None, why
    assert (found.limit, found.words, found.place) == (limit, words, place), why


@pytest.mark.parametrize(
    ("kind", "changes", "why"),
    [
        ("vllm", {"command": ("vllm", "serve", "{model}")}, "its own default is not ours to guess"),
        ("vllm", {"command": ("x", "--max-num-seqs-of-another", "3")}, "a longer option"),
        ("vllm", {"command": ("x", "--max-num-seqs", "many")}, "no number"),
        ("triton", {}, "it has no such option"),
        ("generic", {}, "and no command line"),
    ],
)
def test_words_that_say_nothing_of_it(kind: str, changes: dict[str, object], why: str) -> None:
    assert stated_limit(engine(kind), service(kind, **changes)) is None, why


def looked_at(*fullest: float | None) -> BatchSeen | None:
    found: BatchSeen | None = None
    for place, running in enumerate(fullest):
        found = seen(found, running, changed_at=START, now=START + 2.0 * place)
    return found


def test_a_plateau_with_others_waiting_is_the_limit() -> None:
    found = looked_at(3.0, *[4.0] * SIGHTINGS_MIN)

    assert mismatch(service("vllm"), found) == (
        "concurrency is 10, and its engines run 4 at once while others wait inside them:"
        " write concurrency: 4, or give the engine more memory for its KV cache"
    )
    assert mismatch(service("vllm", concurrency=4), found) == ""


@pytest.mark.parametrize(
    ("fullest", "why"),
    [
        ([4.0] * (SIGHTINGS_MIN - 1), "not long enough"),
        ([None] * 100, "nothing ever waited inside"),
        ([0.0] * 100, "requests that have just come and do not run yet"),
        ([4.0, 4.0, 1.0] * 40, "it runs fewer while some wait: they have only just come"),
    ],
)
def test_what_is_no_plateau(fullest: list[float | None], why: str) -> None:
    assert mismatch(service("vllm"), looked_at(*fullest)) == "", why


def test_more_than_was_ever_seen_begins_anew_and_so_does_a_changed_service() -> None:
    found = looked_at(*[4.0] * SIGHTINGS_MIN, 6.0)

    assert found is not None
    assert (found.limit, found.sightings) == (6.0, 1)
    assert seen(found, None, changed_at=START + 1e6, now=START + 2e6) is None


def test_words_that_contradict_are_said_at_once_with_the_fix() -> None:
    assert mismatch(service("vllm", args=("--max-num-seqs", "32")), None) == (
        "concurrency is 10, and its engine is started with --max-num-seqs 32:"
        " write concurrency: 32, or remove --max-num-seqs 32 from args"
    )


def test_a_fleet_finds_its_engines_limit_in_their_metrics_and_its_decision_says_so() -> None:
    world = World(replace(a_service(concurrency=40), command=("own-engine",)), gateway=False)
    world.load(20)
    world.until(lambda: len(world.ready()) > 0)
    snapshot = world.snapshot()
    memories = snapshot.memories
    decision = None

    for tick in range(SIGHTINGS_MIN + 1):
        now = snapshot.now + 2.0 * tick
        readings = {replica.id: Reading(at=now, running=16.0, waiting=4.0) for replica in world.ready()}
        made = plan(replace(snapshot, now=now, readings=readings, memories=memories))
        memories = {**memories, **dict(made.memories)}
        (decision,) = made.decisions

    assert decision is not None
    assert decision.inputs is not None
    assert decision.inputs.fullest == 16.0
    assert "its engines run 16 at once while others wait inside them: write concurrency: 16" in decision.trouble
