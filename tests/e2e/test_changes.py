"""Plan, change, go back: by the command line, against a fleet that is declared, and one that runs."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paper_cloud
import pytest
from fleet_home import FleetHome, fleet_home, fleet_text, service_text, until
from terminals import at_terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def paper() -> Iterator[FleetHome]:
    """The paper cloud is installed; each test declares what it needs in a home of its own."""
    with fleet_home() as made:
        site = made.folder / "site"
        paper_cloud.install(site)
        made.environment["PYTHONPATH"] = str(site)
        yield made


@pytest.fixture
def bare(paper: FleetHome, tmp_path: Path) -> FleetHome:
    """No fleet yet, with files and a home of the test's own."""
    paper.files, paper.root = tmp_path / "files", tmp_path / "home"
    paper.files.mkdir()
    paper.environment["FLEETCTL_HOME"] = str(paper.root)
    paper.environment["FLEETCTL_CONFIG"] = str(tmp_path / "config.yaml")
    return paper


def files(fleet: FleetHome, *, least: int = 1, most: int = 3, more: str = "", limit: str = "") -> Path:
    """A service rented from the paper cloud, at $2 a machine."""
    return fleet.write(
        "fleet.yaml",
        f"""\
kind: fleet
name: changes
gateway: {{listen: 127.0.0.1:{fleet.port}, auth: none}}
providers: {{paper: {{price: 2, quota: 4, age_s: 200}}}}
{limit}
---
kind: service
name: chat
engine: rehearsal
model: rehearsal-8b
gpu: L40S:1
concurrency: 2
standby: none
placement: {{providers: [paper]}}
scaling: {{policy: target_concurrency, min: {least}, max: {most}}}
{more}""",
    )


def own(fleet: FleetHome, *, most: int = 3, model: str = "rehearsal-8b") -> Path:
    """A service on this machine, which costs nothing and asks nothing."""
    text = fleet_text(fleet.port) + "---\n" + service_text("chat", most=most)
    return fleet.write("fleet.yaml", text.replace("model: rehearsal-8b", f"model: {model}"))


def intent(fleet: FleetHome) -> dict[str, Any]:
    (row,) = fleet.run("ps", "-a", "-o", "json").json()["items"]
    assert isinstance(row, dict)
    return row


# plan and diff


def test_the_plan_is_as_it_was_looked_at(bare: FleetHome) -> None:
    file = files(bare, least=2, most=5)

    planned = bare.run("plan", "-f", file)
    body = bare.run("plan", "-f", file, "-o", "json").json()

    assert planned.out == (GOLDEN / "plan_new.txt").read_text()
    assert "$2,920.00 a month at $4.00/h" in planned.err
    assert "paper's quota allows 4 more of l40s-x1: pool chat cannot reach its max" in planned.err
    assert "prices are of 3m ago" in planned.err
    (change,) = body["changes"]
    assert (change["change"], change["replicas_now"], change["replicas_then"], change["pool"]) == ("new", 0, 2, "chat")
    assert (change["unit_per_hour"], change["rise_per_hour"], body["month"], body["limit"]) == (2.0, 4.0, 2920.0, None)
    assert not bare.root.exists()


def test_what_changes_is_told_field_by_field(bare: FleetHome) -> None:
    bare.run("apply", "-f", files(bare), "--yes")
    assert bare.run("diff", "-f", files(bare), "--detailed-exitcode").err.endswith("nothing differs\n")
    file = files(bare, least=2, more="env: {TOKEN: s3cr3t}\n", limit="max_cost_per_hour: 9")

    shown = bare.run("diff", "-f", file)
    planned = bare.run("plan", "-f", file)
    (change,) = bare.run("plan", "-f", file, "-o", "json").json()["changes"]

    assert shown.out == (GOLDEN / "diff_changed.txt").read_text()
    assert bare.run("diff", "-f", file, "--detailed-exitcode", code=10).out == shown.out
    assert bare.run("up", "-f", file, "--dry-run").out == shown.out
    assert bare.run("diff", "-f", file, "-o", "name").out == "fleet\nservice/chat\n"
    assert change["change"] == "rollout", "env is what replicas run"
    assert "s3cr3t" not in shown.out + planned.out + str(change)
    assert intent(bare)["min"] == 1, "nothing of it was stored"


