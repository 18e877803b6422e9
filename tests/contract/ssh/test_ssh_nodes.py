"""The way to nodes over SSH, tried on real sshds: what is installed, what survives, and what is said when it fails."""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest
from ssh_machines import SshMachine, needs_sshd, ssh_machines
from wheels import folder_of_wheels

from fleetctl.errors import AgentFailure
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.nodes import NodeDesired, NodeStatus, ReplicaSpec
from fleetctl.model.replicas import ReplicaPhase
from fleetctl.node.keys import public_key, secret_key, ssh_folder
from fleetctl.node.links import NodeLinks
from fleetctl.node.ssh import SshShell
from fleetctl.node.tunnels.api import tunnels_socket
from fleetctl.node.tunnels.client import find_tunnels, stop_tunnels
from fleetctl.paths import Home

pytestmark = [pytest.mark.slow, needs_sshd]

BOUND_S = 60.0
INSTANCE = "gpu-e1-1"


@pytest.fixture(scope="module")
def machine() -> Iterator[SshMachine]:
    """One that keeps what is installed on it from test to test."""
    with ssh_machines(1) as (made,):
        yield made


@pytest.fixture
def fresh() -> Iterator[SshMachine]:
    with ssh_machines(1) as (made,):
        yield made


@pytest.fixture(scope="module")
def module_home() -> Iterator[Home]:
    home = Home(Path(tempfile.mkdtemp(prefix="fh-")))
    public_key(home)
    shutil.copytree(folder_of_wheels(), ssh_folder(home) / "packages")
    yield home
    shutil.rmtree(home.root, ignore_errors=True)


@pytest.fixture
async def home(module_home: Home) -> AsyncIterator[Home]:
    (ssh_folder(module_home) / "known_hosts").unlink(missing_ok=True)
    yield module_home
    await stop_tunnels(module_home)


@pytest.fixture
async def links(home: Home) -> AsyncIterator[NodeLinks]:
    made = NodeLinks(home)
    yield made
    await made.close()


def rented(machine: SshMachine) -> str:
    return f"{machine.address}/{INSTANCE}"


def engine(name: str = "chat-1") -> ReplicaSpec:
    return ReplicaSpec(
        id=ReplicaId(name),
        service=ServiceName("chat"),
        revision="r1",
        engine="rehearsal",
        model="rehearsal-tiny",
        concurrency=4,
        command=(
            "{python}",
            "-m",
            "fleetctl.rehearsal",
            "--model",
            "tiny",
            "--port",
            "{port}",
            "--load-s",
            "0.1",
            "--token-s",
            "0.01",
        ),
    )


def desired(*replicas: ReplicaSpec, fence: int = 1) -> NodeDesired:
    return NodeDesired(generation=f"g-{fence}-{len(replicas)}", epoch="e1", fence=fence, replicas=replicas)


async def status_of(
    links: NodeLinks, address: str, holds: Callable[[NodeStatus], bool] = lambda _: True, *, within_s: float = BOUND_S
) -> NodeStatus:
    """The first status for which it holds; what was said last, when none comes in time."""
    said: object = None
    deadline = asyncio.get_running_loop().time() + within_s
    while asyncio.get_running_loop().time() < deadline:
        try:
            status = await links.status(address)
            if holds(status):
                return status
            said = status
        except AgentFailure as failure:
            said = failure
        await asyncio.sleep(0.05)
    raise AssertionError(f"{address}: not within {within_s:g} s: {said}")


async def failure_of(links: NodeLinks, address: str, *, of: str, within_s: float = BOUND_S) -> AgentFailure:
    """The first failure that says this; an agent that answers is no failure."""
    said = None
    deadline = asyncio.get_running_loop().time() + within_s
    while asyncio.get_running_loop().time() < deadline:
        try:
            await links.status(address)
        except AgentFailure as failure:
            if of in failure.message:
                return failure
            said = failure
        await asyncio.sleep(0.05)
    raise AssertionError(f"{address}: {of!r} was not said within {within_s:g} s, but: {said}")


