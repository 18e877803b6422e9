"""Files in, model out: defaults, presets, pools, and the combinations that cannot work."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetctl.cli.dispatch import run
from fleetctl.engines import engine
from fleetctl.errors import NotFound
from fleetctl.model.names import PoolName, ProviderName, ServiceName
from fleetctl.model.services import (
    Behavior,
    ColdStart,
    EngineMetrics,
    Gpu,
    LocalMachine,
    Market,
    Placement,
    Pool,
    RatePolicy,
    RolloutRules,
    Scaling,
    Schedule,
    Service,
    Slo,
    Standby,
    Tier,
)
from fleetctl.spec.documents import DOCUMENTS
from fleetctl.spec.files import FILE_BYTES_MAX
from fleetctl.spec.fleet import Fleet, FleetConfig, Place
from fleetctl.spec.load import load
from fleetctl.spec.problems import FilesError
from fleetctl.spec.scaling_documents import ScalingDoc

SMALLEST = "kind: service\nname: chat\nengine: rehearsal\nmodel: m\ngpu: L40S:1\n"
POOL = "kind: pool\nname: gpus\ngpu: L40S:1\n"


def loaded(folder: Path, text: str) -> Fleet:
    (folder / "fleet.yaml").write_text(text, encoding="utf-8")
    return load([folder])


def wrong(folder: Path, text: str) -> list[tuple[int, str, str]]:
    """(line, path, message) of each problem."""
    with pytest.raises(FilesError) as caught:
        loaded(folder, text)
    return [(problem.line, problem.path, problem.message) for problem in caught.value.problems]


def test_five_fields_are_a_service_and_the_rest_is_the_models_defaults(tmp_path: Path) -> None:
    fleet = loaded(tmp_path, SMALLEST)

    assert fleet.services == (
        Service(
            name=ServiceName("chat"),
            engine="rehearsal",
            model="m",
            gpu=(Gpu(name="L40S"),),
            concurrency=engine("rehearsal").concurrency,
        ),
    )
    assert fleet.config == FleetConfig()
    assert fleet.pools == ()
    assert fleet.places == {"service/chat": Place(file=str(tmp_path / "fleet.yaml"), line=1)}


def test_every_field_reaches_the_model(tmp_path: Path) -> None:
    fleet = loaded(
        tmp_path,
        """
kind: service
name: chat
engine: generic
image: example/server:v1
model: hf://meta-llama/Llama-3.1-8B-Instruct@5206a32
gpu: [L40S:1, h100:1]
concurrency: 64
command: serve --port {port} --title "a b"
args: [--verbose, "2"]
env: {HF_HOME: /data, DEBUG: "1"}
metrics: {running: server:running, waiting: server:waiting}
readiness_path: /ready
slo: {ttft: 500ms, percentile: 95}
cold_start: {cold: 270s, standby: 8s}
scaling:
  min: 2
  max: 12
  step: 2
  target: 0.5
  window: 2m
  panic_window: 10s
  panic_threshold: 3
  tolerance: 5%
  scale_down_delay: 0
  idle: 1h
  behavior:
    up: {stabilization: 15s, policies: [{replicas: 4, period: 15s}, {percent: 100, period: 1m}], select: min}
    down: {select: min}
standby: {slots: 3, tier: hot}
schedule: [{cron: "0 8 * * mon-fri", tz: Europe/Berlin, for: 10h, min: 4}, {cron: "0 0 * * *", for: 1h, max: 3},
  {cron: "0 0 1 1 *", for: 24h, replicas: 2}]