def test_two_services_of_one_pool_add_up(bare: FleetHome) -> None:
    text = fleet_text(bare.port, machines=4, gpus=2) + "".join(
        "---\n" + service_text(name, least=2, most=2) for name in ("chat", "code")
    )
    body = bare.run("plan", "-f", bare.write("fleet.yaml", text), "-o", "json").json()

    assert [one["rise_per_hour"] for one in body["changes"]] == [2.0, 2.0]
    assert (body["now"], body["then"]) == (0.0, 4.0)


# a saved plan


def test_a_saved_plan_is_applied_as_it_was_looked_at(bare: FleetHome) -> None:
    file, plan = files(bare), bare.files / "p.json"
    bare.run("plan", "-f", file, "--out", plan)

    refused = bare.run("apply", plan, code=3)
    applied = bare.run("apply", plan, "--yes", "-o", "json")
    again = bare.run("apply", plan, "--yes", code=7)

    assert f"agree with: fleetctl apply {plan} --yes" in refused.err
    assert "+$2.00" in refused.out, "the plan is shown before it is asked about"
    assert [one["change"] for one in applied.json()["items"]] == ["new"]
    assert "there was no fleet, and there is one now" in again.err
    assert f"fleetctl plan -f {file} --out {plan}" in again.err


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("price", r"chat/paper/l40s-x1/on_demand was \$2.00/h and is \$3.00/h"),
        ("file", "service/chat changed in the files"),
        ("service", "service/more is new in the files|service/chat changed in the files"),
        ("intent", "what is wanted of the fleet was changed by somebody"),
        ("age", "is of 31m ago, and plans hold for 30m"),
    ],
)
def test_a_saved_plan_is_refused_once_it_does_not_hold(bare: FleetHome, what: str, said: str) -> None:
    bare.run("apply", "-f", files(bare), "--yes")
    file, plan = files(bare, most=4), bare.files / "p.json"
    bare.run("plan", "-f", file, "--out", plan)
    match what:
        case "price":
            # The settings are the same; what the cloud asks for is not.
            bare.write("fleet.yaml", file.read_text().replace("price: 2", "price: 3"))
            body = json.loads(plan.read_text())
            fresh = bare.files / "q.json"
            bare.run("plan", "-f", file, "--out", fresh)
            body["digests"] = json.loads(fresh.read_text())["digests"]
            plan.write_text(json.dumps(body))
        case "file":
            files(bare, most=5)
        case "service":
            files(bare, most=4, more="slo: {ttft: 5s}\n")
        case "intent":
            bare.run("pause", "chat")
        case _:
            body = json.loads(plan.read_text())
            plan.write_text(json.dumps({**body, "at": body["at"] - 1860}))

    refused = bare.run("apply", plan, "--yes", "-o", "json", code=7)

    assert refused.error()["code"] == "conflict"
    assert re.search(said, refused.error()["message"]), refused.error()
    assert intent(bare)["max"] == 3


def test_what_is_no_plan_is_told(bare: FleetHome) -> None:
    file = files(bare)

    assert f"fleetctl apply -f {file}" in bare.run("apply", file, code=2).err
    assert "cannot be read: no such file" in bare.run("apply", "nowhere.json", code=4).err
    assert "names its files itself" in bare.run("apply", "p.json", "-f", file, code=2).err


# money


def test_a_count_that_rents_is_agreed_to_first(bare: FleetHome) -> None:
    bare.run("apply", "-f", files(bare), "--yes")

    asked = bare.run("scale", "chat=3", "--for", "2h", "-o", "json", code=3).error()
    over = bare.run("scale", "chat=3", "--yes", "--max-cost-per-hour", "5", "-o", "json", code=9).error()
    unchanged = bare.run("undo", "--list", "-o", "json").json()["items"]
    for environment in ({"FLEETCTL_YES": "1"}, {"FLEETCTL_MAX_COST_PER_HOUR": "6", "FLEETCTL_YES": "1"}):
        bare.run("scale", "chat=3", environment=environment)

    assert asked["code"] == "confirmation_needed"
    assert "+$6.00/h, $12.00 until it expires" in asked["message"]
    assert asked["hint"] == "agree with: fleetctl scale chat=3 --for 2h --yes"
    assert "$6.00/h are needed" in over["message"]
    assert len(unchanged) == 1, "what was refused is not kept as a change"