def ready(status: NodeStatus) -> bool:
    return [one.phase for one in status.replicas] == [ReplicaPhase.READY]


def gone(status: NodeStatus) -> bool:
    return status.replicas == ()


def answers(address: str | None) -> bool:
    assert address is not None
    with urllib.request.urlopen(f"http://{address}/health", timeout=20) as answer:
        return bool(answer.status == 200)


async def running(links: NodeLinks, machine: SshMachine, *, fence: int) -> NodeStatus:
    """One engine, ready."""
    machine_address = rented(machine)
    await status_of(links, machine_address)
    await links.apply(machine_address, desired(engine(), fence=fence))
    return await status_of(links, machine_address, ready)


async def cleared(links: NodeLinks, machine: SshMachine, *, fence: int) -> None:
    await links.apply(rented(machine), desired(fence=fence))
    await status_of(links, rented(machine), gone)


async def test_first_contact_installs_an_agent_and_engines_are_reached_from_here(
    machine: SshMachine, links: NodeLinks, home: Home
) -> None:
    machine.lets_in(public_key(home))
    address = rented(machine)

    waiting = await failure_of(links, address, of="is being made ready")
    status = await running(links, machine, fence=1)
    log = await links.logs(address, ReplicaId("chat-1"), 4096)

    assert "the next tick asks again" in waiting.hint
    assert status.instance == INSTANCE
    assert status.memory_bytes is not None
    assert status.memory_bytes > 0
    assert [stage.name for stage in status.stages] == ["boot", "install"]
    boot, install = status.stages
    assert install.started_at < boot.started_at <= (install.ended_at or 0.0), "it installs, and the agent begins"
    assert status.heard_at == pytest.approx(status.at, abs=2.0), "one computer, one clock"
    assert (status.gpus_listed, status.runtime) == (False, ""), "it has no driver and no Docker"
    (replica,) = status.replicas
    assert replica.address is not None
    there = [
        one.laddr.port
        for process in machine.processes("fleetctl.rehearsal")
        for one in process.net_connections()
        if one.status == psutil.CONN_LISTEN
    ]
    assert int(replica.address.rpartition(":")[2]) not in there, "a port of this computer, not of the machine"
    assert answers(replica.address)
    assert isinstance(log, bytes)
    (agent,) = machine.agents()
    assert agent.environ()["PYTHONPATH"].startswith(str(machine.root / "builds"))
    assert str(machine.root / "envs") in agent.cmdline()[0], "an environment of its own"
    await cleared(links, machine, fence=2)


async def test_the_secret_key_stays_at_home(machine: SshMachine, links: NodeLinks, home: Home) -> None:
    machine.lets_in(public_key(home))
    await status_of(links, rented(machine))
    secret = secret_key(home).read_text().splitlines()[-2]  # the lines before it are alike in every key

    held = [path for path in machine.folder.rglob("*") if path.is_file() and secret in path.read_text(errors="replace")]

    assert held == []
    assert stat.S_IMODE(secret_key(home).stat().st_mode) == 0o600
    assert stat.S_IMODE(ssh_folder(home).stat().st_mode) == 0o700
    assert stat.S_IMODE(tunnels_socket(home).stat().st_mode) == 0o600
    assert stat.S_IMODE((machine.root / "machine").stat().st_mode) == 0o700


async def test_a_killed_agent_comes_back_under_its_engine(machine: SshMachine, links: NodeLinks, home: Home) -> None:
    machine.lets_in(public_key(home))
    before = await running(links, machine, fence=3)
    (agent,) = machine.agents()

    agent.kill()
    after = await status_of(links, rented(machine), lambda one: one.at > before.at and ready(one))

    assert [one.pid for one in after.replicas] == [one.pid for one in before.replicas]
    assert len(machine.processes("fleetctl.rehearsal")) == 1
    assert [one.pid for one in machine.agents()] != [agent.pid]
    assert answers(after.replicas[0].address)
    await cleared(links, machine, fence=4)


