"""The port's methods over machines of one's own: each a run of the node script or two."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from fleetctl.errors import AgentFailure, Gone, InvalidRequest, NoCapacity, OutcomeUnknown, ProviderError
from fleetctl.model.checks import Check
from fleetctl.model.instances import InstanceSeen, LaunchSpec, Leftover, Listing, Offer, Sighting
from fleetctl.model.names import InstanceId
from fleetctl.model.nodes import Ran
from fleetctl.model.services import Pool, same_product
from fleetctl.ports import Shell
from fleetctl.providers.ssh.claims import Claim, Known, holder, parsed, read, write
from fleetctl.providers.ssh.inventory import SSH, Machine

_ANSWER_S = 3.0
"""For one machine's claim: 0.2 s over a kept connection. One that takes longer is shown as last known; the question
goes on behind it, and finds the connection made the next time."""
_CLAIM_LIMIT_S = 30.0
_CHANGE_LIMIT_S = 240.0
"""For stopping and releasing: engines may take thirty seconds to leave, and caches of weights have many files."""
_NOT_MINE = 76
"""What the node script exits with where the claim is not the one that was named."""
_WORDS_MAX = 400


class SshProvider:
    name = SSH
    consistency_s = 0.0  # a claim is read from the machine itself

    def __init__(self, machines: Sequence[Machine], shell: Shell, *, fleet: str, known: Path) -> None:
        self._machines = {machine.name: machine for machine in machines}
        self._shell = shell
        self._fleet = fleet
        self._path = known
        self._known: dict[str, Known] = read(known)

    async def offers(self, pool: Pool) -> Sequence[Offer]:
        await self._look()
        now = time.time()
        return tuple(
            Offer(
                provider=SSH,
                instance_type=machine.name,
                gpu=machine.gpu,
                zone="own",
                market=pool.placement.market,
                price_per_hour=pool.price_per_hour if machine.price_per_hour is None else machine.price_per_hour,
                price_source="declared",
                price_as_of=now,
                sole=True,
            )
            for machine in self._machines.values()
            if any(same_product(one.name, machine.gpu.name) and one.count <= machine.gpu.count for one in pool.gpu)
            and self._free(machine)
        )

    def _free(self, machine: Machine) -> bool:
        """Whether it answers and no other fleet has it. Our own may be free again by the time the Offer is used."""
        known = self._known.get(machine.name)
        if known is None or known.unreached or known.stranger:
            return False
        return known.claim is None or known.claim.spec.fleet == self._fleet

    async def launch(self, spec: LaunchSpec) -> None:
        if spec.fleet != self._fleet:
            raise InvalidRequest(f"{spec.id} is of fleet {spec.fleet}; this provider serves {self._fleet}")
        machine = self._machines.get(spec.offer.instance_type)
        if machine is None:
            raise InvalidRequest(
                f"ssh: {spec.offer.instance_type} is not in the inventory",
                hint=f"providers.ssh.inventory has: {', '.join(self._machines)}",
            )
        before = await self._read(machine)
        if before.unreached:
            raise NoCapacity(f"ssh: {before.unreached}", hint="fleetctl doctor")
        if before.claim is None and not before.stranger:
            claim = Claim(spec=spec, created_at=time.time())
            # Noted first: should the answer be lost, the machine counts as held until it says otherwise.
            self._keep(machine, Known(claim=claim, state=Sighting.BOOTING, at=time.time()))
            text = msgspec.json.encode(claim).decode()
            try:
                ran = await self._shell.run(
                    machine.address,
                    ("claim", spec.fleet, spec.id, str(spec.offer.gpu), text),
                    timeout_s=_CLAIM_LIMIT_S,
                )
            except AgentFailure as failure:
                raise OutcomeUnknown(f"ssh: {failure.message}", hint=failure.hint) from failure
            if ran.code != 0:
                raise ProviderError(f"ssh: {machine.name} could not be claimed: {_last_words(ran)}")
            before = self._keep(machine, parsed(ran.out))
        if before.claim is None or (before.claim.spec.fleet, before.claim.spec.id) != (spec.fleet, spec.id):
            raise NoCapacity(f"ssh: {machine.name} is held by {holder(before)}")
        if before.state is Sighting.TERMINATING:
            raise Gone(f"ssh: {spec.id} was given back on {machine.name}")

    async def list(self, fleet: str) -> Listing:
        asked_at = time.time()
        await self._look()
        found = [
            _seen(machine, known)
            for machine in self._machines.values()
            if (known := self._known.get(machine.name)) is not None
            and known.claim is not None
            and known.claim.spec.fleet == fleet
        ]
        return Listing(provider=SSH, at=asked_at, instances=tuple(found))

    async def start(self, instance: InstanceId) -> None:
        await self._change("start", await self._living(instance), instance)

    async def stop(self, instance: InstanceId) -> None:
        await self._change("stop", await self._living(instance), instance)

    async def terminate(self, instance: InstanceId) -> None:
        machine = await self._machine_of(instance)
        if machine is not None:
            await self._change("release", machine, instance)

    async def console(self, instance: InstanceId) -> str:
        machine = await self._living(instance)
        try:
            ran = await self._shell.run(machine.address, ("console",), timeout_s=_CLAIM_LIMIT_S)
        except AgentFailure as failure:
            raise ProviderError(f"ssh: {failure.message}", hint=failure.hint) from failure
        return ran.out.decode(errors="replace")

    async def leftovers(self, fleet: str) -> Sequence[Leftover]:
        return ()

    async def remove(self, leftover: Leftover) -> None:
        raise InvalidRequest(f"{leftover.kind} {leftover.id}: the ssh provider owns nothing but claims")

    async def checks(self, pools: Sequence[Pool]) -> Sequence[Check]:
        read = await asyncio.gather(*(self._read(machine) for machine in self._machines.values()))
        return [_check(machine, known) for machine, known in zip(self._machines.values(), read, strict=True)]

    async def close(self) -> None:
        await self._shell.close()

    async def _look(self) -> None:
        """Read every machine's claim. Raises `ProviderError` where none of them answers."""
        read = await asyncio.gather(*(self._read(machine) for machine in self._machines.values()))
        if all(known.unreached for known in read):
            raise ProviderError(f"ssh: no machine answers: {read[0].unreached}", hint="fleetctl doctor")

    async def _read(self, machine: Machine) -> Known:
        """The machine's claim now, or as last known with why it is not known now."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                ran = await self._shell.run(machine.address, ("claims",), timeout_s=_CLAIM_LIMIT_S)
            if ran.code != 0:
                raise AgentFailure(f"{machine.name} does not tell who holds it: {_last_words(ran)}")
            return self._keep(machine, parsed(ran.out))
        except TimeoutError:
            why = f"{machine.name} ({machine.address}) did not answer within {_ANSWER_S:g} s"
        except AgentFailure as failure:
            why = f"{failure.message}; {failure.hint}" if failure.hint else failure.message
        last = self._known.get(machine.name)
        if last is None:
            return Known(claim=None, at=time.time(), unreached=why)
        self._known[machine.name] = replace(last, unreached=why)
        return self._known[machine.name]

    def _keep(self, machine: Machine, known: Known) -> Known:
        before = self._known.get(machine.name)
        self._known[machine.name] = known
        same = before is not None and (before.claim, before.stranger, before.state) == (
            known.claim,
            known.stranger,
            known.state,
        )
        if not same:
            write(self._path, self._known)
        return known

    async def _living(self, instance: InstanceId) -> Machine:
        machine = await self._machine_of(instance)
        if machine is None:
            raise Gone(f"ssh: {instance} is on none of {', '.join(self._machines)}")
        return machine

    async def _machine_of(self, instance: InstanceId) -> Machine | None:
        if not any(self._holds(name, instance) for name in self._machines):
            await self._look()
        return next((one for name, one in self._machines.items() if self._holds(name, instance)), None)

    def _holds(self, name: str, instance: InstanceId) -> bool:
        known = self._known.get(name)
        return (
            known is not None
            and known.claim is not None
            and (known.claim.spec.fleet, known.claim.spec.id) == (self._fleet, instance)
        )

    async def _change(self, verb: str, machine: Machine, instance: InstanceId) -> None:
        try:
            ran = await self._shell.run(machine.address, (verb, self._fleet, instance), timeout_s=_CHANGE_LIMIT_S)
        except AgentFailure as failure:
            raise OutcomeUnknown(f"ssh: {verb} {instance}: {failure.message}", hint=failure.hint) from failure
        if ran.code not in (0, _NOT_MINE):
            raise ProviderError(f"ssh: {verb} of {instance} failed on {machine.name}: {_last_words(ran)}")
        await self._read(machine)
        if ran.code == _NOT_MINE:
            raise Gone(f"ssh: {machine.name} no longer holds {instance}")


def _seen(machine: Machine, known: Known) -> InstanceSeen:
    assert known.claim is not None
    spec = known.claim.spec
    at = time.strftime("%H:%M:%S", time.localtime(known.at))
    return InstanceSeen(
        id=spec.id,
        pool=spec.pool,
        state=known.state,
        offer=spec.offer,
        created_at=known.claim.created_at,
        address=machine.address,
        detail=f"as last known at {at}: {known.unreached}" if known.unreached else "",
    )


def _check(machine: Machine, known: Known) -> Check:
    if known.unreached:
        what, _, fix = known.unreached.partition("; ")
        return Check(check=f"ssh/{machine.name}", status="fail", detail=what, fix=fix)
    return Check(check=f"ssh/{machine.name}", status="ok", detail=f"held by {holder(known)}")


def _last_words(ran: Ran) -> str:
    said = " ".join((ran.err or ran.out).decode(errors="replace").split())
    return said[-_WORDS_MAX:] or f"exit code {ran.code}"
