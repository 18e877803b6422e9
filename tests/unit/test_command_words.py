"""What people type: `help`, names without their kind, slips, and lines that are pasted from the help."""

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from fleetctl.cli.commands import commands
from fleetctl.cli.dispatch import ELSEWHERE, run
from fleetctl.cli.doctor import verdict
from fleetctl.decide.scaling import decide
from fleetctl.model.checks import Check, Status
from fleetctl.model.decisions import Inputs, Memory
from fleetctl.model.names import ServiceName
from fleetctl.model.services import Gpu, Scaling, Service
from fleetctl.model.signals import Load
from fleetctl.model.snapshots import Intent, Override
from fleetctl.store import open_store

FLEET = """\
kind: service
name: chat
engine: rehearsal
model: m
gpu: L40S:1
scaling: {min: 1, max: 2}
---
kind: service
name: mail
engine: rehearsal
model: m
gpu: L40S:1
pool: shared
---
kind: pool
name: shared
gpu: L40S:1
"""
ENDS_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a declared fleet; nothing runs."""
    made = tmp_path_factory.mktemp("fleet")
    (made / "fleet").mkdir()
    (made / "fleet" / "all.yaml").write_text(FLEET)
    assert fleetctl(made, "up", "--no-wait").code == 0
    yield made


Type = Callable[..., Ran]


@pytest.fixture
def typed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Runs a command line in this process: commands are many, and an interpreter of its own is most of each."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FLEETCTL_HOME", str(folder / "home"))
    monkeypatch.delenv("FLEETCTL_OUTPUT", raising=False)

    def type_in(*words: str) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(words)
        return Ran(code=code, out=out.getvalue(), err=err.getvalue())

    return type_in


def fleetctl(folder: Path, *words: str, given: str = "") -> Ran:
    """Runs a command line as a shell does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLEETCTL_")}
    done = subprocess.run(
        [sys.executable, "-m", "fleetctl", *words],
        cwd=folder,
        env={**kept, "FLEETCTL_HOME": str(folder / "home"), "COLUMNS": "100"},
        input=given,
        capture_output=True,
        text=True,
        timeout=ENDS_S,
        check=False,
    )
    return Ran(code=done.returncode, out=done.stdout, err=done.stderr)


@pytest.mark.parametrize("words", [("up",), ("provider", "setup")])
def test_help_of_a_command_is_its_own(folder: Path, words: tuple[str, ...]) -> None:
    helped, asked = fleetctl(folder, "help", *words), fleetctl(folder, *words, "--help")

    assert helped == asked
    assert helped.out.startswith(f"Usage: fleetctl {' '.join(words)}")


@pytest.mark.parametrize("words", [("help",), ("help", "help"), ("help", "--help")])
def test_help_alone_is_the_help_of_all(folder: Path, words: tuple[str, ...]) -> None:
    assert fleetctl(folder, *words) == fleetctl(folder, "--help")