def test_apply_is_held_against_the_limit_before_anything_is_stored(bare: FleetHome) -> None:
    refused = bare.run("apply", "-f", files(bare, least=3), "--yes", "--max-cost-per-hour", "5", code=9)

    assert "$6.00/h are needed at the least load" in refused.err
    assert not bare.root.exists()


def test_no_input_asks_nobody_at_a_terminal_too(bare: FleetHome) -> None:
    talk = at_terminal(bare, "apply", "-f", files(bare), "--no-input")

    assert talk.code == 3
    assert "--yes" in talk.err


# contexts


def test_a_context_says_what_may_be_done_there(bare: FleetHome) -> None:
    bare.environment.pop("FLEETCTL_HOME")
    for name, option in (("test", ()), ("eyes", ("--read-only",)), ("prod", ("--typed",))):
        bare.run("context", "add", name, "--home", bare.root, *option)
    bare.run("apply", "-f", own(bare))

    assert bare.run("context", "ls", "-o", "name").out == "context/test\ncontext/eyes\ncontext/prod\n"
    looked = bare.run("--context", "eyes", "ps", "-a", "-o", "name")
    assert looked.out == "service/chat\n"
    for words in (("down", "--all"), ("scale", "chat=2"), ("apply", "-f", "fleet.yaml"), ("undo",), ("pause", "chat")):
        refused = bare.run(*words, "--context", "eyes", "-o", "json", code=5).error()
        assert refused["message"] == "the context eyes is read-only: nothing is changed there"
    typed = bare.run("down", "chat", "--no-wait", "--context", "prod", code=3)
    wrong = bare.run("down", "chat", "--no-wait", "--context", "prod", "--confirm", "test", code=3)
    down = bare.run("down", "chat", "--no-wait", "--context", "prod", "--confirm", "prod")
    values = {row["name"]: row for row in bare.run("config", "view", "-o", "json").json()["items"]}

    assert "agree with: fleetctl down chat --no-wait --context prod --confirm prod" in typed.err
    assert "--confirm test is not the name of this context, prod" in wrong.err
    assert down.out == "service/chat\n"
    assert values["context"]["origin"].endswith("config.yaml:1")
    assert values["fleet.gateway_listen"]["origin"].startswith(f"{bare.root}/fleet.json:")
    assert values["yes"] == {"name": "yes", "value": "no", "origin": "default"}


def test_a_context_that_wants_its_name_is_not_content_with_yes(bare: FleetHome) -> None:
    bare.environment.pop("FLEETCTL_HOME")
    bare.run("context", "add", "prod", "--home", bare.root, "--typed")

    for code, answer in ((3, "y\n"), (0, "prod\n")):
        talk = at_terminal(bare, "apply", "-f", files(bare), "--yes", asked="(prod): ", answer=answer)
        assert talk.code == code

    assert bare.run("ps", "-a", "-o", "name").out == "service/chat\n"


# going back


def test_each_change_is_taken_back_in_turn(bare: FleetHome) -> None:
    first = bare.run("apply", "-f", own(bare))
    bare.run("apply", "-f", own(bare, model="rehearsal-70b"))
    bare.run("scale", "chat=2", "--for", "1h")
    bare.run("down", "chat", "--no-wait")
    commands = [row["command"] for row in bare.run("undo", "--list", "-o", "json").json()["items"]]
    stored = {row["name"]: row for row in bare.run("rollout", "history", "chat", "-o", "json").json()["items"]}

    assert commands == ["down chat", "scale chat=2 --for 1h", *[f"apply -f {bare.files}/fleet.yaml"] * 2]
    assert first.out, "the plan"
    assert bare.run("undo", "--dry-run").out == "~ service/chat\n    state  down → up\n"
    assert intent(bare)["state"] == "down"
    assert bare.run("undo").out == "~ service/chat\n    state  down → up\n"
    assert bare.run("undo").out == "~ service/chat\n    count  set to 2 → by its policy\n"
    assert bare.run("undo").out == "~ service/chat\n    model  rehearsal-70b → rehearsal-8b\n"
    (held,) = [row for row in bare.run("rollout", "history", "chat", "-o", "json").json()["items"] if row["state"]]
    assert (held["model"], held["name"] in stored) == ("rehearsal-8b", True), "exactly the revision that it was"
    assert bare.run("undo", "-o", "json").json()["items"] == [
        {"subject": "service/chat", "field": "", "before": "up", "after": "down"}
    ]
    assert "nothing was changed in the last 7d" in bare.run("undo", code=4).err


