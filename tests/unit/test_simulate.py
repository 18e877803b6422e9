"""`fleetctl simulate`: recorded traffic played against policies and peers, side by side."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from fleetctl.sim.traffic import generate

SPEC = """\
kind: service
name: chat
engine: rehearsal
model: m
gpu: L40S:2
concurrency: 16
slo: {ttft: 5s, percentile: 99}
scaling: {min: 1, max: 12}
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    spec = tmp_path / "chat.yaml"
    spec.write_text(SPEC)
    recorded = tmp_path / "trace.csv"
    rows = (f"{one.arrival_s},{one.input_tokens},{one.output_tokens}\n" for one in generate(3, 1800.0))
    recorded.write_text("arrival_s,input_tokens,output_tokens\n" + "".join(rows))
    return recorded, spec


def simulate(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fleetctl", "simulate", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_policies_and_peers_stand_side_by_side_and_the_same_seed_gives_the_same_bytes(files: tuple[Path, Path]) -> None:
    recorded, spec = files
    words = (recorded, "-s", spec, "--policy", "auto", "--policy", "knative", "--against", "hpa:0.5", "-o", "json")

    first = simulate(*words)
    second = simulate(*words)

    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    items = {one["policy"]: one for one in json.loads(first.stdout)["items"]}
    assert list(items) == ["auto", "knative", "hpa:0.5 (peer)"]
    for one in items.values():
        assert 0.0 <= one["share_within"] <= 1.0
        assert one["cost"] == pytest.approx(one["gpu_hours"] * 2.0)
        assert one["kept"] == (one["share_within"] >= 0.99)
        assert one["ratio"] > 0.9, "nothing that keeps the promise is much cheaper than the best known afterwards"


def test_a_larger_fleet_keeps_more_and_costs_more(files: tuple[Path, Path], tmp_path: Path) -> None:
    recorded, spec = files
    large = tmp_path / "large.yaml"
    large.write_text(SPEC.replace("min: 1", "min: 8"))

    small_one, large_one = (
        json.loads(simulate(recorded, "-s", one, "--no-best", "-o", "json").stdout)["items"][0] for one in (spec, large)
    )

    assert large_one["gpu_hours"] > small_one["gpu_hours"]
    assert large_one["share_within"] >= small_one["share_within"]


def test_a_sweep_tries_every_combination_and_marks_what_none_beats(files: tuple[Path, Path]) -> None:
    recorded, spec = files
    words = (recorded, "-s", spec, "--no-best", "--policy", "target_concurrency", "--sweep", "scaling.target=0.3,0.9")
    words = (*words, "--sweep", "scaling.scale_down_delay=1m,10m")

    first = simulate(*words, "-o", "json")
    second = simulate(*words, "-o", "json")
    drawn = simulate(*words)

    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout, "however many processes played"
    items = json.loads(first.stdout)["items"]
    assert sorted(tuple(one["knobs"].values()) for one in items) == [
        (target, delay) for target in ("0.3", "0.9") for delay in ("10m", "1m")
    ]
    assert [one["gpu_hours"] for one in items] == sorted(one["gpu_hours"] for one in items)
    assert len({one["gpu_hours"] for one in items}) > 1, "the knobs do something"
    for one in items:
        beaten = any(
            other["gpu_hours"] < one["gpu_hours"] and other["share_within"] >= one["share_within"] for other in items
        )
        assert one["front"] != beaten
    assert drawn.stdout.count("scaling.target=") == 4
    assert "Share within the promise" in drawn.stdout


def test_a_sweep_does_what_a_file_with_those_values_does(files: tuple[Path, Path], tmp_path: Path) -> None:
    recorded, _ = files
    written = tmp_path / "written.yaml"
    text = "{min: 2, max: 12, policy: target_concurrency, target: 0.4}"
    written.write_text(SPEC.replace("{min: 1, max: 12}", text))
    base = tmp_path / "base.yaml"
    base.write_text(SPEC.replace("{min: 1, max: 12}", "{min: 1, max: 3, policy: target_concurrency}"))
    knobs = ("--sweep", "scaling.target=0.4", "--sweep", "scaling.min=2", "--sweep", "scaling.max=12")

    swept, plain = (
        json.loads(simulate(recorded, "-s", *words, "--no-best", "-o", "json").stdout)["items"][0]
        for words in ((base, *knobs), (written,))
    )

    assert swept["knobs"] == {"scaling.target": "0.4", "scaling.min": "2", "scaling.max": "12"}
    assert {**swept, "knobs": {}, "front": None} == plain


def test_a_preset_file_is_a_policy(files: tuple[Path, Path], tmp_path: Path) -> None:
    recorded, spec = files
    night = tmp_path / "night.yaml"
    night.write_text("policy: fixed\nwhy: always five\nreplicas: 5\n")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("policy: target_concurrency\nwhy: for nights\nwindw: 40s\n")

    played = simulate(recorded, "-s", spec, "--no-best", "--policy", night, "-o", "json")
    refused = simulate(recorded, "-s", spec, "--no-best", "--policy", wrong)

    item = json.loads(played.stdout)["items"][0]
    assert (item["policy"], item["peak"]) == (str(night), 5)
    assert refused.returncode == 2
    assert f"{wrong}:3: " in refused.stderr
    assert "did you mean 'window'" in refused.stderr


def test_where_no_allowed_fleet_keeps_the_promise_it_says_so_and_compares_with_none(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    recorded, _ = files
    small = tmp_path / "small.yaml"
    small.write_text(SPEC.replace("{min: 1, max: 12}", "{min: 1, max: 2}").replace("concurrency: 16", "concurrency: 2"))

    drawn = simulate(recorded, "-s", small, "--policy", "auto", "--policy", "knative")
    document = simulate(recorded, "-s", small, "--policy", "auto", "--policy", "knative", "-o", "json")

    assert drawn.returncode == 0, drawn.stderr
    for told in (drawn.stderr, document.stderr):
        assert "no fleet up to size 2, the largest allowed, keeps the promise: 2 fixed 1.96 GPU-h, " in told
        assert "% within" in told
    assert "best known afterwards" not in drawn.stderr
    assert not [line for line in drawn.stdout.splitlines() if line.startswith("best ")]
    assert [one["ratio"] for one in json.loads(document.stdout)["items"]] == [None, None]


FLEET = """\
kind: pool
name: gpus
gpu: L40S:2
max: 3
standby: {steps: 1}
---
""" + "---\n".join(
    f"""\
kind: service
name: {name}
engine: rehearsal
model: m
gpu: L40S:{gpus}
concurrency: 16
slo: {{ttft: 5s, percentile: 99}}
scaling: {{min: 1, max: 12}}
pool: gpus
"""
    for name, gpus in (("chat", 1), ("code", 2))
)


def test_services_that_share_a_pool_are_reported_each_and_in_total(files: tuple[Path, Path], tmp_path: Path) -> None:
    recorded, _ = files
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(FLEET)
    words = ("-s", fleet, "--no-best", "--cold", "60s", "--against", "hpa:0.5", "-o", "json")

    first = simulate(f"chat={recorded}", f"code={recorded}", *words)
    second = simulate(f"chat={recorded}", f"code={recorded}", *words)

    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    items = json.loads(first.stdout)["items"]
    assert [(one["policy"], one["service"]) for one in items] == [
        (policy, service) for policy in ("auto", "hpa:0.5 (peer)") for service in ("chat", "code", "total")
    ]
    chat, code, total = items[:3]
    assert chat["peak"] + 2 * code["peak"] <= 6 + 2, "six GPUs in all; the two may peak at different times"
    assert total["gpu_hours"] > chat["gpu_hours"] + code["gpu_hours"], "the standby of the pool is in the total"
    assert total["share_within"] == pytest.approx((chat["share_within"] + code["share_within"]) / 2)
    assert total["kept"] == (chat["kept"] and code["kept"])
    peers = items[3:]
    assert peers[2]["gpu_hours"] == pytest.approx(peers[0]["gpu_hours"] + peers[1]["gpu_hours"]), "peers keep none"


def test_services_without_a_pool_do_not_meet(files: tuple[Path, Path], tmp_path: Path) -> None:
    recorded, spec = files
    both = tmp_path / "both.yaml"
    both.write_text(SPEC + "---\n" + SPEC.replace("name: chat", "name: code"))

    together = simulate(f"chat={recorded}", f"code={recorded}", "-s", both, "--no-best", "-o", "json")
    alone = simulate(recorded, "-s", spec, "--no-best", "-o", "json")

    items = json.loads(together.stdout)["items"]
    assert items[0] == json.loads(alone.stdout)["items"][0]
    assert {**items[1], "service": "chat"} == items[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--against", "nomad"), "no peer is called 'nomad'"),
        (("--against", "hpa:much"), "is no share"),
        (("--policy", "knativ"), "knativ"),
        (("--cold", "long"), "is not a duration"),
        (("--from", "2d"), "ends after"),
        (("--against", "hpa:0"), "is no share"),
        (("--policy", "nowhere.yaml"), "no preset file nowhere.yaml"),
        (("--sweep", "scaling.target"), "sweeps nothing"),
        (("--sweep", "scaling.target=0.5,7"), "scaling.target=7: scaling.target: "),
        (("--sweep", "scaling.targt=0.5"), "did you mean 'target'"),
        (("--sweep", "gpu=L40S:4"), "unknown field"),
    ],
)
def test_wrong_words_get_one_clear_sentence(files: tuple[Path, Path], words: tuple[str, ...], said: str) -> None:
    recorded, spec = files

    ran = simulate(recorded, "-s", spec, "--no-best", *words)

    assert ran.returncode in (2, 4)
    assert said in ran.stderr
    assert "hint:" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"arrival_s,input_tokens\n0,1\n", "the column 'output_tokens' is missing"),
        (b"arrival_s,input_tokens,output_tokens\nnan,1,1\n", ":2: arrival_s is NaN"),
        (
            gzip.compress(b"arrival_s,input_tokens,output_tokens\n" + b"0,1,1\n" * 99, mtime=0)[:-9],
            "is cut off or damaged",
        ),
    ],
)
def test_a_trace_that_is_none_gets_one_clear_sentence(
    files: tuple[Path, Path], tmp_path: Path, content: bytes, said: str
) -> None:
    _, spec = files
    broken = tmp_path / "broken.csv"
    broken.write_bytes(content)

    ran = simulate(broken, "-s", spec)

    assert ran.returncode == 2
    assert said in ran.stderr
    assert f"{broken}:" in ran.stderr
    assert "hint:" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{trace}"], "it is not said whose traffic this is"),
        (["chat={trace}", "{trace}"], "it is not said whose traffic this is"),
        (["chat={trace}", "chat={trace}"], "chat is given two traces"),
        (["caht={trace}"], "declares no service 'caht'; did you mean 'chat'?"),
        (["chat=nowhere.csv"], "nowhere.csv cannot be read"),
    ],
)
def test_traces_must_be_said_to_be_somebodys(
    files: tuple[Path, Path], tmp_path: Path, words: list[str], said: str
) -> None:
    recorded, _ = files
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(FLEET)

    ran = simulate(*(word.format(trace=recorded) for word in words), "-s", fleet, "--no-best")

    assert ran.returncode in (2, 4)
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_pictures_reach_as_high_as_the_best_schedule(tmp_path: Path) -> None:
    spec, burst = tmp_path / "chat.yaml", tmp_path / "burst.csv"
    spec.write_text(
        "kind: service\nname: chat\nengine: rehearsal\nmodel: m\ngpu: L40S:1\nconcurrency: 4\n"
        "slo: {ttft: 10s}\nstandby: none\nscaling: {min: 1, max: 8, policy: auto}\n"
    )
    rows = [f"{number / 5},100,200" for number in range(300)]
    burst.write_text("\n".join(["arrival_s,input_tokens,output_tokens", *rows]) + "\n")

    # No engine of the policy's can start within the trace's minute; the best schedule has known that before.
    ran = simulate(burst, "-s", spec, "--cold", "20m")

    assert ran.returncode == 0, ran.stderr
    (said,) = [line for line in ran.stdout.splitlines() if line.startswith("Ready replicas, from 0 to ")]
    pictures = dict(line.split(maxsplit=1) for line in ran.stdout.split(said)[1].strip().splitlines())
    assert int(said.rpartition(" ")[2]) > 1
    assert max(pictures["best"]) == "█"
    assert max(pictures["auto"]) < "█", "one replica is drawn lower than several"


def test_a_trace_of_one_request_is_played(files: tuple[Path, Path], tmp_path: Path) -> None:
    _, spec = files
    single = tmp_path / "single.csv"
    single.write_text("arrival_s,input_tokens,output_tokens\n0,10,10\n")

    ran = simulate(single, "-s", spec, "-o", "json")

    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["items"][0]["share_within"] == 1.0


def test_what_a_trace_cannot_tell_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("arrival_s,input_tokens,output_tokens\n0,100,10\n30,100,10\n")
    (tmp_path / "s.yaml").write_text(
        "kind: service\nname: chat\nengine: rehearsal\nmodel: m\ngpu: L40S:1\nscaling: {min: 1, max: 4}\n"
        "signals: [{name: backlog, command: [echo, '1'], target: 5}]\n"
    )

    ran = simulate(tmp_path / "t.csv", "-s", tmp_path / "s.yaml", "--no-best", "--policy", "latency_slo")

    assert ran.returncode == 0, ran.stderr
    assert "warning: chat: a trace does not tell latencies (policy latency_slo)" in ran.stderr
    assert "warning: chat: a trace does not tell the signal backlog" in ran.stderr
