"""The journey of the README, command by command, as a user types it: what is printed, where, with which exit code."""

import contextlib
import json
import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import psutil
import pytest
import yaml
from fleet_home import FleetHome, answers, fleet_home, fleet_text, service_text, until

from fleetctl.cli.commands import commands

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HELP_COLUMNS = 100
COMMANDS = [command.name for command in commands()]


@pytest.fixture(scope="module")
def chat() -> Iterator[FleetHome]:
    """A small fleet that is up, for those who only look at it."""
    with fleet_home() as made:
        made.run("up", "-f", made.write("fleet.yaml", fleet_text(made.port) + "---\n" + service_text("chat")))
        yield made


@pytest.fixture
def bare() -> Iterator[FleetHome]:
    """No fleet yet."""
    with fleet_home() as made:
        yield made


def test_from_nothing_to_serving_and_back_to_nothing(bare: FleetHome) -> None:
    written = bare.run("init").out.split()
    assert written == ["fleet/chat.yaml", "fleet/fleet.yaml", "fleet/schema.json"]
    refused = bare.run("init", code=7)
    assert "exists already; nothing was written" in refused.err
    assert "fleetctl up" in refused.err
    gateway = f"gateway: {{listen: 127.0.0.1:{bare.port}, auth: none}}\n"
    bare.write("fleet/fleet.yaml", f"kind: fleet\nname: tour\n{gateway}")
    assert bare.run("validate", "-o", "name").out == "service/chat\n"

    up = bare.run("up")

    assert up.out == f"{bare.url}/chat/v1\n"
    assert "fleetctl daemon start" in up.err
    replica = _one(bare.run("ps", "-r", "-o", "json").json())
    assert (replica["phase"], replica["service"]) == ("ready", "chat")

    started = bare.run("daemon", "start", "-o", "json").json()
    assert psutil.pid_exists(started["pid"])
    assert bare.run("daemon", "start", code=7).err.startswith("error: a controller is running already")
    assert bare.run("daemon", "status", "-o", "json").json()["state"] == "running"
    scaled = bare.run("scale", "chat=2", "--for", "1m", "-o", "json").json()["items"]
    assert scaled == [{"name": "chat", "before": 1, "replicas": 2}]
    until(
        "two replicas are ready",
        lambda: _one(bare.run("ps", "-o", "json").json())["ready"] == 2,
        within_s=60.0,
        every_s=0.5,
    )
    assert "set by hand to 2" in bare.run("explain", "chat").out
    assert bare.run("doctor", "-o", "json").json()["items"]
    assert bare.run("up", "chat").out == up.out  # hands over to the daemon and is done at once
    assert bare.run("daemon", "stop", "-o", "json").json()["state"] == "stopped"
    until("the daemon has ended", lambda: not psutil.pid_exists(started["pid"]), within_s=60.0)
    assert "no controller is running" in bare.run("daemon", "status", code=4).err
    bare.run("run", "--once")

    down = bare.run("down", "--all")

    assert down.out == "service/chat\n"
    assert "$0.00/h remain" in down.err
    assert bare.run("ps", "-o", "name").out == ""
    assert bare.run("ps", "-i", "-o", "name").out == ""
    assert [" ".join(process.cmdline()) for process in bare.processes()] == []
    assert not answers(bare.url)
    assert list((bare.root / "machines").iterdir()) == []
    assert bare.run("down", "--all").err == "nothing was up\n"