placement: {providers: [aws, gcp], regions: [eu-central-1], market: spot, max_price_per_hour: 2.5}
startup_timeout: 20m
drain_timeout: 0
rollout: {surge: 2, settle: 5s, failures: 2, deadline: 3m}
queue_timeout: 1m
""",
    )

    assert fleet.services == (
        Service(
            name=ServiceName("chat"),
            engine="generic",
            image="example/server:v1",
            model="hf://meta-llama/Llama-3.1-8B-Instruct@5206a32",
            gpu=(Gpu(name="L40S"), Gpu(name="H100")),
            concurrency=64,
            command=("serve", "--port", "{port}", "--title", "a b"),
            args=("--verbose", "2"),
            env=(("HF_HOME", "/data"), ("DEBUG", "1")),
            metrics=EngineMetrics(running="server:running", waiting="server:waiting"),
            readiness_path="/ready",
            slo=Slo(ttft_s=0.5, percentile=95),
            cold_start=ColdStart(cold_s=270, standby_s=8),
            scaling=Scaling(
                min=2,
                max=12,
                step=2,
                target=0.5,
                window_s=120,
                panic_window_s=10,
                panic_threshold=3,
                tolerance=0.05,
                scale_down_delay_s=0,
                idle_s=3600,
                up=Behavior(
                    stabilization_s=15,
                    policies=(
                        RatePolicy(kind="replicas", value=4, period_s=15),
                        RatePolicy(kind="percent", value=100, period_s=60),
                    ),
                    select="min",
                ),
                down=Behavior(select="min"),
            ),
            standby=Standby(tier=Tier.HOT, slots=3),
            schedule=(
                Schedule(cron="0 8 * * mon-fri", tz="Europe/Berlin", duration_s=36000, min=4),
                Schedule(cron="0 0 * * *", duration_s=3600, max=3),
                Schedule(cron="0 0 1 1 *", duration_s=86400, replicas=2),
            ),
            placement=Placement(
                providers=(ProviderName("aws"), ProviderName("gcp")),
                regions=("eu-central-1",),
                market=Market.SPOT,
                max_price_per_hour=2.5,
            ),
            startup_timeout_s=1200,
            drain_timeout_s=0,
            rollout=RolloutRules(surge=2, settle_s=5, failures=2, deadline_s=180),
            queue_timeout_s=60,
        ),
    )


def test_a_pool_and_the_fleet(tmp_path: Path) -> None:
    fleet = loaded(
        tmp_path,
        """
