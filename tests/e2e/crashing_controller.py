"""Real controllers that die where they are told: one process that forks a fresh controller for each task.

A task is a line of JSON on stdin, a report a line on stdout. A fork costs some milliseconds where a new Python takes
half a second of a processor, and hundreds of controllers are wanted.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import threading
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

# Loaded late by the program, and here before the forks, which then need not.
import fleetctl.gateway.supervised
import fleetctl.node.local
import fleetctl.scrape.source  # noqa: F401
from fleetctl.controller.clock import SystemClock
from fleetctl.controller.controllers import Ticked
from fleetctl.controller.loop import run
from fleetctl.engines import engine
from fleetctl.model.instances import InstancePhase, Wanted
from fleetctl.model.replicas import ReplicaPhase, Role
from fleetctl.paths import Home
from fleetctl.providers.local import LOCAL, LocalProvider
from fleetctl.spec.fleet import FleetConfig
from fleetctl.wiring import connected, controller, fleet_store

LIMIT_S = 60.0
"""For one controller to bring the fleet where it is wanted: some seconds; ten times that on a busy computer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a settled fleet has."""

    serving: int
    running: int
    """Instances."""
    stopped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Control the fleet until the goal is reached, or die at a boundary: of this number, from 1, or first of a kind."""

    root: str
    config: FleetConfig
    gateway: bool
    goal: Goal
    dies_at: int | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    exit_code: int
    """0: the goal is reached; -9: died at the boundary."""
    boundaries: tuple[str, ...]
    """Every one that was reached, in order."""


def kind(boundary: str) -> str:
    """`before launch/l40s-ab12-3` without the Instance."""
    return boundary.partition("/")[0]


def settled(ticked: Ticked, goal: Goal) -> bool:
    """Whether nothing is left to do and nothing less than the goal is there."""
    snapshot, plan = ticked.snapshot, ticked.plan
    if snapshot.in_flight or plan.actions or plan.instances or plan.replicas or plan.removed_replicas:
        return False
    held = [instance for instance in snapshot.instances.values() if not instance.over]
    running = [instance for instance in held if instance.wanted is Wanted.RUNNING]
    resting = [instance for instance in held if instance.wanted is Wanted.STOPPED]
    serving = [
        replica
        for replica in snapshot.replicas.values()
        if replica.phase is ReplicaPhase.READY and replica.role is Role.SERVING
    ]
    return (
        len(serving) == len(snapshot.replicas) >= goal.serving
        and len(running) >= goal.running
        and len(resting) >= goal.stopped
        and len(running) + len(resting) == len(held)
        and all(instance.phase is InstancePhase.READY for instance in running)
        and all(instance.phase is InstancePhase.STOPPED for instance in resting)
        and bool(held) == bool(goal.running)
    )


async def control(task: Task, tells: int) -> None:
    numbers = itertools.count(1)
    order = threading.Lock()  # the provider's boundaries are crossed in threads of its own

    def boundary(name: str) -> None:
        with order:
            os.write(tells, f"{name}\n".encode())
            if task.dies_at in (next(numbers), kind(name)):
                os.kill(os.getpid(), signal.SIGKILL)

    home = Home(Path(task.root))
    with contextlib.closing(fleet_store(home, task.config)) as store:
        async with connected(home, task.config, gateway=task.gateway) as ports:
            local = LocalProvider(home.machines, fleet=task.config.name, boundary=boundary)
            held = controller(store, replace(ports, providers={LOCAL: local}), task.config, boundary=boundary)
            await held.acquire()
            try:
                async with asyncio.timeout(LIMIT_S):
                    await run(
                        held,
                        SystemClock(),
                        period_s=task.config.period_s,
                        until=lambda ticked: settled(ticked, task.goal),
                    )
            finally:
                await held.close()
                await local.close()


def fork(task: Task) -> Report:
    hears, tells = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(hears)
        try:
            asyncio.run(control(task, tells))
        except BaseException:  # noqa: BLE001  the one place that sees how the child fails; the parent must not go on twice
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(tells)
    with os.fdopen(hears) as heard:
        boundaries = tuple(heard.read().splitlines())
    return Report(exit_code=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), boundaries=boundaries)


def main() -> None:
    engine("rehearsal")  # loads them all
    for line in sys.stdin.buffer:
        report = fork(msgspec.json.decode(line, type=Task))
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