def test_what_commands_are_called_elsewhere_leads_to_those_that_there_are() -> None:
    names = {command.name for command in commands()}

    assert {meant.partition(" ")[0] for meant in ELSEWHERE.values()} <= names
    assert not set(ELSEWHERE) & names


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("upp",), "did you mean: fleetctl up"),
        (("explan", "chat"), "did you mean: fleetctl explain"),
        (("status",), "did you mean: fleetctl ps"),
        (("xyzzy",), "see them all: fleetctl --help"),
        (("provider", "stup"), "no such command 'stup'\nhint: did you mean: fleetctl provider setup\n"),
        (("stat",), "did you mean: fleetctl ps"),
        (("bogus",), "see them all: fleetctl --help"),
        (("outputt", "--help"), "did you mean: fleetctl help output"),
        (("exit-code",), "did you mean: fleetctl help exit-codes"),
        (("events", "--wach"), "no such option: --wach\nhint: did you mean --watch?\n"),
        (("events", "--service", "x"), "hint: fleetctl events --help\n"),
        (("demo", "--duration", "1s"), "hint: fleetctl demo --help\n"),
        (("standby", "set", "chat", "2"), "hint: as in: fleetctl standby set chat --steps 2 --tier asleep; all that"),
        (("describe", "replicas", "chat-1"), "did you mean: fleetctl describe replica/chat-1\n"),
        (("launch",), "did you mean: fleetctl up"),
        (("nodes",), "did you mean: fleetctl ps -i"),
        (("daemon", "stat"), "did you mean: fleetctl daemon status"),
        (("get", "pods"), "did you mean: fleetctl get replicas"),
        (("logs", "chta"), "did you mean service/chat?"),
        (("logs", "chat"), "error: no replica of service/chat has a machine\n"),
        (("get", "pol"), "did you mean pools?"),
        (("get", "policies"), "did you mean: fleetctl policy ls"),
        (("ps", "--sort-by", "xyzzy"), "image, labels, name, booting"),
        (("describe", "chta"), "did you mean service/chat?"),
        (("describe", "service/chta"), "did you mean service/chat?"),
        (("events", "chta"), "did you mean service/chat?"),
        (("events", "pool/shard"), "did you mean pool/shared?"),
        (("events", "svc/chat"), "one of service/…, pool/…, instance/…, replica/…"),
        (("events", "xyzzy"), "see: fleetctl ps -a, ps -r, ps -i"),
        (("offers", "-g", "L40S", "-p", "awss"), "did you mean aws?"),
        (("offers", "-g", "L40S", "-p", "gpc", "--catalog"), "did you mean gcp?"),
        (("offers", "-g", "L40S", "-p", "local", "--catalog"), "they have those of aws"),
        (("provider", "permissions", "asw"), "did you mean aws?"),
        (("simulate", "-s", "fleet", "--against", "", "chat=chat.csv"), "no peer is called ''"),
        (("simulate", "-s", "fleet", "--against", "knative,", "chat=chat.csv"), "no peer is called ''"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_slip_is_told_with_what_may_have_been_meant(typed: Type, words: tuple[str, ...], said: str) -> None:
    Path("chat.csv").write_text("arrival_s,input_tokens,output_tokens\n0,10,10\n5,10,10\n")

    ran = typed(*words)

    assert ran.code in (2, 4)
    assert said in ran.err


@pytest.mark.parametrize(
    ("word", "subject"),
    [("chat", "service/chat"), ("service/chat", "service/chat"), ("shared", "pool/shared"), ("pool/chat", "pool/chat")],
)
def test_a_name_without_its_kind_is_understood(typed: Type, word: str, subject: str) -> None:
    described, events = typed("describe", word, "-o", "name"), typed("events", word)

    assert (described.code, described.out) == (0, f"{subject}\n")
    assert (events.code, events.err) == (0, f"nothing happened to {subject} in the last 1h\n")


def test_nobody_is_asked_about_a_schedule_on_machines_that_nobody_bills(typed: Type) -> None:
    ran = typed("schedule", "add", "chat", "--cron", "0 8 * * *", "--for", "1h", "--min", "2")

    assert ran.code == 0
    assert "Go on?" not in ran.err
    assert typed("schedule", "rm", "chat").code == 0


def test_a_count_set_by_hand_is_described_with_its_end_and_with_what_lifts_it(typed: Type) -> None:
    assert typed("scale", "chat=2", "--for", "2h").code == 0
    described = typed("describe", "chat").out
    assert typed("scale", "chat=auto").code == 0

    assert re.search(r"^  override  2 by hand until [-0-9: ]+; lift it: fleetctl scale chat=auto$", described, re.M)


def test_a_fleet_that_is_down_is_told_where_its_services_are(folder: Path) -> None:
    assert fleetctl(folder, "down", "--all", "--no-wait").code == 0
    told = fleetctl(folder, "ps")
    assert fleetctl(folder, "undo").code == 0

    assert told.err.startswith("no services are up; see those that are down: fleetctl ps -a, then fleetctl up\n")


def test_what_doctor_advises_stands_below_its_table(folder: Path) -> None:
    told, wide = fleetctl(folder, "doctor"), fleetctl(folder, "doctor", "-o", "wide")

    assert told.out.splitlines()[0].split() == ["CHECK", "STATUS", "DETAIL"]
    assert any(line.startswith(("controller: fleetctl", "fix controller: fleetctl")) for line in told.out.splitlines())
    assert wide.out.splitlines()[0].split() == ["CHECK", "STATUS", "DETAIL", "FIX"]
    assert "controller: fleetctl" not in wide.out, "it is said once, beside the check"


def test_the_plan_names_what_differs_besides_services(typed: Type, tmp_path: Path) -> None:
    (tmp_path / "dearer.yaml").write_text(f"{FLEET}---\nkind: fleet\nmax_cost_per_hour: 7\n")

    same, dearer = typed("plan"), typed("plan", "-f", str(tmp_path / "dearer.yaml"))

    assert "besides services" not in same.err
    assert "besides services these differ: fleet; field by field: fleetctl diff\n" in dearer.err


def test_a_pool_is_described_with_what_it_may_hold(typed: Type) -> None:
    lines = typed("describe", "pool/shared").out.splitlines()

    assert lines[0] == "pool/shared  open"
    assert lines[1].startswith("  machines  L40S:1") and lines[1].endswith("on_demand, at most 100")
    assert "  there     0, 0 of them ready; 0 of 0 GPUs used" in lines
    assert "  services  mail" in lines


def test_a_group_tells_the_whole_of_what_each_of_its_commands_does(folder: Path) -> None:
    helped = " ".join(fleetctl(folder, "schedule", "--help").out.split())

    assert "..." not in helped.partition("Commands:")[2]
    assert "ls List schedules: those of the files, those added by command, and those that `run` put in force." in helped


def test_a_gpu_that_no_table_has_is_told_with_the_nearest(typed: Type) -> None:
    ran = typed("offers", "-g", "L40SS", "--catalog")

    assert (ran.code, ran.err) == (
        0,
        "nothing with L40SS:1; did you mean 'L40S'? see the machine types: fleetctl catalog ls\n",
    )


@pytest.mark.parametrize(("provider", "word"), [("aws", "REGION"), ("azure", "SUBSCRIPTION"), ("gcp", "")])
def test_permissions_are_printed_before_anything_is_configured(typed: Type, provider: str, word: str) -> None:
    ran = typed("provider", "permissions", provider)

    assert ran.code == 0
    assert msgspec.json.decode(ran.out, type=dict[str, object])
    assert ran.err == (f"put yours in place of {word}: the fleet's settings of {provider} do not say it\n" * bool(word))
    assert word in ran.out


def test_the_line_in_the_help_of_decide_can_be_pasted(tmp_path: Path) -> None:
    lines = [line.strip() for line in fleetctl(tmp_path, "decide", "--help").out.splitlines()]
    (asked,) = [line for line in lines if line.startswith("{") and line.endswith("}") and '"services"' in line]
    (shown,) = [line for line in lines if line.startswith("{") and line.endswith("}") and '"decisions"' in line]
    assert fleetctl(tmp_path, "init").code == 0

    ran = fleetctl(tmp_path, "decide", "-s", "fleet/chat.yaml", given=f"{asked}\n")

    assert (ran.code, ran.err) == (0, "")
    made, told = (msgspec.json.decode(text, type=dict[str, object]) for text in (ran.out, shown))
    for decisions in (made["decisions"], told["decisions"]):
        assert isinstance(decisions, list)
        for one in decisions:
            one |= {"reason": "…", "binding": "…"}
    assert made == told, "the answer in the help is the one that comes, but for its words"


def test_a_count_below_min_is_remarked_upon_and_is_what_holds(typed: Type) -> None:
    below, within = typed("scale", "chat=0", "--for", "2h"), typed("scale", "chat=1")

    assert below.code == 0
    assert (
        "warning: chat: 0 is less than its min of 1; a count set by hand wins over min and schedules, so it holds for"
        " 2h, and requests wait. To hand it back: fleetctl scale chat=auto\n"
    ) in below.err
    assert "warning" not in within.err
    assert decided(Override(replicas=0, until=None)) == 0
    assert decided(None) == 1


def decided(override: Override | None) -> int:
    """The count of a Service with `min: 1` that three requests wait for."""
    service = Service(
        name=ServiceName("chat"),
        engine="rehearsal",
        model="m",
        gpu=(Gpu(name="L40S"),),
        concurrency=8,
        scaling=Scaling(min=1, max=2),
    )
    intent = Intent(service=service, revision="r", override=override)
    inputs = Inputs(
        at=100.0, load=Load(low=3.0, high=3.0, queued=3.0, oldest_wait_s=1.0, unknown=0), current=1, ready=1
    )
    return decide(intent, inputs, Memory())[0].desired


@pytest.mark.parametrize(
    "words",
    [
        ("down", "chat"),
        ("undo",),
        ("scale", "chat=1"),
        ("pause", "chat"),
        ("resume", "chat"),
        ("deploy", "chat", "--image", "i"),
        ("rollback", "chat"),
        ("rollout", "pause", "chat"),
        ("pool", "cordon", "shared"),
        ("pool", "drain", "shared"),
        ("replica", "rm", "chat-1"),
        ("standby", "set", "chat", "--steps", "1"),
        ("schedule", "rm", "chat/1"),
        ("keys", "revoke", "notebook"),
    ],
    ids=" ".join,
)
def test_what_changes_a_fleet_makes_none(
    typed: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FLEETCTL_HOME", str(tmp_path / "none"))

    ran = typed(*words)

    assert (ran.code, ran.err.splitlines()[0]) == (4, f"error: there is no fleet in {tmp_path}/none yet")
    assert not (tmp_path / "none" / "fleet.db").exists()


@pytest.mark.parametrize(
    "words",
    [("events",), ("up", "--no-wait"), ("apply",), ("scale", "chat=2", "--dry-run"), ("diff",), ("get", "events")],
    ids=" ".join,
)
def test_every_list_for_programs_has_the_same_envelope(typed: Type, words: tuple[str, ...]) -> None:
    ran = typed(*words, "-o", "json")

    body = msgspec.json.decode(ran.out)
    assert (ran.code, body["apiVersion"], body["kind"]) == (0, "fleetctl.dev/v1alpha1", "List")
    assert isinstance(body["items"], list)


def test_nothing_set_is_null_for_programs_and_a_dash_for_people(typed: Type) -> None:
    items = msgspec.json.decode(typed("config", "view", "-o", "json").out)["items"]
    values = {item["name"]: item["value"] for item in items}

    assert (values["fleet.max_cost_per_hour"], values["max_cost_per_hour"]) == (None, None)
    assert values["fleet.gateway_listen"] == "127.0.0.1:8080"
    lines = typed("config", "view").out.splitlines()
    assert "fleet.max_cost_per_hour          -" in lines[-2]


def test_a_service_is_as_old_as_its_first_declaration(folder: Path, typed: Type) -> None:
    def mail() -> Intent:
        with contextlib.closing(open_store(str(folder / "home" / "fleet.db"), read_only=True)) as store:
            return next(one for one in store.intents()[0] if one.service.name == "mail")

    before = mail()
    assert typed("scale", "mail=1", "--yes").code == 0
    after = mail()

    assert after.changed_at > before.changed_at
    assert after.created_at == before.created_at > 0
    (row,) = [one for one in msgspec.json.decode(typed("ps", "-o", "json").out)["items"] if one["name"] == "mail"]
    assert row["age_s"] > after.changed_at - after.created_at


def test_what_is_not_decided_yet_and_what_is_down_are_told_apart_from_what_is_ready(typed: Type) -> None:
    typed("scale", "mail=1", "--yes")
    waited = typed("wait", "mail", "--timeout", "0s")
    typed("down", "mail")
    scaled = typed("scale", "mail=1", "--yes")
    gone = typed("wait", "mail", "--for", "gone", "--timeout", "1s")
    typed("up", "mail", "--no-wait")

    assert (waited.code, "nothing was decided since the last change of what is wanted" in waited.err) == (6, True)
    assert "mail is down: that holds once it is up again: fleetctl up mail\n" in scaled.err
    assert (gone.code, gone.out) == (0, "service/mail  gone\n")


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        (("ok", "ok"), "all is well"),
        (("ok", "warn"), "nothing failed, 1 warning"),
        (("warn", "warn", "fail"), "1 of 3 checks failed"),
    ],
)
def test_warnings_are_not_all_well(statuses: tuple[Status, ...], said: str) -> None:
    assert verdict([Check(check="c", status=status, detail="", fix="") for status in statuses]) == said


def test_a_fleet_without_decisions_says_so(typed: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETCTL_HOME", str(tmp_path / "new"))
    assert typed("up", "--no-wait").code == 0

    ran = typed("daemon", "status")

    assert (ran.code, ran.err.splitlines()[0]) == (4, "error: no controller is running; nothing was decided yet")


def test_no_earlier_revision_leads_to_those_that_are_kept(typed: Type) -> None:
    ran = typed("rollback", "chat")

    assert (ran.code, ran.err.splitlines()[1]) == (7, "hint: see what is kept: fleetctl rollout history chat")
