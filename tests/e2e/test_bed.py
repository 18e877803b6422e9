"""The test bed and a service on it: three machines with links of their own, a real registry, a real vLLM."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bed import needs, rehearsed, vllm
from bed.machines import SSH_PORT, listens
from bed.packages import Unavailable
from bed.slots import Slot, namespaces
from bed.testbed import Bed, test_bed
from bed_journey import TOKENS, Engine, Journey, Traffic
from fleet_home import FleetHome, fleet_home, until
from unchanged import assert_unchanged

from fleetctl.decide.lifecycle import NODE_SILENCE_LIMIT_S
from fleetctl.decide.rests import RETRY_MOST_S

_LACKING = needs.lacking()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(bool(_LACKING), reason=_LACKING or "-"),
]

HEARD_S = 60.0
"""For what takes the controller some of its turns, on busy cores."""
GIVEN_BACK_S = RETRY_MOST_S + HEARD_S
"""A machine that could not be given back is asked again after a pause that has grown meanwhile."""
NOTHING_BYTES = 256 * 1024
"""What the registry's cable carries beside blobs: address resolution, and manifests that are asked for again."""
PAYLOAD_BYTES = 8 * 1000**2


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    with test_bed() as made:
        yield made


@pytest.fixture
def home() -> Iterator[FleetHome]:
    with fleet_home() as made:
        yield made


def fetch(bed: Bed, number: int) -> float:
    """Seconds that one machine takes to read the payload from the origin."""
    (bed.origin.files / "payload").write_bytes(os.urandom(PAYLOAD_BYTES))
    read = f"import urllib.request; print(len(urllib.request.urlopen('{bed.origin.url}/payload', timeout=20).read()))"
    began = time.monotonic()
    words = ("env", "SSL_CERT_FILE=/run/bed/trusted.pem", "python3", "-c", read)
    assert bed.machines[number].inside(*words).strip() == str(PAYLOAD_BYTES)
    return time.monotonic() - began


def test_machines_have_names_disks_and_processes_of_their_own(bed: Bed) -> None:
    first, second, _ = bed.machines

    first.inside("sh", "-c", "echo mine >/root/note")

    assert [machine.inside("hostname").strip() for machine in bed.machines] == ["m1", "m2", "m3"]
    assert "note" not in second.inside("ls", "/root")
    assert not Path("/root/note").exists()
    assert len({machine.docker("info", "--format", "{{.ID}}") for machine in bed.machines}) == 3
    assert str(os.getpid()) not in first.inside("ps", "-eo", "pid=").split()
    assert all(listens(machine.address, SSH_PORT) for machine in bed.machines)


def test_a_link_has_its_rate_and_counts_what_it_carries(bed: Bed) -> None:
    machine = bed.machines[0]
    before, said = machine.link.received(), bed.origin.sent()

    machine.link.shape("50mbit")
    shaped_s = fetch(bed, 0)
    machine.link.shape("")

    floor_s = (PAYLOAD_BYTES - 256 * 1024) * 8 / 50e6  # a bucket of 256 kB is full at first
    assert floor_s <= shaped_s <= 3 * floor_s
    assert PAYLOAD_BYTES <= machine.link.received() - before <= 1.1 * PAYLOAD_BYTES
    assert bed.origin.sent() - said == PAYLOAD_BYTES


def test_a_pulled_cable_and_a_death_are_heard_of_by_nobody_and_the_disk_stays(bed: Bed) -> None:
    machine = bed.machines[2]
    machine.inside("sh", "-c", "echo kept >/root/note")

    machine.link.pull()
    assert not listens(machine.address, SSH_PORT)
    assert machine.first_process() is not None
    machine.link.plug()
    until("it answers again", lambda: listens(machine.address, SSH_PORT), within_s=10.0)
    machine.die()
    assert not listens(machine.address, SSH_PORT)
    machine.start()
    machine.wait()

    assert machine.inside("cat", "/root/note") == "kept\n"
    machine.die()
    machine.wipe()
    machine.start()
    machine.wait()
    assert "note" not in machine.inside("ls", "/root")


def test_what_a_crashed_run_left_is_gone_before_the_next(tmp_path: Path) -> None:
    script = tmp_path / "crash.py"
    script.write_text(
        "import os\nfrom bed.testbed import test_bed\n"
        "with test_bed(machines=1) as bed:\n    print(bed.slot.number, flush=True)\n    os._exit(1)\n"
    )
    tests = Path(__file__).parent.parent
    ran = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(tests)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    left = Slot(int(ran.stdout))
    assert namespaces(left.name)

    with test_bed(machines=1) as made:
        assert left.number == made.slot.number or not namespaces(left.name)

    assert not namespaces(left.name)
    assert not left.disk.exists()