async def test_a_broken_connection_is_made_again_behind_the_same_port(
    machine: SshMachine, links: NodeLinks, home: Home
) -> None:
    machine.lets_in(public_key(home))
    before = await running(links, machine, fence=5)
    address = before.replicas[0].address

    broken = machine.cut()
    by_request = answers(address)
    after = await status_of(links, rented(machine), ready)

    assert broken > 0
    assert by_request, "a request waits for the new connection"
    assert after.replicas[0].address == address
    await cleared(links, machine, fence=6)


async def test_killed_tunnels_are_started_again(machine: SshMachine, links: NodeLinks, home: Home) -> None:
    machine.lets_in(public_key(home))
    before = await running(links, machine, fence=7)
    tunnels = await find_tunnels(home)
    assert tunnels is not None

    os.kill(tunnels.pid, signal.SIGKILL)
    after = await status_of(links, rented(machine), ready)

    again = await find_tunnels(home)
    assert again is not None
    assert again.pid != tunnels.pid
    assert [one.pid for one in after.replicas] == [one.pid for one in before.replicas]
    assert answers(after.replicas[0].address)
    await cleared(links, machine, fence=8)


async def test_tunnels_serve_many_commands_over_one_connection(machine: SshMachine, home: Home) -> None:
    machine.lets_in(public_key(home))
    shells = [SshShell(home) for _ in range(12)]
    log = machine.folder / "sshd.log"
    await shells[0].run(rented(machine), ("probe",), timeout_s=20)
    before = log.read_text().count("Accepted publickey")

    ran = await asyncio.gather(*(shell.run(rented(machine), ("probe",), timeout_s=20) for shell in shells))

    assert [one.code for one in ran] == [0] * 12
    assert log.read_text().count("Accepted publickey") == before


async def test_an_older_agent_is_replaced_under_its_engine_and_a_newer_one_refused(
    machine: SshMachine, links: NodeLinks, home: Home
) -> None:
    machine.lets_in(public_key(home))
    before = await running(links, machine, fence=9)
    (agent,) = machine.agents()
    build = machine.root / "build"
    ours = build.read_text()
    await stop_tunnels(home)
    build.write_text("0.0.9-0123456789ab\n")

    after = await status_of(links, rented(machine), ready)

    assert build.read_text() == ours
    assert [one.pid for one in machine.agents()] != [agent.pid]
    assert [one.pid for one in after.replicas] == [one.pid for one in before.replicas]
    assert answers(after.replicas[0].address)

    await stop_tunnels(home)
    build.write_text("99.1.0-0123456789ab\n")
    refused = await failure_of(links, rented(machine), of="newer than")
    assert "runs the node agent of fleetctl 99.1.0" in refused.message
    assert "fleetctl==99.1.0" in refused.hint
    build.write_text(ours)
    await stop_tunnels(home)
    await cleared_when_ready(links, machine, fence=10)


async def cleared_when_ready(links: NodeLinks, machine: SshMachine, *, fence: int) -> None:
    await status_of(links, rented(machine))
    await cleared(links, machine, fence=fence)


async def test_a_changed_host_key_is_refused_and_told(machine: SshMachine, links: NodeLinks, home: Home) -> None:
    machine.lets_in(public_key(home))
    await status_of(links, rented(machine))
    machine.off()
    machine.new_host_key()
    machine.start()
    agents = machine.agents()

    refused = await failure_of(links, rented(machine), of="another host key")

    known = ssh_folder(home) / "known_hosts"
    assert INSTANCE in refused.message
    assert f"127.0.0.1:{machine.port}" in refused.message
    assert str(known) in refused.hint
    assert machine.agents() == agents, "nothing was done there"

    lines = [line for line in known.read_text().splitlines() if not line.startswith(INSTANCE)]
    known.write_text("".join(f"{line}\n" for line in lines))
    await status_of(links, rented(machine))


