"""What goes wrong in a user's life: each with a message that says what to run next, and no harm to the rest."""

import asyncio
import contextlib
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from fleet_home import FleetHome, Ran, answers, fleet_home, fleet_text, service_text, until
from streams import Answer, ask, client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NOBODY = 65534


@pytest.fixture
def bare() -> Iterator[FleetHome]:
    """No fleet yet."""
    with fleet_home() as made:
        yield made


@pytest.fixture
def stored(bare: FleetHome) -> FleetHome:
    """A fleet that is declared in the store and nowhere else: nothing runs."""
    path = bare.write("fleet.yaml", fleet_text(bare.port) + "---\n" + service_text("chat"))
    bare.run("up", "--no-wait", "-f", path)
    return bare


# files


def test_a_typo_is_shown_with_its_line_and_the_right_word(bare: FleetHome) -> None:
    text = fleet_text(bare.port) + "---\n" + service_text("chat").replace("scaling:", "scalng:")
    path = bare.write("fleet.yaml", text)
    line = text.splitlines().index(next(one for one in text.splitlines() if one.startswith("scalng"))) + 1

    told = bare.run("up", "-f", path, code=2)

    assert f"{path}:{line}: " in told.err
    assert "did you mean 'scaling'?" in told.err
    assert not bare.root.exists(), "a file that cannot be used changes nothing"


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        pytest.param(("psx",), 2, "there is no command 'psx'", "did you mean: fleetctl ps", id="a command"),
        pytest.param(("--hepl",), 2, "there is no option '--hepl'", "did you mean --help?", id="an option of the root"),
        pytest.param(("ps", "--replica"), 2, "no such option: --replica\n", "did you mean --replicas?", id="an option"),
        pytest.param(
            ("daemon", "stats"), 2, "'stats'", "did you mean: fleetctl daemon status", id="a command of daemon"
        ),
        pytest.param(("daemon",), 2, "status", "", id="no command of daemon"),
        pytest.param(("explain", "caht"), 4, "there is no service 'caht'", "did you mean chat?", id="a service"),
        pytest.param(("down", "chatt"), 4, "there is no service 'chatt'", "did you mean chat?", id="one to take down"),
        pytest.param(("up", "caht"), 4, "no service caht in the files", "did you mean chat?", id="one to bring up"),
    ],
)
def test_a_wrong_word_is_answered_with_the_right_one(
    stored: FleetHome, words: tuple[str, ...], code: int, message: str, hint: str
) -> None:
    told = stored.run(*words, *(("-f", "fleet.yaml") if words[0] == "up" else ()), code=code)

    assert message in told.err
    assert hint in told.err


# the place it runs in


def test_a_port_in_use_is_a_conflict_that_names_it(bare: FleetHome) -> None:
    path = bare.write("fleet.yaml", fleet_text(bare.port) + "---\n" + service_text("chat"))
    with socket.socket() as other:
        other.bind(("127.0.0.1", bare.port))
        other.listen()

        up = bare.run("up", "-f", path, code=7)
        daemon = bare.run("daemon", "start", "-o", "json", code=7)

    assert f"127.0.0.1:{bare.port}: Address already in use" in up.err
    assert "set another `gateway.listen` in the fleet's files" in up.err
    assert "Address already in use" in daemon.error()["message"]
    assert bare.processes() == []
    assert bare.run("up", "-f", path).out == f"{bare.url}/chat/v1\n", "once the port is free, the same command works"


def test_a_home_that_cannot_be_made_is_named(bare: FleetHome) -> None:
    path = bare.write("fleet.yaml", fleet_text(bare.port) + "---\n" + service_text("chat"))
    bare.root.write_text("a file is in the way")

    told = bare.run("up", "-f", path, code=1)

    assert str(bare.root) in told.err
    assert "set FLEETCTL_HOME to a folder of yours" in told.err


def test_a_home_of_somebody_else_is_named(stored: FleetHome) -> None:
    """As another user, or, when we are not root, with the folder's write bit gone."""
    before: tuple[str, ...] = ()
    if os.getuid() == 0:
        before = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        works = [*before, sys.executable, "-c", "import fleetctl.cli.up, pydantic_core"]
        if shutil.which("setpriv") is None or subprocess.run(works, capture_output=True, check=False).returncode:
            pytest.skip("another user cannot run this Python")
        stored.folder.chmod(0o755)
    stored.root.chmod(0o500)
    (stored.root / "fleet.db").chmod(0o400)

    looked = stored.run("ps", before=before, code=1 if before else None)
    done = stored.run("up", "-f", "fleet.yaml", before=before, code=1)

    for told in (looked, done) if before else (done,):
        assert str(stored.root) in told.err
        assert "FLEETCTL_HOME" in told.err or "must be yours" in told.err


