"""The library face: what `import fleetctl` costs, what it offers, and that it decides and plays as the commands do."""

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from library_face import face

import fleetctl
from fleetctl import library
from fleetctl.decide.lines import Signals

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden/library.txt"
FILE = """\
kind: service
name: chat
engine: rehearsal
model: rehearsal-8b
gpu: L40S:1
concurrency: 8
slo: {ttft: 5s, percentile: 99}
scaling: {min: 1, max: 6, policy: target_concurrency, window: 60s, panic_window: 6s}
standby: 2
"""
SEEN = [(0.0, 1, 3.0), (60.0, 1, 41.0), (120.0, 2, None), (180.0, 2, 30.0), (240.0, 6, 0.0)]
"""(t, ready, concurrency)"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "chat.yaml"
    path.write_text(FILE)
    return path


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A quarter of an hour: quiet, then a burst, then quiet."""
    path = tmp_path / "burst.csv"
    arrivals = [*range(0, 300, 10), *(300 + step / 4 for step in range(240)), *range(400, 900, 10)]
    path.write_text("arrival_s,input_tokens,output_tokens\n" + "".join(f"{at},200,100\n" for at in arrivals))
    return path


def fleetctl_of(*words: str | Path, stdin: str = "", folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FLEETCTL_")}
    done = subprocess.run(
        [sys.executable, "-m", "fleetctl", *map(str, words)],
        env={**environment, "FLEETCTL_HOME": str(folder / "home")},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


# what it costs


def imported(code: str) -> set[str]:
    """Modules that are there when this has run, beyond an interpreter's own."""
    report = "import sys; before = set(sys.modules); {}; print('\\n'.join(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", report.format(code)], capture_output=True, text=True, timeout=30, check=True
    )
    return set(done.stdout.split())


def test_importing_it_imports_nothing_else() -> None:
    assert imported("import fleetctl") == {"fleetctl"}
    assert imported("import fleetctl; fleetctl.__version__; dir(fleetctl)") == {"fleetctl"}


@pytest.mark.parametrize("name", ["Client", "Brain", "Service", "FleetError"])
def test_a_name_brings_none_of_the_libraries_that_only_commands_need(name: str) -> None:
    banned = {"typer", "rich", "pydantic", "yaml", "aiohttp", "asyncio", "textual", "boto3", "psycopg"}

    found = imported(f"import fleetctl; fleetctl.{name}")

    assert "fleetctl.library" in found
    assert found & banned == set()


# what it offers


def test_names_and_signatures_are_those_that_are_promised() -> None:
    """Where a change is meant: `python tests/unit/library_face.py > tests/golden/library.txt`, and a new version."""
    assert face() == GOLDEN.read_text(encoding="utf-8")


def test_every_name_is_there_and_no_other() -> None:
    offered = {name for name in vars(library) if name[0].isupper() or callable(getattr(library, name))}

    assert offered == set(fleetctl.__all__) - {"__version__"}
    assert all(getattr(fleetctl, name) is getattr(library, name) for name in offered)
    assert set(fleetctl.__all__) <= set(dir(fleetctl))
    with pytest.raises(AttributeError, match="has no attribute 'Cluster'"):
        _ = fleetctl.Cluster


@pytest.mark.parametrize(
    "name", ["Brain", "Client", "Observed", "Rows", "explain", "load_fleet", "read_trace", "simulate"]
)
def test_what_is_made_for_the_library_is_described_whole(name: str) -> None:
    found = getattr(fleetctl, name)
    methods = [value for key, value in vars(found).items() if not key.startswith("_") and callable(value)]

    assert all(one.__doc__ for one in (found, *(methods if isinstance(found, type) else ())))


def test_a_noun_is_made_by_keyword_and_has_defaults() -> None:
    service = fleetctl.Service(
        name=fleetctl.ServiceName("chat"), engine="vllm", model="m", gpu=(fleetctl.Gpu(name="L40S"),), concurrency=8
    )

    assert service.scaling == fleetctl.Scaling()
    assert service.target_concurrency == pytest.approx(5.6)


def test_files_are_read_as_validate_reads_them(file: Path, tmp_path: Path) -> None:
    found = fleetctl.load_fleet(file)

    told = json.loads(fleetctl_of("validate", file, "-o", "json", folder=tmp_path))
    assert [fleetctl.Rows(found.services).to_dicts()[0]] == told["items"]
    file.write_text(FILE.replace("concurrency:", "concurrencies:"))
    with pytest.raises(fleetctl.SpecError, match=r"chat.yaml:6: service/chat: concurrencies: unknown field"):
        fleetctl.load_fleet([file])


# the brain


def observed(ready: int, concurrency: float | None) -> dict[str, fleetctl.Observed]:
    return {"chat": fleetctl.Observed(ready=ready, concurrency=concurrency)}


def test_it_decides_as_the_filter_does(file: Path, tmp_path: Path) -> None:
    brain = fleetctl.Brain(fleetctl.load_fleet(file))

    made = [brain.decide(t, observed(ready, load))[0] for t, ready, load in SEEN]

    lines = "".join(
        json.dumps({"t": t, "services": [{"name": "chat", "ready": ready, "signals": {"concurrency": load}}]}) + "\n"
        for t, ready, load in SEEN
    )
    answers = [
        json.loads(line)["decisions"][0]
        for line in fleetctl_of("decide", "-s", file, stdin=lines, folder=tmp_path).splitlines()
    ]
    assert [
        {"name": one.service, "desired": one.desired, "standby": brain.standby(one)}
        | {"reason": one.reason, "binding": one.binding}
        for one in made
    ] == answers
    assert len({one.desired for one in made}) > 2, "the load moved the count"


