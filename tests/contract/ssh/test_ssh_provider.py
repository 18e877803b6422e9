"""Machines of one's own as a Provider, on real sshds: claims hold, listings are complete, nothing is left."""

import asyncio
import contextlib
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from ssh_machines import SshMachine, needs_sshd, ssh_machines
from wheels import folder_of_wheels

from fleetctl.errors import AgentFailure, Gone, InvalidRequest, NoCapacity, ProviderError
from fleetctl.model.instances import LaunchSpec, Offer, Sighting
from fleetctl.model.names import InstanceId, PoolName, ReplicaId, ServiceName
from fleetctl.model.nodes import NodeDesired, NodeStatus, ReplicaSpec
from fleetctl.model.replicas import ReplicaPhase
from fleetctl.model.services import Gpu, Pool
from fleetctl.node.keys import public_key, ssh_folder
from fleetctl.node.links import NodeLinks
from fleetctl.node.ssh import SshShell
from fleetctl.node.tunnels.client import stop_tunnels
from fleetctl.paths import Home
from fleetctl.providers import Setup, load
from fleetctl.providers.ssh import SshProvider

pytestmark = [pytest.mark.slow, needs_sshd]

BOUND_S = 60.0
ONE, TWO = InstanceId("gpu-e1-1"), InstanceId("gpu-e1-2")
POOL = Pool(name=PoolName("gpu"), gpu=(Gpu(name="L4", count=1),), price_per_hour=0.5)


class Controller:
    """One home with its provider: what one controller has."""

    def __init__(self, home: Home, machines: tuple[SshMachine, ...], fleet: str) -> None:
        self.home = home
        self.fleet = fleet
        self._machines = machines
        self.provider = self.reopened()

    def reopened(self) -> SshProvider:
        made = load("ssh")(
            Setup(
                fleet=self.fleet,
                home=self.home,
                options={
                    "inventory": [
                        {"name": one.name, "host": "127.0.0.1", "port": one.port, "user": one.user, "gpu": "L4:1"}
                        for one in self._machines
                    ]
                },
                shell=SshShell(self.home),
            )
        )
        assert isinstance(made, SshProvider)
        return made

    async def spec(self, machine: SshMachine, instance: InstanceId = ONE) -> LaunchSpec:
        """Once the machine has answered: the first connection takes seconds where the computer is busy."""
        offers: dict[str, Offer] = {}

        async def offered() -> bool:
            with contextlib.suppress(ProviderError):
                offers.update({offer.instance_type: offer for offer in await self.provider.offers(POOL)})
            return machine.name in offers

        await until(offered, f"{machine.name} is offered")
        return LaunchSpec(id=instance, fleet=self.fleet, pool=POOL.name, offer=offers[machine.name])

    async def listed(self) -> dict[str, Sighting]:
        return {line.id: line.state for line in (await self.provider.list(self.fleet)).instances}


@asynccontextmanager
async def controller(machines: tuple[SshMachine, ...], fleet: str = "own") -> AsyncIterator[Controller]:
    """A home of its own, let in by every machine."""
    home = Home(Path(tempfile.mkdtemp(prefix="fh-")))
    for machine in machines:
        known = (machine.folder / "authorized_keys").read_text().splitlines()
        machine.lets_in(*known, public_key(home))
    shutil.copytree(folder_of_wheels(), ssh_folder(home) / "packages")
    made = Controller(home, machines, fleet)
    try:
        yield made
    finally:
        await made.provider.close()
        await stop_tunnels(home)
        shutil.rmtree(home.root, ignore_errors=True)


@pytest.fixture
def machines() -> Iterator[tuple[SshMachine, ...]]:
    with ssh_machines(2) as made:
        yield made


@pytest.fixture
async def own(machines: tuple[SshMachine, ...]) -> AsyncIterator[Controller]:
    async with controller(machines) as made:
        yield made


