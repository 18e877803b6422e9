"""What files say and hardly mean: refused or warned of, each at its line, with what is missing by its name."""

from pathlib import Path

import pytest

from fleetctl.cli.dispatch import run
from fleetctl.spec.load import load
from fleetctl.spec.problems import FilesError
from fleetctl.spec.suggestions import nearest

CHAT = "kind: service\nname: chat\nengine: rehearsal\nmodel: m\n"
GPU = "gpu: L40S:1\n"
MAIL = "---\nkind: service\nname: mail\nengine: rehearsal\nmodel: m\ngpu: L40S:1\n"
SCHEDULE = 'schedule: [{cron: "0 8 * * *", for: 1h, min: 1}]\n'


def refused(folder: Path, text: str) -> list[tuple[int, str, str, str]]:
    """(line, path, message, fix) of each problem."""
    (folder / "fleet.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(FilesError) as caught:
        load([folder])
    return [(one.line, one.path, one.message, one.fix) for one in caught.value.problems]


def warned(folder: Path, text: str) -> list[tuple[int, str, str, str]]:
    (folder / "fleet.yaml").write_text(text, encoding="utf-8")
    return [(one.line, one.path, one.message, one.fix) for one in load([folder], warnings=True).warnings]


@pytest.mark.parametrize(
    ("scaling", "path", "message", "fix"),
    [
        (
            "target: 5",
            "scaling.target",
            "5 is more than everything: a target is the share of `concurrency` that a replica is kept at",
            "write a share such as 70%; for 5 requests a replica write concurrency: 5",
        ),
        (
            "target: 1.5",
            "scaling.target",
            "1.5 is more than everything: a target is the share of `concurrency` that a replica is kept at",
            "write a share such as 70%",
        ),
        ("target: 70", "scaling.target", "70 is more than everything", "write 70%"),
        ("target: 130%", "scaling.target", "'130%' is more than everything", "write 100% or less"),
        ("utilization: 85", "scaling.utilization", "85 is more than everything", "write 85%"),
        ("tolerance: 5", "scaling.tolerance", "5 is more than everything", "write 5%"),
        (
            "policy: tokens_per_second",
            "scaling.policy",
            "the policy tokens_per_second needs what one replica is to get: tokens_per_second is missing",
            "add tokens_per_second: 2000",
        ),
        (
            "policy: requests_per_second",
            "scaling.policy",
            "the policy requests_per_second needs what one replica is to get: requests_per_second is missing",
            "add requests_per_second: 2.5",
        ),
        ("policy: fixed", "scaling.policy", "the policy fixed needs a count: replicas is missing", "add replicas: 2"),
        (
            "policy: schedule",
            "scaling.policy",
            "the policy schedule moves nothing without schedules: schedule is missing",
            'add schedule: [{cron: "0 8 * * mon-fri", for: 10h, min: 2}] beside scaling, or write policy: auto',
        ),
    ],
)
def test_what_is_wrong_and_what_is_missing_is_named(
    tmp_path: Path, scaling: str, path: str, message: str, fix: str
) -> None:
    assert refused(tmp_path, f"{CHAT}{GPU}scaling:\n  {scaling}\n") == [(7, path, message, fix)]


@pytest.mark.parametrize("beside", [SCHEDULE, "signals: [{policy: queue_depth}]\n"])
def test_the_policy_schedule_needs_something_that_moves_it(tmp_path: Path, beside: str) -> None:
    assert warned(tmp_path, f"{CHAT}{GPU}scaling: {{policy: schedule, max: 2}}\n{beside}") == []


def test_an_idle_time_that_min_keeps_from_counting_is_warned_of(tmp_path: Path) -> None:
    text = f"{CHAT}{GPU}scaling:\n  min: 1\n  idle: 5m\n"

    assert warned(tmp_path, text) == [
        (
            8,
            "scaling.idle",
            "it is never waited for: with min 1 the service does not go to zero",
            "write min: 0, or remove idle",
        )
    ]
    assert warned(tmp_path, text.replace("min: 1", "min: 0")) == []
    assert warned(tmp_path, text.replace("  idle: 5m\n", "")) == [], "a preset's own is nobody's slip"


@pytest.mark.parametrize(
    "text",
    [
        f"{CHAT}{GPU}placement:\n  same: zone\n  beside: [mail, chat]\n{MAIL}",
        f"{CHAT}{GPU}pool: box\n---\nkind: pool\nname: box\ngpu: L40S:1\n"
        f"placement: {{same: zone, beside: [mail, chat]}}\n{MAIL}",
    ],
    ids=["service", "pool"],
)
def test_nothing_is_beside_itself(tmp_path: Path, text: str) -> None:
    ((line, path, message, fix),) = refused(tmp_path, text)

    assert text.splitlines()[line - 1].lstrip().startswith(("beside", "placement"))
    assert (path, message) == ("placement.beside[1]", "the machines of chat are these themselves")
    assert fix == "remove it: `same` alone keeps them together"


def test_a_service_to_be_beside_that_is_not_there_is_warned_of(tmp_path: Path) -> None:
    text = f"{CHAT}{GPU}placement:\n  same: zone\n  beside: [male]\n{MAIL}"

    assert warned(tmp_path, text) == [
        (
            8,
            "placement.beside[0]",
            "there is no service 'male' in these files; did you mean 'mail'?",
            "write mail",
        )
    ]
    assert warned(tmp_path, text.replace("male", "mail")) == []


@pytest.mark.parametrize(
    ("gpu", "clouds", "path", "message"),
    [
        ("L40SS:1", "", "gpu", "no machine that clouds are known to rent out has a L40SS; did you mean 'L40S'?"),
        ("L40SS:1", "sky: {}", "gpu", "no machine that clouds are known to rent out has a L40SS; did you mean 'L40S'?"),
        ("[L40S:1, H100X:1]", "aws: {}", "gpu[1]", "no machine that clouds are known to rent out has a H100X"),
        ("WIBBLE:1", "", "gpu", "no machine that clouds are known to rent out has a WIBBLE"),
    ],
)
def test_a_gpu_that_nobody_knows_is_warned_of(tmp_path: Path, gpu: str, clouds: str, path: str, message: str) -> None:
    (found,) = warned(tmp_path, f"{CHAT}gpu: {gpu}\n---\nkind: fleet\nproviders: {{{clouds}}}\n")

    assert found[:2] == (5, path)
    assert found[2].startswith(message)
    assert found[3].endswith("or keep it, if machines of your own have it")


@pytest.mark.parametrize(
    ("gpu", "clouds"),
    [
        ("any:1", ""),
        ("A100:1", ""),
        ("nvidia-l4", ""),
        ("H100-80GB:8", ""),
        ("RTX4090:1", "ssh: {}"),
        ("RTX4090:1", "aws: {}, sky: {}"),
    ],
)
def test_a_gpu_that_somebody_may_have_is_not(tmp_path: Path, gpu: str, clouds: str) -> None:
    assert warned(tmp_path, f"{CHAT}gpu: {gpu}\n---\nkind: fleet\nproviders: {{{clouds}}}\n") == []


def test_validate_tells_warnings_at_their_lines_and_is_content(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(f"{CHAT}gpu: L40SS:1\n")

    code = run(["validate", str(file), "-o", "name"])

    said = capsys.readouterr()
    assert (code, said.out) == (0, "service/chat\n")
    assert said.err == (
        f"warning: {file}:5: service/chat: gpu: no machine that clouds are known to rent out has a L40SS;"
        " did you mean 'L40S'? - write L40S; or keep it, if machines of your own have it\n"
    )


@pytest.mark.parametrize(
    ("word", "choices", "found"),
    [
        ("gup", ("cpu", "gpu", "group"), "gpu"),
        ("gpu", ("cpu", "ttl"), None),
        ("mx", ("min", "max"), "max"),
        ("statsu", ("start", "status"), "status"),
        ("minReplica", ("min_replicas", "max_replicas"), "min_replicas"),
        ("on", ("down", "min"), None),
        ("", ("a",), None),
    ],
)
def test_letters_that_changed_places_are_one_slip(word: str, choices: tuple[str, ...], found: str | None) -> None:
    assert nearest(word, choices) == found


def test_a_field_of_the_same_level_is_meant_before_one_of_another(tmp_path: Path) -> None:
    assert refused(tmp_path, f"{CHAT}{GPU}gup: L40S:1\n") == [
        (6, "gup", "unknown field; did you mean 'gpu'?", "write gpu")
    ]
    assert refused(tmp_path, f"{CHAT}{GPU}scaling:\n  gup: L40S:1\n") == [
        (7, "scaling.gup", "unknown field; did you mean 'gpu' at the top?", "write gpu at the top, beside name")
    ]
    assert refused(tmp_path, f"{CHAT}{GPU}scaling:\n  mni: 1\n") == [
        (7, "scaling.mni", "unknown field; did you mean 'min'?", "write min")
    ]