kind: pool
name: gpus
gpu: L40S:8
provider: local
placement: {regions: [here]}
min: 1
max: 4
standby: none
price_per_hour: 0
local: {boot: 90s, image: 150s, weights: 1m}
---
kind: fleet
name: prod
gateway: {listen: "0.0.0.0:80"}
period: 500ms
store: state/fleet.db
max_cost_per_hour: 40
""",
    )

    assert fleet.pools == (
        Pool(
            name=PoolName("gpus"),
            gpu=(Gpu(name="L40S", count=8),),
            placement=Placement(providers=(ProviderName("local"),), regions=("here",)),
            min=1,
            max=4,
            standby=Standby(steps=0),
            price_per_hour=0,
            local=LocalMachine(boot_s=90, image_s=150, weights_s=60),
        ),
    )
    assert fleet.config == FleetConfig(
        name="prod",
        gateway_listen="0.0.0.0:80",
        period_s=0.5,
        store_url=str(tmp_path.resolve() / "state/fleet.db"),
        max_cost_per_hour=40,
    )
    assert {subject: place.line for subject, place in fleet.places.items()} == {"pool/gpus": 2, "fleet": 13}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("auto", Standby(auto=True)),
        ("{auto: true, tier: stopped}", Standby(auto=True, tier=Tier.STOPPED)),
        ("{auto: true, steps: 2}", Standby(auto=True, steps=2)),
        ("{auto: false}", Standby()),
        ("3", Standby(slots=3)),
        ("{steps: 2}", Standby(steps=2)),
    ],
)
def test_standby_can_be_written_short(tmp_path: Path, written: str, meant: Standby) -> None:
    (service,) = loaded(tmp_path, f"{SMALLEST}standby: {written}\n").services
    (pool,) = loaded(tmp_path, f"{POOL}standby: {written}\n").pools

    assert service.standby == pool.standby == meant


@pytest.mark.parametrize("standby", ["0", "none", "{steps: 0}"])
def test_no_standby_can_be_written_three_ways(tmp_path: Path, standby: str) -> None:
    (service,) = loaded(tmp_path, f"{SMALLEST}standby: {standby}\n").services

    assert service.standby == Standby(steps=0)


def test_a_store_that_is_an_address_stays_as_it_is(tmp_path: Path) -> None:
    fleet = loaded(tmp_path, "kind: fleet\nstore: postgresql://me@db.example/fleet\n")

    assert fleet.config.store_url == "postgresql://me@db.example/fleet"


def test_a_folder_means_its_yaml_files_in_order_and_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", ".hidden.txt", "notes.md"):
        stem = name.partition(".")[0] or "hidden"
        (tmp_path / name).write_text(SMALLEST.replace("chat", stem))
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "c.yaml").write_text(SMALLEST.replace("chat", "c"))

    fleet = load([tmp_path, tmp_path / "a.yml"])

    assert [service.name for service in fleet.services] == ["a", "b"]


def test_without_paths_the_folder_fleet_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet" / "chat.yaml").write_text(SMALLEST)

    fleet = load()

    assert fleet.places["service/chat"].file == "fleet/chat.yaml"


def test_nothing_there_leads_to_init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()

    for paths in ([], [Path("nowhere.yaml")], [Path("empty")]):
        with pytest.raises(NotFound, match=r"fleet|nowhere|empty") as caught:
            load(paths)
        assert caught.value.hint.endswith("fleetctl init")


@pytest.mark.parametrize(
    ("content", "line", "message", "why"),
    [
        (b"", 1, "declares nothing", "empty"),
        (b"# soon\n", 1, "declares nothing", "a comment"),
        (b"kind: service\nname: \xff\n", 2, "is not UTF-8", "Latin-1"),
        ("kind: service".encode("utf-16"), 1, "is not UTF-8", "UTF-16"),
        (b"#" * (FILE_BYTES_MAX + 1), 1, "is larger than 1 MiB", "huge"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes, line: int, message: str, why: str) -> None:
    (tmp_path / "a.yaml").write_bytes(content)

    with pytest.raises(FilesError) as caught:
        load([tmp_path / "a.yaml"])

    (problem,) = caught.value.problems
    assert (problem.line, problem.message) == (line, message), why


def test_a_path_that_cannot_be_looked_at_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="cannot be looked at: file name too long"):
        load([tmp_path / ("x" * 300)])


def test_a_pipe_is_read_as_a_file(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w") as pipe:
        pipe.write(SMALLEST)

    fleet = load([Path(f"/dev/fd/{read_end}")])
    os.close(read_end)

    assert len(fleet.services) == 1


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf" + SMALLEST.encode())

    assert len(load([tmp_path]).services) == 1


@pytest.mark.parametrize(
    ("text", "line", "path", "message", "why"),
    [
        (
            "scaling: {min: 2}",
            6,
            "scaling.min",
            "2 is more than max, which is 1 where it is not written",
            "max is money",
        ),
        ("scaling: {min: 5, max: 3}", 6, "scaling.min", "5 is more than max 3", ""),
        ("scaling: {step: 4, max: 3}", 6, "scaling.step", "4 is more than max 3", "a step that never fits"),
        ("scaling: {max: 0}", 6, "scaling.max", "must be at least 1, not 0", "down is said with `fleetctl down`"),
        ("scaling: {max: true}", 6, "scaling.max", "must be a whole number, not true or false", "true is not 1"),
        ("scaling: {max: 2.0}", 6, "scaling.max", "must be a whole number, not 2.0", "nor is 2.0 an integer"),
        ("scaling: {max: '2'}", 6, "scaling.max", "must be a whole number, not '2'", "nor is text"),
        (
            "scaling:\n  window: 5s",
            6,
            "scaling.panic_window",
            "6s is not shorter than window 5s",
            "the default counts as well",
        ),
        ("scaling: {window: 0}", 6, "scaling.window", "must be longer than 0", "no average over nothing"),
        ("scaling: {target: 0}", 6, "scaling.target", "must be more than 0", "a replica that may do nothing"),
        ("scaling: {tolerance: 100%}", 6, "scaling.tolerance", "must be less than 100%", "never any change"),
        ("scaling: {idle: -1s}", 6, "scaling.idle", "'-1s' is no duration", "negative"),
        ("scaling: {scale_down_delay: -1}", 6, "scaling.scale_down_delay", "-1 is no duration", "negative"),
        (
            "scaling: {replicas: 2, max: 4}",
            6,
            "scaling.replicas",
            "only the policy fixed takes a count, and this one is auto",
            "",
        ),
        ("scaling: {policy: fixed}", 6, "scaling.policy", "the policy fixed needs a count: replicas is missing", ""),
        ("scaling: {policy: fixed, replicas: 3, max: 2}", 6, "scaling.replicas", "3 is more than max 2", ""),
        ("scaling: {policy: fixed, replicas: 1, min: 2, max: 3}", 6, "scaling.replicas", "1 is less than min 2", ""),
        (
            "scaling: {behavior: {up: {policies: [{percent: 1, replicas: 1, period: 1s}]}}}",
            6,
            "scaling.behavior.up.policies[0]",
            "needs one of replicas and percent",
            "",
        ),
        (
            "scaling: {behavior: {up: {select: mx}}}",
            6,
            "scaling.behavior.up.select",
            "'mx' is not one of max, min, disabled; did you mean 'max'?",
            "",
        ),
        ("standby: {steps: 1, slots: 2}", 6, "standby", "steps and slots cannot both be given", ""),
        ("standby: {auto: true, slots: 2}", 6, "standby", "a number of slots and auto cannot both be given", ""),
        ("standby: -1", 6, "standby.slots", "must be at least 0, not -1", "less than none"),
        ("standby: 1.5", 6, "standby", "must be a mapping, not 1.5", "half a slot"),
        ("standby: most", 6, "standby", "must be a mapping, not 'most'", "a word that is none of the two"),
        ("cold_start: {cold: 8s, standby: 270s}", 6, "cold_start", "standby 270s is longer than cold 8s", "swapped"),
        ("cold_start: {cold: 0}", 6, "cold_start.cold", "must be longer than 0", "nothing is there at once"),
        (
            'schedule: [{cron: "* * * * *", for: 1h, min: 1, replicas: 1}]',
            6,
            "schedule[0]",
            "replicas is an exact count, so min and max mean nothing beside it",
            "",
        ),
        ("standby: false", 6, "standby", "must be a mapping, not true or false", "false is not 0"),
        (
            'scaling: {max: 4}\nschedule: [{cron: "* * * * *", for: 1h, min: 5}]',
            7,
            "schedule[0].min",
            "5 is more than scaling.max, which is 4",
            "a floor that never holds",
        ),
        (
            'scaling: {min: 2, max: 4}\nschedule: [{cron: "0 8 * * *", for: 1h, max: 1}]',
            7,
            "schedule[0].max",
            "1 is less than scaling.min, which is 2",
            "a ceiling that never holds",
        ),
        (
            "scaling: {max: 4}\nschedule:\n"
            '- {cron: "0 8 * * *", for: 1h, min: 2}\n- {cron: "* * * * *", for: 1h, replicas: 5}',
            9,
            "schedule[1].replicas",
            "5 is more than scaling.max, which is 4",
            "an exact count above max",
        ),
        (
            'scaling: {min: 2, max: 4}\nschedule: [{cron: "0 8 * * *", for: 1h, replicas: 1}]',
            7,
            "schedule[0].replicas",
            "1 is less than scaling.min, which is 2",
            "and one below min",
        ),
        (
            'scaling: {max: 4, behavior: {up: {select: disabled}}}\nschedule: [{cron: "0 8 * * *", for: 1h, min: 2}]',
            7,
            "schedule[0].min",
            "2 may never be reached: scaling.behavior.up is disabled",
            "a floor that nothing may rise to",
        ),
        (
            'scaling: {max: 4, behavior: {down: {select: disabled}}}\nschedule: [{cron: "0 8 * * *", for: 1h, max: 2}]',
            7,
            "schedule[0].max",
            "2 may never be reached: scaling.behavior.down is disabled",
            "a ceiling that nothing may sink to",
        ),
        (
            "scaling: {max: 4, behavior: {down: {select: disabled}}}\n"
            'schedule: [{cron: "0 8 * * *", for: 1h, replicas: 2}]',
            7,
            "schedule[0].replicas",
            "2 may never be reached: scaling.behavior.down is disabled",
            "exact needs both directions",
        ),
        (
            "scaling: {max: 4}\nschedule:\n"
            '- {cron: "0 8 * * mon", tz: Europe/Berlin, for: 1h, replicas: 2}\n'
            '- {cron: "0 7 * * *", for: 1h, replicas: 2}\n'
            '- {cron: "0 7 * * *", for: 9h, replicas: 3}',
            10,
            "schedule[2].replicas",
            "exactly 3 begins together with exactly 2 of line 8, such as on 2026-01-05 07:00",
            "on winter Mondays, in two zones",
        ),
        (
            "scaling: {max: 4}\nschedule:\n"
            '- {cron: "0 8 * * mon", tz: Europe/Berlin, for: 1h, replicas: 2}\n'
            '- {cron: "0 7 * * *", for: 1h, replicas: 2}\n'
            '- {cron: "0 7 * * *", for: 9h, replicas: 3}',
            10,
            "schedule[2].replicas",
            "exactly 3 begins together with exactly 2 of line 9, such as on 2026-01-01 07:00",
            "both are named",
        ),
        (
            'schedule: [{cron: "* * * * * *", for: 1h, min: 1}]',
            6,
            "schedule[0].cron",
            "'* * * * * *' has 6 fields, a cron expression has 5",
            "seconds are below the tick",
        ),
        ("pool: gpus", 6, "pool", "there is no pool 'gpus'", "nothing is declared"),
        ("metrics: {running: x}", 6, "metrics", "the load metrics of rehearsal are known", "generic only"),
        ("env: {A: 1}", 6, "env.A", "must be text, not a number", "what is written is what is meant"),
        ("env: [A=1]", 6, "env", "must be a mapping, not a list", "Compose's other form"),
        ("on: 1", 6, "on", "unknown field", "not the truth value of YAML 1.1"),
        ("args: 'say \"hello'", 6, "args", "cannot be taken apart: No closing quotation", ""),
        ("command: []", 6, "command", "is empty", "a command of no words"),
        (f"model: {'m' * 5000}", 6, "model", "written twice, first on line 4", "twice"),
        (f"image: {'m' * 5000}", 6, "image", "is 5000 characters long", "long"),
        ("spec: {replicas: 2}", 6, "spec", "unknown field", "Kubernetes"),
    ],
)
def test_what_cannot_work_in_a_service(tmp_path: Path, text: str, line: int, path: str, message: str, why: str) -> None:
    assert (line, path, message) in wrong(tmp_path, f"{SMALLEST}{text}\n"), why


@pytest.mark.parametrize(
    ("scaling", "schedule", "why"),
    [
        (
            "{max: 4}",
            '[{cron: "0 8 * * *", for: 1h, replicas: 4}, {cron: "0 9 * * *", for: 1h, replicas: 2}]',
            "one later",
        ),
        (
            "{max: 4}",
            '[{cron: "0 8 * * *", for: 1h, replicas: 4}, {cron: "0 8 * * *", for: 9h, replicas: 4}]',
            "the same",
        ),
        (
            "{max: 4}",
            '[{cron: "0 8 * * *", for: 1h, replicas: 4}, {cron: "0 8 * * *", for: 9h, min: 2}]',
            "the rule says",
        ),
        ("{max: 4}", '[{cron: "0 8 * * *", for: 1h, max: 2}, {cron: "0 8 * * *", for: 9h, min: 3}]', "the rule says"),
        ("{max: 4}", '[{cron: "0 8 * * *", for: 1h, replicas: 0}]', "closed"),
        (
            "{min: 2, max: 4, behavior: {up: {select: disabled}}}",
            '[{cron: "0 8 * * *", for: 1h, min: 2}]',
            "it is there",
        ),
    ],
)
def test_schedules_that_can_hold(tmp_path: Path, scaling: str, schedule: str, why: str) -> None:
    assert loaded(tmp_path, f"{SMALLEST}scaling: {scaling}\nschedule: {schedule}\n").services[0].schedule, why


def test_a_ceiling_below_a_floor_is_warned_of_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(
        f"{SMALLEST}scaling: {{max: 9}}\nschedule:\n"
        '- {cron: "0 8 * * mon-fri", for: 10h, min: 4}\n'
        '- {cron: "0 18 * * *", for: 14h, max: 3}\n'
        '- {cron: "0 17 * * *", tz: Europe/Berlin, for: 4h, max: 2}\n'
    )

    fleet = load([tmp_path], warnings=True)

    (warning,) = fleet.warnings
    assert (warning.line, warning.subject, warning.path) == (10, "service/chat", "schedule[2].max")
    assert warning.message == (
        "the ceiling of 2 does not hold beside the floor of 4 of line 8, which wins, such as on 2026-01-01 17:00"
    )
    assert load([tmp_path]).warnings == (), "only who asks waits for it"


def test_validate_tells_its_warnings_and_lets_the_file_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(
        f"{SMALLEST}scaling: {{max: 4}}\n"
        'schedule: [{cron: "0 8 * * *", for: 1h, min: 4}, {cron: "0 8 * * *", for: 1h, max: 2}]\n'
    )

    assert run(["validate", str(file), "-o", "name"]) == 0

    told = capsys.readouterr()
    assert told.out == "service/chat\n"
    assert told.err.startswith(f"warning: {file}:7: service/chat: schedule[1].max: the ceiling of 2 does not hold")


@pytest.mark.parametrize(
    ("pool", "service", "message", "why"),
    [
        ("L40S:1", "L40S:2", "a replica takes L40S:2, and a machine of pool/gpus has L40S:1", "too small"),
        ("H100:8", "L40S:1", "a replica takes L40S:1, and a machine of pool/gpus has H100:8", "another product"),
        (
            "[H100:8, L4:1]",
            "[L40S:1, any:9]",
            "a replica takes L40S:1 or ANY:9, and a machine of pool/gpus has H100:8 or L4:1",
            "no pair fits",
        ),
        ("L40S:8", "L40S:2", None, "four of them"),
        ("any:2", "L40S:2", None, "any is any"),
        ("L40S:2", "any:1", None, "the other way round"),
        ("[H100:8, L40S:1]", "[L4:1, L40S:1]", None, "one pair is enough"),
    ],
)
def test_a_pool_must_hold_its_services(tmp_path: Path, pool: str, service: str, message: str | None, why: str) -> None:
    text = f"{SMALLEST.replace('L40S:1', service)}pool: gpus\n---\n{POOL.replace('L40S:1', pool)}"

    if message is None:
        assert len(loaded(tmp_path, text).services) == 1, why
    else:
        assert wrong(tmp_path, text) == [(5, "gpu", message)], why


def test_a_pool_of_the_services_own_name_is_its_own(tmp_path: Path) -> None:
    text = f"{SMALLEST.replace('L40S:1', 'L40S:2')}---\n{POOL.replace('gpus', 'chat')}"

    assert wrong(tmp_path, text) == [(5, "gpu", "a replica takes L40S:2, and a machine of pool/chat has L40S:1")]


def test_a_wrong_pool_is_not_also_missing(tmp_path: Path) -> None:
    problems = wrong(tmp_path, f"{SMALLEST}pool: gpus\n---\n{POOL}max: no\n")

    assert problems == [(11, "max", "must be a whole number, not 'no'")]


def test_one_name_is_declared_once_across_files(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(f"{SMALLEST}---\n{POOL}")

    with pytest.raises(FilesError) as caught:
        load([tmp_path])

    first = tmp_path / "a.yaml"
    assert [(Path(problem.file).name, problem.line, problem.message) for problem in caught.value.problems] == [
        ("b.yaml", 2, f"service/chat is declared twice, first at {first}:1"),
        ("b.yaml", 8, f"pool/gpus is declared twice, first at {first}:7"),
    ]


def test_a_fixed_count_is_its_own_maximum(tmp_path: Path) -> None:
    (service,) = loaded(tmp_path, f"{SMALLEST}scaling: {{policy: fixed, replicas: 3}}\n").services

    assert (service.scaling.policy, service.scaling.replicas, service.scaling.max) == ("fixed", 3, 3)


def test_an_engine_says_itself_what_it_cannot_serve(tmp_path: Path) -> None:
    text = SMALLEST.replace("rehearsal", "generic")

    problems = wrong(tmp_path, text)

    assert {path for _, path, _ in problems} == {"engine"}
    assert len(problems) == 2, "neither a command nor metrics"


def test_a_secret_in_a_store_address_is_refused_and_not_repeated(tmp_path: Path) -> None:
    for address in ("postgresql://me:hunter2@db/fleet", "postgres://db/fleet?user=me&password=hunter2"):
        with pytest.raises(FilesError) as caught:
            loaded(tmp_path, f"kind: fleet\nstore: {address}\n")

        assert "hunter2" not in caught.value.message + caught.value.hint
        assert "password" in caught.value.message


@pytest.mark.parametrize(("period", "why"), [("50ms", "engines update no faster"), ("1h", "nobody controls that")])
def test_a_period_has_bounds(tmp_path: Path, period: str, why: str) -> None:
    (problem,) = wrong(tmp_path, f"kind: fleet\nperiod: {period}\n")

    assert problem == (2, "period", f"{period} is not from 100ms to 10m"), why


FIELDS = [*DOCUMENTS["service"].model_fields, *DOCUMENTS["pool"].model_fields, *ScalingDoc.model_fields, "for", "cron"]
SCALARS = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["L40S:1", "any", "5s", "70%", "0", "none", "rehearsal", "auto", "* * * * *", "0 0 L * *", "UTC", "/"]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=8,
)


@given(kind=st.sampled_from(sorted(DOCUMENTS)), fields=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6))
@settings(max_examples=200, deadline=None)
def test_any_document_is_a_fleet_or_has_problems(
    tmp_path_factory: pytest.TempPathFactory, kind: str, fields: dict[str, Any]
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    smallest = {"name": "a", "engine": "rehearsal", "model": "m", "gpu": "any"} if kind == "service" else {}
    file.write_text(yaml.safe_dump({**smallest, **fields, "kind": kind}), encoding="utf-8")

    try:
        fleet = load([file])
    except FilesError as error:
        assert error.problems
        assert all(problem.fix and problem.line >= 1 for problem in error.problems)
    else:
        assert len(fleet.places) == 1