def test_down_and_daemon_stop_leave_nothing_behind(bare: FleetHome) -> None:
    bare.write("fleet.yaml", fleet_text(bare.port) + "---\n" + service_text("chat"))
    bare.run("up", "-f", "fleet.yaml")
    bare.run("daemon", "start")
    kept = bare.run("daemon", "stop")
    assert "go on as they are; what is up is taken down with: fleetctl down --all" in kept.out
    assert answers(bare.url)
    bare.run("daemon", "start")

    down = bare.run("down", "--all")
    assert "the controller and the gateway run on; stop both with: fleetctl daemon stop" in down.err
    assert answers(bare.url), "the controller's gateway stays with it"
    stopped = bare.run("daemon", "stop")

    assert "nothing is up, so the gateway has ended too" in stopped.out
    assert [" ".join(process.cmdline()) for process in bare.processes()] == []


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("ps",), id="services"),
        pytest.param(("ps", "-r"), id="replicas"),
        pytest.param(("ps", "-i"), id="instances"),
        pytest.param(("describe", "chat"), id="a service"),
        pytest.param(("describe", "{replica}"), id="a replica"),
        pytest.param(("describe", "{instance}"), id="an instance"),
        pytest.param(("describe", "pool/box"), id="a pool"),
        pytest.param(("explain", "chat"), id="a decision"),
        pytest.param(("explain", "chat", "--at", "0s"), id="a decision at a time"),
        pytest.param(("events",), id="events"),
        pytest.param(("logs", "chat"), id="a log"),
        pytest.param(("doctor",), id="the doctor"),
        pytest.param(("validate", "-f", "fleet.yaml"), id="files"),
        pytest.param(("version",), id="the version"),
    ],
)
def test_results_go_to_stdout_in_every_form(chat: FleetHome, words: tuple[str, ...]) -> None:
    named = {
        "{replica}": chat.run("ps", "-r", "-o", "name").out.strip() if "{replica}" in words else "",
        "{instance}": chat.run("ps", "-i", "-o", "name").out.strip() if "{instance}" in words else "",
    }
    words = tuple(named.get(word, word) for word in words)

    table = chat.run(*words)
    as_json = chat.run(*words, "-o", "json")
    as_yaml = chat.run(*words, "-o", "yaml")
    names = chat.run(*words, "-o", "name")

    assert table.out.strip()
    assert _kinds(json.loads(as_json.out)) == _kinds(yaml.safe_load(as_yaml.out))
    assert as_json.err == "" or words[0] == "logs"
    if words[0] not in ("logs", "version"):
        assert all("/" in line and " " not in line.split("/")[0] for line in names.out.splitlines())
    assert names.out


def test_what_is_printed_makes_sense_to_a_person(chat: FleetHome) -> None:
    replica = chat.run("ps", "-r", "-o", "name").out.strip()

    services, waterfall, why = chat.run("ps"), chat.run("describe", replica), chat.run("explain", "chat")

    header, row = services.out.splitlines()
    assert header.split()[:3] == ["SERVICE", "STATE", "READY"]
    assert row.split()[:3] == ["chat", "ready", "1/1"]
    assert "no controller is running, nothing scales: fleetctl daemon start" in services.err
    assert "engine" in waterfall.out
    assert f"service/chat  {'hold 1' if 'hold' in why.out else '0 → 1'}" in why.out
    assert "bound by" in why.out


def test_the_schema_is_one_and_the_example_keeps_it(bare: FleetHome) -> None:
    bare.run("init")
    schema = bare.run("schema").json()
    documents = list(yaml.safe_load_all((bare.files / "fleet" / "chat.yaml").read_text()))

    jsonschema.Draft202012Validator.check_schema(schema)

    for document in documents:
        jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**documents[0], "scalng": {}}, schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        pytest.param(("up", "-f", "nowhere"), 4, "not_found", id="no such file"),
        pytest.param(("pss",), 2, "usage", id="no such command"),
        pytest.param(("ps", "--wat"), 2, "usage", id="no such option"),
        pytest.param(("down",), 2, "usage", id="neither a name nor --all"),
        pytest.param(("scale", "chat=9"), 2, "usage", id="above max"),
        pytest.param(("scale", "chat=2", "--for", "soon"), 2, "usage", id="no duration"),
        pytest.param(("explain", "chat", "--at", "noon"), 2, "usage", id="no time"),
        pytest.param(("describe", "pod/chat"), 2, "usage", id="no such kind"),
        pytest.param(("explain", "chta"), 4, "not_found", id="no such service"),
        pytest.param(("describe", "replica/chat"), 4, "not_found", id="no such replica"),
        pytest.param(("logs", "chta"), 4, "not_found", id="nothing to read"),
        pytest.param(("daemon", "status"), 4, "not_found", id="no daemon"),
        pytest.param(("daemon", "stop"), 4, "not_found", id="no daemon to stop"),
        pytest.param(("demo", "--trace", "nowhere.csv"), 4, "not_found", id="no trace"),
    ],
)
def test_an_error_is_a_document_too(chat: FleetHome, words: tuple[str, ...], code: int, name: str) -> None:
    told = chat.run(*words, "-o", "json", code=code)

    error = told.error()

    assert error["code"] == name
    assert set(error) == {"code", "message", "hint", "retryable"}
    assert error["message"]
    assert error["hint"], "every error says what to do next"
    assert told.err == ""
    plain = chat.run(*words, code=code)
    assert plain.out == ""
    assert _timeless(plain.err) == _timeless(f"error: {error['message']}\nhint: {error['hint']}\n")