def test_undo_of_a_down_asks_before_it_rents_again(bare: FleetHome) -> None:
    bare.run("apply", "-f", files(bare), "--yes")
    bare.run("down", "chat", "--no-wait")

    refused = bare.run("undo", code=3)
    bare.run("undo", "--yes")

    assert "agree with: fleetctl undo --yes" in refused.err
    assert intent(bare)["state"] != "down"


def test_a_revision_is_gone_back_to_by_its_name(bare: FleetHome) -> None:
    bare.run("apply", "-f", own(bare))
    (only,) = bare.run("rollout", "history", "chat", "-o", "json").json()["items"]
    bare.run("deploy", "chat", "--model", "rehearsal-70b", "--no-wait")

    dry = bare.run("rollback", "chat", "--to", only["name"][:6], "--dry-run")
    bare.run("rollback", "chat", "--to", only["name"][:6], "--no-wait")
    listed = bare.run("rollout", "history", "chat", "-o", "json").json()["items"]

    assert dry.out == "~ service/chat\n    model  rehearsal-70b → rehearsal-8b\n"
    assert (listed[0]["name"], listed[0]["state"], listed[0]["model"]) == (only["name"], "in force", "rehearsal-8b")
    assert "is not kept" in bare.run("rollback", "chat", "--to", "zzz", code=4).err


def test_words_that_mean_nothing_are_told(bare: FleetHome) -> None:
    bare.run("apply", "-f", own(bare))

    assert "did you mean chat?" in bare.run("pause", "caht", code=4).err
    assert "did you mean chat?" in bare.run("diff", "caht", "-f", "fleet.yaml", code=4).err
    assert "did you mean service/chat?" in bare.run("wait", "caht", code=4).err
    assert "'soon' is nothing to wait for" in bare.run("wait", "chat", "--for", "soon", code=2).err
    bare.run("scale", "chat=2")
    assert "its count was set to 2" in bare.run("resume", "chat", code=7).err
    bare.run("down", "chat", "--no-wait")
    assert "chat is down" in bare.run("pause", "chat", code=7).err


# with a fleet that runs


def test_held_waited_for_and_brought_back(bare: FleetHome) -> None:
    with fleet_home() as fleet:
        fleet.run("up", "-f", own(fleet))
        fleet.run("daemon", "start")
        ready = fleet.run("wait", "chat", "--for", "ready", "--timeout", "60s")
        paused = fleet.run("pause", "chat", "-o", "json").json()
        late = fleet.run("wait", "chat", "--for", "count=2", "--timeout", "1s", "-o", "json", code=6).error()
        until("it is decided", lambda: "held by hand at 1" in fleet.run("explain", "chat").out, within_s=30.0)
        shown = fleet.run("ps")
        waiting = fleet.start("wait", "chat", "--for", "count=2")
        until("it waits", lambda: waiting.process.poll() is None and intent(fleet)["held_by_hand"], within_s=30.0)
        fleet.run("resume", "chat")
        fleet.run("scale", "chat=2")
        met = waiting.end()
        fleet.run("down", "chat")
        gone = fleet.run("wait", "chat", "--for", "gone", "--timeout", "60s")
        fleet.run("undo")
        back = fleet.run("wait", "service/chat", "--for", "ready", "--timeout", "60s", "-o", "json").json()
        count = intent(fleet)["ready"]
        fleet.run("down", "--all")
        fleet.run("daemon", "stop")

    assert ready.out == "service/chat  1 of 1 replicas ready\n"
    assert paused == {"service": "chat", "held": True, "replicas": 1}
    assert (late["code"], late["hint"]) == ("timeout", "fleetctl wait chat --for count=2 --timeout 1s")
    assert "ready, held by hand" in shown.out
    assert (met.code, met.out) == (0, "service/chat  2 of 2 replicas ready\n")
    assert gone.out.startswith("service/chat  ")
    assert back["met"] is True
    assert count == 2, "the count that was set by hand is back, too"


def test_ctrl_c_of_wait_ends_the_waiting_only(bare: FleetHome) -> None:
    bare.run("apply", "-f", own(bare))
    waiting = bare.start("wait", "chat", "--timeout", "50s")
    until("it waits", lambda: "no controller is running" in waiting.said(), within_s=30.0)

    waiting.interrupt()

    told = waiting.end()
    assert told.code == 130
    assert "Go on with: fleetctl wait chat --for ready --timeout 50s" in told.err
