"""Labels: as files have them, chosen by with `-l`, shown with `-o wide` and to programs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetctl.cli.labels import chosen_by
from fleetctl.cli.output import Listing
from fleetctl.errors import UsageError
from fleetctl.views.fleet import InstanceRow

FLEET = """\
kind: service
name: chat
labels: {team: search, tier: prod}
engine: rehearsal
model: m
gpu: L40S:1
---
kind: service
name: mail
labels: {team: post}
engine: rehearsal
model: m
gpu: L40S:1
pool: shared
---
kind: pool
name: shared
labels: {owner: infra}
gpu: L40S:1
"""
Type = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(typed: Type, tmp_path: Path) -> Type:
    """The same, in a fleet of two services."""
    (tmp_path / "fleet.yaml").write_text(FLEET)
    assert typed("up", "--no-wait", "-f", "fleet.yaml")[0] == 0
    return typed


@pytest.mark.parametrize("command", [("ps",), ("ps", "-a"), ("get", "services")], ids=" ".join)
@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("team=search", ["chat"]),
        ("team==search", ["chat"]),
        ("team!=search", ["mail"]),
        ("tier!=prod", ["mail"]),
        ("team", ["chat", "mail"]),
        ("!tier", ["mail"]),
        ("team=search,tier=prod", ["chat"]),
        ("team=search,!tier", []),
        ("team=xyzzy", []),
    ],
)
def test_services_are_chosen_as_kubectl_chooses(
    typed: Type, command: tuple[str, ...], wanted: str, names: list[str]
) -> None:
    code, out, _ = typed(*command, "-l", wanted, "-o", "name")

    assert (code, sorted(out.splitlines())) == (0, [f"service/{name}" for name in names])


def test_they_are_shown_wide_and_to_programs_and_in_the_description(typed: Type) -> None:
    wide = typed("ps", "-o", "wide", "-l", "tier")[1].splitlines()
    (item,) = json.loads(typed("ps", "-l", "team=search", "-o", "json")[1])["items"]

    assert wide[0].split()[-1] == "LABELS"
    assert wide[1].split()[-1] == "team=search,tier=prod"
    assert item["labels"] == {"team": "search", "tier": "prod"}
    assert "\n  labels    team=search, tier=prod\n" in typed("describe", "chat")[1]
    assert "LABELS" not in typed("ps")[1]


def test_a_pool_has_its_own_and_a_services_own_pool_the_services(typed: Type) -> None:
    rows = {one["name"]: one["labels"] for one in json.loads(typed("pool", "ls", "-o", "json")[1])["items"]}

    assert rows == {"chat": {"team": "search", "tier": "prod"}, "shared": {"owner": "infra"}}
    assert typed("get", "pools", "-l", "owner=infra", "-o", "name")[1] == "pool/shared\n"


def test_another_label_is_a_change_that_restarts_nothing(typed: Type, tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET.replace("team: post", "team: letters"))

    planned = json.loads(typed("plan", "-f", "fleet.yaml", "-o", "json")[1])

    assert [(one["name"], one["change"]) for one in planned["changes"]] == [("chat", ""), ("mail", "settings")]
    ((field, before, after),) = [(one["field"], one["before"], one["after"]) for one in planned["changes"][1]["fields"]]
    assert (field, before, after) == ("labels.team", "post", "letters")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ps", "-l", "=search"), "'=search' chooses nothing by label"),
        (("ps", "-l", "team in (a)"), "'team in (a)' chooses nothing by label"),
        (("ps", "-l", ""), "'' chooses nothing by label"),
        (("get", "events", "-l", "team=search"), "events have no labels"),
        (("ps", "-r", "-i"), "-r and -i are two lists"),
    ],
)
def test_what_chooses_nothing_is_told(typed: Type, words: tuple[str, ...], said: str) -> None:
    code, out, err = typed(*words)

    assert (code, out) == (2, "")
    assert err.startswith(f"error: {said}\nhint: ")


def test_machines_are_chosen_by_the_labels_of_their_pool() -> None:
    rows = [machine("a", {"owner": "infra"}), machine("b", {})]
    listing = Listing(rows=rows, columns=(), name=lambda row: row.name)

    assert [row.name for row in chosen_by("owner=infra", listing).rows] == ["a"]
    assert [row.name for row in chosen_by("!owner", listing).rows] == ["b"]
    assert chosen_by(None, listing) is listing
    with pytest.raises(UsageError, match="chooses nothing"):
        chosen_by("a,,b", listing)


def machine(name: str, labels: dict[str, str]) -> InstanceRow:
    return InstanceRow(
        name=name,
        pool="shared",
        phase="ready",
        wanted="running",
        provider="local",
        gpu="L40S:1",
        used_gpus=0,
        price_per_hour=None,
        age_s=1.0,
        failure=None,
        orphan=False,
        labels=labels,
    )


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("{team: 3}", 'put it in quotes: "3"'),
        ("{-team: x}", "is no name of a label"),
        ("{team: 'a b'}", "is no value of a label"),
        ("{kubernetes.io/team: search, empty: ''}", ""),
    ],
)
def test_labels_are_those_of_kubernetes(typed: Type, tmp_path: Path, labels: str, said: str) -> None:
    (tmp_path / "one.yaml").write_text(FLEET.replace("{team: search, tier: prod}", labels))

    code, _, err = typed("validate", "one.yaml")

    assert code == (2 if said else 0)
    assert said in err