@pytest.fixture
def journey(bed: Bed, home: FleetHome) -> Journey:
    """A fleet whose vLLM is a rehearsal in a container: the same words, and starts in a second."""
    try:
        images = [rehearsed.image(bed.registry, release) for release in ("1", "2")]
    except Unavailable as reason:
        pytest.skip(str(reason))
    engine = Engine(images=images, model=rehearsed.model(bed.origin), args="--token-s 0.02", start_s=30.0, fetch_s=60.0)
    return Journey(bed, home, engine)


def test_a_service_in_containers_from_up_to_nothing_left(journey: Journey) -> None:
    travel(journey, cut_off=True)


def test_a_service_of_real_vllm_from_up_to_nothing_left(bed: Bed, home: FleetHome) -> None:
    lacking = vllm.lacking()
    if lacking:
        pytest.skip(lacking)
    engine = Engine(
        images=[vllm.image(bed.registry, release) for release in ("1", "2")],
        model=vllm.model(bed.origin),
        args=vllm.ARGUMENTS,
        start_s=150.0,
        fetch_s=180.0,
    )
    # Two minutes of silence are waited for once, in the journey whose engines start in a second.
    travel(Journey(bed, home, engine), cut_off=False)


def travel(journey: Journey, *, cut_off: bool) -> None:
    """The whole way, each step under traffic."""
    bed, home, engine = journey.bed, journey.home, journey.engine
    first, second = engine.images
    url = f"{home.url}/chat"
    journey.write()
    with journey.timed("up: one replica"):
        journey.up(engine.fetch_s + engine.start_s)
    with journey.timed("image and weights on all machines"):
        home.start("run")
        journey.until_everywhere(first, engine.fetch_s)
    assert len(journey.running()) == 1
    assert home.run("logs", "chat").out.strip(), "what the engine wrote, on its machine"

    with journey.timed("an answer through a gateway alone, byte for byte"):
        assert_unchanged(str(journey.replicas()[0]["address"]), model="chat", tokens=TOKENS)

    with Traffic(url) as traffic:
        registry, cable = journey.registry_sent()
        weights = bed.origin.sent()
        with journey.timed("scale 1 → 3 from warm standby"):
            home.run("scale", "chat=3")
            journey.until_ready(3, engine.start_s)
        registry_after, cable_after = journey.registry_sent()
        assert registry_after == registry
        assert cable_after - cable < NOTHING_BYTES
        assert bed.origin.sent() == weights
        assert len(journey.running()) == 3
        with journey.timed("scale 3 → 2"):
            home.run("scale", "chat=2")
            journey.until_ready(2, HEARD_S)
            journey.until("two engines are left", lambda: len(journey.running()) == 2, within_s=HEARD_S)
        with journey.timed("rollout to another digest"):
            journey.write(release=1)
            home.run("up", "-f", "fleet.yaml", "--no-wait")
            journey.until(
                "all replicas are of the new image",
                lambda: journey.service()["ready"] == 2 and on(journey, second) == 2 and on(journey, first) == 0,
                within_s=engine.fetch_s + 2 * engine.start_s,
            )
    home.run("rollout", "status", "chat", "--watch")  # whose exit code says that it came to a good end
    assert traffic.lost() == []
    assert len(traffic.answers) > 20

    if cut_off:
        one_is_cut_off(journey)
    with journey.timed("down"):
        home.run("daemon", "stop")
        down = home.run("down", "--all")
    assert "$0.00/h remain" in down.err
    for machine in bed.machines:
        assert machine.containers() == []
        assert machine.programs("fleetctl") == []
        assert "fleetctl" not in machine.inside("ls", "/opt")
    assert [" ".join(process.cmdline()) for process in home.processes()] == []


def one_is_cut_off(journey: Journey) -> None:
    """And what ran there runs elsewhere, while others serve; it is given back once it answers."""
    engine, url = journey.engine, f"{journey.home.url}/chat"
    off = journey.running()[0]
    with journey.timed("one machine cut off, and replaced"):
        off.link.pull()
        journey.until("the other answers", lambda: all_answered(url), within_s=HEARD_S)
        journey.until(
            "its replica runs elsewhere",
            lambda: len([one for one in journey.running() if one is not off]) == 2 and journey.service()["ready"] == 2,
            within_s=NODE_SILENCE_LIMIT_S + HEARD_S + engine.start_s,
        )
    assert all_answered(url)
    off.link.plug()
    journey.until("what was cut off is given back", lambda: not off.containers(), within_s=GIVEN_BACK_S)


def all_answered(url: str) -> bool:
    """Whether a few seconds of traffic lose nothing."""
    with Traffic(url) as traffic:
        time.sleep(3.0)
    return bool(traffic.answers) and not traffic.lost()


def on(journey: Journey, image: str) -> int:
    """Engines that run this image."""
    found = 0
    for machine in journey.bed.machines:
        shown = machine.docker("ps", "--no-trunc", "--format", "{{.Image}}").split()
        found += sum(1 for one in shown if one == image or image.partition("@")[2] in one)
    return found