async def test_a_rented_machines_address_may_be_anothers_tomorrow(
    machine: SshMachine, links: NodeLinks, home: Home
) -> None:
    machine.lets_in(public_key(home))
    await status_of(links, rented(machine))
    machine.off()
    machine.new_host_key()
    machine.start()

    status = await status_of(links, f"{machine.address}/gpu-e1-2")

    assert status.instance == "gpu-e1-2"
    assert len((ssh_folder(home) / "known_hosts").read_text().splitlines()) == 2


async def test_a_machine_that_does_not_know_our_key_says_how_to_let_us_in(
    fresh: SshMachine, links: NodeLinks, home: Home
) -> None:
    refused = await failure_of(links, rented(fresh), of="does not let the fleet's key in")

    assert public_key(home) in refused.hint
    assert not (ssh_folder(home) / "known_hosts").exists(), "a stranger is not remembered"
    assert not fresh.root.exists()

    ran_before = (fresh.folder / "sshd.log").read_text().count("Connection from")
    for _ in range(20):
        with pytest.raises(AgentFailure):
            await links.status(rented(fresh))
    tried = (fresh.folder / "sshd.log").read_text().count("Connection from") - ran_before
    assert tried <= 3, "asked often, tried seldom"

    fresh.lets_in(public_key(home))
    shell = SshShell(home)
    deadline = asyncio.get_running_loop().time() + BOUND_S
    while True:
        try:
            assert (await shell.run(rented(fresh), ("probe",), timeout_s=20)).code == 0
            break
        except AgentFailure:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.2)


async def test_a_machine_that_is_off_is_told_with_its_name(fresh: SshMachine, links: NodeLinks, home: Home) -> None:
    fresh.lets_in(public_key(home))
    fresh.off()

    failure = await failure_of(links, rented(fresh), of="cannot be reached")

    assert INSTANCE in failure.message
    assert f"127.0.0.1:{fresh.port}" in failure.message
    assert failure.hint


async def test_a_machine_of_ones_own_gets_an_agent_only_when_claimed(
    fresh: SshMachine, links: NodeLinks, home: Home
) -> None:
    fresh.lets_in(public_key(home))

    failure = await failure_of(links, fresh.address, of="claimed by nobody")

    assert fresh.address in failure.message
    assert not fresh.root.exists()


async def test_a_full_disk_is_told_and_made_room_for(fresh: SshMachine, links: NodeLinks, home: Home) -> None:
    fresh.lets_in(public_key(home))
    disk = fresh.folder / "disk"
    disk.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=3m", "tmpfs", disk):
        pytest.skip("needs to mount a tmpfs")
    try:
        fresh.off()
        fresh.root = disk / "node"
        fresh.start()

        failure = await failure_of(links, rented(fresh), of="could not be installed")

        assert str(fresh.root) in failure.message
        assert "kB free; make room there" in failure.message
        assert fresh.agents() == []

        assert mount("-o", "remount,size=400m", disk)
        await status_of(links, rented(fresh))
    finally:
        fresh.clear()
        unmount(disk)


def mount(*words: str | Path) -> bool:
    return subprocess.run(["mount", *words], check=False, capture_output=True).returncode == 0


def unmount(disk: Path) -> None:
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize(
    "address",
    ["ssh://127.0.0.1", "ssh://-oProxyCommand@h", "ssh://me:secret@h", "ssh://me@-h", "ssh://me@h:99999", "http://h"],
)
async def test_an_address_of_another_form_is_refused(links: NodeLinks, address: str) -> None:
    with pytest.raises(AgentFailure, match="address"):
        await links.status(address)


def test_an_agents_socket_may_be_given_to_the_one_who_logs_in() -> None:
    """As where the agent runs as root and SSH logs in as somebody else."""
    folder = Path(tempfile.mkdtemp(prefix="fo-"))
    nobody = 65534
    from fleetctl.agent.serve import _listen

    try:
        with _listen(folder / "a.sock", nobody):
            found = (folder / "a.sock").stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (nobody, 0o600)
    finally:
        shutil.rmtree(folder)