def test_settings_that_cannot_be_read_are_mended_by_up(stored: FleetHome) -> None:
    (stored.root / "fleet.json").write_text('{"name": ')

    for words in (("ps",), ("down", "--all"), ("run", "--once")):
        told = stored.run(*words, code=1)
        assert f"{stored.root / 'fleet.json'}: the fleet's settings cannot be read" in told.err
        assert "`fleetctl up`" in told.err
    assert "fail" in stored.run("doctor", code=1).out

    stored.run("up", "--no-wait", "-f", "fleet.yaml")
    assert stored.run("ps", "-o", "name").out == "service/chat\n"


def test_a_store_of_a_newer_fleetctl_is_left_alone(stored: FleetHome) -> None:
    path = stored.root / "fleet.db"
    with contextlib.closing(sqlite3.connect(path)) as store, store:
        store.execute("UPDATE schema_version SET version = version + 1")
    before = path.read_bytes()

    told = [stored.run(*words, code=7) for words in (("ps",), ("up", "-f", "fleet.yaml"), ("run", "--once"))]

    for one in told:
        assert "was written by a newer fleetctl" in one.err
        assert "pip install --upgrade fleetctl" in one.err
    assert path.read_bytes() == before
    assert stored.processes() == []


@pytest.mark.parametrize(
    "words",
    [
        pytest.param("--help", id="help"),
        pytest.param("--version", id="version"),
        pytest.param("ps", id="a table"),
        pytest.param("schema", id="much"),
        pytest.param("events --watch", id="for ever"),
    ],
)
def test_a_reader_that_goes_away_is_no_fault(stored: FleetHome, words: str) -> None:
    piped = f'{sys.executable} -m fleetctl {words} | head -c 0; exit "${{PIPESTATUS[0]}}"'
    if words.startswith("events"):
        stored.run("run", "--once")  # something to tell

    done = subprocess.run(
        ["bash", "-c", piped], env=stored.environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 141
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


# engines


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A fleet of three services that cannot come up and one that can, and what `up` said of it."""

    fleet: FleetHome
    up: Ran
    took_s: float


@pytest.fixture(scope="module")
def broken() -> Iterator[Broken]:
    with fleet_home() as made:
        documents = (
            fleet_text(made.port),
            service_text("nobinary", engine="vllm"),
            service_text("never", args="--never-ready", startup="1s"),
            service_text("noload", args="--fail-load"),
            service_text("good", args="--load-s 5"),
        )
        path = made.write("fleet.yaml", "---\n".join(documents))
        begun = time.monotonic()
        up = made.run("up", "-f", path, code=1)
        yield Broken(fleet=made, up=up, took_s=time.monotonic() - begun)
        made.run("down", "--all")
        assert made.processes() == []


@pytest.mark.parametrize(
    ("service", "message"),
    [
        pytest.param("nobinary", "vllm: command not found on this node; install it", id="a binary that is missing"),
        pytest.param("never", "was not ready within 1 s", id="an engine that never gets ready"),
        pytest.param("noload", "the model rehearsal-8b could not be loaded", id="an engine that dies as it loads"),
    ],
)
def test_a_service_that_cannot_come_up_says_why(broken: Broken, service: str, message: str) -> None:
    explained = broken.fleet.run("explain", service)
    events = broken.fleet.run("events", f"service/{service}")

    assert f"{service} does not come up: failed to start" in broken.up.err
    assert message in broken.up.err
    assert f"fleetctl down {service}" in broken.up.err or "give up with: fleetctl down" in broken.up.err
    assert "the last 3 replicas failed to start; the next try is in" in explained.out
    trouble = next(line for line in explained.out.splitlines() if line.startswith("  trouble"))
    assert re.search(rf"{service}-\w+-\d+ failed to start on box-\w+-\d+: ", trouble), "which replica, and where"
    assert trouble.partition(": ")[2] in broken.fleet.run("ps").err
    assert "fleetctl events" in explained.out
    assert "0 → 1" in events.out


def test_up_does_not_wait_for_what_will_not_come(broken: Broken) -> None:
    assert broken.took_s < 90.0


def test_a_good_service_comes_up_beside_broken_ones(broken: Broken) -> None:
    async def one() -> Answer:
        async with client() as session:
            return await ask(session, f"{broken.fleet.url}/good", tokens=4)

    answer = asyncio.run(one())

    rows = {row["name"]: row["state"] for row in broken.fleet.run("ps", "-o", "json").json()["items"]}
    assert rows == {"nobinary": "failing", "never": "failing", "noload": "failing", "good": "ready"}
    assert answer.whole(4)
    assert "nobinary: hold: the last 3 replicas failed to start" in broken.fleet.run("ps").err
    assert broken.fleet.run("doctor", code=1).out.count("replicas failed to start") == 3


@pytest.fixture(scope="module")
def restless() -> Iterator[FleetHome]:
    """Under a daemon: an engine that crashes again and again, one with garbage for metrics, one that is well."""
    with fleet_home() as made:
        documents = (
            fleet_text(made.port),
            service_text("crash", args="--crash-after-s 4 --token-s 0.01"),
            service_text("garbage", args="--garbage-metrics", least=0, idle="1s", drain="1s"),
            service_text("well", least=0, idle="1s"),
        )
        path = made.write("fleet.yaml", "---\n".join(documents))
        made.run("up", "-f", path)
        made.run("daemon", "start")
        yield made
        made.run("down", "--all")
        made.run("daemon", "stop")


async def test_an_engine_that_crashes_is_replaced_and_traffic_goes_on(restless: FleetHome) -> None:
    found: list[Answer] = []
    crashes = 2
    deadline = time.monotonic() + 120.0

    async with client() as session:
        while True:
            found.append(await ask(session, f"{restless.url}/crash", tokens=5))
            await asyncio.sleep(0.05)
            told = restless.run("events", "-o", "json").json()["items"] if len(found) % 20 == 0 else []
            died = [one for one in told if "died on" in one["message"] and "replica/crash-" in one["subject"]]
            if len(died) >= crashes:
                break
            assert time.monotonic() < deadline, "it does not crash"
        # The first of them may run in the very moment of the next crash, the second then does not.
        last = [await ask(session, f"{restless.url}/crash", tokens=5) for _ in range(2)]

    lost = [answer for answer in found if not answer.whole(5)]
    assert any(answer.whole(5) for answer in last)
    assert len(lost) <= len(died) + 1, "only what ran when it crashed is lost"
    assert "--crash-after-s asks for that" in died[-1]["message"], "its last words are told"


def test_garbage_for_metrics_is_unknown_load_and_never_scaled_down(restless: FleetHome) -> None:
    until(
        "what is idle goes to zero, what is unknown is held",
        lambda: (_state(restless, "well"), _state(restless, "garbage")) == ("idle", "held"),
        within_s=120.0,
        every_s=0.5,
    )

    looked, explained = restless.run("ps"), restless.run("explain", "garbage")

    assert "garbage: the load of its one replica is unknown, so nothing is taken away" in looked.err
    assert "fleetctl explain garbage" in looked.err
    assert "0–1.4" in looked.out
    assert "unknown" in explained.out
    assert "→ 0" not in restless.run("events", "service/garbage").out


def test_a_second_controller_is_refused_and_a_dead_one_is_followed_at_once(restless: FleetHome) -> None:
    pid = int(restless.run("daemon", "status", "-o", "name").out.removeprefix("daemon/"))

    refused = restless.run("run", code=7)

    assert "another controller holds the fleet" in refused.err
    assert "fleetctl daemon status" in refused.err
    assert restless.run("daemon", "status", "-o", "name").out == f"daemon/{pid}\n"
    process = psutil.Process(pid)
    process.kill()
    process.wait(10.0)
    assert "no controller is running" in restless.run("daemon", "status", code=4).err
    begun = time.monotonic()
    restless.run("daemon", "start")
    assert time.monotonic() - begun < 12.0, "its lease is not waited for: its process is known to be gone"


def _state(fleet: FleetHome, service: str) -> str:
    rows = fleet.run("ps", "-o", "json").json()["items"]
    return next(str(row["state"]) for row in rows if row["name"] == service)


# the disk


@pytest.fixture
def small_disk(bare: FleetHome) -> Iterator[Path]:
    """A disk of 4 MB."""
    disk = bare.folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root and CAP_SYS_ADMIN")
    try:
        yield disk
    finally:
        bare.clear_processes()
        subprocess.run(["umount", str(disk)], check=True, timeout=10)


def test_a_full_disk_is_said_and_sat_out(bare: FleetHome, small_disk: Path) -> None:
    text = fleet_text(bare.port, store=small_disk / "fleet.db") + "---\n" + service_text("chat", most=3)
    path = bare.write("fleet.yaml", text)
    bare.run("up", "-f", path)
    loop = bare.start("run")
    until("it is the controller", lambda: "is the controller" in loop.said(), within_s=120.0)

    ballast = small_disk / "ballast"
    _fill(ballast)
    until("it says that the disk is full", lambda: "the disk is full" in loop.said(), within_s=120.0)
    refused = bare.run("scale", "chat=3", code=1)
    answered = answers(bare.url)
    ballast.unlink()
    until(
        "what could not be stored can be",
        lambda: bare.run("scale", "chat=3", code=None).code == 0,
        within_s=120.0,
        every_s=0.5,
    )
    until("the loop goes on", lambda: _ready(bare) == 3, within_s=120.0, every_s=0.5)

    assert "the disk is full" in refused.err
    assert "free some space" in refused.err
    assert answered, "the gateway needs no disk"
    assert loop.process.poll() is None
    assert len(bare.run("ps", "-r", "-o", "name").out.split()) == 3, "nothing is doubled"
    assert len(list((bare.root / "machines").glob("box-*"))) == 1
    assert loop.said().count("the disk is full") <= 2, "it is said once, not at every tick"
    loop.interrupt()
    assert loop.end().code == 130
    bare.run("down", "--all")
    assert bare.processes() == []


def _ready(fleet: FleetHome) -> int:
    (row,) = fleet.run("ps", "-o", "json").json()["items"]
    return int(row["ready"])


def _fill(path: Path) -> None:
    """Until nothing more fits, not even a page."""
    with path.open("wb", buffering=0) as ballast:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    ballast.write(b"\0" * size)
