"""Money: offers, plan, what `up` asks before it rents, and the limit that holds in the loop. By the command line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paper_cloud
import pytest
from fleet_home import FleetHome, fleet_home, until
from terminals import at_terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def bare() -> Iterator[FleetHome]:
    """No fleet yet; the paper cloud is installed."""
    with fleet_home() as made:
        site = made.folder / "site"
        paper_cloud.install(site)
        made.environment["PYTHONPATH"] = str(site)
        yield made


def files(
    fleet: FleetHome, *, least: int = 1, most: int = 3, paper: str | None = "price: 2", limit: str = "", more: str = ""
) -> Path:
    """A fleet with one service of its own pool, rented from the paper cloud, or (None) on this machine."""
    providers = f"providers: {{paper: {{{paper}}}}}\n" if paper is not None else ""
    where = "paper" if paper is not None else "local"
    return fleet.write(
        "fleet.yaml",
        f"""\
kind: fleet
name: money
gateway: {{listen: 127.0.0.1:{fleet.port}, auth: none}}
period: 300ms
{providers}{limit}
---
kind: service
name: chat
engine: rehearsal
model: rehearsal-8b
gpu: L40S:1
concurrency: 2
standby: none
placement: {{providers: [{where}]}}
scaling: {{min: {least}, max: {most}}}
{more}""",
    )


def rows(fleet: FleetHome, *words: str | Path, code: int = 0) -> list[dict[str, Any]]:
    body = fleet.run(*words, "-o", "json", code=code).json()
    found = body["items"] if "items" in body else body["rows"]
    assert isinstance(found, list)
    return found


# plan


def test_the_plan_shows_each_billable_line_and_changes_nothing(bare: FleetHome) -> None:
    file = files(bare, least=2, most=5, paper="price: 2, quota: 7, age_s: 90")

    planned = bare.run("plan", "-f", file)
    (row,) = rows(bare, "plan", "-f", file)

    assert (row["pool"], row["provider"], row["type"], row["market"]) == ("chat", "paper", "l40s-x1", "on_demand")
    assert (row["now"], row["then"], row["most"], row["quota_left"]) == (0, 2, 5, 7)
    assert (row["price_per_hour"], row["rise_per_hour"], row["most_per_hour"]) == (2.0, 4.0, 10.0)
    assert row["price_source"] == "paper's list"
    assert 90 <= row["price_age_s"] < 120
    assert "0→2" in planned.out
    assert "+$4.00" in planned.out
    assert "$0.00/h now, $4.00/h then, $10.00/h with everything at its max" in planned.err
    assert not bare.root.exists(), "there is still no fleet"
    assert bare.run("plan", "-f", file, "--detailed-exitcode", code=10).out == planned.out


def test_an_old_price_is_flagged_and_an_unknown_one_is_never_zero(bare: FleetHome) -> None:
    old = bare.run("plan", "-f", files(bare, paper="price: 2, age_s: 864000"))
    unknown = bare.run("plan", "-f", files(bare, paper=""))
    silent = bare.run("plan", "-f", files(bare, paper="silent: true"))

    assert "paper's list, 10d (old)" in old.out
    assert "of more than 7 days ago" in old.err
    assert "price unknown" in unknown.out
    assert "?/h then" in unknown.err
    assert "paper does not say what it offers for pool chat: paper: nobody is logged in" in silent.err
    assert "?/h then" in silent.err


# up asks


def test_up_asks_before_it_rents_and_not_again_for_the_same(bare: FleetHome) -> None:
    file = files(bare, least=1, most=2)

    refused = bare.run("up", "-f", file, "-o", "json", code=3)
    stored = bare.run("ps", "-o", "name").out
    up = bare.run("up", "-f", file, "--yes")
    again = bare.run("up", "-f", file)
    more = bare.run("up", "-f", files(bare, least=1, most=4), code=3)
    fewer = bare.run("up", "-f", files(bare, least=1, most=1), "--no-wait")

    assert refused.error()["code"] == "confirmation_needed"
    assert "$2.00/h then, $4.00/h with everything at its max" in refused.error()["message"]
    assert refused.error()["hint"].endswith(f"fleetctl up -f {file} --yes")
    assert stored == ""
    assert up.out == again.out == fewer.out == f"{bare.url}/chat/v1\n"
    assert "$8.00/h with everything at its max" in more.err
    (instance,) = rows(bare, "ps", "-i")
    assert (instance["provider"], instance["price_per_hour"]) == ("paper", 2.0)
    assert rows(bare, "ps")[0]["max"] == 1, "what was refused is not stored"
    (line,) = rows(bare, "plan", "-f", files(bare, least=1, most=2))
    assert (line["now"], line["then"], line["most"]) == (1, 1, 2)
    assert "$2.00/h less, $0.00/h remain. Bring them back with: fleetctl up\n" in bare.run("down", "--all").err


def test_machines_of_ones_own_are_never_asked_about(bare: FleetHome) -> None:
    assert bare.run("up", "-f", files(bare, paper=None), "--no-wait").out == f"{bare.url}/chat/v1\n"


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("\n", 3), ("n\n", 3)])
def test_at_a_terminal_the_question_is_put(bare: FleetHome, answer: str, code: int) -> None:
    file = files(bare)

    talk = at_terminal(bare, "up", "--no-wait", "-f", file, asked="[y/N]", answer=answer)

    assert talk.code == code
    assert "This may rent machines: $0.00/h now, $2.00/h then, $6.00/h with everything at its max." in talk.said
    assert talk.out == (f"{bare.url}/chat/v1\n" if code == 0 else "")


def test_an_unsaid_price_is_asked_about_too(bare: FleetHome) -> None:
    for paper in ("", "silent: true"):
        refused = bare.run("up", "-f", files(bare, paper=paper), code=3)

        assert "?/h then" in refused.err


# limits


def test_what_costs_more_than_the_fleet_may_is_refused_before_anything_is_done(bare: FleetHome) -> None:
    file = files(bare, least=3, limit="max_cost_per_hour: 5")

    refused = bare.run("up", "-f", file, "--yes", "-o", "json", code=9)
    allowed = bare.run("up", "-f", file, "--yes", "--no-wait", "--max-cost-per-hour", "6")
    by_environment = bare.run("plan", "-f", file, "-o", "json", environment={"FLEETCTL_MAX_COST_PER_HOUR": "7"})

    assert refused.error()["code"] == "budget"
    assert refused.error()["message"] == (
        "$6.00/h are needed at the least load, and the fleet may cost at most $5.00/h"
    )
    assert refused.error()["hint"].endswith("--max-cost-per-hour 6.00")
    assert allowed.out
    assert json.loads((bare.root / "fleet.json").read_text())["max_cost_per_hour"] == 6
    assert by_environment.json()["limit"] == 7


def test_the_loop_launches_nothing_above_the_limit_and_minds_a_new_one(bare: FleetHome) -> None:
    file = files(bare, least=1, most=3, limit="max_cost_per_hour: 5")
    bare.run("up", "-f", file, "--yes")
    bare.run("daemon", "start")
    bare.run("scale", "chat=3", "--yes", "--max-cost-per-hour", "10")

    held = until(
        "one waits",
        lambda: said if (said := _trouble(bare)).startswith("1 of its replicas wait") else None,
        within_s=60.0,
    )
    two = rows(bare, "ps", "-i")
    bare.run("up", "-f", file, "--no-wait", "--max-cost-per-hour", "6")
    until("all three run", lambda: len(rows(bare, "ps", "-i")) == 3, within_s=60.0)
    until("nothing is wrong any more", lambda: not _trouble(bare), within_s=60.0)

    assert held == (
        "1 of its replicas wait for a machine: one more machine at $2/h would cost more than the fleet's limit of $5/h"
    )
    assert len(two) == 2
    told = [event["message"] for event in rows(bare, "events") if event["kind"] == "hold"]
    assert told == [
        "no machine is launched for it: one more machine at $2/h would cost more than the fleet's limit of $5/h"
    ]
    changed = bare.run("up", "-f", files(bare, paper="price: 3"), "--no-wait")
    assert "the running controller does not know the changed providers" in changed.err
    bare.run("daemon", "stop")


def _trouble(fleet: FleetHome) -> str:
    return str(rows(fleet, "ps")[0]["trouble"])


# providers


def test_a_provider_with_machines_cannot_be_dropped(bare: FleetHome) -> None:
    bare.run("up", "-f", files(bare), "--yes")

    refused = bare.run("up", "-f", files(bare, paper=None), code=7)

    assert "no longer name the provider paper, which has 1 instance of this fleet" in refused.err
    assert [row["provider"] for row in rows(bare, "ps", "-i")] == ["paper"]


def test_unknown_and_unnamed_providers_are_told_with_their_line(bare: FleetHome) -> None:
    unnamed = files(bare, paper=None).read_text().replace("[local]", "[local, paper]")
    misspelt = "kind: fleet\nproviders:\n  papr: {}\n---\n"

    first = bare.run("validate", "-f", bare.write("fleet.yaml", unnamed), code=2)
    second = bare.run("validate", "-f", bare.write("other.yaml", misspelt + "kind: pool\nname: p\ngpu: L4\n"), code=2)

    assert "placement.providers[1]: the provider 'paper' is not set up" in first.err
    assert "write providers: {paper: {}} into the document with kind: fleet" in first.err
    assert "other.yaml:3: fleet: providers.papr: no provider is called 'papr'; did you mean 'paper'?" in second.err


# offers and the catalog


def test_offers_come_from_the_providers_that_are_set_up_the_least_for_a_gpu_first(bare: FleetHome) -> None:
    bare.run("up", "--no-wait", "--yes", "-f", files(bare, paper="price: 2, quota: 3"))

    found = rows(bare, "offers", "--gpu", "L40S:1", "--gpu", "l40s:4")
    only = rows(bare, "offers", "--gpu", "L40S:4", "--provider", "paper", "--spot")
    cheap = rows(bare, "offers", "--gpu", "L40S:1", "--gpu", "L40S:4", "--max-price", "2")

    assert [(row["provider"], row["gpu"], row["price_per_gpu_hour"]) for row in found] == [
        ("paper", "L40S:1", 2.0),
        ("paper", "L40S:4", 2.0),
        ("local", "L40S:1", None),
        ("local", "L40S:4", None),
    ]
    assert [(row["gpu"], row["price_per_hour"], row["market"], row["quota_left"]) for row in only] == [
        ("L40S:4", 8.0, "spot", 3)
    ]
    assert [row["gpu"] for row in cheap] == ["L40S:1"]
    assert bare.run("offers", "--gpu", "L40S:1", "-o", "name").out == (
        "offer/paper/desk-1/l40s-x1\noffer/local/local/local\n"
    )
    assert "not set up: aws" in bare.run("offers", "--gpu", "L40S", "-p", "aws", code=2).err
    assert "'8xH100' names no GPUs" in bare.run("offers", "--gpu", "8xH100", code=2).err


def test_a_provider_that_does_not_answer_does_not_hide_the_others(bare: FleetHome) -> None:
    bare.run("up", "--no-wait", "--yes", "-f", files(bare, paper="silent: true"))

    found = bare.run("offers", "--gpu", "L40S:1")
    alone = bare.run("offers", "--gpu", "L40S:1", "-p", "paper", code=5)

    assert "warning: paper: nobody is logged in (log in to paper)" in found.err
    assert found.out.splitlines()[1].startswith("local ")
    assert "nobody is logged in" in alone.err


def test_the_tables_answer_without_any_cloud_and_without_a_fleet(bare: FleetHome) -> None:
    found = rows(bare, "offers", "--catalog", "--gpu", "H100:8")
    types = rows(bare, "catalog", "ls", "--gpu", "h100:8")

    assert {row["provider"] for row in found} == {"aws", "gcp", "azure"}
    assert all(row["price_per_hour"] is None and row["price_source"] == "" for row in found)
    assert {row["type"] for row in found} == {row["type"] for row in types}
    assert "p5.48xlarge" in bare.run("catalog", "ls", "--provider", "aws").out
    assert not bare.root.exists()