async def until(look: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = asyncio.get_running_loop().time() + BOUND_S
    while not await look():
        assert asyncio.get_running_loop().time() < deadline, what
        await asyncio.sleep(0.1)


async def test_offers_are_the_machines_that_fit(own: Controller, machines: tuple[SshMachine, ...]) -> None:
    offers = await own.provider.offers(POOL)
    larger = await own.provider.offers(Pool(name=PoolName("big"), gpu=(Gpu(name="L4", count=2),)))
    others = await own.provider.offers(Pool(name=PoolName("h"), gpu=(Gpu(name="H100", count=1),)))

    assert [offer.instance_type for offer in offers] == [machine.name for machine in machines]
    assert {(str(offer.gpu), offer.price_per_hour, offer.sole) for offer in offers} == {("L4:1", 0.5, True)}
    assert list(larger) == list(others) == []


async def test_whole_life_and_every_call_may_be_repeated(own: Controller, machines: tuple[SshMachine, ...]) -> None:
    spec = await own.spec(machines[0])
    before = await own.listed()

    for _ in range(3):
        await own.provider.launch(spec)
    (line,) = (await own.provider.list("own")).instances
    for _ in range(2):
        await own.provider.stop(ONE)
    stopped = await own.listed()
    for _ in range(2):
        await own.provider.start(ONE)
    started = await own.listed()
    for _ in range(3):
        await own.provider.terminate(ONE)

    assert before == {}
    assert (line.id, line.pool, line.offer, line.state) == (ONE, spec.pool, spec.offer, Sighting.RUNNING)
    assert line.address == machines[0].address
    assert (stopped, started) == ({ONE: Sighting.STOPPED}, {ONE: Sighting.RUNNING})
    assert await own.listed() == {}
    assert not machines[0].root.exists()
    with pytest.raises(Gone):
        await own.provider.start(ONE)
    with pytest.raises(Gone):
        await own.provider.stop(ONE)


async def test_two_controllers_never_take_one_machine(own: Controller, machines: tuple[SshMachine, ...]) -> None:
    async with controller(machines, "other") as other:
        for turn in range(5):
            mine, theirs = await own.spec(machines[0]), await other.spec(machines[0])
            outcome = await asyncio.gather(
                own.provider.launch(mine), other.provider.launch(theirs), return_exceptions=True
            )

            refused = [one for one in outcome if one is not None]
            assert len(refused) == 1, f"turn {turn}: {outcome}"
            assert isinstance(refused[0], NoCapacity)
            winner = "other" if outcome[1] is None else "own"
            assert f"m1 is held by fleet {winner} as {ONE}" in str(refused[0])
            assert (await own.listed(), await other.listed()) == (
                ({ONE: Sighting.RUNNING}, {}) if winner == "own" else ({}, {ONE: Sighting.RUNNING})
            )
            loser, holder = (other, own) if winner == "own" else (own, other)
            assert [offer.instance_type for offer in await loser.provider.offers(POOL)] == ["m2"]
            await loser.provider.terminate(ONE)
            assert await holder.listed() == {ONE: Sighting.RUNNING}, "nobody gives back what another holds"
            await holder.provider.terminate(ONE)


async def test_one_claim_for_many_launches_at_once(own: Controller, machines: tuple[SshMachine, ...]) -> None:
    specs = [await own.spec(machines[0], InstanceId(f"gpu-e1-{number}")) for number in range(1, 9)]

    outcome = await asyncio.gather(*(own.provider.launch(spec) for spec in specs), return_exceptions=True)

    assert [type(one) for one in outcome if one is not None] == [NoCapacity] * 7
    assert len(await own.listed()) == 1


async def test_a_dead_machine_stands_as_last_known_and_blinds_nobody(
    own: Controller, machines: tuple[SshMachine, ...]
) -> None:
    await own.provider.launch(await own.spec(machines[0], ONE))
    await own.provider.launch(await own.spec(machines[1], TWO))
    machines[0].off()

    lines = {line.id: line for line in (await own.provider.list("own")).instances}
    by_a_new_process = {line.id: line for line in (await own.reopened().list("own")).instances}

    assert {key: line.state for key, line in lines.items()} == {ONE: Sighting.RUNNING, TWO: Sighting.RUNNING}
    assert lines[ONE].detail.startswith("as last known at")
    assert lines[TWO].detail == ""
    assert lines[ONE].offer == by_a_new_process[ONE].offer
    assert [offer.instance_type for offer in await own.provider.offers(POOL)] == ["m2"]
    with pytest.raises(ProviderError):
        await own.provider.terminate(ONE)
    machines[1].off()
    with pytest.raises(ProviderError, match="no machine answers"):
        await own.provider.list("own")
    for machine in machines:
        machine.start()

    async def back() -> bool:
        try:
            await own.provider.terminate(ONE)
            await own.provider.terminate(TWO)
        except ProviderError:
            return False
        return await own.listed() == {}

    await until(back, "both are given back once they answer")


async def test_a_launch_on_a_machine_that_does_not_answer_goes_elsewhere(
    own: Controller, machines: tuple[SshMachine, ...]
) -> None:
    spec = await own.spec(machines[0])
    machines[0].off()

    with pytest.raises(NoCapacity):
        await own.provider.launch(spec)

    assert await own.listed() == {}, "nothing was begun there"


async def test_a_claim_whose_answer_was_lost_is_not_forgotten(
    own: Controller, machines: tuple[SshMachine, ...]
) -> None:
    """As if the controller had been killed between noting the claim and making it."""
    await own.provider.launch(await own.spec(machines[0]))
    machines[0].off()
    shutil.rmtree(machines[0].root)
    assert await own.listed() == {ONE: Sighting.RUNNING}

    machines[0].start()

    async def settled() -> bool:
        return await own.listed() == {}

    await until(settled, "the machine itself says that nobody holds it")


async def test_claims_are_found_by_a_home_that_knows_nothing(own: Controller, machines: tuple[SshMachine, ...]) -> None:
    spec = await own.spec(machines[1], TWO)
    await own.provider.launch(spec)

    async with controller(machines) as successor:
        (line,) = (await successor.provider.list("own")).instances
        await successor.provider.terminate(TWO)

    assert (line.id, line.pool, line.offer, line.address) == (TWO, spec.pool, spec.offer, machines[1].address)
    assert await own.listed() == {}


@pytest.mark.parametrize("killed", ["begun", "half wiped", "claim alone"])
async def test_a_release_killed_on_its_way_is_taken_further(
    own: Controller, machines: tuple[SshMachine, ...], killed: str
) -> None:
    machine = machines[0]
    await own.provider.launch(await own.spec(machine))
    (machine.root / "releasing").touch()
    if killed == "half wiped":
        (machine.root / "machine").mkdir()
        (machine.root / "machine" / "desired.json").write_text("{}")
    if killed == "claim alone":
        (machine.root / "releasing").unlink()
        (machine.root / ".lock").unlink(missing_ok=True)

    half = await own.listed()
    with pytest.raises(Gone) if killed != "claim alone" else contextlib.nullcontext():
        await own.provider.launch(await own.spec(machine))
    await own.provider.terminate(ONE)

    assert half == {ONE: Sighting.RUNNING if killed == "claim alone" else Sighting.TERMINATING}
    assert await own.listed() == {}
    assert not machine.root.exists()
    assert not machine.root.with_name("node.gone").exists()


async def test_a_folder_of_somebody_elses_is_left_alone(own: Controller, machines: tuple[SshMachine, ...]) -> None:
    machines[0].root.mkdir()
    (machines[0].root / "thesis.tex").write_text("years of work")

    with pytest.raises(ProviderError, match="not of fleetctl's making"):
        await own.provider.launch(await own.spec(machines[0]))
    await own.provider.terminate(ONE)

    assert (machines[0].root / "thesis.tex").read_text() == "years of work"


async def test_stop_ends_the_engines_and_terminate_leaves_nothing(
    own: Controller, machines: tuple[SshMachine, ...]
) -> None:
    machine = machines[0]
    links = NodeLinks(own.home)
    await own.provider.launch(await own.spec(machine))
    spec = ReplicaSpec(
        id=ReplicaId("chat-1"),
        service=ServiceName("chat"),
        revision="r1",
        engine="rehearsal",
        model="rehearsal-tiny",
        concurrency=4,
        command=("{python}", "-m", "fleetctl.rehearsal", "--model", "tiny", "--port", "{port}", "--load-s", "0.1"),
        gpus=(0,),
    )
    desired = NodeDesired(generation="g1", epoch="e1", fence=1, replicas=(spec,))

    async def status() -> NodeStatus | None:
        try:
            return await links.status(machine.address)
        except AgentFailure:
            return None

    async def answering() -> bool:
        return await status() is not None

    async def serving() -> bool:
        found = await status()
        return found is not None and [one.phase for one in found.replicas] == [ReplicaPhase.READY]

    await until(answering, "an agent answers")
    found = await status()
    assert found is not None
    assert (found.instance, [str(gpu.name) for gpu in found.gpus]) == (ONE, ["L4"]), "as the claim says"
    await links.apply(machine.address, desired)
    await until(serving, "the engine is ready")

    await own.provider.stop(ONE)

    assert machine.processes() == []
    with pytest.raises(AgentFailure):
        await links.status(machine.address)

    async def told() -> bool:
        try:
            await links.status(machine.address)
        except AgentFailure as failure:
            return "this machine is stopped" in failure.message
        return False

    await until(told, "no agent is put on a machine that is stopped")
    assert machine.processes() == []

    await own.provider.start(ONE)
    await until(answering, "an agent answers again")
    assert "serves" in await own.provider.console(ONE)
    await links.apply(machine.address, desired)
    await until(serving, "the engine is ready again")

    await own.provider.terminate(ONE)

    assert machine.processes() == []
    assert not machine.root.exists()
    await links.close()


async def test_checks_say_of_each_machine_what_is_the_matter(own: Controller, machines: tuple[SshMachine, ...]) -> None:
    await own.provider.launch(await own.spec(machines[0]))
    machines[1].lets_in()
    machines[1].cut()

    checks = await own.provider.checks((POOL,))

    assert [(one.check, one.status) for one in checks] == [("ssh/m1", "ok"), ("ssh/m2", "fail")]
    assert f"fleet own as {ONE}" in checks[0].detail
    assert "does not let the fleet's key in" in checks[1].detail
    assert public_key(own.home) in checks[1].fix


async def test_another_fleets_launch_and_unknown_machines_are_refused(
    own: Controller, machines: tuple[SshMachine, ...]
) -> None:
    spec = await own.spec(machines[0])

    with pytest.raises(InvalidRequest, match="serves own"):
        await own.provider.launch(LaunchSpec(id=ONE, fleet="other", pool=POOL.name, offer=spec.offer))
    machines_known = json.loads((ssh_folder(own.home) / "claims.json").read_text() or "{}")

    assert set(machines_known) <= {"m1", "m2"}