def test_a_decision_is_explained_with_what_it_would_have_been_otherwise(file: Path) -> None:
    brain = fleetctl.Brain(fleetctl.load_fleet(file))
    for t, ready, load in SEEN[:2]:
        brain.decide(t, observed(ready, load))

    found = brain.explanation("chat")

    assert found.decision.desired == 6
    assert [(one.without, one.desired) for one in found.without] == [("max 6", 8)]
    words = fleetctl.explain(found, now=60.0)
    assert "service/chat  1 → 6" in words
    assert "without max 6 it would be 8" in words
    assert fleetctl.explain(found.decision, now=60.0) in words


def test_a_restart_with_its_state_changes_nothing(file: Path) -> None:
    fleet = fleetctl.load_fleet(file)
    whole, first = fleetctl.Brain(fleet), fleetctl.Brain(fleet)
    for t, ready, load in SEEN[:3]:
        whole.decide(t, observed(ready, load))
        first.decide(t, observed(ready, load))

    second = fleetctl.Brain(fleet, state=first.state())

    assert [second.decide(t, observed(ready, load)) for t, ready, load in SEEN[3:]] == [
        whole.decide(t, observed(ready, load)) for t, ready, load in SEEN[3:]
    ]
    assert second.state() == whole.state()


def test_time_that_does_not_go_on_holds_and_is_forgotten(file: Path) -> None:
    brain = fleetctl.Brain(fleetctl.load_fleet(file))
    brain.decide(60.0, observed(1, 41.0))
    kept = brain.state()

    (decision,) = brain.decide(60.0, observed(3, 0.0))

    assert (decision.desired, decision.reason) == (3, "hold: time went from 60 to 60")
    assert brain.explanation("chat").without == ()
    assert brain.state() == kept


@pytest.mark.parametrize(
    ("t", "seen", "error", "message"),
    [
        (1.0, {"chta": fleetctl.Observed(ready=1)}, fleetctl.NotFound, "service 'chta' is not declared"),
        (1.0, {"chat": fleetctl.Observed(ready=-1)}, fleetctl.UsageError, "chat: ready is negative"),
        (float("nan"), {"chat": fleetctl.Observed(ready=1)}, fleetctl.UsageError, "t is nan"),
    ],
)
def test_what_cannot_be_is_refused_and_not_remembered(
    file: Path, t: float, seen: dict[str, fleetctl.Observed], error: type[fleetctl.FleetError], message: str
) -> None:
    brain = fleetctl.Brain(fleetctl.load_fleet(file))
    before = brain.state()

    with pytest.raises(error, match=message):
        brain.decide(t, seen)

    assert brain.state() == before


def test_a_brain_wants_services_and_a_state_of_its_own() -> None:
    with pytest.raises(fleetctl.UsageError, match="no service is declared"):
        fleetctl.Brain([])
    with pytest.raises(fleetctl.UsageError, match="the state cannot be read"):
        fleetctl.Brain(
            fleetctl.Service(
                name=fleetctl.ServiceName("a"), engine="vllm", model="m", gpu=(fleetctl.Gpu(name="L4"),), concurrency=1
            ),
            state=b"{",
        )


def test_all_that_the_filter_understands_can_be_observed() -> None:
    assert {one.name for one in fields(Signals)} < {one.name for one in fields(fleetctl.Observed)}


# the simulator


def test_it_plays_as_the_command_does(file: Path, trace: Path, tmp_path: Path) -> None:
    (chat,) = fleetctl.load_fleet(file).services

    rows = fleetctl.simulate(chat, trace, policies=["target_concurrency", "knative"], against=["hpa:0.5"])

    told = json.loads(
        fleetctl_of(
            *("simulate", trace, "-s", file, "--policy", "target_concurrency", "--policy", "knative"),
            *("--against", "hpa:0.5", "-o", "json"),
            folder=tmp_path,
        )
    )
    assert rows.to_dicts() == told["items"]
    assert [row.policy for row in rows] == ["target_concurrency", "knative", "hpa:0.5 (peer)"]


def test_a_sweep_marks_what_nothing_beats(file: Path, trace: Path) -> None:
    (chat,) = fleetctl.load_fleet(file).services

    rows = fleetctl.simulate(
        chat, fleetctl.read_trace(trace), sweep={"scaling.target": [0.4, 0.9]}, best=False, cold_s=60.0
    )

    assert sorted(row.knobs["scaling.target"] for row in rows) == ["0.4", "0.9"]
    assert any(row.front for row in rows)
    assert [row.gpu_hours for row in rows] == sorted(row.gpu_hours for row in rows)


def test_whose_traffic_it_is_must_be_plain(file: Path, trace: Path) -> None:
    fleet = fleetctl.load_fleet(file)
    (chat,) = fleet.services

    with pytest.raises(fleetctl.NotFound, match="no service 'code' is given"):
        fleetctl.simulate(fleet, {"code": trace})
    with pytest.raises(fleetctl.UsageError, match="2 services are given one traffic"):
        fleetctl.simulate([chat, chat], trace)
    with pytest.raises(fleetctl.UsageError, match="there is no traffic to play"):
        fleetctl.simulate(fleet, {})


# lists


def test_rows_are_tuples_that_become_plain_dicts() -> None:
    rows = fleetctl.Rows([fleetctl.Gpu(name="L4"), fleetctl.Gpu(name="L40S", count=2)])

    assert rows.to_dicts() == [{"name": "L4", "count": 1}, {"name": "L40S", "count": 2}]
    assert rows[1].count == 2
    assert isinstance(rows, tuple)