def test_without_a_fleet_every_look_says_how_to_begin(bare: FleetHome) -> None:
    for words in (("ps",), ("explain", "chat"), ("events",), ("daemon", "status"), ("describe", "chat")):
        told = bare.run(*words, code=4)
        assert "fleetctl init, then: fleetctl up" in told.err
        assert told.out == ""
    assert not bare.root.exists(), "looking makes nothing"
    assert "fleetctl init" in bare.run("up", code=2).err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_fits_a_terminal(chat: FleetHome, command: str) -> None:
    told = chat.run(command, "--help", environment={"COLUMNS": "200"})

    assert "Usage: fleetctl" in told.out
    assert command in told.out
    assert max(map(len, told.out.splitlines())) <= HELP_COLUMNS
    assert told.err == ""


def test_the_root_help_fits_too_and_names_them_all(chat: FleetHome) -> None:
    for words in ((), ("--help",), ("-h",), ("help",)):
        told = chat.run(*words)

        assert max(map(len, told.out.splitlines())) <= HELP_COLUMNS
        assert all(f"\n  {command} " in told.out for command in COMMANDS)


def test_ctrl_c_of_up_is_harmless_and_up_goes_on(bare: FleetHome) -> None:
    path = bare.write("fleet.yaml", fleet_text(bare.port, boot="5s") + "---\n" + service_text("chat"))
    up = bare.start("up", "-f", path)
    until("a machine was launched", lambda: "launching" in up.said(), within_s=60.0)
    until("its folder is there", lambda: any((bare.root / "machines").glob("box-*")), within_s=60.0)

    up.interrupt()

    told = up.end()
    assert told.code == 130
    assert f"Go on with: fleetctl up -f {path}" in told.err
    assert "Traceback" not in told.err
    assert told.out == ""
    assert bare.run("up", "-f", path).out == f"{bare.url}/chat/v1\n"
    assert len(bare.run("ps", "-i", "-o", "json").json()["items"]) == 1, "nothing is doubled"
    bare.run("down", "--all")


def test_a_timeout_stops_the_waiting_and_nothing_else(bare: FleetHome) -> None:
    path = bare.write("fleet.yaml", fleet_text(bare.port, boot="90s") + "---\n" + service_text("chat"))

    # Long enough for the launch on a busy computer, and no time at all for the boot.
    error = bare.run("up", "-f", path, "--timeout", "5s", "-o", "json", code=6).error()

    assert (error["code"], error["retryable"]) == ("timeout", True)
    assert f"go on with: fleetctl up -f {path}" in error["hint"]
    assert len(bare.run("ps", "-i", "-o", "name").out.split()) == 1, "what was launched stays"
    assert bare.run("down", "--all").out == "service/chat\n"
    assert list((bare.root / "machines").iterdir()) == []


def test_ctrl_c_of_run_ends_the_loop_and_nothing_else(chat: FleetHome) -> None:
    before = chat.run("ps", "-r", "-o", "name").out
    loop = chat.start("run")
    until("it is the controller", lambda: "is the controller" in loop.said(), within_s=60.0)

    loop.interrupt()

    told = loop.end()
    assert told.code == 130
    assert "replicas and gateway go on as they are. Go on with: fleetctl run" in told.err
    assert chat.run("ps", "-r", "-o", "name").out == before
    assert answers(chat.url)


def test_a_second_ctrl_c_ends_it_at_once(chat: FleetHome) -> None:
    loop = chat.start("run")
    until("it is the controller", lambda: "is the controller" in loop.said(), within_s=60.0)

    for _ in range(2):
        with contextlib.suppress(ProcessLookupError):
            os.kill(loop.process.pid, signal.SIGINT)

    told = loop.end()
    assert told.code == 130
    assert "Traceback" not in told.err


def test_the_daemon_ends_well_when_it_is_told_to(chat: FleetHome) -> None:
    loop = chat.start("run")
    until("it is the controller", lambda: "is the controller" in loop.said(), within_s=60.0)

    chat.run("daemon", "stop")

    assert loop.end().code == 0


def _timeless(text: str) -> str:
    """A second may pass between two commands."""
    return re.sub(r"\d+s ago", "… ago", text)


def _one(body: Any) -> dict[str, Any]:
    (item,) = body["items"]
    assert isinstance(item, dict)
    return item


def _kinds(value: Any) -> Any:
    """The shape of a document, its figures left out: time passes between two commands."""
    if isinstance(value, dict):
        return {key: _kinds(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_kinds(inner) for inner in value]
    return "number" if isinstance(value, float | int) and not isinstance(value, bool) else type(value).__name__
